//! Processes and mounts that belong to a test, found without knowing who started them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its command line, words parted by spaces.
    pub command: String,
    /// Its control groups' paths below each hierarchy's root.
    pub control_groups: Vec<String>,
}

/// The processes that are in the network namespace `inode`, or name `directory` in their command line, or have a mount out of it, or
/// work in it. Zombies are left out: they hold nothing.
#[must_use]
pub fn processes_of(directory: &Path, inode: Option<u64>) -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let own = i32::try_from(std::process::id()).expect("a pid fits");
    pids.filter(|pid| *pid != own)
        .filter_map(|pid| look(pid, directory, inode))
        .collect()
}

fn look(pid: i32, directory: &Path, inode: Option<u64>) -> Option<Process> {
    use std::os::unix::fs::MetadataExt;
    let base = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(base.join("stat")).ok()?;
    if stat.rsplit_once(')')?.1.trim_start().starts_with('Z') {
        return None;
    }
    let command = fs::read(base.join("cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command)
        .replace('\0', " ")
        .trim()
        .to_owned();
    let text = directory.to_str()?;
    let name = directory.file_name()?.to_str()?;
    let in_namespace = || {
        inode.is_some()
            && fs::metadata(base.join("ns/net"))
                .map(|metadata| metadata.ino())
                .ok()
                == inode
    };
    // The fourth field is what is mounted. Where it is mounted would tell nothing: a pod's mount table begins as a copy of the machine's.
    let from_there = |line: &str| {
        line.split(' ')
            .nth(3)
            .is_some_and(|root| root.contains(name))
    };
    let mounts = || {
        fs::read_to_string(base.join("mountinfo"))
            .is_ok_and(|mounts| mounts.lines().any(from_there))
    };
    let works_there =
        || fs::read_link(base.join("cwd")).is_ok_and(|path| path.starts_with(directory));
    let ours = command.contains(text) || in_namespace() || works_there() || mounts();
    let groups = fs::read_to_string(base.join("cgroup")).unwrap_or_default();
    let control_groups = groups
        .lines()
        .filter_map(|line| line.rsplit_once(':').map(|(_, group)| group.to_owned()))
        .collect();
    ours.then_some(Process {
        pid,
        command,
        control_groups,
    })
}

/// Mount points below `directory` in this process' mount namespace, the last mounted first.
#[must_use]
pub fn mounts_below(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    let mut found: Vec<String> = points
        .filter(|point| Path::new(point).starts_with(directory))
        .map(str::to_owned)
        .collect();
    found.reverse();
    found
}

/// The directories of the control groups of ours that `processes` are in, deepest first.
#[must_use]
pub fn control_groups_of(processes: &[Process]) -> Vec<PathBuf> {
    let entries = fs::read_dir("/sys/fs/cgroup")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut hierarchies: Vec<PathBuf> = entries.unwrap_or_default();
    hierarchies.push("/sys/fs/cgroup".into());
    let groups = processes.iter().flat_map(|process| &process.control_groups);
    let ours: BTreeSet<&str> = groups
        .map(|group| group.trim_start_matches('/'))
        .filter(|group| group.contains("pontoon"))
        .collect();
    let steps = ours.iter().flat_map(|group| {
        Path::new(group)
            .ancestors()
            .filter(|path| path.to_string_lossy().contains("pontoon/"))
    });
    let roots: BTreeSet<PathBuf> = steps
        .flat_map(|group| {
            hierarchies
                .iter()
                .map(move |hierarchy| hierarchy.join(group))
        })
        .collect();
    // Groups of earlier attempts hold no process, and are the cluster's all the same.
    let paths: BTreeSet<PathBuf> = roots.iter().flat_map(|root| directories(root)).collect();
    paths
        .into_iter()
        .rev()
        .filter(|path| path.is_dir())
        .collect()
}

/// A directory and all below it.
fn directories(root: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(root).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let entries: Vec<PathBuf> = entries.unwrap_or_default();
    let below = entries
        .iter()
        .filter(|path| path.is_dir())
        .flat_map(|path| directories(path));
    below.chain([root.to_owned()]).collect()
}
