//! Volumes and the mounts that use them.

use super::env;
use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, PodSpec, ProjectedVolumeSource, Volume,
    VolumeProjection,
};
use std::collections::BTreeSet;

/// Each volume type: the name of its field, and whether it is set.
pub(super) fn sources(volume: &Volume) -> Vec<&'static str> {
    let all = [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        (
            "awsElasticBlockStore",
            volume.aws_elastic_block_store.is_some(),
        ),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        (
            "persistentVolumeClaim",
            volume.persistent_volume_claim.is_some(),
        ),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephFS", volume.cephfs.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        (
            "photonPersistentDisk",
            volume.photon_persistent_disk.is_some(),
        ),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("projected", volume.projected.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ];
    all.into_iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| name)
        .collect()
}

pub(super) fn has_source(volume: &Volume) -> bool {
    !sources(volume).is_empty()
}

/// Finds what is wrong with a pod's volumes.
pub(super) fn validate(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("volumes");
    let mut names = BTreeSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = field.index(index);
        let name = path.child("name");
        if volume.name.is_empty() {
            errors.push(FieldError::required(&name, ""));
        } else {
            validation::each(errors, &name, &volume.name, format::dns_label(&volume.name));
        }
        if !names.insert(volume.name.as_str()) {
            errors.push(FieldError::duplicate(&name, &volume.name));
        }
        for more in sources(volume).iter().skip(1) {
            errors.push(FieldError::forbidden(
                &path.child(more),
                "may not specify more than 1 volume type",
            ));
        }
        source(volume, &path, errors);
    }
}

fn source(volume: &Volume, path: &Path<'_>, errors: &mut Errors) {
    if let Some(source) = &volume.empty_dir
        && let Some(limit) = &source.size_limit
        && super::resources::amount(limit).is_negative()
    {
        let path = path.child("emptyDir");
        let detail = "SizeLimit field must be a valid resource quantity";
        errors.push(FieldError::forbidden(&path.child("sizeLimit"), detail));
    }
    if let Some(source) = &volume.host_path {
        let path = path.child("hostPath");
        host_path(
            &source.path,
            source.type_.as_deref().unwrap_or(""),
            &path,
            errors,
        );
    }
    if let Some(source) = &volume.secret {
        let path = path.child("secret");
        if source.secret_name.as_deref().unwrap_or("").is_empty() {
            errors.push(FieldError::required(&path.child("secretName"), ""));
        }
        mode(source.default_mode, &path.child("defaultMode"), errors);
        items(source.items.as_deref(), &path, errors);
    }
    if let Some(source) = &volume.config_map {
        let path = path.child("configMap");
        if source.name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        mode(source.default_mode, &path.child("defaultMode"), errors);
        items(source.items.as_deref(), &path, errors);
    }
    if let Some(source) = &volume.downward_api {
        let path = path.child("downwardAPI");
        mode(source.default_mode, &path.child("defaultMode"), errors);
        // Kubernetes leaves the index out of these paths.
        for file in source.items.iter().flatten() {
            downward_file(file, &path, errors);
        }
    }
    if let Some(source) = &volume.projected {
        projected(source, &path.child("projected"), errors);
    }
    if let Some(source) = &volume.persistent_volume_claim
        && source.claim_name.is_empty()
    {
        errors.push(FieldError::required(
            &path.child("persistentVolumeClaim").child("claimName"),
            "",
        ));
    }
}

/// What a host path may be asked to be.
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

fn host_path(text: &str, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("path");
    if text.is_empty() {
        errors.push(FieldError::required(&field, ""));
        return;
    }
    no_backsteps(text, &field, errors);
    if !HOST_PATH_TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(
            &path.child("type"),
            kind,
            HOST_PATH_TYPES,
        ));
    }
}

fn no_backsteps(text: &str, field: &Path<'_>, errors: &mut Errors) {
    if text.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field, text, "must not contain '..'"));
    }
}

/// A path that stays below where it starts.
fn descending(text: &str, field: &Path<'_>, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.push(FieldError::invalid(field, text, "must be a relative path"));
    }
    no_backsteps(text, field, errors);
}

fn file_path(text: &str, field: &Path<'_>, errors: &mut Errors) {
    if text.is_empty() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    descending(text, field, errors);
    if text.starts_with("..") && text != ".." && !text.starts_with("../") {
        errors.push(FieldError::invalid(field, text, "must not start with '..'"));
    }
}

fn mode(mode: Option<i32>, field: &Path<'_>, errors: &mut Errors) {
    if mode.is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.push(FieldError::invalid(
            field,
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        ));
    }
}

fn items(items: Option<&[KeyToPath]>, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("items");
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let path = field.index(index);
        if item.key.is_empty() {
            errors.push(FieldError::required(&path.child("key"), ""));
        }
        file_path(&item.path, &path.child("path"), errors);
        mode(item.mode, &path.child("mode"), errors);
    }
}

fn downward_file(file: &DownwardAPIVolumeFile, path: &Path<'_>, errors: &mut Errors) {
    file_path(&file.path, &path.child("path"), errors);
    env::downward_file(
        file.field_ref.as_ref(),
        file.resource_field_ref.as_ref(),
        path,
        errors,
    );
    mode(file.mode, &path.child("mode"), errors);
}

fn projected(source: &ProjectedVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    mode(source.default_mode, &path.child("defaultMode"), errors);
    let field = path.child("sources");
    for (index, projection) in source.sources.iter().flatten().enumerate() {
        self::projection(projection, &field.index(index), errors);
    }
}

fn projection(projection: &VolumeProjection, path: &Path<'_>, errors: &mut Errors) {
    let set = [
        ("secret", projection.secret.is_some()),
        ("configMap", projection.config_map.is_some()),
        ("downwardAPI", projection.downward_api.is_some()),
        (
            "serviceAccountToken",
            projection.service_account_token.is_some(),
        ),
        (
            "clusterTrustBundle",
            projection.cluster_trust_bundle.is_some(),
        ),
        ("podCertificate", projection.pod_certificate.is_some()),
    ];
    for (name, _) in set.iter().filter(|(_, set)| *set).skip(1) {
        errors.push(FieldError::forbidden(
            &path.child(name),
            "may not specify more than 1 volume type per source",
        ));
    }
    if set.iter().all(|(_, set)| !set) {
        errors.push(FieldError::required(path, "must specify a source"));
    }
    if let Some(secret) = &projection.secret {
        let path = path.child("secret");
        if secret.name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        items(secret.items.as_deref(), &path, errors);
    }
    if let Some(map) = &projection.config_map {
        let path = path.child("configMap");
        if map.name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        items(map.items.as_deref(), &path, errors);
    }
    if let Some(downward) = &projection.downward_api {
        let path = path.child("downwardAPI");
        for file in downward.items.iter().flatten() {
            downward_file(file, &path, errors);
        }
    }
    if let Some(token) = &projection.service_account_token {
        let path = path.child("serviceAccountToken");
        let seconds = token.expiration_seconds.unwrap_or(3600);
        if seconds < 600 {
            let detail = "may not specify a duration less than 10 minutes";
            errors.push(FieldError::invalid(
                &path.child("expirationSeconds"),
                seconds,
                detail,
            ));
        }
        file_path(&token.path, &path.child("path"), errors);
    }
}

/// Finds what is wrong with a container's mounts.
pub(super) fn mounts(container: &Container, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("volumeMounts");
    let mut places = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = field.index(index);
        let name = path.child("name");
        if mount.name.is_empty() {
            errors.push(FieldError::required(&name, ""));
        } else if !spec
            .volumes
            .iter()
            .flatten()
            .any(|volume| volume.name == mount.name)
        {
            errors.push(FieldError::not_found(&name, &mount.name));
        }
        if mount.mount_path.is_empty() {
            errors.push(FieldError::required(&path.child("mountPath"), ""));
        }
        if !places.insert(mount.mount_path.as_str()) {
            errors.push(FieldError::invalid(
                &path.child("mountPath"),
                &mount.mount_path,
                "must be unique",
            ));
        }
        for (name, text) in [
            ("subPath", &mount.sub_path),
            ("subPathExpr", &mount.sub_path_expr),
        ] {
            if let Some(text) = text {
                descending(text, &path.child(name), errors);
            }
        }
        let both = mount.sub_path.as_ref().zip(mount.sub_path_expr.as_ref());
        if let Some((_, expression)) = both {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(
                &path.child("subPathExpr"),
                expression,
                detail,
            ));
        }
        if let Some(text) = &mount.mount_propagation {
            let known = ["Bidirectional", "HostToContainer", "None"];
            if !known.contains(&text.as_str()) {
                errors.push(FieldError::not_supported(
                    &path.child("mountPropagation"),
                    text,
                    &known,
                ));
            }
        }
    }
}
