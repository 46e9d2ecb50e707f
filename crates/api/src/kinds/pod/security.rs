//! Security contexts, and what the host's namespaces exclude.

use crate::validation::{Errors, FieldError, Path};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, PodSpec, SeccompProfile, SecurityContext,
};

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

/// User and group numbers Kubernetes accepts.
fn identity(id: Option<i64>, field: &Path<'_>, errors: &mut Errors) {
    if id.is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
        errors.push(FieldError::invalid(
            field,
            id,
            "must be between 0 and 2147483647, inclusive",
        ));
    }
}

/// Finds what is wrong with a pod's security context and its use of the host's namespaces.
pub(super) fn pod(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("securityContext");
    if let Some(context) = &spec.security_context {
        identity(context.fs_group, &field.child("fsGroup"), errors);
        identity(context.run_as_user, &field.child("runAsUser"), errors);
        identity(context.run_as_group, &field.child("runAsGroup"), errors);
        let groups = field.child("supplementalGroups");
        for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
            identity(Some(*group), &groups.index(index), errors);
        }
        if let Some(policy) = &context.fs_group_change_policy {
            choice(
                policy,
                &["Always", "OnRootMismatch"],
                &field.child("fsGroupChangePolicy"),
                errors,
            );
        }
        seccomp(
            context.seccomp_profile.as_ref(),
            &field.child("seccompProfile"),
            errors,
        );
        app_armor(
            context.app_armor_profile.as_ref(),
            &field.child("appArmorProfile"),
            errors,
        );
        let sysctls = field.child("sysctls");
        for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
            if sysctl.name.is_empty() {
                errors.push(FieldError::required(
                    &sysctls.index(index).child("name"),
                    "",
                ));
            }
        }
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(
            &path.child("shareProcessNamespace"),
            true,
            detail,
        ));
    }
}

/// A pod with users of its own cannot share the host's other namespaces.
pub(super) fn host_users(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    if spec.host_users != Some(false) {
        return;
    }
    for (name, set) in [
        ("hostNetwork", spec.host_network),
        ("hostIPC", spec.host_ipc),
        ("hostPID", spec.host_pid),
    ] {
        if set == Some(true) {
            errors.push(FieldError::forbidden(
                &path.child(name),
                "when `hostUsers` is false",
            ));
        }
    }
}

fn choice(text: &str, known: &[&str], field: &Path<'_>, errors: &mut Errors) {
    if !known.contains(&text) {
        errors.push(FieldError::not_supported(field, text, known));
    }
}

fn seccomp(profile: Option<&SeccompProfile>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(profile) = profile {
        self::profile(
            &profile.type_,
            profile.localhost_profile.as_deref(),
            "seccomp",
            path,
            errors,
        );
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(profile) = profile {
        self::profile(
            &profile.type_,
            profile.localhost_profile.as_deref(),
            "AppArmor",
            path,
            errors,
        );
    }
}

fn profile(kind: &str, local: Option<&str>, what: &str, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("localhostProfile");
    match (kind, local) {
        ("", _) => errors.push(FieldError::required(
            &path.child("type"),
            &format!("type is required when {what}Profile is set"),
        )),
        ("Localhost", None | Some("")) => {
            errors.push(FieldError::required(
                &field,
                &format!("must be set when {what} type is Localhost"),
            ));
        }
        ("Localhost", Some(local)) => {
            if local.starts_with('/') || local.split('/').any(|part| part == "..") {
                errors.push(FieldError::invalid(
                    &field,
                    local,
                    "must be a relative path",
                ));
            }
        }
        (_, Some(local)) => {
            let detail = format!("can only be set when {what} type is Localhost");
            errors.push(FieldError::invalid(&field, local, detail));
        }
        (kind, None) => choice(kind, PROFILES, &path.child("type"), errors),
    }
}

/// Finds what is wrong with a container's security context.
pub(super) fn container(container: &Container, path: &Path<'_>, errors: &mut Errors) {
    let Some(context) = &container.security_context else {
        return;
    };
    let path = path.child("securityContext");
    identity(context.run_as_user, &path.child("runAsUser"), errors);
    identity(context.run_as_group, &path.child("runAsGroup"), errors);
    if let Some(mount) = &context.proc_mount {
        choice(
            mount,
            &["Default", "Unmasked"],
            &path.child("procMount"),
            errors,
        );
    }
    seccomp(
        context.seccomp_profile.as_ref(),
        &path.child("seccompProfile"),
        errors,
    );
    app_armor(
        context.app_armor_profile.as_ref(),
        &path.child("appArmorProfile"),
        errors,
    );
    if context.allow_privilege_escalation == Some(false) {
        contradiction(context, &path, errors);
    }
}

fn contradiction(context: &SecurityContext, path: &Path<'_>, errors: &mut Errors) {
    if context.privileged == Some(true) {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.push(FieldError::invalid(path, context, detail));
    }
    let added = context
        .capabilities
        .iter()
        .filter_map(|capabilities| capabilities.add.as_ref())
        .flatten();
    if added.into_iter().any(|name| name == "CAP_SYS_ADMIN") {
        let detail =
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.push(FieldError::invalid(path, context, detail));
    }
}
