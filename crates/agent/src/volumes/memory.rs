//! Volumes in memory: a tmpfs at the volume's directory, in the mount namespace that the agent is in.
//!
//! A mount outlives an agent that is killed; the next one finds it by the kernel's list of mounts. It goes with the volume.

use rustix::fs::FsWord;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The kernel's magic number of tmpfs (`linux/magic.h`).
const TMPFS_MAGIC: FsWord = 0x0102_1994;

/// Mounts a tmpfs over a directory unless there is one. Of at most `size` bytes, otherwise of the kernel's default: half of memory.
///
/// # Errors
/// What the kernel says; EPERM where mounting is not permitted.
pub(super) fn ensure(path: &Path, size: Option<u64>) -> io::Result<()> {
    if is_tmpfs_of_its_own(path)? {
        return Ok(());
    }
    let mut options = "mode=777".to_owned();
    if let Some(size) = size {
        options.push_str(&format!(",size={size}"));
    }
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?)
}

/// Whether the directory is the root of a tmpfs. The disk below it may be one itself, so the device tells.
fn is_tmpfs_of_its_own(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let kind = rustix::fs::statfs(path)?.f_type;
    let Some(parent) = path.parent() else {
        return Ok(false);
    };
    let own = fs::metadata(path)?.dev() != fs::metadata(parent)?.dev();
    Ok(own && kind == TMPFS_MAGIC)
}

/// Unmounts everything below a directory. Programs that still use it keep it until they end.
///
/// # Errors
/// What the kernel says.
pub(super) fn release(directory: &Path) -> io::Result<()> {
    for mounted in mounts_below(directory)?.into_iter().rev() {
        unmount(&mounted, UnmountFlags::DETACH)?;
    }
    Ok(())
}

fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let Ok(directory) = directory.canonicalize() else {
        return Ok(Vec::new());
    };
    let listed = fs::read_to_string("/proc/self/mountinfo")?;
    // proc_pid_mountinfo(5): the fifth field is the mount point, with spaces and the like as octal numbers.
    let points = listed.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points
        .map(unescaped)
        .filter(|point| point.starts_with(&directory))
        .collect())
}

fn unescaped(text: &str) -> PathBuf {
    let plain = text
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\");
    PathBuf::from(plain)
}
