//! What a run stands on: a directory and network namespaces named after the process that runs it.
//!
//! A run that ends removes its own; a run that was killed is cleaned up by the next, which finds names of processes that are gone. Nothing
//! else on the machine is touched.

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the names of everything begin.
const PREFIX: &str = "pontoon-chaos-";

/// Where network namespaces have their names.
const NAMESPACES: &str = "/run/netns";

/// The directory and the namespaces of one run. Removed when dropped.
#[derive(Debug)]
pub struct Ground {
    directory: PathBuf,
    name: String,
}

impl Ground {
    /// Makes one below `parent`, after removing what earlier runs there left. `label` tells grounds of one process apart.
    ///
    /// # Errors
    /// When namespaces or directories cannot be made: that takes root and Debian's iproute2.
    pub fn new(parent: &Path, label: &str) -> Result<Self> {
        sweep(parent)?;
        let name = format!("{PREFIX}{}-{label}", std::process::id());
        let directory = parent.join(&name);
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(Self { directory, name })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a network namespace whose loopback is up; gives its name.
    ///
    /// # Errors
    /// When `ip` does not do it.
    pub fn namespace(&self, label: &str) -> Result<String> {
        let name = format!("{}-{label}", self.name);
        run(Command::new("ip").args(["netns", "add", &name]))?;
        run(Command::new("ip").args(["-n", &name, "link", "set", "lo", "up"]))?;
        Ok(name)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        remove(&self.name, &self.directory);
    }
}

/// The file of a namespace.
#[must_use]
pub fn namespace_file(name: &str) -> PathBuf {
    Path::new(NAMESPACES).join(name)
}

/// Runs a program that must succeed; gives what it wrote.
///
/// # Errors
/// With what it complained about.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Removes what processes that are gone have left: namespaces anywhere, directories below `parent`.
///
/// # Errors
/// When `parent` cannot be read.
pub fn sweep(parent: &Path) -> Result<()> {
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    for place in [Path::new(NAMESPACES), parent] {
        let Ok(entries) = fs::read_dir(place) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(owner) = owner(&name)
                && !Path::new(&format!("/proc/{owner}")).exists()
            {
                remove(&name, &parent.join(&name));
            }
        }
    }
    Ok(())
}

/// The process that something is named after.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    rest.split('-').next()?.parse().ok()
}

/// Ends the processes in the namespaces whose names begin with `name`, and removes those and `directory`.
fn remove(name: &str, directory: &Path) {
    let namespaces = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    for entry in namespaces {
        let own = entry.file_name().to_string_lossy().into_owned();
        if own != name && !own.starts_with(&format!("{name}-")) {
            continue;
        }
        end_processes_in(&entry.path());
        // What cannot be removed is found by the next sweep.
        let _ = Command::new("ip").args(["netns", "del", &own]).output();
    }
    for mount in mounts_below(directory) {
        let _ = umount2(&mount, MntFlags::MNT_DETACH);
    }
    let _ = fs::remove_dir_all(directory);
}

fn end_processes_in(namespace: &Path) {
    let Ok(inode) = fs::metadata(namespace).map(|metadata| metadata.ino()) else {
        return;
    };
    let myself = i32::try_from(std::process::id()).unwrap_or(0);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|text| text.parse::<i32>().ok())
        else {
            continue;
        };
        let own = fs::metadata(entry.path().join("ns/net")).map(|metadata| metadata.ino());
        if pid != myself && own.is_ok_and(|own| own == inode) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<PathBuf> = points
        .map(PathBuf::from)
        .filter(|point| point.starts_with(directory))
        .collect();
    below.reverse();
    below
}
