//! Control groups: versions 1, 2 and the hybrid of both, written by hand because it is little.
//!
//! Each controller lives in exactly one hierarchy, of either version. A container's group is
//! `PARENT/SANDBOX/NAME-ATTEMPT` in every hierarchy that has something to enforce or to count. What a node does not
//! permit comes back as words; only the caller knows whether somebody asked for it.

use pontoon_runtime::ResourceLimits;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

mod limits;

use crate::plan::CgroupPlan;

/// Controllers of use here. `cpuacct` counts on version 1 what `cpu` counts on version 2.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];

/// How often making a group is tried again when a parent vanishes meanwhile.
const MAKE_ATTEMPTS: usize = 8;

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    controllers: BTreeSet<String>,
    unified: bool,
}

/// The node's hierarchies and our place in them.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    parent: PathBuf,
}

/// One group, in all hierarchies at once.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    directories: Vec<(Hierarchy, PathBuf)>,
}

impl Cgroups {
    /// Finds what is mounted; `parent` is relative to each hierarchy's root.
    pub(crate) fn detect(parent: &Path) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let controllers_of =
            |mount: &Path| fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        let parent = parent.strip_prefix("/").unwrap_or(parent).to_owned();
        Ok(Self {
            hierarchies: parse_mounts(&mounts, controllers_of),
            parent,
        })
    }

    /// Why a controller cannot be used, in words; `None` when it can. Tries by making and removing a group.
    pub(crate) fn probe(&self, controller: &str) -> Option<String> {
        let Some(hierarchy) = self
            .hierarchies
            .iter()
            .find(|h| h.controllers.contains(controller))
        else {
            return Some(format!(
                "no mounted cgroup hierarchy has the {controller} controller"
            ));
        };
        static TRIAL: AtomicU64 = AtomicU64::new(0);
        let number = TRIAL.fetch_add(1, Ordering::Relaxed);
        let trial = self
            .parent
            .join(format!("probe-{}-{number}", std::process::id()));
        let directory = hierarchy.mount.join(&trial);
        let outcome = self.make_in(hierarchy, &trial).and_then(|()| {
            // On version 2 a controller that is not delegated leaves its files out.
            let interface = if hierarchy.unified {
                format!("{controller}.max")
            } else {
                "cgroup.procs".to_owned()
            };
            fs::metadata(directory.join(interface)).map(drop)
        });
        // Removal fails only where making did.
        let _ = fs::remove_dir(&directory);
        self.remove_parent(hierarchy);
        outcome.err().map(|error| {
            format!(
                "cannot make a group in {}: {error}",
                hierarchy.mount.display()
            )
        })
    }

    /// Whether groups can be made in at least one hierarchy.
    pub(crate) fn is_usable(&self) -> bool {
        CONTROLLERS
            .iter()
            .any(|controller| self.probe(controller).is_none())
    }

    /// The group of a sandbox (`None`) or of a container in it, whether it exists or not.
    pub(crate) fn group(&self, sandbox: &str, container: Option<&str>) -> Group {
        let mut path = self.parent.join(sandbox);
        path.extend(container);
        let directories = self
            .hierarchies
            .iter()
            .map(|h| (h.clone(), h.mount.join(&path)))
            .collect();
        Group { directories }
    }

    /// Makes the group of a sandbox or container and writes its limits. Returns what could not be enforced.
    pub(crate) fn create(
        &self,
        sandbox: &str,
        container: Option<&str>,
        bounds: &ResourceLimits,
    ) -> (Group, Vec<String>) {
        let mut path = self.parent.join(sandbox);
        path.extend(container);
        let mut group = Group {
            directories: Vec::new(),
        };
        let mut failures = Vec::new();
        for hierarchy in &self.hierarchies {
            match self.make_in(hierarchy, &path) {
                Ok(()) => group
                    .directories
                    .push((hierarchy.clone(), hierarchy.mount.join(&path))),
                Err(error) => failures.push(format!(
                    "{}: {error}",
                    hierarchy.mount.join(&path).display()
                )),
            }
        }
        let warnings = limits::write(&group, bounds, &failures);
        (group, warnings)
    }

    fn make_in(&self, hierarchy: &Hierarchy, path: &Path) -> io::Result<()> {
        // A neighbour that removes the empty parent at this moment makes it vanish between two steps.
        let vanished =
            |made: &io::Result<()>| matches!(made, Err(e) if e.kind() == io::ErrorKind::NotFound);
        let mut made = make_path(hierarchy, path);
        for _ in 0..MAKE_ATTEMPTS {
            if !vanished(&made) {
                break;
            }
            made = make_path(hierarchy, path);
        }
        made
    }

    /// Removes our place in the hierarchies when nothing is left in it.
    pub(crate) fn remove_empty_parents(&self) {
        self.hierarchies
            .iter()
            .for_each(|hierarchy| self.remove_parent(hierarchy));
    }

    fn remove_parent(&self, hierarchy: &Hierarchy) {
        let mut path = self.parent.clone();
        while path.components().next().is_some() {
            // The kernel refuses while there is a group below, which is the answer sought.
            if fs::remove_dir(hierarchy.mount.join(&path)).is_err() || !path.pop() {
                return;
            }
        }
    }
}

/// Makes a path step by step. On version 2 the controllers are passed down at each; one that cannot be passed on is
/// missing below, and said so when a limit is written.
fn make_path(hierarchy: &Hierarchy, path: &Path) -> io::Result<()> {
    let mut directory = hierarchy.mount.clone();
    for part in path.components() {
        if hierarchy.unified {
            for controller in &hierarchy.controllers {
                let _ = fs::write(
                    directory.join("cgroup.subtree_control"),
                    format!("+{controller}"),
                );
            }
        }
        directory.push(part);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl Group {
    /// What a shim needs to join it.
    pub(crate) fn plan(&self) -> CgroupPlan {
        let procs = self
            .directories
            .iter()
            .map(|(_, directory)| directory.join("cgroup.procs"))
            .collect();
        let oom = self.directory_of("memory").map(|(hierarchy, directory)| {
            directory.join(if hierarchy.unified {
                "memory.events"
            } else {
                "memory.oom_control"
            })
        });
        CgroupPlan { procs, oom }
    }

    fn directory_of(&self, controller: &str) -> Option<(&Hierarchy, &Path)> {
        let has =
            |(hierarchy, _): &&(Hierarchy, PathBuf)| hierarchy.controllers.contains(controller);
        self.directories
            .iter()
            .find(has)
            .map(|(hierarchy, directory)| (hierarchy, directory.as_path()))
    }

    /// Kills every process in it. With a unified hierarchy of Linux 5.14 the kernel does it in one step; otherwise the
    /// members are killed until none is left.
    pub(crate) fn kill(&self) {
        for (_, directory) in &self.directories {
            if fs::write(directory.join("cgroup.kill"), "1").is_ok() {
                return;
            }
        }
        let Some((_, directory)) = self.directories.first() else {
            return;
        };
        for _ in 0..crate::limits::KILL_ROUNDS {
            let members = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            if members.is_empty() {
                return;
            }
            for member in members.lines().filter_map(|line| line.parse().ok()) {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(member),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }

    /// Removes it; false while the kernel still counts somebody in it.
    pub(crate) fn remove(&self) -> bool {
        self.directories
            .iter()
            .all(|(_, directory)| match fs::remove_dir(directory) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            })
    }

    /// Processor time in nanoseconds, memory working set in bytes, processes; each where it is counted.
    pub(crate) fn usage(&self) -> (Option<u64>, Option<u64>, Option<u64>) {
        (
            self.cpu_nanos(),
            self.working_set(),
            self.number("pids", "pids.current", "pids.current"),
        )
    }

    fn cpu_nanos(&self) -> Option<u64> {
        if let Some(nanos) = self.number("cpuacct", "cpuacct.usage", "cpuacct.usage") {
            return Some(nanos);
        }
        let (_, unified) = self
            .directories
            .iter()
            .find(|(hierarchy, _)| hierarchy.unified)?;
        Some(1000 * field(&unified.join("cpu.stat"), "usage_usec")?)
    }

    /// Usage without the file cache that the kernel can drop at once, as kubelet counts it.
    fn working_set(&self) -> Option<u64> {
        let used = self.number("memory", "memory.usage_in_bytes", "memory.current")?;
        let (hierarchy, directory) = self.directory_of("memory")?;
        let cache = if hierarchy.unified {
            "inactive_file"
        } else {
            "total_inactive_file"
        };
        Some(used.saturating_sub(field(&directory.join("memory.stat"), cache).unwrap_or(0)))
    }

    fn number(&self, controller: &str, v1: &str, v2: &str) -> Option<u64> {
        let (hierarchy, directory) = self.directory_of(controller)?;
        fs::read_to_string(directory.join(if hierarchy.unified { v2 } else { v1 }))
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

/// How often the kernel killed in the group whose counter this is.
pub(crate) fn oom_kills(counter: &Path) -> u64 {
    field(counter, "oom_kill").unwrap_or(0)
}

/// A number from a file of `NAME NUMBER` lines.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// Reads mountinfo (proc_pid_mountinfo(5)).
fn parse_mounts(mountinfo: &str, controllers_of: impl Fn(&Path) -> String) -> Vec<Hierarchy> {
    let known = |names: &mut dyn Iterator<Item = &str>| -> BTreeSet<String> {
        names
            .filter(|name| CONTROLLERS.contains(name))
            .map(str::to_owned)
            .collect()
    };
    let mut hierarchies: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((place, kind)) = line.split_once(" - ") else {
            continue;
        };
        let kind: Vec<&str> = kind.split(' ').collect();
        let Some(mount) = place.split(' ').nth(4).map(PathBuf::from) else {
            continue;
        };
        let hierarchy = match kind.as_slice() {
            ["cgroup2", ..] => {
                let controllers = known(&mut controllers_of(&mount).split_whitespace());
                Hierarchy {
                    mount,
                    controllers,
                    unified: true,
                }
            }
            ["cgroup", _, options] => {
                let controllers = known(&mut options.split(','));
                Hierarchy {
                    mount,
                    controllers,
                    unified: false,
                }
            }
            _ => continue,
        };
        let repeated = hierarchies
            .iter()
            .any(|h| h.unified == hierarchy.unified && h.controllers == hierarchy.controllers);
        // An empty unified hierarchy still kills in one step, so it is kept.
        if (hierarchy.unified || !hierarchy.controllers.is_empty()) && !repeated {
            hierarchies.push(hierarchy);
        }
    }
    hierarchies
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_node_has_controllers_where_they_are_mounted() {
        let found = parse_mounts(HYBRID, |_| "hugetlb\n".to_owned());
        let mounts: Vec<_> = found
            .iter()
            .map(|h| (h.mount.to_str().unwrap(), h.unified))
            .collect();
        assert_eq!(
            mounts,
            [
                ("/sys/fs/cgroup/cpu,cpuacct", false),
                ("/sys/fs/cgroup/memory", false),
                ("/sys/fs/cgroup/unified", true)
            ]
        );
        assert!(found[0].controllers.contains("cpuacct") && found[2].controllers.is_empty());
    }

    #[test]
    fn a_unified_node_has_its_controllers_in_one_place() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = parse_mounts(mounts, |_| "cpuset cpu io memory pids\n".to_owned());
        assert_eq!(found.len(), 1);
        assert!(
            ["cpu", "memory", "pids"]
                .iter()
                .all(|name| found[0].controllers.contains(*name))
        );
    }
}
