//! The operating system's file system.

use super::{Disk, DiskFile};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// The operating system's file system.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(
            OpenOptions::new().read(true).write(true).open(path)?,
        ))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(path)?,
        ))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(self, flags, 0, length) {
            // Some file systems cannot: the room is then found as it is written.
            Err(rustix::io::Errno::OPNOTSUPP) if self.metadata()?.len() < length => {
                self.set_len(length)
            }
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            allocated => Ok(allocated?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::MemoryDisk;

    /// Every disk does the same as long as nothing fails.
    fn conforms(disk: &dyn Disk, root: &Path) {
        let dir = root.join("dir");
        assert_eq!(disk.list(&dir).unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.make_dir(&dir).unwrap();
        disk.make_dir(&dir).unwrap();
        let path = dir.join("one");
        assert_eq!(
            disk.open(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let file = disk.create(&path).unwrap();
        assert_eq!(
            disk.create(&path).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        file.write_at(3, b"hello").unwrap();
        assert_eq!(file.length().unwrap(), 8);
        file.allocate(20).unwrap();
        file.allocate(10).unwrap();
        assert_eq!(file.length().unwrap(), 20);
        let mut read = [7; 20];
        file.read_at(0, &mut read).unwrap();
        assert_eq!(&read, b"\0\0\0hello\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(
            file.read_at(1, &mut read).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        file.sync().unwrap();
        disk.create(&dir.join("two")).unwrap();
        disk.rename(&path, &dir.join("two")).unwrap();
        disk.sync_dir(&dir).unwrap();
        assert_eq!(disk.list(&dir).unwrap(), ["two"]);
        assert_eq!(disk.open(&dir.join("two")).unwrap().length().unwrap(), 20);
        disk.remove(&dir.join("two")).unwrap();
        assert!(disk.list(&dir).unwrap().is_empty());
        file.write_at(0, b"still").unwrap();
        assert_eq!(
            disk.remove(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn both_disks_do_the_same() {
        let root = tempfile::tempdir().unwrap();
        conforms(&RealDisk, root.path());
        conforms(&MemoryDisk::new(), Path::new("/"));
    }
}
