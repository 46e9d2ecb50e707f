//! The rules for a pod's spec as a whole, in the order in which Kubernetes reports them.

use super::{containers, placement, security, volumes};
use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::api::core::v1::{HostAlias, PodDNSConfig, PodSpec};

/// Finds what is wrong with a pod's spec, in a pod or in a template.
pub(in crate::kinds) fn validate(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    volumes::validate(spec, path, errors);
    containers::validate(spec, path, errors);
    one_of(
        spec.restart_policy.as_deref(),
        &["Always", "Never", "OnFailure"],
        &path.child("restartPolicy"),
        errors,
    );
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    one_of(
        spec.dns_policy.as_deref(),
        &policies,
        &path.child("dnsPolicy"),
        errors,
    );
    placement::node_selector(spec, path, errors);
    security::pod(spec, path, errors);
    let field = path.child("imagePullSecrets");
    for (index, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if secret.name.is_empty() {
            errors.push(FieldError::required(&field.index(index).child("name"), ""));
        }
    }
    if let Some(affinity) = &spec.affinity {
        placement::affinity(affinity, &path.child("affinity"), errors);
    }
    dns(
        spec.dns_config.as_ref(),
        spec.dns_policy.as_deref(),
        path,
        errors,
    );
    gates(spec, path, errors);
    let constraints = spec
        .topology_spread_constraints
        .as_deref()
        .unwrap_or_default();
    placement::spread(
        constraints,
        &path.child("topologySpreadConstraints"),
        errors,
    );
    security::host_users(spec, path, errors);
    names(spec, path, errors);
    numbers(spec, path, errors);
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    placement::tolerations(tolerations, &path.child("tolerations"), errors);
    host_aliases(
        spec.host_aliases.as_deref().unwrap_or_default(),
        path,
        errors,
    );
    if let Some(policy) = spec.preemption_policy.as_deref() {
        let known = ["Never", "PreemptLowerPriority"];
        one_of(
            Some(policy),
            &known,
            &path.child("preemptionPolicy"),
            errors,
        );
    }
}

fn one_of(text: Option<&str>, known: &[&str], field: &Path<'_>, errors: &mut Errors) {
    let text = text.unwrap_or("");
    if text.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !known.contains(&text) {
        errors.push(FieldError::not_supported(field, text, known));
    }
}

fn names(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    type Rule = fn(&str) -> Vec<String>;
    let rules: [(&str, Option<&String>, Rule); 6] = [
        (
            "serviceAccountName",
            spec.service_account_name.as_ref(),
            format::dns_subdomain,
        ),
        ("nodeName", spec.node_name.as_ref(), format::dns_subdomain),
        ("hostname", spec.hostname.as_ref(), format::dns_label),
        ("subdomain", spec.subdomain.as_ref(), format::dns_label),
        (
            "priorityClassName",
            spec.priority_class_name.as_ref(),
            format::dns_subdomain,
        ),
        (
            "runtimeClassName",
            spec.runtime_class_name.as_ref(),
            format::dns_subdomain,
        ),
    ];
    for (name, text, rule) in rules {
        if let Some(text) = text {
            validation::each(errors, &path.child(name), text, rule(text));
        }
    }
}

fn numbers(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(
            &path.child("activeDeadlineSeconds"),
            seconds,
            detail,
        ));
    }
    if let Some(seconds) = spec.termination_grace_period_seconds
        && seconds < 0
    {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            &path.child("terminationGracePeriodSeconds"),
            seconds,
            detail,
        ));
    }
}

/// Resolvers a pod may name: what the C library reads.
const NAMESERVERS: usize = 3;
/// Search domains a pod may name.
const SEARCHES: usize = 32;

fn dns(config: Option<&PodDNSConfig>, policy: Option<&str>, path: &Path<'_>, errors: &mut Errors) {
    let none = policy == Some("None");
    let path = path.child("dnsConfig");
    let Some(config) = config else {
        if none {
            errors.push(FieldError::required(
                &path,
                "must provide `dnsConfig` when `dnsPolicy` is None",
            ));
        }
        return;
    };
    let field = path.child("nameservers");
    let servers = config.nameservers.as_deref().unwrap_or_default();
    if none && servers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(&field, detail));
    }
    if servers.len() > NAMESERVERS {
        let detail = format!("must not have more than {NAMESERVERS} nameservers");
        errors.push(FieldError::invalid(&field, servers, detail));
    }
    for (index, server) in servers.iter().enumerate() {
        validation::each(
            errors,
            &field.index(index),
            server,
            format::ip_address(server),
        );
    }
    let field = path.child("searches");
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > SEARCHES {
        let detail = format!("must not have more than {SEARCHES} search paths");
        errors.push(FieldError::invalid(&field, searches, detail));
    }
    for (index, search) in searches.iter().enumerate() {
        let name = search.strip_suffix('.').unwrap_or(search);
        if !name.is_empty() {
            validation::each(
                errors,
                &field.index(index),
                search,
                format::dns_subdomain(&name.replace('_', "-")),
            );
        }
    }
    let field = path.child("options");
    for (index, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or("").is_empty() {
            errors.push(FieldError::required(
                &field.index(index),
                "must not be empty",
            ));
        }
    }
}

fn gates(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("readinessGates");
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let name = gate.condition_type.as_str();
        validation::each(
            errors,
            &field.index(index).child("conditionType"),
            name,
            format::qualified_name(name),
        );
    }
    let field = path.child("schedulingGates");
    let gates = spec.scheduling_gates.as_deref().unwrap_or_default();
    for (index, gate) in gates.iter().enumerate() {
        let path = field.index(index);
        validation::each(
            errors,
            &path,
            &gate.name,
            format::qualified_name(&gate.name),
        );
        if gates[..index].iter().any(|other| other.name == gate.name) {
            errors.push(FieldError::duplicate(&path, &gate.name));
        }
    }
}

fn host_aliases(aliases: &[HostAlias], path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("hostAliases");
    for (index, alias) in aliases.iter().enumerate() {
        let path = field.index(index);
        validation::each(
            errors,
            &path.child("ip"),
            &alias.ip,
            format::ip_address(&alias.ip),
        );
        let names = path.child("hostnames");
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            validation::each(
                errors,
                &names.index(index),
                name,
                format::dns_subdomain(name),
            );
        }
    }
}
