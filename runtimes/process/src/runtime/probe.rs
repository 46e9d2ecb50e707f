//! What the node permits, asked of the shim and of the control groups, in words for a person.

use pontoon_runtime::{Capabilities, Capability, Support};
use std::ffi::OsString;
use std::process::Stdio;

use super::watch;
use crate::cgroup::Cgroups;
use crate::plan::{Isolation, ProbeReport};

/// Runs the shim's probe.
pub(super) async fn ask(shim_command: &[OsString]) -> Result<ProbeReport, String> {
    let mut command = watch::shim_command(shim_command, "probe");
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!(
            "its probe ended with {} and answered unreadably ({error}) {complaint}",
            output.status
        )
    })
}

/// Which namespaces containers get.
pub(super) fn isolation(report: &ProbeReport) -> Isolation {
    let mount = report.mount_namespace.is_none();
    // A pid namespace needs a /proc of its own, hence mounts of its own.
    Isolation {
        pid: mount && report.pid_namespace.is_none(),
        mount,
        uts: report.uts_namespace.is_none(),
    }
}

/// All capabilities, present and absent.
pub(super) fn capabilities(report: &ProbeReport, cgroups: Option<&Cgroups>) -> Capabilities {
    let isolation = isolation(report);
    let namespace = |failure: &Option<String>, kind: &str, without: &str| match failure {
        None => Support::Yes(format!("a {kind} namespace per container")),
        Some(why) => Support::No(format!(
            "{without}: the agent may not make {kind} namespaces ({why}); run it as root"
        )),
    };
    let limit = |controller: &str, what: &str| {
        let failure = match cgroups {
            Some(cgroups) => cgroups.probe(controller),
            None => Some("control groups are turned off".to_owned()),
        };
        match failure {
            None => Support::Yes(format!("{controller} control groups")),
            Some(why) => Support::No(format!("{what} are not enforced: {why}")),
        }
    };
    let descendants = if isolation.pid {
        "the shim is init of a pid namespace"
    } else {
        "the shim is a subreaper"
    };
    let set_user = match &report.set_user {
        None => Support::Yes("setuid".to_owned()),
        Some(why) => Support::No(format!(
            "Containers run as the agent's own user: changing it is refused ({why})"
        )),
    };
    Capabilities::new(vec![
        (
            Capability::NetworkNamespace,
            namespace(
                &report.network_namespace,
                "network",
                "Pods share the node's network and ports",
            ),
        ),
        (
            Capability::MountNamespace,
            namespace(
                &report.mount_namespace,
                "mount",
                "Volumes appear at no path of their own and pods use the node's /etc/resolv.conf and /etc/hosts",
            ),
        ),
        (
            Capability::RootFilesystem,
            Support::No(
                "Programs of image host see the node's own file system, by design".to_owned(),
            ),
        ),
        (
            Capability::PidNamespace,
            match isolation.pid {
                true => Support::Yes("a pid namespace per container".to_owned()),
                false => namespace(
                    &report.pid_namespace,
                    "pid",
                    "Containers see the node's processes",
                ),
            },
        ),
        (
            Capability::UtsNamespace,
            namespace(
                &report.uts_namespace,
                "uts",
                "Containers see the node's host name",
            ),
        ),
        (Capability::MemoryLimit, limit("memory", "Memory limits")),
        (Capability::CpuLimit, limit("cpu", "Cpu limits")),
        (
            Capability::PidsLimit,
            limit("pids", "Limits on the number of processes"),
        ),
        (
            Capability::KillDescendants,
            Support::Yes(descendants.to_owned()),
        ),
        (Capability::RunAsUser, set_user),
        (
            Capability::Stats,
            Support::Yes("control groups or /proc".to_owned()),
        ),
    ])
}
