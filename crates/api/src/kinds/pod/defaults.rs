//! What Kubernetes fills into pods and pod templates (`pkg/apis/core/v1/defaults.go`). Idempotent.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, LifecycleHandler, ObjectFieldSelector, Pod, PodSpec,
    PodTemplateSpec, Probe, ResourceFieldSelector, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// `rw-r--r--`, the mode of files in volumes.
const FILE_MODE: i32 = 0o644;

/// Defaults of a pod: those of its spec, and those that templates are spared.
pub(in crate::kinds) fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    spec.enable_service_links.get_or_insert(true);
    for container in spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
    {
        requests_from_limits(container);
    }
}

/// Defaults of the template in a workload.
pub(in crate::kinds) fn template(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    pod_spec(template.spec.get_or_insert_default());
}

fn pod_spec(spec: &mut PodSpec) {
    set(&mut spec.dns_policy, "ClusterFirst");
    set(&mut spec.restart_policy, "Always");
    set(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_default();
    service_account(spec);
    let host_network = spec.host_network == Some(true);
    for container in spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
    {
        self::container(container, host_network);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        self::volume(volume);
    }
}

/// The deprecated `serviceAccount` always mirrors `serviceAccountName`.
fn service_account(spec: &mut PodSpec) {
    let name = spec
        .service_account_name
        .take()
        .or_else(|| spec.service_account.take());
    spec.service_account.clone_from(&name);
    spec.service_account_name = name;
}

fn set(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or("").is_empty() {
        *field = Some(value.to_owned());
    }
}

fn container(container: &mut Container, host_network: bool) {
    set(
        &mut container.termination_message_path,
        "/dev/termination-log",
    );
    set(&mut container.termination_message_policy, "File");
    let image = container.image.as_deref().unwrap_or("");
    set(&mut container.image_pull_policy, pull_policy(image));
    container.resources.get_or_insert_default();
    for port in container.ports.iter_mut().flatten() {
        self::port(port, host_network);
    }
    let probes = [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ];
    for probe in probes.into_iter().flatten() {
        self::probe(probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop]
            .into_iter()
            .flatten()
        {
            self::handler(handler);
        }
    }
    for variable in container.env.iter_mut().flatten() {
        self::variable(variable);
    }
}

/// An image without a tag, or with the tag `latest`, may change under its name and is always pulled.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn port(port: &mut ContainerPort, host_network: bool) {
    set(&mut port.protocol, "TCP");
    if host_network && port.host_port.unwrap_or(0) == 0 {
        port.host_port = Some(port.container_port);
    }
}

fn probe(probe: &mut Probe) {
    for (field, value) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if field.unwrap_or(0) == 0 {
            *field = Some(value);
        }
    }
    if let Some(http) = &mut probe.http_get {
        set(&mut http.path, "/");
        set(&mut http.scheme, "HTTP");
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn handler(handler: &mut LifecycleHandler) {
    if let Some(http) = &mut handler.http_get {
        set(&mut http.path, "/");
        set(&mut http.scheme, "HTTP");
    }
}

fn variable(variable: &mut EnvVar) {
    if let Some(source) = &mut variable.value_from {
        if let Some(field) = &mut source.field_ref {
            field_selector(field);
        }
        if let Some(resource) = &mut source.resource_field_ref {
            resource_selector(resource);
        }
    }
}

fn field_selector(field: &mut ObjectFieldSelector) {
    set(&mut field.api_version, "v1");
}

fn resource_selector(resource: &mut ResourceFieldSelector) {
    resource
        .divisor
        .get_or_insert_with(|| Quantity("0".to_owned()));
}

fn volume(volume: &mut Volume) {
    if !super::volumes::has_source(volume) {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        for file in source.items.iter_mut().flatten() {
            file.field_ref.iter_mut().for_each(field_selector);
            file.resource_field_ref
                .iter_mut()
                .for_each(resource_selector);
        }
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(FILE_MODE);
        for projection in source.sources.iter_mut().flatten() {
            if let Some(token) = &mut projection.service_account_token {
                token.expiration_seconds.get_or_insert(3600);
            }
            for file in projection
                .downward_api
                .iter_mut()
                .filter_map(|source| source.items.as_mut())
                .flatten()
            {
                file.field_ref.iter_mut().for_each(field_selector);
                file.resource_field_ref
                    .iter_mut()
                    .for_each(resource_selector);
            }
        }
    }
}

/// A limit without a request asks for as much as it allows.
fn requests_from_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else {
        return;
    };
    let Some(limits) = resources
        .limits
        .as_ref()
        .filter(|limits| !limits.is_empty())
    else {
        return;
    };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        if !requests.contains_key(name) {
            requests.insert(name.clone(), limit.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn an_image_that_may_change_under_its_name_is_always_pulled() {
        for (image, policy) in [
            ("app", "Always"),
            ("app:latest", "Always"),
            ("host:5000/app", "Always"),
            ("app:1", "IfNotPresent"),
            ("host:5000/app:1", "IfNotPresent"),
            ("app@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
