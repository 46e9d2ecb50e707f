//! Probes and lifecycle hooks.

use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Finds what is wrong with a container's probes and hooks. `grace` is the pod's grace period, in seconds.
pub(super) fn validate(container: &Container, grace: i64, path: &Path<'_>, errors: &mut Errors) {
    if let Some(lifecycle) = &container.lifecycle {
        let path = path.child("lifecycle");
        for (name, hook) in [
            ("postStart", &lifecycle.post_start),
            ("preStop", &lifecycle.pre_stop),
        ] {
            if let Some(hook) = hook {
                self::hook(hook, grace, &path.child(name), errors);
            }
        }
    }
    for (name, probe) in [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ] {
        let Some(probe) = probe else { continue };
        let path = path.child(name);
        self::probe(probe, &path, errors);
        if name != "readinessProbe"
            && probe
                .success_threshold
                .is_some_and(|threshold| threshold != 1)
        {
            errors.push(FieldError::invalid(
                &path.child("successThreshold"),
                probe.success_threshold,
                "must be 1",
            ));
        }
        if name == "readinessProbe" && probe.termination_grace_period_seconds.is_some() {
            errors.push(FieldError::invalid(
                &path.child("terminationGracePeriodSeconds"),
                probe.termination_grace_period_seconds,
                "must not be set for readinessProbes",
            ));
        }
    }
}

fn probe(probe: &Probe, path: &Path<'_>, errors: &mut Errors) {
    let handlers = [
        ("exec", probe.exec.is_some()),
        ("httpGet", probe.http_get.is_some()),
        ("tcpSocket", probe.tcp_socket.is_some()),
        ("grpc", probe.grpc.is_some()),
    ];
    one_handler(&handlers, path, errors);
    actions(
        probe.exec.as_ref(),
        probe.http_get.as_ref(),
        probe.tcp_socket.as_ref(),
        path,
        errors,
    );
    if let Some(GRPCAction { port, .. }) = &probe.grpc {
        port_number(i64::from(*port), &path.child("grpc").child("port"), errors);
    }
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        validation::non_negative(errors, &path.child(name), value.unwrap_or(0).into());
    }
    if probe
        .termination_grace_period_seconds
        .is_some_and(|seconds| seconds <= 0)
    {
        errors.push(FieldError::invalid(
            &path.child("terminationGracePeriodSeconds"),
            probe.termination_grace_period_seconds,
            "must be greater than 0",
        ));
    }
}

fn hook(hook: &LifecycleHandler, grace: i64, path: &Path<'_>, errors: &mut Errors) {
    let handlers = [
        ("exec", hook.exec.is_some()),
        ("httpGet", hook.http_get.is_some()),
        ("tcpSocket", hook.tcp_socket.is_some()),
        ("sleep", hook.sleep.is_some()),
    ];
    one_handler(&handlers, path, errors);
    actions(
        hook.exec.as_ref(),
        hook.http_get.as_ref(),
        hook.tcp_socket.as_ref(),
        path,
        errors,
    );
    if let Some(sleep) = &hook.sleep
        && !(0..=grace).contains(&sleep.seconds)
    {
        let detail =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(FieldError::invalid(
            &path.child("sleep"),
            sleep.seconds,
            detail,
        ));
    }
}

fn one_handler(handlers: &[(&str, bool)], path: &Path<'_>, errors: &mut Errors) {
    let mut set = handlers.iter().filter(|(_, set)| *set);
    if set.next().is_none() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for (name, _) in set {
        errors.push(FieldError::forbidden(
            &path.child(name),
            "may not specify more than 1 handler type",
        ));
    }
}

fn actions(
    exec: Option<&ExecAction>,
    http: Option<&HTTPGetAction>,
    tcp: Option<&TCPSocketAction>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if exec.is_some_and(|exec| exec.command.as_ref().is_none_or(Vec::is_empty)) {
        errors.push(FieldError::required(
            &path.child("exec").child("command"),
            "",
        ));
    }
    if let Some(http) = http {
        let path = path.child("httpGet");
        if http.path.as_deref().unwrap_or("").is_empty() {
            errors.push(FieldError::required(&path.child("path"), ""));
        }
        port(&http.port, &path.child("port"), errors);
        let scheme = http.scheme.as_deref().unwrap_or("");
        if !["HTTP", "HTTPS"].contains(&scheme) {
            errors.push(FieldError::not_supported(
                &path.child("scheme"),
                scheme,
                &["HTTP", "HTTPS"],
            ));
        }
        let headers = path.child("httpHeaders");
        for (index, header) in http.http_headers.iter().flatten().enumerate() {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if header.name.is_empty() || !header.name.bytes().all(good) {
                errors.push(FieldError::invalid(
                    &headers.index(index).child("name"),
                    &header.name,
                    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
                     used for validation is '[-A-Za-z0-9]+')",
                ));
            }
        }
    }
    if let Some(tcp) = tcp {
        port(&tcp.port, &path.child("tcpSocket").child("port"), errors);
    }
}

fn port(port: &IntOrString, field: &Path<'_>, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => port_number(i64::from(*number), field, errors),
        IntOrString::String(name) => validation::each(errors, field, name, format::port_name(name)),
    }
}

fn port_number(number: i64, field: &Path<'_>, errors: &mut Errors) {
    for problem in format::port_number(number) {
        errors.push(FieldError::invalid(field, number, problem));
    }
}
