//! From a container of a pod to what a runtime is asked for. Pure but for the volumes' paths.

use crate::environment::{self, ConfigError, Facts};
use crate::volumes;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use pontoon_api::quantity::Quantity;
use pontoon_lifecycle::qos;
use pontoon_runtime::{ContainerSpec, PullPolicy, ResourceLimits, RunAs};
use std::path::{Path, PathBuf};

/// The hostname of a pod: its own, or its name, cut to what a kernel takes.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|s| s.hostname_override.clone().or_else(|| s.hostname.clone()));
    let name = own
        .or_else(|| pod.metadata.name.clone())
        .unwrap_or_default();
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// When to fetch: the container's policy, or Kubernetes' default for its image.
pub(crate) fn pull_policy(container: &Container) -> PullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    }
}

fn amount(
    requirements: Option<&ResourceRequirements>,
    limit: bool,
    name: &str,
) -> Option<Quantity> {
    let requirements = requirements?;
    let list = if limit {
        requirements.limits.as_ref()
    } else {
        requirements.requests.as_ref()
    };
    let quantity: Quantity = list?.get(name)?.0.parse().ok()?;
    (!quantity.is_zero()).then_some(quantity)
}

/// A container's bounds. A request that is not set is the limit.
pub(crate) fn limits(container: &Container) -> ResourceLimits {
    let requirements = container.resources.as_ref();
    let millis = |q: Quantity| u64::try_from(q.millis()).ok();
    let bytes = |q: Quantity| u64::try_from(q.units()).ok();
    let cpu_limit = amount(requirements, true, "cpu").and_then(millis);
    ResourceLimits {
        cpu_request_millis: amount(requirements, false, "cpu")
            .and_then(millis)
            .or(cpu_limit),
        cpu_limit_millis: cpu_limit,
        memory_limit_bytes: amount(requirements, true, "memory").and_then(bytes),
        pids_limit: None,
    }
}

/// The pod's bounds: sums over its containers, where each has one.
pub(crate) fn pod_limits(pod: &Pod) -> ResourceLimits {
    let spec = pod.spec.as_ref();
    let containers: Vec<&Container> = spec.iter().flat_map(|s| &s.containers).collect();
    let sidecars: Vec<&Container> = spec
        .iter()
        .flat_map(|s| s.init_containers.iter().flatten())
        .filter(|c| c.restart_policy.as_deref() == Some("Always"))
        .collect();
    let own: Vec<ResourceLimits> = containers.into_iter().chain(sidecars).map(limits).collect();
    let sum = |of: fn(&ResourceLimits) -> Option<u64>| -> Option<u64> {
        own.iter()
            .map(of)
            .try_fold(0_u64, |sum, one| Some(sum.saturating_add(one?)))
    };
    // Init containers run before the others and may be larger: a bound that they exceed would be wrong.
    let init = spec.is_some_and(|s| s.init_containers.iter().flatten().count() > 0);
    ResourceLimits {
        cpu_request_millis: sum(|l| Some(l.cpu_request_millis.unwrap_or(0))).filter(|n| *n > 0),
        cpu_limit_millis: sum(|l| l.cpu_limit_millis).filter(|_| !init),
        memory_limit_bytes: sum(|l| l.memory_limit_bytes).filter(|_| !init),
        pids_limit: None,
    }
}

/// Kubelet's choice of who goes first when memory runs out (`pkg/kubelet/qos/policy.go`).
pub(crate) fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: i64) -> i32 {
    match qos::class(pod).as_str() {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let requirements = container.resources.as_ref();
            let request = amount(requirements, false, "memory").map_or(0, |q| q.units());
            let share = i128::from(request) * 1000 / i128::from(memory_capacity.max(1));
            let score = 1000 - i32::try_from(share).unwrap_or(1000);
            score.clamp(3, 999)
        }
    }
}

fn id(value: i64, what: &str) -> Result<u32, ConfigError> {
    u32::try_from(value).map_err(|_| ConfigError {
        message: format!("{what} {value} is no user or group id"),
    })
}

/// The user: the container's security context over the pod's.
fn run_as(pod: &Pod, container: &Container) -> Result<Option<RunAs>, ConfigError> {
    let all = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = container.security_context.as_ref();
    let user = own
        .and_then(|c| c.run_as_user)
        .or(all.and_then(|c| c.run_as_user));
    let group = own
        .and_then(|c| c.run_as_group)
        .or(all.and_then(|c| c.run_as_group));
    let non_root = own
        .and_then(|c| c.run_as_non_root)
        .or(all.and_then(|c| c.run_as_non_root));
    if non_root == Some(true) && user == Some(0) {
        return Err(ConfigError {
            message: format!(
                "container's runAsUser breaks non-root policy (pod: \"{}\", container: {})",
                pod.metadata.name.as_deref().unwrap_or_default(),
                container.name
            ),
        });
    }
    let mut groups = Vec::new();
    let extra = all
        .into_iter()
        .flat_map(|c| c.supplemental_groups.iter().flatten());
    for group in extra.copied().chain(all.and_then(|c| c.fs_group)) {
        groups.push(id(group, "supplementary group")?);
    }
    let Some(user) = user else {
        return Ok(None);
    };
    Ok(Some(RunAs {
        uid: id(user, "runAsUser")?,
        gid: group.map(|group| id(group, "runAsGroup")).transpose()?,
        groups,
    }))
}

/// Where things of one attempt are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    /// `None` when the pod has no volumes on the node.
    pub(crate) volumes: Option<&'a Path>,
    pub(crate) logs: &'a Path,
}

/// The log file of one attempt.
pub(crate) fn log_path(logs: &Path, container: &str, attempt: u32) -> PathBuf {
    logs.join(container).join(format!("{attempt}.log"))
}

/// What a runtime is asked for.
///
/// # Errors
/// [`ConfigError`] when something the container needs is not there.
pub(crate) fn spec(
    facts: &Facts<'_>,
    container: &Container,
    attempt: u32,
    memory_capacity: i64,
    places: Places<'_>,
) -> Result<ContainerSpec, ConfigError> {
    let mut env = vec![("HOSTNAME".to_owned(), hostname(facts.pod))];
    env.extend(environment::build(facts, container)?);
    let expanded = |words: Option<&Vec<String>>| -> Vec<String> {
        let words = words.into_iter().flatten();
        words.map(|word| environment::expand(word, &env)).collect()
    };
    Ok(ContainerSpec {
        name: container.name.clone(),
        attempt,
        image: container.image.clone().unwrap_or_default(),
        command: expanded(container.command.as_ref()),
        args: expanded(container.args.as_ref()),
        working_dir: container
            .working_dir
            .as_ref()
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        mounts: match places.volumes {
            Some(volumes) => volumes::mounts(volumes, facts.pod, container, &env)?,
            None => Vec::new(),
        },
        limits: limits(container),
        oom_score_adj: oom_score_adj(facts.pod, container, memory_capacity),
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        log_path: log_path(places.logs, &container.name, attempt),
        run_as: run_as(facts.pod, container)?,
        env,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn limits_are_read_and_requests_default_to_them() {
        let pod = pod(json!({"containers": [
            {"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}},
            {"name": "b", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}}]}));
        let containers = &pod.spec.as_ref().unwrap().containers;
        let first = limits(&containers[0]);
        assert_eq!(
            (first.cpu_request_millis, first.cpu_limit_millis),
            (Some(500), Some(500))
        );
        assert_eq!(first.memory_limit_bytes, Some(64 << 20));
        let whole = pod_limits(&pod);
        assert_eq!(whole.cpu_request_millis, Some(1500));
        assert_eq!(whole.cpu_limit_millis, None);
        assert_eq!(whole.memory_limit_bytes, Some((64 << 20) + (1 << 30)));
        let score = oom_score_adj(&pod, &containers[0], 1 << 30);
        assert!((3..=999).contains(&score));
    }

    #[test]
    fn the_containers_security_context_stands_over_the_pods() {
        let pod = pod(
            json!({"securityContext": {"runAsUser": 1, "fsGroup": 7, "supplementalGroups": [8]},
            "containers": [{"name": "a", "securityContext": {"runAsUser": 2, "runAsGroup": 3}},
                {"name": "b", "securityContext": {"runAsNonRoot": true, "runAsUser": 0}}]}),
        );
        let containers = &pod.spec.as_ref().unwrap().containers;
        let user = run_as(&pod, &containers[0]).unwrap().unwrap();
        assert_eq!((user.uid, user.gid, user.groups), (2, Some(3), vec![8, 7]));
        assert!(
            run_as(&pod, &containers[1])
                .unwrap_err()
                .message
                .contains("breaks non-root policy")
        );
    }

    #[test]
    fn a_hostname_is_the_pods_own_or_its_name() {
        assert_eq!(hostname(&pod(json!({"containers": []}))), "web");
        assert_eq!(
            hostname(&pod(json!({"containers": [], "hostname": "db-0"}))),
            "db-0"
        );
    }
}
