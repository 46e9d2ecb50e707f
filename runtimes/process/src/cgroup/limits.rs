//! Limits as the interface files of both versions want them.

use pontoon_runtime::ResourceLimits;
use std::fs;
use std::io;
use std::path::Path;

use super::Group;

/// Length of the period over which a cpu quota is counted, in microseconds: the kernel's default.
const CPU_PERIOD_MICROS: u64 = 100_000;

/// Smallest cpu quota the kernel takes, in microseconds.
const CPU_QUOTA_MIN_MICROS: u64 = 1_000;

/// Shares for thousandths of a core: kubelet's MilliCPUToShares.
fn shares(millis: u64) -> u64 {
    (millis * 1024 / 1000).clamp(2, 262_144)
}

/// Weight for shares: kubelet's CPUSharesToCPUWeight (KEP-2254).
fn weight(shares: u64) -> u64 {
    1 + (shares - 2) * 9999 / 262_142
}

fn quota_micros(millis: u64) -> u64 {
    (millis * CPU_PERIOD_MICROS / 1000).max(CPU_QUOTA_MIN_MICROS)
}

/// Writes every limit asked for; returns a sentence for each that could not be.
pub(super) fn write(group: &Group, bounds: &ResourceLimits, failures: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut enforce =
        |what: String, controller: &str, write: &dyn Fn(bool, &Path) -> io::Result<()>| {
            let outcome = match group.directory_of(controller) {
                Some((hierarchy, directory)) => {
                    write(hierarchy.unified, directory).map_err(|error| error.to_string())
                }
                None if failures.is_empty() => {
                    Err(format!("the node offers no {controller} control group"))
                }
                None => Err(failures.join("; ")),
            };
            if let Err(why) = outcome {
                warnings.push(format!("{what} is not enforced: {why}"));
            }
        };
    if let Some(bytes) = bounds.memory_limit_bytes {
        enforce(
            format!("memory limit of {bytes} bytes"),
            "memory",
            &|unified, directory| memory(unified, directory, bytes),
        );
    }
    if let Some(millis) = bounds.cpu_limit_millis {
        enforce(
            format!("cpu limit of {millis}m"),
            "cpu",
            &|unified, directory| {
                let quota = quota_micros(millis);
                if unified {
                    return fs::write(
                        directory.join("cpu.max"),
                        format!("{quota} {CPU_PERIOD_MICROS}"),
                    );
                }
                fs::write(
                    directory.join("cpu.cfs_period_us"),
                    CPU_PERIOD_MICROS.to_string(),
                )?;
                fs::write(directory.join("cpu.cfs_quota_us"), quota.to_string())
            },
        );
    }
    if let Some(millis) = bounds.cpu_request_millis {
        enforce(
            format!("cpu request of {millis}m"),
            "cpu",
            &|unified, directory| {
                let shares = shares(millis);
                if unified {
                    fs::write(directory.join("cpu.weight"), weight(shares).to_string())
                } else {
                    fs::write(directory.join("cpu.shares"), shares.to_string())
                }
            },
        );
    }
    if let Some(most) = bounds.pids_limit {
        enforce(
            format!("limit of {most} processes"),
            "pids",
            &|_, directory| fs::write(directory.join("pids.max"), most.to_string()),
        );
    }
    warnings
}

/// Memory, and no swap beyond it: a limit that swaps is no limit.
fn memory(unified: bool, directory: &Path, bytes: u64) -> io::Result<()> {
    let if_present = |name: &str, value: String| match fs::write(directory.join(name), value) {
        // Swap accounting may be compiled out or off.
        Err(error)
            if error.kind() != io::ErrorKind::NotFound
                && error.kind() != io::ErrorKind::PermissionDenied =>
        {
            Err(error)
        }
        _ => Ok(()),
    };
    if unified {
        fs::write(directory.join("memory.max"), bytes.to_string())?;
        if_present("memory.swap.max", "0".to_owned())?;
        // The whole container dies, not one process of it: Kubernetes' behaviour on version 2.
        return if_present("memory.oom.group", "1".to_owned());
    }
    fs::write(directory.join("memory.limit_in_bytes"), bytes.to_string())?;
    if_present("memory.memsw.limit_in_bytes", bytes.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cgroup::Hierarchy;

    fn group(root: &Path, unified: bool) -> Group {
        let controllers = ["cpu", "memory", "pids"]
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        Group {
            directories: vec![(
                Hierarchy {
                    mount: root.to_owned(),
                    controllers,
                    unified,
                },
                root.to_owned(),
            )],
        }
    }

    const BOUNDS: ResourceLimits = ResourceLimits {
        cpu_request_millis: Some(500),
        cpu_limit_millis: Some(1500),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(100),
    };

    #[test]
    fn both_versions_get_their_files() {
        for (unified, wanted) in [
            (
                true,
                vec![
                    ("cpu.max", "150000 100000"),
                    ("cpu.weight", "20"),
                    ("memory.max", "67108864"),
                    ("pids.max", "100"),
                ],
            ),
            (
                false,
                vec![
                    ("cpu.cfs_quota_us", "150000"),
                    ("cpu.shares", "512"),
                    ("memory.limit_in_bytes", "67108864"),
                ],
            ),
        ] {
            let directory = tempfile::tempdir().unwrap();
            assert_eq!(
                write(&group(directory.path(), unified), &BOUNDS, &[]),
                Vec::<String>::new()
            );
            for (file, value) in wanted {
                assert_eq!(
                    fs::read_to_string(directory.path().join(file)).unwrap(),
                    value,
                    "{file}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_enforced_is_said() {
        let nowhere = Group {
            directories: Vec::new(),
        };
        let warnings = write(
            &nowhere,
            &BOUNDS,
            &["/sys/fs/cgroup/x: Permission denied".to_owned()],
        );
        assert_eq!(warnings.len(), 4);
        assert!(
            warnings[0].contains("67108864 bytes is not enforced")
                && warnings[0].contains("Permission denied")
        );
        assert_eq!(
            write(&nowhere, &ResourceLimits::UNLIMITED, &[]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn extremes_stay_in_the_kernels_range() {
        assert_eq!(
            (shares(0), shares(1), shares(u64::MAX / 2048)),
            (2, 2, 262_144)
        );
        assert_eq!((weight(2), weight(262_144)), (1, 10_000));
        assert_eq!(quota_micros(1), CPU_QUOTA_MIN_MICROS);
    }
}
