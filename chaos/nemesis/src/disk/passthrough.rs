//! The file system: everything goes to the directory below, and into the journal.

use super::Shared;
use super::journal::Undo;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// Attributes are asked for each time: a cut changes them behind the kernel's back.
const TTL: Duration = Duration::ZERO;

pub(super) struct Passthrough {
    backing: PathBuf,
    removed: PathBuf,
    shared: Arc<Shared>,
    names: Mutex<Names>,
    files: Mutex<HashMap<u64, Arc<File>>>,
    next: AtomicU64,
}

/// Numbers of what the kernel knows. A number stands for a name below a directory's number.
#[derive(Default)]
struct Names {
    places: HashMap<u64, (u64, OsString)>,
    numbers: HashMap<(u64, OsString), u64>,
    last: u64,
}

impl Names {
    fn number(&mut self, parent: u64, name: &OsStr) -> u64 {
        if let Some(number) = self.numbers.get(&(parent, name.to_owned())) {
            return *number;
        }
        // 1 is the root.
        self.last = self.last.max(1) + 1;
        self.place(self.last, parent, name);
        self.last
    }

    fn place(&mut self, number: u64, parent: u64, name: &OsStr) {
        self.places.insert(number, (parent, name.to_owned()));
        self.numbers.insert((parent, name.to_owned()), number);
    }

    fn forget(&mut self, parent: u64, name: &OsStr) -> Option<u64> {
        self.numbers.remove(&(parent, name.to_owned()))
    }

    fn path(&self, number: u64, root: &Path) -> PathBuf {
        match self.places.get(&number) {
            Some((parent, name)) => self.path(*parent, root).join(name),
            None => root.to_owned(),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn attributes(number: u64, found: &Metadata) -> FileAttr {
    let kind = FileType::from_std(found.file_type()).unwrap_or(FileType::RegularFile);
    FileAttr {
        ino: INodeNo(number),
        size: found.len(),
        blocks: found.blocks(),
        atime: found.accessed().unwrap_or(SystemTime::UNIX_EPOCH),
        mtime: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        ctime: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        crtime: SystemTime::UNIX_EPOCH,
        kind,
        perm: (found.mode() & 0o7777) as u16,
        nlink: u32::try_from(found.nlink()).unwrap_or(u32::MAX),
        uid: found.uid(),
        gid: found.gid(),
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    }
}

impl Passthrough {
    pub(super) fn new(backing: &Path, removed: &Path, shared: Arc<Shared>) -> Self {
        Self {
            backing: backing.to_owned(),
            removed: removed.to_owned(),
            shared,
            names: Mutex::default(),
            files: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    fn path(&self, number: INodeNo) -> PathBuf {
        lock(&self.names).path(number.0, &self.backing)
    }

    fn awake(&self) -> io::Result<()> {
        if self.shared.wishes.frozen.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        Ok(())
    }

    /// What stands before anything that takes room.
    fn has_room(&self) -> io::Result<()> {
        self.awake()?;
        let wishes = &self.shared.wishes;
        let code = if wishes.full.load(Ordering::SeqCst) {
            nix::libc::ENOSPC
        } else if wishes.fail_writes.load(Ordering::SeqCst) {
            nix::libc::EIO
        } else {
            return Ok(());
        };
        wishes.injected.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::from_raw_os_error(code))
    }

    fn note(&self, owner: u64, undo: Undo) {
        lock(&self.shared.journal).note(owner, undo);
    }

    fn keep(&self, file: File) -> FileHandle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.files).insert(handle, Arc::new(file));
        FileHandle(handle)
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        let found = lock(&self.files).get(&handle.0).cloned();
        found.ok_or_else(|| io::Error::from_raw_os_error(nix::libc::EBADF))
    }

    fn entry(&self, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let found = fs::symlink_metadata(self.path(parent).join(name))?;
        let number = lock(&self.names).number(parent.0, name);
        Ok(attributes(number, &found))
    }

    fn inode(path: &Path) -> io::Result<u64> {
        Ok(fs::symlink_metadata(path)?.ino())
    }

    /// Puts what `path` stands for aside, so that it can come back.
    fn put_aside(&self, path: &Path) -> io::Result<PathBuf> {
        let kept = self
            .removed
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let _ = fs::remove_file(&kept);
        fs::hard_link(path, &kept)?;
        Ok(kept)
    }

    fn do_open(&self, number: INodeNo, flags: i32) -> io::Result<FileHandle> {
        self.awake()?;
        let path = self.path(number);
        let access = flags & nix::libc::O_ACCMODE;
        // Readable always: what is overwritten is read first. Appending is the kernel's affair.
        let file = OpenOptions::new()
            .read(true)
            .write(access != nix::libc::O_RDONLY)
            .open(&path)?;
        if flags & nix::libc::O_TRUNC != 0 {
            self.resize(&Arc::new(file.try_clone()?), 0)?;
        }
        Ok(self.keep(file))
    }

    fn do_create(
        &self,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
    ) -> io::Result<(FileAttr, FileHandle)> {
        self.has_room()?;
        let directory = self.path(parent);
        let path = directory.join(name);
        let existed = path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(mode)
            .open(&path)?;
        if !existed {
            let undo = Undo::Named {
                path,
                is_directory: false,
            };
            self.note(Self::inode(&directory)?, undo);
        }
        Ok((self.entry(parent, name)?, self.keep(file)))
    }

    fn do_write(&self, handle: FileHandle, offset: u64, data: &[u8]) -> io::Result<u32> {
        self.has_room()?;
        self.shared.wishes.writes.fetch_add(1, Ordering::Relaxed);
        let file = self.file(handle)?;
        let found = file.metadata()?;
        let new_end = offset + data.len() as u64;
        let overlap = found.len().min(new_end).saturating_sub(offset);
        let mut old = vec![0; usize::try_from(overlap).unwrap_or(0)];
        file.read_exact_at(&mut old, offset)?;
        let undo = Undo::Data {
            handle: Arc::clone(&file),
            offset,
            old,
            old_length: found.len(),
            new_end,
        };
        self.note(found.ino(), undo);
        file.write_all_at(data, offset)?;
        Ok(u32::try_from(data.len()).unwrap_or(u32::MAX))
    }

    fn resize(&self, file: &Arc<File>, size: u64) -> io::Result<()> {
        let found = file.metadata()?;
        let gone = found.len().saturating_sub(size);
        let mut old = vec![0; usize::try_from(gone).unwrap_or(0)];
        file.read_exact_at(&mut old, size)?;
        let undo = Undo::Data {
            handle: Arc::clone(file),
            offset: size.min(found.len()),
            old,
            old_length: found.len(),
            new_end: size.min(found.len()),
        };
        self.note(found.ino(), undo);
        file.set_len(size)
    }

    fn do_sync(&self, file: &File) -> io::Result<()> {
        self.awake()?;
        let wishes = &self.shared.wishes;
        wishes.syncs.fetch_add(1, Ordering::Relaxed);
        let slow = wishes.sync_millis.load(Ordering::SeqCst);
        if slow > 0 {
            wishes.injected.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(slow));
        }
        let owner = file.metadata()?.ino();
        if wishes.fail_syncs.load(Ordering::SeqCst) {
            wishes.injected.fetch_add(1, Ordering::SeqCst);
            lock(&self.shared.journal).sync_failed(owner);
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        // The directory below is not synced: only this machine's own power failing would need it.
        self.awake()?;
        lock(&self.shared.journal).synced(owner);
        Ok(())
    }

    fn do_rename(&self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr)) -> io::Result<()> {
        self.has_room()?;
        let target_directory = self.path(to.0);
        let (source, target) = (self.path(from.0).join(from.1), target_directory.join(to.1));
        let replaced = match fs::symlink_metadata(&target) {
            Ok(found) if found.is_file() => Some(self.put_aside(&target)?),
            _ => None,
        };
        fs::rename(&source, &target)?;
        let undo = Undo::Renamed {
            from: source,
            to: target,
            replaced,
        };
        self.note(Self::inode(&target_directory)?, undo);
        let mut names = lock(&self.names);
        names.forget(to.0.0, to.1);
        if let Some(number) = names.forget(from.0.0, from.1) {
            names.place(number, to.0.0, to.1);
        }
        Ok(())
    }

    fn do_unlink(&self, parent: INodeNo, name: &OsStr) -> io::Result<()> {
        self.awake()?;
        let directory = self.path(parent);
        let path = directory.join(name);
        let kept = self.put_aside(&path)?;
        fs::remove_file(&path)?;
        self.note(Self::inode(&directory)?, Undo::Removed { path, kept });
        lock(&self.names).forget(parent.0, name);
        Ok(())
    }

    fn do_mkdir(&self, parent: INodeNo, name: &OsStr, mode: u32) -> io::Result<FileAttr> {
        self.has_room()?;
        let directory = self.path(parent);
        let path = directory.join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777))?;
        let undo = Undo::Named {
            path,
            is_directory: true,
        };
        self.note(Self::inode(&directory)?, undo);
        self.entry(parent, name)
    }

    fn do_rmdir(&self, parent: INodeNo, name: &OsStr) -> io::Result<()> {
        self.awake()?;
        let directory = self.path(parent);
        let path = directory.join(name);
        fs::remove_dir(&path)?;
        self.note(Self::inode(&directory)?, Undo::RemovedDirectory { path });
        lock(&self.names).forget(parent.0, name);
        Ok(())
    }

    fn do_link(&self, number: INodeNo, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        self.has_room()?;
        let directory = self.path(parent);
        let path = directory.join(name);
        fs::hard_link(self.path(number), &path)?;
        let undo = Undo::Named {
            path,
            is_directory: false,
        };
        self.note(Self::inode(&directory)?, undo);
        self.entry(parent, name)
    }

    fn do_list(&self, number: INodeNo, offset: u64, reply: &mut ReplyDirectory) -> io::Result<()> {
        self.awake()?;
        let mut entries = vec![
            (number.0, FileType::Directory, OsString::from(".")),
            (number.0, FileType::Directory, OsString::from("..")),
        ];
        for entry in fs::read_dir(self.path(number))? {
            let entry = entry?;
            let kind = FileType::from_std(entry.file_type()?).unwrap_or(FileType::RegularFile);
            let own = lock(&self.names).number(number.0, &entry.file_name());
            entries.push((own, kind, entry.file_name()));
        }
        entries[2..].sort_by(|one, other| one.2.cmp(&other.2));
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (place, (own, kind, name)) in entries.into_iter().enumerate().skip(skip) {
            if reply.add(INodeNo(own), place as u64 + 1, kind, name) {
                break;
            }
        }
        Ok(())
    }
}

macro_rules! answer {
    ($reply:expr, $result:expr, $good:expr) => {
        match $result {
            Ok(value) => $good($reply, value),
            Err(error) => $reply.error(Errno::from(error)),
        }
    };
}

impl Filesystem for Passthrough {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(
            reply,
            self.entry(parent, name),
            |reply: ReplyEntry, found| reply.entry(&TTL, &found, Generation(0))
        );
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let found = match handle.and_then(|handle| self.file(handle).ok()) {
            Some(file) => file.metadata(),
            None => fs::symlink_metadata(self.path(number)),
        };
        answer!(reply, found, |reply: ReplyAttr, found| reply
            .attr(&TTL, &attributes(number.0, &found)));
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let path = self.path(number);
        let change = || -> io::Result<Metadata> {
            self.awake()?;
            if let Some(mode) = mode {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777))?;
            }
            if let Some(size) = size {
                let file = match handle.and_then(|handle| self.file(handle).ok()) {
                    Some(file) => file,
                    None => Arc::new(OpenOptions::new().read(true).write(true).open(&path)?),
                };
                self.resize(&file, size)?;
            }
            fs::symlink_metadata(&path)
        };
        answer!(reply, change(), |reply: ReplyAttr, found| reply
            .attr(&TTL, &attributes(number.0, &found)));
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        answer!(
            reply,
            self.do_mkdir(parent, name, mode & !umask),
            |reply: ReplyEntry, found| {
                reply.entry(&TTL, &found, Generation(0));
            }
        );
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(
            reply,
            self.do_unlink(parent, name),
            |reply: ReplyEmpty, ()| reply.ok()
        );
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(
            reply,
            self.do_rmdir(parent, name),
            |reply: ReplyEmpty, ()| reply.ok()
        );
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer!(
            reply,
            self.do_rename((parent, name), (new_parent, new_name)),
            |reply: ReplyEmpty, ()| reply.ok()
        );
    }

    fn link(
        &self,
        _request: &Request,
        number: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        answer!(
            reply,
            self.do_link(number, parent, name),
            |reply: ReplyEntry, found| {
                reply.entry(&TTL, &found, Generation(0));
            }
        );
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        answer!(
            reply,
            self.do_open(number, flags.0),
            |reply: ReplyOpen, handle| {
                reply.opened(handle, FopenFlags::empty());
            }
        );
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        answer!(
            reply,
            self.do_create(parent, name, mode & !umask),
            |reply: ReplyCreate, (found, handle)| {
                reply.created(&TTL, &found, Generation(0), handle, FopenFlags::empty());
            }
        );
    }

    fn read(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || -> io::Result<Vec<u8>> {
            self.awake()?;
            let mut buffer = vec![0; size as usize];
            let mut filled = 0;
            let file = self.file(handle)?;
            while filled < buffer.len() {
                match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            buffer.truncate(filled);
            Ok(buffer)
        };
        answer!(reply, read(), |reply: ReplyData, data: Vec<u8>| reply
            .data(&data));
    }

    fn write(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        answer!(
            reply,
            self.do_write(handle, offset, data),
            |reply: ReplyWrite, size| reply.written(size)
        );
    }

    fn flush(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.files).remove(&handle.0);
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let synced = self.file(handle).and_then(|file| self.do_sync(&file));
        answer!(reply, synced, |reply: ReplyEmpty, ()| reply.ok());
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let synced = File::open(self.path(number)).and_then(|directory| self.do_sync(&directory));
        answer!(reply, synced, |reply: ReplyEmpty, ()| reply.ok());
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.do_list(number, offset, &mut reply);
        answer!(reply, listed, |reply: ReplyDirectory, ()| reply.ok());
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        // 16 GiB, half of it free, or nothing.
        let free = if self.shared.wishes.full.load(Ordering::SeqCst) {
            0
        } else {
            1 << 21
        };
        reply.statfs(1 << 22, free, free, 1 << 20, 1 << 19, 4_096, 255, 4_096);
    }
}
