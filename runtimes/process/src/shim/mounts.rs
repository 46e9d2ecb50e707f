//! A private view of the node's file system: volumes at their paths, the pod's resolv.conf and hosts, a /proc of the
//! pid namespace.
//!
//! A volume's path may not exist on the node. It is then made without touching the node: the nearest existing
//! directory is covered by a memory file system in which every existing entry is mounted again, and which has room
//! for the missing name. Files below existing entries stay the node's own, readable and writable as before; a name made
//! directly in such a covered directory lives as long as the container. An overlay would be shorter to write, but would
//! turn every write below it into one that is lost, and hide mounts. For `/` the cover becomes the root.
//!
//! Invariant: nothing here changes a mount or a file outside the private namespace, except files inside volumes.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pontoon_runtime::Mount;
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use crate::layout::ContainerDirectory;
use crate::limits::{SHOWN_BYTES, SHOWN_ENTRIES};
use crate::plan::{LaunchPlan, StartFailure};
use crate::syscall;

/// Makes the namespace and everything in it.
pub(super) fn prepare(
    directory: &ContainerDirectory,
    plan: &LaunchPlan,
) -> Result<(), StartFailure> {
    let failed =
        |what: &'static str| move |e: nix::Error| StartFailure::preparation(what, e.desc());
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("mount namespace"))?;
    // Slave, not private: what the node unmounts later is let go here too.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SLAVE,
        None::<&str>,
    )
    .map_err(failed("mount propagation"))?;
    // Every source is copied before the first target hides anything.
    let volumes: Vec<(&Mount, Source)> = plan
        .spec
        .mounts
        .iter()
        .map(|volume| Ok((volume, Source::open(volume)?)))
        .collect::<Result<_, _>>()?;
    let files = [
        (&plan.resolv_conf, "/etc/resolv.conf"),
        (&plan.hosts, "/etc/hosts"),
    ];
    let files: Vec<(Source, &Path)> = files
        .into_iter()
        .filter_map(|(source, target)| source.as_ref().map(|source| (source, Path::new(target))))
        .map(|(source, target)| Ok((Source::open_path(source, false)?, target)))
        .collect::<Result<_, _>>()?;
    let mut view = View {
        stage: directory.stage(),
        made: Vec::new(),
        volumes: Vec::new(),
    };
    for (source, target) in files {
        view.show(source, target)?;
    }
    for (volume, source) in volumes {
        let target = view.show(source, &volume.container_path)?;
        view.volumes.push(target);
    }
    if plan.isolation.pid {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(failed("/proc"))?;
    }
    Ok(())
}

/// Something to be shown: a copy of its mounts that is attached nowhere yet.
struct Source {
    tree: OwnedFd,
    is_directory: bool,
}

impl Source {
    fn open(volume: &Mount) -> Result<Self, StartFailure> {
        Self::open_path(&volume.host_path, volume.read_only)
    }

    fn open_path(path: &Path, read_only: bool) -> Result<Self, StartFailure> {
        let failed = |e: &dyn Display| {
            StartFailure::preparation(format!("volume source {}", path.display()), e)
        };
        let is_directory = fs::metadata(path).map_err(|e| failed(&e))?.is_dir();
        let tree = syscall::clone_tree(path).map_err(|e| failed(&e.desc()))?;
        if read_only {
            syscall::make_read_only(tree.as_fd()).map_err(|e| failed(&e.desc()))?;
        }
        Ok(Self { tree, is_directory })
    }
}

/// The namespace while it is being made. All paths are free of symbolic links.
struct View {
    stage: PathBuf,
    /// Directories that exist in this namespace only, so that names may be made in them.
    made: Vec<PathBuf>,
    /// Volumes already shown, in which names may be made as well: they belong to the pod.
    volumes: Vec<PathBuf>,
}

impl View {
    /// Shows a source at a path and returns where that is once symbolic links are followed.
    fn show(&mut self, source: Source, path: &Path) -> Result<PathBuf, StartFailure> {
        let failed =
            |e: &dyn Display| StartFailure::preparation(format!("volume at {}", path.display()), e);
        let target = match path.canonicalize() {
            Ok(existing) => existing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self
                .make(path, source.is_directory)
                .map_err(|e| failed(&e))?,
            Err(error) => return Err(failed(&error)),
        };
        let target_is_directory = fs::metadata(&target).map_err(|e| failed(&e))?.is_dir();
        match (source.is_directory, target_is_directory) {
            (true, false) => return Err(failed(&"a directory cannot be shown over a file")),
            (false, true) => return Err(failed(&"a file cannot be shown over a directory")),
            _ => {}
        }
        syscall::attach_tree(source.tree.as_fd(), &target).map_err(|e| failed(&e.desc()))?;
        Ok(target)
    }

    /// Makes a path that does not exist, in this namespace only.
    fn make(&mut self, path: &Path, directory: bool) -> io::Result<PathBuf> {
        let (base, missing) = split_existing(path)?;
        let in_volume = self.volumes.iter().any(|volume| base.starts_with(volume));
        if !in_volume && !self.made.contains(&base) {
            self.cover(&base)?;
            self.made.push(base.clone());
        }
        let mut target = base;
        for (position, name) in missing.iter().enumerate() {
            target.push(name);
            if directory || position + 1 < missing.len() {
                fs::create_dir(&target)?;
                self.made.push(target.clone());
            } else {
                File::create_new(&target)?;
            }
        }
        Ok(target)
    }

    /// Covers a directory by a memory file system with the same entries.
    fn cover(&self, base: &Path) -> io::Result<()> {
        let metadata = fs::metadata(base)?;
        let _many = ManyDescriptors::allow();
        let entries = Shown::all(base)?;
        fs::create_dir_all(&self.stage)?;
        let options = format!("mode={:o},size={SHOWN_BYTES}", metadata.mode() & 0o7777);
        mount(
            Some("tmpfs"),
            &self.stage,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options.as_str()),
        )?;
        // An owner without a number in this user namespace stays what the kernel shows for it.
        let _ = chown(&self.stage, Some(metadata.uid()), Some(metadata.gid()));
        for entry in entries {
            entry.attach(&self.stage)?;
        }
        if base == Path::new("/") {
            std::env::set_current_dir(&self.stage)?;
            // pivot_root(2): with both paths "." the old root ends on top of the new one and is let go from there.
            nix::unistd::pivot_root(".", ".")?;
            umount2(".", MntFlags::MNT_DETACH)?;
            std::env::set_current_dir("/")?;
        } else {
            mount(
                Some(&self.stage),
                base,
                None::<&str>,
                MsFlags::MS_MOVE,
                None::<&str>,
            )?;
        }
        Ok(())
    }
}

/// Symbolic links followed on the way to a path before it counts as a loop: the kernel's own limit.
const LINKS: usize = 40;

/// The longest existing part of a path, without symbolic links, and the names that are missing from it. A link that
/// points to nothing, such as /etc/resolv.conf where its service does not run, is followed to what it should point to.
fn split_existing(path: &Path) -> io::Result<(PathBuf, Vec<PathBuf>)> {
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(invalid(
            "the path must be absolute and without ..".to_owned(),
        ));
    }
    let mut missing = Vec::new();
    let mut existing = path.to_owned();
    let mut links = 0;
    loop {
        match existing.canonicalize() {
            Ok(base) => {
                missing.reverse();
                return Ok((base, missing));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(error) => {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
                    return Err(error);
                };
                if let Ok(target) = existing.read_link() {
                    links += 1;
                    if links > LINKS {
                        return Err(invalid(format!(
                            "{} leads through too many links",
                            path.display()
                        )));
                    }
                    existing = parent.join(target);
                } else {
                    missing.push(PathBuf::from(name));
                    existing = parent.to_owned();
                }
            }
        }
    }
}

/// Lets this process hold a copy of every entry at once; the former limit, which the program shall have, comes back
/// when this is dropped.
struct ManyDescriptors(Option<(u64, u64)>);

impl ManyDescriptors {
    fn allow() -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return Self(None);
        };
        let wanted = hard.min(soft.max(2 * SHOWN_ENTRIES as u64));
        Self(
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
                .ok()
                .map(|()| (soft, hard)),
        )
    }
}

impl Drop for ManyDescriptors {
    fn drop(&mut self) {
        if let Some((soft, hard)) = self.0 {
            // Lowering is always permitted.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
        }
    }
}

/// An entry of a covered directory.
struct Shown {
    name: PathBuf,
    kind: ShownKind,
}

enum ShownKind {
    Directory(OwnedFd),
    File(OwnedFd),
    Link(PathBuf),
}

impl Shown {
    /// Copies every entry before the cover is mounted, so that no copy contains the cover.
    fn all(base: &Path) -> io::Result<Vec<Self>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(base)? {
            let entry = entry?;
            if entries.len() == SHOWN_ENTRIES {
                let message = format!(
                    "{} has more than {SHOWN_ENTRIES} entries to show again",
                    base.display()
                );
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
            }
            let (name, kind) = (PathBuf::from(entry.file_name()), entry.file_type()?);
            let kind = if kind.is_symlink() {
                ShownKind::Link(fs::read_link(entry.path())?)
            } else {
                match syscall::clone_tree(&entry.path()) {
                    Ok(tree) if kind.is_dir() => ShownKind::Directory(tree),
                    Ok(tree) => ShownKind::File(tree),
                    // It went away, or may not be reached anyway.
                    Err(nix::Error::ENOENT | nix::Error::EACCES) => continue,
                    Err(errno) => return Err(errno.into()),
                }
            };
            entries.push(Self { name, kind });
        }
        Ok(entries)
    }

    fn attach(self, stage: &Path) -> io::Result<()> {
        let target = stage.join(self.name);
        match self.kind {
            ShownKind::Link(to) => symlink(to, target),
            ShownKind::Directory(tree) => {
                fs::create_dir(&target)?;
                Ok(syscall::attach_tree(tree.as_fd(), &target)?)
            }
            ShownKind::File(tree) => {
                File::create_new(&target)?;
                Ok(syscall::attach_tree(tree.as_fd(), &target)?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_split_where_it_stops_existing() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        symlink(&base, base.join("link")).unwrap();
        symlink("nowhere", base.join("dangling")).unwrap();
        let names = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            split_existing(&base.join("link/a/b")).unwrap(),
            (base.clone(), names(&["a", "b"]))
        );
        assert_eq!(split_existing(&base).unwrap(), (base.clone(), Vec::new()));
        symlink("loop", base.join("loop")).unwrap();
        assert_eq!(
            split_existing(&base.join("dangling/a")).unwrap(),
            (base.clone(), names(&["nowhere", "a"]))
        );
        assert!(split_existing(&base.join("loop/a")).is_err());
        assert!(split_existing(&base.join("a/../b")).is_err());
        assert!(split_existing(Path::new("a")).is_err());
    }
}
