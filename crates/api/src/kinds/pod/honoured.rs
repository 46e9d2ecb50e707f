//! The fields of pods that Pontoon accepts and does not act on: their author is told, by name.
//!
//! One line per field: when Pontoon learns to honour it, the line goes.

use super::volumes;
use crate::kinds::typed::without_effect;
use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SecurityContext};

type Set<T> = fn(&T) -> bool;

fn list<T>(field: Option<&Vec<T>>) -> bool {
    field.is_some_and(|items| !items.is_empty())
}

const POD: &[(&str, Set<PodSpec>)] = &[
    ("hostIPC", |spec| spec.host_ipc == Some(true)),
    ("hostPID", |spec| spec.host_pid == Some(true)),
    ("hostUsers", |spec| spec.host_users == Some(false)),
    ("hostnameOverride", |spec| spec.hostname_override.is_some()),
    ("imagePullSecrets", |spec| {
        list(spec.image_pull_secrets.as_ref())
    }),
    ("overhead", |spec| {
        spec.overhead
            .as_ref()
            .is_some_and(|overhead| !overhead.is_empty())
    }),
    ("priorityClassName", |spec| {
        spec.priority_class_name.is_some()
    }),
    ("resourceClaims", |spec| list(spec.resource_claims.as_ref())),
    ("resources", |spec| spec.resources.is_some()),
    ("schedulingGroup", |spec| spec.scheduling_group.is_some()),
    ("setHostnameAsFQDN", |spec| {
        spec.set_hostname_as_fqdn == Some(true)
    }),
    ("shareProcessNamespace", |spec| {
        spec.share_process_namespace == Some(true)
    }),
    ("topologySpreadConstraints", |spec| {
        list(spec.topology_spread_constraints.as_ref())
    }),
];

const POD_SECURITY: &[(&str, Set<PodSecurityContext>)] = &[
    ("appArmorProfile", |context| {
        context.app_armor_profile.is_some()
    }),
    ("fsGroup", |context| context.fs_group.is_some()),
    ("runAsGroup", |context| context.run_as_group.is_some()),
    ("runAsNonRoot", |context| context.run_as_non_root.is_some()),
    ("runAsUser", |context| context.run_as_user.is_some()),
    ("seLinuxOptions", |context| {
        context.se_linux_options.is_some()
    }),
    ("seccompProfile", |context| {
        context.seccomp_profile.is_some()
    }),
    ("supplementalGroups", |context| {
        list(context.supplemental_groups.as_ref())
    }),
    ("sysctls", |context| list(context.sysctls.as_ref())),
    ("windowsOptions", |context| {
        context.windows_options.is_some()
    }),
];

const CONTAINER: &[(&str, Set<Container>)] = &[
    ("lifecycle.postStart", |container| {
        container
            .lifecycle
            .as_ref()
            .is_some_and(|hooks| hooks.post_start.is_some())
    }),
    ("lifecycle.preStop", |container| {
        container
            .lifecycle
            .as_ref()
            .is_some_and(|hooks| hooks.pre_stop.is_some())
    }),
    ("lifecycle.stopSignal", |container| {
        container
            .lifecycle
            .as_ref()
            .is_some_and(|hooks| hooks.stop_signal.is_some())
    }),
    ("livenessProbe.grpc", |container| {
        container
            .liveness_probe
            .as_ref()
            .is_some_and(|probe| probe.grpc.is_some())
    }),
    ("readinessProbe.grpc", |container| {
        container
            .readiness_probe
            .as_ref()
            .is_some_and(|probe| probe.grpc.is_some())
    }),
    ("resizePolicy", |container| {
        list(container.resize_policy.as_ref())
    }),
    ("resources.claims", |container| {
        container
            .resources
            .as_ref()
            .is_some_and(|resources| list(resources.claims.as_ref()))
    }),
    ("restartPolicyRules", |container| {
        list(container.restart_policy_rules.as_ref())
    }),
    ("startupProbe.grpc", |container| {
        container
            .startup_probe
            .as_ref()
            .is_some_and(|probe| probe.grpc.is_some())
    }),
    ("volumeDevices", |container| {
        list(container.volume_devices.as_ref())
    }),
];

const SECURITY: &[(&str, Set<SecurityContext>)] = &[
    ("allowPrivilegeEscalation", |context| {
        context.allow_privilege_escalation.is_some()
    }),
    ("appArmorProfile", |context| {
        context.app_armor_profile.is_some()
    }),
    ("capabilities", |context| context.capabilities.is_some()),
    ("privileged", |context| context.privileged == Some(true)),
    ("procMount", |context| {
        context
            .proc_mount
            .as_deref()
            .is_some_and(|mount| mount != "Default")
    }),
    ("readOnlyRootFilesystem", |context| {
        context.read_only_root_filesystem == Some(true)
    }),
    ("runAsGroup", |context| context.run_as_group.is_some()),
    ("runAsNonRoot", |context| {
        context.run_as_non_root == Some(true)
    }),
    ("runAsUser", |context| context.run_as_user.is_some()),
    ("seLinuxOptions", |context| {
        context.se_linux_options.is_some()
    }),
    ("seccompProfile", |context| {
        context.seccomp_profile.is_some()
    }),
    ("windowsOptions", |context| {
        context.windows_options.is_some()
    }),
];

/// The volume types that are honoured.
const VOLUMES: &[&str] = &[
    "configMap",
    "downwardAPI",
    "emptyDir",
    "hostPath",
    "projected",
    "secret",
];

/// What the author of a pod or template should be told. `path` is that of the spec.
pub(in crate::kinds) fn warnings(spec: &PodSpec, path: &str) -> Vec<String> {
    let mut ignored: Vec<String> = named(POD, spec)
        .map(|name| format!("{path}.{name}"))
        .collect();
    if let Some(context) = &spec.security_context {
        ignored.extend(
            named(POD_SECURITY, context).map(|name| format!("{path}.securityContext.{name}")),
        );
    }
    let groups = [
        ("containers", Some(&spec.containers)),
        ("initContainers", spec.init_containers.as_ref()),
    ];
    for (group, containers) in groups {
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let path = format!("{path}.{group}[{index}]");
            ignored.extend(named(CONTAINER, container).map(|name| format!("{path}.{name}")));
            if let Some(context) = &container.security_context {
                ignored.extend(
                    named(SECURITY, context).map(|name| format!("{path}.securityContext.{name}")),
                );
            }
        }
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let unknown = volumes::sources(volume)
            .into_iter()
            .filter(|name| !VOLUMES.contains(name));
        ignored.extend(unknown.map(|name| format!("{path}.volumes[{index}].{name}")));
    }
    let fields: Vec<(&str, bool)> = ignored.iter().map(|field| (field.as_str(), true)).collect();
    without_effect(&fields)
}

fn named<'a, T>(
    table: &'a [(&'static str, Set<T>)],
    value: &'a T,
) -> impl Iterator<Item = &'static str> + 'a {
    table
        .iter()
        .filter(|(_, set)| set(value))
        .map(|(name, _)| *name)
}
