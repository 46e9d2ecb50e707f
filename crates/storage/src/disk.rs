//! The port between the log and a disk: the few operations that it needs, each with what it promises.
//!
//! [`RealDisk`] is the operating system's file system. [`MemoryDisk`] keeps everything in memory, knows what of it a power
//! failure would leave, and can fail, tear and rot: a simulation runs the very same code
//! on it that a server runs on the real one.
//!
//! What callers may rely on is what POSIX file systems promise, and no more:
//! - a write is lost, kept or torn at any border of [`SECTOR_BYTES`] by a power failure, until the file is synced behind it;
//! - a name that was made, changed or removed may be the old or the new one, until its directory is synced;
//! - after a failed sync nothing is known about what was written before it.

mod memory;
mod real;

pub use memory::{Loss, MemoryDisk, Operation, Verdict};
pub use real::RealDisk;

use std::io;
use std::path::Path;
use std::sync::Arc;

/// Sectors are written whole or not at all, or so disks have promised since they have them.
pub const SECTOR_BYTES: u64 = 512;

/// A file system.
pub trait Disk: Send + Sync + std::fmt::Debug + 'static {
    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotFound`] when there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes an empty file, for reading and writing. Its name is durable once its directory is synced.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::AlreadyExists`] when there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a directory, unless it is there. Its name is durable once the directory around it is synced.
    ///
    /// # Errors
    /// The system's.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file within its directory, over one that is there: after a power failure the name leads to the one or the other.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Who has it open keeps it.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotFound`] when there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The system's; final, as that of [`DiskFile::sync`].
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. All methods may be called by several threads at once.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `at`.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `at`, and makes the file longer where needed. Durable once synced.
    ///
    /// # Errors
    /// The system's; some of it may have been written.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes room for `length` bytes, and the file that long. New bytes are zeros.
    ///
    /// # Errors
    /// The system's.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Makes content and length durable (`fdatasync`).
    ///
    /// # Errors
    /// The system's. It is final: what was written before may be lost though it can still be read.
    fn sync(&self) -> io::Result<()>;
}
