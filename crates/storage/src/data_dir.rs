//! The data directory: one owner at a time, of one member of one cluster, in a known format.

use crate::error::{OpenError, StorageError};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The format that this program writes, and the newest it reads. Raised when an older program could no
/// longer read what this one writes.
pub const FORMAT: u32 = 2;

/// The oldest format that this program reads. In format 1, which no release wrote, the log was a RocksDB.
pub const OLDEST_FORMAT: u32 = 2;

/// Whose directory it is. Ids are never reused, so that a directory of another member or
/// cluster is a mistake that would lose data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: String,
    /// The member's id.
    pub node: u64,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "member {} of cluster {}", self.node, self.cluster)
    }
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
    #[serde(flatten)]
    identity: Option<Identity>,
}

/// An open data directory. The lock is held until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: Lock,
}

/// The lock of a directory. Given back in so many words: a child that another thread is just forking shares the open file
/// until it becomes its program, and closing ours would leave the lock with it for that long.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the data directory's lock could not be given back");
        }
    }
}

impl DataDir {
    /// Opens or makes the directory for `identity`.
    ///
    /// # Errors
    /// [`OpenError`]; the directory is as before.
    pub fn open(root: &Path, identity: &Identity) -> Result<Self, OpenError> {
        fs::create_dir_all(root).map_err(|error| StorageError::io("making", root, &error))?;
        let lock = lock(root)?;
        match read_format(root)? {
            None => write_format(root, identity)?,
            Some(format) => {
                let found = format
                    .identity
                    .ok_or_else(|| unknown(root, "no identity in its format file"))?;
                if found != *identity {
                    let (found, wanted) = (found.to_string(), identity.to_string());
                    return Err(OpenError::Foreign {
                        path: root.into(),
                        found,
                        wanted,
                    });
                }
            }
        }
        Ok(Self {
            root: root.into(),
            _lock: lock,
        })
    }

    /// Whose directory `root` is, without opening it; `None` when it is none yet.
    ///
    /// # Errors
    /// [`OpenError`] when it is of a newer format or cannot be read.
    pub fn identity(root: &Path) -> Result<Option<Identity>, OpenError> {
        Ok(read_format(root)?.and_then(|format| format.identity))
    }

    /// Bytes that the file system still has for us.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn available_bytes(&self) -> Result<u64, StorageError> {
        let found = rustix::fs::statvfs(&self.root).map_err(|error| {
            StorageError::io("asking for the space of", &self.root, &error.into())
        })?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// A path inside it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn unknown(root: &Path, detail: &str) -> OpenError {
    OpenError::Unknown {
        path: root.into(),
        detail: detail.into(),
    }
}

fn lock(root: &Path) -> Result<Lock, OpenError> {
    let path = root.join("LOCK");
    let io = |error: std::io::Error| StorageError::io("locking", &path, &error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse::<u32>().ok());
            let holder = pid.map_or_else(|| "another process".into(), |pid| format!("pid {pid}"));
            return Err(OpenError::InUse {
                path: root.into(),
                holder,
            });
        }
        Err(TryLockError::Error(error)) => return Err(io(error).into()),
    }
    let mut lock = Lock(file);
    lock.0.set_len(0).map_err(io)?;
    writeln!(lock.0, "{}", std::process::id()).map_err(io)?;
    Ok(lock)
}

fn read_format(root: &Path) -> Result<Option<Format>, OpenError> {
    let path = root.join("format");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("reading", &path, &error).into()),
    };
    let format: Format = serde_json::from_slice(&text)
        .map_err(|error| unknown(root, &format!("its format file: {error}")))?;
    if format.format > FORMAT {
        return Err(OpenError::Newer {
            path: root.into(),
            found: format.format,
            supported: FORMAT,
        });
    }
    if format.format < OLDEST_FORMAT {
        return Err(OpenError::Older {
            path: root.into(),
            found: format.format,
            supported: OLDEST_FORMAT,
        });
    }
    Ok(Some(format))
}

fn write_format(root: &Path, identity: &Identity) -> Result<(), OpenError> {
    if root.join("raft").exists() || root.join("log").exists() {
        return Err(unknown(root, "it has a log but no format file"));
    }
    let format = Format {
        format: FORMAT,
        identity: Some(identity.clone()),
    };
    let text = serde_json::to_vec(&format).expect("a struct of text and numbers always encodes");
    replace_file(&root.join("format"), &text)?;
    Ok(())
}

/// Writes a small file so that a crash leaves the old or the new content.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let staged = path.with_extension("tmp");
    let io = |error: std::io::Error| StorageError::io("writing", path, &error);
    let mut file = File::create(&staged).map_err(io)?;
    file.write_all(content).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&staged, path).map_err(io)?;
    sync_dir(path.parent().unwrap_or(path))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| StorageError::io("syncing", path, &error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn identity(node: u64) -> Identity {
        Identity {
            cluster: "c1".into(),
            node,
        }
    }

    #[test]
    fn a_directory_in_use_is_refused_and_names_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let held = DataDir::open(root.path(), &identity(1)).unwrap();
        let error = DataDir::open(root.path(), &identity(1)).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with(&format!("is already in use by pid {}", std::process::id())),
            "{error}"
        );
        drop(held);
        DataDir::open(root.path(), &identity(1)).unwrap();
    }

    #[test]
    fn a_closed_directory_is_free_though_a_child_that_is_being_forked_still_has_its_files() {
        let root = tempfile::tempdir().unwrap();
        let held = DataDir::open(root.path(), &identity(1)).unwrap();
        // What a fork does to every open file.
        let inherited = held._lock.0.try_clone().unwrap();
        drop(held);
        DataDir::open(root.path(), &identity(1)).unwrap();
        drop(inherited);
    }

    #[test]
    fn a_directory_of_a_newer_version_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let newer = r#"{"format": 7, "cluster": "c1", "node": 1, "more": true}"#;
        fs::write(root.path().join("format"), newer).unwrap();
        let error = DataDir::open(root.path(), &identity(1)).unwrap_err();
        assert!(
            matches!(
                error,
                OpenError::Newer {
                    found: 7,
                    supported: FORMAT,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(root.path().join("format")).unwrap(),
            newer
        );
    }

    #[test]
    fn a_directory_from_before_the_first_release_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let older = r#"{"format":1,"cluster":"c1","node":1}"#;
        fs::write(root.path().join("format"), older).unwrap();
        fs::create_dir(root.path().join("raft")).unwrap();
        let error = DataDir::open(root.path(), &identity(1)).unwrap_err();
        assert!(
            matches!(error, OpenError::Older { found: 1, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("start with an empty directory"));
    }

    #[test]
    fn a_directory_of_another_member_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(DataDir::open(root.path(), &identity(1)).unwrap());
        let error = DataDir::open(root.path(), &identity(2)).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("belongs to member 1 of cluster c1, not to member 2 of cluster c1")
        );
        assert_eq!(DataDir::identity(root.path()).unwrap(), Some(identity(1)));
    }

    #[test]
    fn a_foreign_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("format"), "hello").unwrap();
        assert!(matches!(
            DataDir::open(root.path(), &identity(1)),
            Err(OpenError::Unknown { .. })
        ));
    }
}
