//! A disk in memory that knows what a power failure would leave of it.
//!
//! Each file has the content that readers see and the content that is durable, with the writes between them;
//! each directory likewise its names. [`MemoryDisk::after_power_failure`] gives the disk that is found afterwards. A
//! decision asked before each operation makes it fail, or cuts the power; [`MemoryDisk::damage`] turns bits.

use super::{Disk, DiskFile, SECTOR_BYTES};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Disk::create`].
    Create,
    /// [`Disk::make_dir`] of one that is not there.
    MakeDir,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove`].
    Remove,
    /// [`Disk::sync_dir`].
    SyncDir,
    /// [`DiskFile::write_at`], of so many bytes.
    Write(usize),
    /// [`DiskFile::allocate`].
    Allocate,
    /// [`DiskFile::sync`].
    Sync,
    /// [`DiskFile::read_at`], of so many bytes.
    Read(usize),
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Do,
    /// It is not done, and fails. What a failed sync was to make durable never becomes so, though readers see it.
    Fail(io::ErrorKind),
    /// It says that it was done and is not: a disk that lies. Of use for syncs.
    Pretend,
    /// It was under way when the power went: a write may be found in parts. It fails, and so should all that follow.
    Cut,
}

/// What a power failure does to what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing of it is found.
    Everything,
    /// All of it is found.
    Nothing,
    /// Of each file any set of sectors, of each directory the changes up to some point. The same seed finds the same.
    Torn(u64),
}

type Decision = Box<dyn FnMut(Operation, &Path) -> Verdict + Send>;

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Content>,
    dirs: BTreeMap<PathBuf, Names>,
    next: u64,
    decide: Option<Decision>,
    operations: u64,
}

#[derive(Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Grow(usize),
}

/// What a name leads to: a file, or `None` for a directory.
type Target = Option<u64>;

#[derive(Clone, Default)]
struct Names {
    live: BTreeMap<String, Target>,
    durable: BTreeMap<String, Target>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Put(String, Target),
    Remove(String),
    Rename(String, String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Target>) {
        match self {
            Self::Put(name, target) => drop(names.insert(name.clone(), *target)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(target) = names.remove(from) {
                    names.insert(to.clone(), target);
                }
            }
        }
    }
}

impl Names {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }
}

impl Pending {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(content, *at, bytes),
            Self::Grow(length) if *length > content.len() => content.resize(*length, 0),
            Self::Grow(_) => {}
        }
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

/// SplitMix64 (Steele, Lea, Flood 2014): a coin for each sector that only the seed decides.
struct Coins(u64);

impl Coins {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Content {
    fn after(&self, loss: Loss, coins: &mut Coins) -> Vec<u8> {
        let mut found = self.durable.clone();
        for pending in &self.pending {
            match (loss, pending) {
                (Loss::Everything, _) => {}
                (Loss::Nothing, _) => pending.apply(&mut found),
                (Loss::Torn(_), Pending::Write { at, bytes }) => {
                    tear(&mut found, *at, bytes, coins);
                }
                (Loss::Torn(_), Pending::Grow(_)) => {
                    if coins.next() & 1 == 0 {
                        pending.apply(&mut found);
                    }
                }
            }
        }
        found
    }
}

fn tear(found: &mut Vec<u8>, at: usize, bytes: &[u8], coins: &mut Coins) {
    let sector = usize::try_from(SECTOR_BYTES).unwrap_or(512);
    let mut from = 0;
    while from < bytes.len() {
        let until = bytes.len().min(((at + from) / sector + 1) * sector - at);
        if coins.next() & 1 == 0 {
            put(found, at + from, &bytes[from..until]);
        }
        from = until;
    }
}

impl std::fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryDisk")
            .field("files", &self.paths())
            .finish_non_exhaustive()
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// An empty one with a root directory `/`.
    #[must_use]
    pub fn new() -> Self {
        let mut state = State::default();
        state.dirs.insert("/".into(), Names::default());
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Asks `decide` before every operation what becomes of it. It must not use the disk.
    pub fn decide(&self, decide: impl FnMut(Operation, &Path) -> Verdict + Send + 'static) {
        self.state.lock().decide = Some(Box::new(decide));
    }

    /// How many operations were asked for, reads aside.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The disk as it is found after the power failed. This one goes on as if it had not.
    #[must_use]
    pub fn after_power_failure(&self, loss: Loss) -> Self {
        let state = self.state.lock();
        let mut coins = Coins(match loss {
            Loss::Torn(seed) => seed,
            Loss::Everything | Loss::Nothing => 0,
        });
        let mut found = State {
            next: state.next,
            ..State::default()
        };
        for (id, content) in &state.files {
            let content = content.after(loss, &mut coins);
            let content = Content {
                live: content.clone(),
                durable: content,
                pending: Vec::new(),
            };
            found.files.insert(*id, content);
        }
        for (path, names) in &state.dirs {
            let mut left = names.durable.clone();
            let kept = match loss {
                Loss::Everything => 0,
                Loss::Nothing => names.pending.len(),
                Loss::Torn(_) => {
                    let possible = names.pending.len() as u64 + 1;
                    usize::try_from(coins.next() % possible).unwrap_or(0)
                }
            };
            for change in &names.pending[..kept] {
                change.apply(&mut left);
            }
            let names = Names {
                live: left.clone(),
                durable: left,
                pending: Vec::new(),
            };
            found.dirs.insert(path.clone(), names);
        }
        found.forget_unreachable();
        Self {
            state: Arc::new(Mutex::new(found)),
        }
    }

    /// A copy that is not shared.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        self.after_power_failure(Loss::Nothing)
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let state = self.state.lock();
        let files = state.dirs.iter().flat_map(|(dir, names)| {
            let files = names.live.iter().filter(|(_, target)| target.is_some());
            files.map(|(name, _)| dir.join(name))
        });
        files.collect()
    }

    /// What a file holds; nothing when there is none.
    #[must_use]
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state.lock();
        let content = state.file(path).and_then(|id| state.files.get(&id));
        content.map(|file| file.live.clone()).unwrap_or_default()
    }

    /// Turns the bits of `mask` in a byte of a file, for readers and durably.
    pub fn damage(&self, path: &Path, at: usize, mask: u8) {
        let mut state = self.state.lock();
        let Some(id) = state.file(path) else { return };
        let Some(file) = state.files.get_mut(&id) else {
            return;
        };
        for content in [&mut file.live, &mut file.durable] {
            if let Some(byte) = content.get_mut(at) {
                *byte ^= mask;
            }
        }
    }

    /// Cuts a file short, for readers and durably.
    pub fn shorten(&self, path: &Path, length: usize) {
        let mut state = self.state.lock();
        let Some(id) = state.file(path) else { return };
        if let Some(file) = state.files.get_mut(&id) {
            file.live.truncate(length);
            file.durable.truncate(length);
            file.pending.clear();
        }
    }
}

/// The directory and the name that a path consists of.
fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let name = path.file_name().and_then(OsStr::to_str);
    match (path.parent(), name) {
        (Some(dir), Some(name)) => Ok((absolute(dir), name.into())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn absolute(path: &Path) -> PathBuf {
    let parts = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    Path::new("/").join(parts.collect::<PathBuf>())
}

impl State {
    /// Asks what becomes of an operation on names; none of them pretends.
    fn ask(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        outcome(self.verdict(operation, path))
    }

    fn verdict(&mut self, operation: Operation, path: &Path) -> Verdict {
        if !matches!(operation, Operation::Read(_)) {
            self.operations += 1;
        }
        self.decide
            .as_mut()
            .map_or(Verdict::Do, |decide| decide(operation, path))
    }

    fn names(&mut self, dir: &Path) -> io::Result<&mut Names> {
        self.dirs
            .get_mut(dir)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&self, path: &Path) -> Option<u64> {
        let (dir, name) = split(path).ok()?;
        *self.dirs.get(&dir)?.live.get(&name)?
    }

    /// Directories whose name was lost take what is in them along.
    fn forget_unreachable(&mut self) {
        let dirs: Vec<PathBuf> = self.dirs.keys().cloned().collect();
        for path in dirs {
            let reachable = split(&path).is_ok_and(|(dir, name)| {
                let around = self.dirs.get(&dir);
                around.is_some_and(|around| around.live.get(&name) == Some(&None))
            });
            if !reachable && path != Path::new("/") {
                self.dirs.remove(&path);
            }
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.state.lock().file(path);
        let id = id.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(self.handle(id, path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (dir, name) = split(path)?;
        let mut state = self.state.lock();
        state.ask(Operation::Create, path)?;
        let id = state.next;
        let names = state.names(&dir)?;
        if names.live.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.change(Change::Put(name, Some(id)));
        state.next += 1;
        state.files.insert(id, Content::default());
        drop(state);
        Ok(self.handle(id, path))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut state = self.state.lock();
        if state.dirs.contains_key(&absolute(path)) {
            return Ok(());
        }
        state.ask(Operation::MakeDir, path)?;
        state.names(&dir)?.change(Change::Put(name, None));
        state.dirs.insert(absolute(path), Names::default());
        drop(state);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((dir, from), (other, to)) = (split(from)?, split(to)?);
        if dir != other {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = self.state.lock();
        state.ask(Operation::Rename, &dir.join(&to))?;
        let names = state.names(&dir)?;
        if !names.live.contains_key(&from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        names.change(Change::Rename(from, to));
        drop(state);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut state = self.state.lock();
        state.ask(Operation::Remove, path)?;
        let names = state.names(&dir)?;
        if !names.live.contains_key(&name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        names.change(Change::Remove(name));
        drop(state);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        Ok(state.names(&absolute(dir))?.live.keys().cloned().collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let verdict = state.verdict(Operation::SyncDir, dir);
        let names = state.names(&absolute(dir))?;
        if verdict == Verdict::Do {
            names.durable = names.live.clone();
            names.pending.clear();
        }
        outcome(verdict)
    }
}

impl MemoryDisk {
    fn handle(&self, id: u64, path: &Path) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile {
            state: self.state.clone(),
            id,
            path: path.into(),
        })
    }
}

struct MemoryFile {
    state: Arc<Mutex<State>>,
    id: u64,
    path: PathBuf,
}

impl std::fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MemoryFile").field(&self.path).finish()
    }
}

impl MemoryFile {
    /// Does `work` on the content, if the operation is to be done. A cut write is found as power failures leave it.
    fn with<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut Content, Verdict) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        let verdict = state.verdict(operation, &self.path);
        let content = state.files.get_mut(&self.id);
        work(
            content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?,
            verdict,
        )
    }

    fn change(&self, operation: Operation, pending: Pending) -> io::Result<()> {
        self.with(operation, |content, verdict| {
            if matches!(verdict, Verdict::Do | Verdict::Cut) {
                pending.apply(&mut content.live);
                content.pending.push(pending);
            }
            outcome(verdict)
        })
    }
}

fn outcome(verdict: Verdict) -> io::Result<()> {
    match verdict {
        Verdict::Do | Verdict::Pretend => Ok(()),
        Verdict::Fail(kind) => Err(kind.into()),
        Verdict::Cut => Err(io::Error::other("the power is off")),
    }
}

/// A file in memory is addressed by `usize`.
fn place(at: u64) -> io::Result<usize> {
    usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl DiskFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        let state = self.state.lock();
        let content = state.files.get(&self.id);
        Ok(content.map_or(0, |content| content.live.len() as u64))
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = place(at)?;
        self.with(Operation::Read(buffer.len()), |content, verdict| {
            outcome(verdict)?;
            let found = content.live.get(at..at + buffer.len());
            let found = found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            buffer.copy_from_slice(found);
            Ok(())
        })
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let pending = Pending::Write {
            at: place(at)?,
            bytes: bytes.into(),
        };
        self.change(Operation::Write(bytes.len()), pending)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.change(Operation::Allocate, Pending::Grow(place(length)?))
    }

    fn sync(&self) -> io::Result<()> {
        self.with(Operation::Sync, |content, verdict| {
            match verdict {
                Verdict::Do => {
                    for pending in content.pending.drain(..) {
                        pending.apply(&mut content.durable);
                    }
                }
                // The kernel marks the pages clean all the same: a later sync has nothing left to write.
                Verdict::Fail(_) => content.pending.clear(),
                Verdict::Pretend | Verdict::Cut => {}
            }
            outcome(verdict)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(disk: &MemoryDisk) -> Vec<String> {
        disk.list(Path::new("/")).unwrap()
    }

    #[test]
    fn only_what_was_synced_is_left() {
        let disk = MemoryDisk::new();
        let (path, root) = (Path::new("/f"), Path::new("/"));
        let file = disk.create(path).unwrap();
        file.write_at(0, &[1; 1024]).unwrap();
        file.sync().unwrap();
        assert!(names(&disk.after_power_failure(Loss::Everything)).is_empty());
        disk.sync_dir(root).unwrap();
        file.write_at(512, &[2; 1024]).unwrap();
        let lost = disk.after_power_failure(Loss::Everything);
        assert_eq!(lost.content(path), [1; 1024]);
        let kept = disk.after_power_failure(Loss::Nothing);
        assert_eq!(kept.content(path)[512..], [2; 1024]);
        let torn: Vec<Vec<u8>> = (0..20)
            .map(|seed| disk.after_power_failure(Loss::Torn(seed)).content(path))
            .collect();
        let whole = |content: &[u8]| {
            content
                .chunks(512)
                .all(|part| part.iter().all(|byte| *byte == part[0]))
        };
        assert!(torn.iter().all(|content| whole(content)));
        assert!(
            torn.iter()
                .any(|content| content.len() == 1536 && content[512] == 1)
        );
        assert_eq!(
            torn[3],
            disk.after_power_failure(Loss::Torn(3)).content(path)
        );
    }

    #[test]
    fn a_failed_sync_loses_what_readers_still_see() {
        let disk = MemoryDisk::new();
        let file = disk.create(Path::new("/f")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_at(0, b"lost").unwrap();
        let mut failed = false;
        disk.decide(move |operation, _| {
            if operation == Operation::Sync && !failed {
                failed = true;
                return Verdict::Fail(io::ErrorKind::Other);
            }
            Verdict::Do
        });
        assert!(file.sync().is_err());
        assert_eq!(disk.content(Path::new("/f")), b"lost");
        assert_eq!(
            disk.after_power_failure(Loss::Nothing)
                .content(Path::new("/f")),
            b""
        );
    }

    #[test]
    fn a_directory_goes_with_its_name() {
        let disk = MemoryDisk::new();
        disk.make_dir(Path::new("/d")).unwrap();
        disk.create(Path::new("/d/f")).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        let lost = disk.after_power_failure(Loss::Everything);
        assert!(lost.list(Path::new("/d")).is_err());
        disk.sync_dir(Path::new("/")).unwrap();
        let kept = disk.after_power_failure(Loss::Everything);
        assert_eq!(kept.list(Path::new("/d")).unwrap(), ["f"]);
    }
}
