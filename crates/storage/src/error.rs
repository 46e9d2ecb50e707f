//! What can go wrong with a disk, and what it means.

use pontoon_state::KvError;
use std::path::{Path, PathBuf};

/// Reading or writing failed. The replica stops; nothing is retried, since after a failed sync
/// the page cache may show what never reached the disk.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The file system is full.
    #[error("no space left on the data directory's file system: {0}")]
    NoSpace(String),
    /// The operating system refused.
    #[error("disk failed: {0}")]
    Io(String),
    /// What was read is not what was written.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
}

impl StorageError {
    pub(crate) fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let detail = format!("{doing} {}: {error}", path.display());
        if error.kind() == std::io::ErrorKind::StorageFull {
            Self::NoSpace(detail)
        } else {
            Self::Io(detail)
        }
    }
}

impl From<rocksdb::Error> for StorageError {
    fn from(error: rocksdb::Error) -> Self {
        let detail = error.to_string();
        // RocksDB's C interface hands errors over as text only.
        if detail.contains("No space left") {
            Self::NoSpace(detail)
        } else if error.kind() == rocksdb::ErrorKind::Corruption {
            Self::Corrupt(detail)
        } else {
            Self::Io(detail)
        }
    }
}

impl From<StorageError> for KvError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupt(detail) => Self::Corrupt(detail),
            other => Self::Storage(other.to_string()),
        }
    }
}

impl From<StorageError> for std::io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match error {
            StorageError::NoSpace(_) => std::io::ErrorKind::StorageFull,
            StorageError::Io(_) => std::io::ErrorKind::Other,
            StorageError::Corrupt(_) => std::io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// The log is not the one this replica promised to keep. It must not vote: it may have forgotten
/// entries that count as committed. Replace the member, or restore it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the replicated log in {path} is damaged: {detail}; this replica must not vote and will not start", path = path.display())]
pub struct LogDamaged {
    /// Where the log is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub detail: String,
    /// What is lost, as far as that can be told; `None` when it may be everything.
    pub lost: Option<Lost>,
}

/// What a damaged log has lost. Entries before `first` are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The index of the first entry that is lost: it, and all behind it, cannot be believed.
    pub first: u64,
    /// The index of the last entry known to have been reported durable, if that is at or behind `first`. Entries up to here may
    /// count as committed: the replica must not vote before it has them again. It may have had more than this.
    pub through: Option<u64>,
    /// Whether a vote is known to be lost: the replica may have voted in a term that it does not remember.
    pub vote: bool,
}

/// A data directory cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("data directory {path} is already in use by {holder}", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// `pid N`, or `another process` where that is not known.
        holder: String,
    },
    /// A later version wrote it.
    #[error("data directory {path} has format {found}, written by a newer version; this one knows formats up to {supported}", path = path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program reads.
        supported: u32,
    },
    /// An earlier version wrote it, which this one cannot read.
    #[error("data directory {path} has format {found}, written by a development version from before the first release; this one reads format {supported} only: start with an empty directory, and let the server join again or restore a backup", path = path.display())]
    Older {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The oldest format that this program reads.
        supported: u32,
    },
    /// It belongs to another member or cluster.
    #[error("data directory {path} belongs to {found}, not to {wanted}", path = path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asked.
        wanted: String,
    },
    /// It holds something that Pontoon did not write.
    #[error("{path} is not a data directory of Pontoon: {detail}", path = path.display())]
    Unknown {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The log lost something.
    #[error(transparent)]
    Damaged(#[from] LogDamaged),
    /// It cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
