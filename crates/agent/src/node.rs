//! The Node object: what this machine is, what it can hold, and whether it is well.

use crate::context::Context;
use crate::limits::{DISK_FREE_PERCENT, MEMORY_FREE_BYTES, PIDS_FREE_PERCENT};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeCondition, NodeRuntimeHandler, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pontoon_api::quantity::Quantity;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What the node keeps for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Thousandths of a core.
    pub cpu_millis: i64,
    /// Bytes.
    pub memory_bytes: i64,
}

/// What the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_millis: i64,
    /// Bytes; of the agent's own cgroup when that is limited.
    pub memory_bytes: i64,
    /// Bytes of the file system that holds the agent's directory.
    pub disk_bytes: i64,
    /// Pods.
    pub pods: usize,
    /// What the node keeps.
    pub reserve: Reserve,
}

impl Capacity {
    /// Measures this machine. Blocks for a moment.
    #[must_use]
    pub fn measure(directory: &Path, pods: usize, reserve: Reserve) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let total = memory_total();
        let memory = cgroup_memory_limit().map_or(total, |limit| limit.min(total));
        Self {
            cpu_millis: i64::try_from(cores).unwrap_or(1).saturating_mul(1000),
            memory_bytes: i64::try_from(memory).unwrap_or(i64::MAX),
            disk_bytes: i64::try_from(disk(directory).0).unwrap_or(i64::MAX),
            pods,
            reserve,
        }
    }

    pub(crate) fn allocatable_cpu_millis(&self) -> i64 {
        (self.cpu_millis - self.reserve.cpu_millis).max(0)
    }

    pub(crate) fn allocatable_memory_bytes(&self) -> i64 {
        (self.memory_bytes - self.reserve.memory_bytes).max(0)
    }

    fn list(&self, cpu_millis: i64, memory_bytes: i64) -> BTreeMap<String, ApiQuantity> {
        let kib = |bytes: i64| Quantity::from_bytes(bytes / 1024 * 1024);
        let pods = i64::try_from(self.pods).unwrap_or(i64::MAX);
        let entries = [
            ("cpu", Quantity::from_millis(cpu_millis)),
            ("memory", kib(memory_bytes)),
            ("ephemeral-storage", kib(self.disk_bytes)),
            ("pods", Quantity::from_units(pods)),
        ];
        entries
            .into_iter()
            .map(|(name, quantity)| (name.to_owned(), ApiQuantity(quantity.to_string())))
            .collect()
    }
}

fn meminfo(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn memory_total() -> u64 {
    meminfo("MemTotal:").unwrap_or(0)
}

/// The memory limit of the agent's own cgroup, in either version; a number near the largest means none.
fn cgroup_memory_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let candidates = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            _ if controllers.split(',').any(|c| c == "memory") => {
                Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    candidates
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        .filter(|limit| *limit < 1 << 60)
        .min()
}

/// Size and free bytes of the file system that holds `path`.
fn disk(path: &Path) -> (u64, u64) {
    rustix::fs::statvfs(path).map_or((0, 0), |stat| {
        (
            stat.f_blocks.saturating_mul(stat.f_frsize),
            stat.f_bavail.saturating_mul(stat.f_frsize),
        )
    })
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn os_image() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(
            || "Linux".to_owned(),
            |name| name.trim_matches('"').to_owned(),
        )
}

/// Go's names of architectures, which Kubernetes uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The node as it registers itself. `labels` come on top of the well-known ones.
pub(crate) async fn object(
    context: &Context,
    labels: &BTreeMap<String, String>,
    conditions: Vec<NodeCondition>,
) -> Node {
    let name = context.node.as_str().to_owned();
    let mut all: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    all.extend(labels.clone());
    let settings = context.settings.read().clone();
    let pod_cidr = settings.map(|s| s.pod_cidr).filter(|cidr| !cidr.is_empty());
    Node {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(all),
            ..ObjectMeta::default()
        },
        spec: pod_cidr.map(|cidr| NodeSpec {
            pod_cidr: Some(cidr.clone()),
            pod_cidrs: Some(vec![cidr]),
            ..NodeSpec::default()
        }),
        status: Some(status(context, conditions).await),
    }
}

async fn status(context: &Context, conditions: Vec<NodeCondition>) -> NodeStatus {
    let capacity = &context.capacity;
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.to_owned(),
        address,
    };
    let ips = context.host_ips().into_iter();
    let mut addresses: Vec<NodeAddress> = ips
        .map(|ip| address("InternalIP", ip.to_string()))
        .collect();
    addresses.push(address("Hostname", context.node.as_str().to_owned()));
    let handlers = context.runtimes.keys().map(|name| NodeRuntimeHandler {
        name: Some(name.clone()),
        features: None,
    });
    NodeStatus {
        capacity: Some(capacity.list(capacity.cpu_millis, capacity.memory_bytes)),
        allocatable: Some(capacity.list(
            capacity.allocatable_cpu_millis(),
            capacity.allocatable_memory_bytes(),
        )),
        addresses: Some(addresses),
        conditions: Some(conditions),
        node_info: Some(info(context).await),
        runtime_handlers: Some(handlers.collect()),
        ..NodeStatus::default()
    }
}

async fn info(context: &Context) -> NodeSystemInfo {
    let version = context.default_runtime().version().await;
    let runtime = version.map_or_else(
        |_| format!("{}://unknown", context.default_handler),
        |version| format!("{}://{}", version.name, version.version),
    );
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: line_of("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: runtime,
        kernel_version: line_of("/proc/sys/kernel/osrelease"),
        kube_proxy_version: String::new(),
        kubelet_version: format!("v1.36.0-pontoon.{}", env!("CARGO_PKG_VERSION")),
        machine_id: line_of("/etc/machine-id"),
        operating_system: "linux".to_owned(),
        os_image: os_image(),
        swap: None,
        system_uuid: line_of("/etc/machine-id"),
    }
}

/// What the node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Health {
    ready: Result<(), String>,
    memory: bool,
    disk: bool,
    pids: bool,
}

async fn health(context: &Context) -> Health {
    let runtime = context.default_runtime();
    let ready = match runtime.version().await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("container runtime {}: {error}", runtime.handler())),
    };
    let (size, free) = disk(&context.directory);
    let pid_max: u64 = line_of("/proc/sys/kernel/pid_max").parse().unwrap_or(0);
    let running = line_of("/proc/loadavg");
    let running = running
        .split_whitespace()
        .nth(3)
        .and_then(|t| t.split('/').nth(1)?.parse().ok());
    Health {
        ready,
        memory: meminfo("MemAvailable:").is_some_and(|free| free < MEMORY_FREE_BYTES),
        disk: size > 0 && free < size / 100 * DISK_FREE_PERCENT,
        pids: pid_max > 0
            && running.is_some_and(|running: u64| {
                pid_max.saturating_sub(running) < pid_max / 100 * PIDS_FREE_PERCENT
            }),
    }
}

/// The node's conditions with kubelet's reasons and messages; a transition time changes with the status only.
pub(crate) async fn conditions(
    context: &Context,
    before: &[NodeCondition],
    now: Timestamp,
) -> Vec<NodeCondition> {
    let health = health(context).await;
    let pressure = |type_: &str, pressed: bool, yes: (&str, &str), no: (&str, &str)| {
        let (reason, message) = if pressed { yes } else { no };
        condition(before, now, type_, pressed, reason, message)
    };
    let ready = match &health.ready {
        Ok(()) => condition(
            before,
            now,
            "Ready",
            true,
            "KubeletReady",
            "kubelet is posting ready status",
        ),
        Err(message) => condition(before, now, "Ready", false, "KubeletNotReady", message),
    };
    vec![
        pressure(
            "MemoryPressure",
            health.memory,
            (
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available",
            ),
            (
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
        ),
        pressure(
            "DiskPressure",
            health.disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            health.pids,
            (
                "KubeletHasInsufficientPID",
                "kubelet has insufficient PID available",
            ),
            (
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
        ),
        ready,
    ]
}

fn condition(
    before: &[NodeCondition],
    now: Timestamp,
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
) -> NodeCondition {
    let status = if holds { "True" } else { "False" };
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let since = before
        .iter()
        .find(|old| old.type_ == type_ && old.status == status)
        .and_then(|old| old.last_transition_time.clone());
    NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    }
}

/// Whether two sets of conditions say the same; heartbeat times do not count.
pub(crate) fn same(a: &[NodeCondition], b: &[NodeCondition]) -> bool {
    let told = |c: &NodeCondition| {
        (
            c.type_.clone(),
            c.status.clone(),
            c.reason.clone(),
            c.message.clone(),
        )
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| told(a) == told(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cpu_memory_and_disk() {
        let reserve = Reserve {
            cpu_millis: 100,
            memory_bytes: 1 << 20,
        };
        let capacity = Capacity::measure(Path::new("/"), 110, reserve);
        assert!(capacity.cpu_millis >= 1000 && capacity.memory_bytes > 1 << 20);
        assert!(capacity.disk_bytes > 0);
        assert_eq!(capacity.allocatable_cpu_millis(), capacity.cpu_millis - 100);
        let list = capacity.list(1500, 1 << 30);
        assert_eq!(list["cpu"].0, "1500m");
        assert_eq!(list["memory"].0, "1Gi");
    }

    #[test]
    fn a_transition_time_changes_with_the_status_only() {
        let first = condition(&[], Timestamp::UNIX_EPOCH, "Ready", true, "a", "b");
        let later = Timestamp::from_second(60).unwrap_or_default();
        let second = condition(std::slice::from_ref(&first), later, "Ready", true, "a", "b");
        assert_eq!(second.last_transition_time, first.last_transition_time);
        assert!(same(&[first], std::slice::from_ref(&second)));
        let third = condition(&[second], later, "Ready", false, "a", "b");
        assert_eq!(third.last_transition_time, Some(Time(later)));
    }
}
