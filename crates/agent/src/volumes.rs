//! A pod's volumes on the node's disk: emptyDir, hostPath, and directories made of ConfigMaps, Secrets and the downward
//! API, which change as a whole when what they are made of changes.
//!
//! Not here: mounting (the runtime shows the directories inside the container), persistent volumes, and service account
//! tokens, which nobody issues yet: a projected token is refused by name, but for the one every pod gets without asking,
//! which is left out. An emptyDir of medium `Memory` is a tmpfs where the agent may mount one; elsewhere it lies on the disk like any other, and
//! its author is told.
//!
//! Everything here blocks; call it where blocking is allowed.

use crate::environment::{ConfigError, Facts};
use crate::limits::VOLUME_PAYLOAD_BYTES;
use crate::references::References;
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, Pod,
    ProjectedVolumeSource, Volume,
};
use pontoon_api::quantity::Quantity;
use pontoon_runtime::Mount;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

mod atomic;
mod memory;

/// Kubernetes' default mode of files made of ConfigMaps and Secrets.
const DEFAULT_MODE: i32 = 0o644;

/// A volume could not be set up; the pod waits with a `FailedMount` event.
#[derive(Debug, thiserror::Error)]
#[error("volume {volume}: {message}")]
pub struct VolumeError {
    /// Its name.
    pub volume: String,
    /// In kubelet's words.
    pub message: String,
}

/// Why one volume could not be set up.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Words(String),
    #[error("{what}: {source}")]
    Disk {
        what: String,
        #[source]
        source: io::Error,
    },
}

fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Problem {
    let what = what.into();
    move |source| Problem::Disk { what, source }
}

/// Files of one volume: path in the volume, content, mode.
pub(crate) type Payload = BTreeMap<PathBuf, (Vec<u8>, u32)>;

/// Brings every volume of the pod up to date under `directory`, and returns what is otherwise than asked for, a sentence each.
/// Idempotent.
///
/// # Errors
/// The first volume that could not be.
pub fn prepare(directory: &Path, facts: &Facts<'_>) -> Result<Vec<String>, VolumeError> {
    let spec = facts.pod.spec.as_ref();
    let mut notes = Vec::new();
    for volume in spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let note = prepare_one(directory, facts, volume).map_err(|problem| VolumeError {
            volume: volume.name.clone(),
            message: problem.to_string(),
        })?;
        notes.extend(note);
    }
    Ok(notes)
}

/// Removes every volume of the pod. What a hostPath names stays.
///
/// # Errors
/// What the disk says; it may be repeated.
pub fn remove(directory: &Path) -> io::Result<()> {
    memory::release(directory)?;
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path_of(directory: &Path, volume: &Volume) -> PathBuf {
    match &volume.host_path {
        Some(source) => PathBuf::from(&source.path),
        None => directory.join(&volume.name),
    }
}

fn prepare_one(
    directory: &Path,
    facts: &Facts<'_>,
    volume: &Volume,
) -> Result<Option<String>, Problem> {
    let path = path_of(directory, volume);
    if let Some(source) = &volume.host_path {
        return host_path(source).map(|()| None);
    }
    let fs_group = facts
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref())
        .and_then(|context| context.fs_group)
        .and_then(|group| u32::try_from(group).ok());
    if let Some(source) = &volume.empty_dir {
        return empty_dir(&path, fs_group, facts.pod, &volume.name, source);
    }
    let Some(payload) = payload(facts, volume)? else {
        return Err(Problem::Words(
            "this node has no such kind of volume: it knows emptyDir, configMap, secret, downwardAPI, projected and hostPath"
                .to_owned(),
        ));
    };
    let size: usize = payload.values().map(|(content, _)| content.len()).sum();
    if size > VOLUME_PAYLOAD_BYTES {
        return Err(Problem::Words(format!(
            "{size} bytes are more than the {VOLUME_PAYLOAD_BYTES} that such a volume may hold"
        )));
    }
    atomic::write(&path, &payload, fs_group)
        .map(|()| None)
        .map_err(disk(path.display().to_string()))
}

/// Makes an empty directory, in memory if that is asked for and permitted; a sentence when it is asked for and not.
fn empty_dir(
    path: &Path,
    fs_group: Option<u32>,
    pod: &Pod,
    name: &str,
    source: &EmptyDirVolumeSource,
) -> Result<Option<String>, Problem> {
    let fresh = !path.is_dir();
    if fresh {
        fs::create_dir_all(path).map_err(disk(path.display().to_string()))?;
    }
    let in_memory = source.medium.as_deref() == Some("Memory");
    let note = in_memory
        .then(|| memory::ensure(path, memory_bytes(pod, source)))
        .and_then(Result::err)
        .map(|error| {
            format!("emptyDir {name:?} of medium Memory lies on the node's disk: no tmpfs can be mounted here ({error})")
        });
    if !fresh {
        // What a container made of the directory's mode and owner is its own.
        return Ok(note);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
        .map_err(disk(path.display().to_string()))?;
    if let Some(group) = fs_group {
        // Without the right to change owners the directory stays open to all, which serves the same programs.
        let _ = std::os::unix::fs::chown(path, None, Some(group));
    }
    Ok(note)
}

/// How much a volume in memory may hold: its own limit or that of the pod's memory, whichever is less, as for kubelet.
fn memory_bytes(pod: &Pod, source: &EmptyDirVolumeSource) -> Option<u64> {
    let own = source
        .size_limit
        .as_ref()
        .and_then(|limit| limit.0.parse::<Quantity>().ok())
        .and_then(|limit| u64::try_from(limit.units()).ok())
        .filter(|bytes| *bytes > 0);
    let whole = crate::container::pod_limits(pod).memory_limit_bytes;
    own.into_iter().chain(whole).min()
}

fn host_path(source: &HostPathVolumeSource) -> Result<(), Problem> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let found = fs::metadata(path).ok();
    let shown = path.display();
    let wrong = |what: &str| {
        Err(Problem::Words(format!(
            "hostPath type check failed: {shown} is not {what}"
        )))
    };
    match (kind, found) {
        ("", Some(_)) => Ok(()),
        // Without a type kubelet leaves it to the runtime to make the directory.
        ("" | "DirectoryOrCreate", None) => {
            fs::create_dir_all(path).map_err(disk(shown.to_string()))
        }
        ("DirectoryOrCreate" | "Directory", Some(found)) if found.is_dir() => Ok(()),
        ("DirectoryOrCreate" | "Directory", _) => wrong("a directory"),
        ("FileOrCreate", None) => fs::File::create(path)
            .map(drop)
            .map_err(disk(shown.to_string())),
        ("FileOrCreate" | "File", Some(found)) if found.is_file() => Ok(()),
        ("FileOrCreate" | "File", _) => wrong("a file"),
        ("Socket", Some(found)) if found.file_type().is_socket() => Ok(()),
        ("Socket", _) => wrong("a socket"),
        ("CharDevice", Some(found)) if found.file_type().is_char_device() => Ok(()),
        ("CharDevice", _) => wrong("a character device"),
        ("BlockDevice", Some(found)) if found.file_type().is_block_device() => Ok(()),
        ("BlockDevice", _) => wrong("a block device"),
        (other, _) => Err(Problem::Words(format!("unknown hostPath type {other:?}"))),
    }
}

/// What a volume is made of; `None` when it is of a kind that is not made of anything here.
fn payload(facts: &Facts<'_>, volume: &Volume) -> Result<Option<Payload>, Problem> {
    let mut payload = Payload::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        let items = source.items.as_deref();
        config_map(facts, &source.name, items, mode, optional, &mut payload)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        let items = source.items.as_deref();
        secret(facts, name, items, mode, optional, &mut payload)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        downward(facts, source.items.as_deref(), mode, &mut payload)?;
    } else if let Some(source) = &volume.projected {
        projected(facts, source, &mut payload)?;
    } else {
        return Ok(None);
    }
    Ok(Some(payload))
}

fn projected(
    facts: &Facts<'_>,
    source: &ProjectedVolumeSource,
    payload: &mut Payload,
) -> Result<(), Problem> {
    let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
    for part in source.sources.iter().flatten() {
        if let Some(from) = &part.config_map {
            let optional = from.optional == Some(true);
            config_map(
                facts,
                &from.name,
                from.items.as_deref(),
                mode,
                optional,
                payload,
            )?;
        } else if let Some(from) = &part.secret {
            let optional = from.optional == Some(true);
            secret(
                facts,
                &from.name,
                from.items.as_deref(),
                mode,
                optional,
                payload,
            )?;
        } else if let Some(from) = &part.downward_api {
            downward(facts, from.items.as_deref(), mode, payload)?;
        } else if part.service_account_token.is_some() {
            return Err(Problem::Words(
                "service account tokens are not issued yet: leave the serviceAccountToken source out".to_owned(),
            ));
        } else {
            return Err(Problem::Words(
                "this node projects configMap, secret and downwardAPI only".to_owned(),
            ));
        }
    }
    Ok(())
}

fn config_map(
    facts: &Facts<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    payload: &mut Payload,
) -> Result<(), Problem> {
    let data = facts
        .references
        .config_maps
        .get(name)
        .map(References::config_map_data);
    keys("configmap", name, data, items, mode, optional, payload)
}

fn secret(
    facts: &Facts<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    payload: &mut Payload,
) -> Result<(), Problem> {
    let data = facts
        .references
        .secrets
        .get(name)
        .map(References::secret_data);
    keys("secret", name, data, items, mode, optional, payload)
}

fn keys(
    kind: &str,
    name: &str,
    data: Option<BTreeMap<&str, &[u8]>>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    payload: &mut Payload,
) -> Result<(), Problem> {
    let Some(data) = data else {
        if optional {
            return Ok(());
        }
        return Err(Problem::Words(format!("{kind} \"{name}\" not found")));
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, value) in data {
            put(payload, key, value.to_vec(), mode)?;
        }
        return Ok(());
    };
    for item in items {
        match data.get(item.key.as_str()) {
            Some(value) => put(
                payload,
                &item.path,
                value.to_vec(),
                item.mode.unwrap_or(mode),
            )?,
            None if optional => {}
            None => {
                return Err(Problem::Words(format!(
                    "references non-existent {kind} key: {}",
                    item.key
                )));
            }
        }
    }
    Ok(())
}

fn downward(
    facts: &Facts<'_>,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
    payload: &mut Payload,
) -> Result<(), Problem> {
    for item in items.into_iter().flatten() {
        let value = if let Some(field) = &item.field_ref {
            facts.field(field)?
        } else if let Some(resource) = &item.resource_field_ref {
            facts.resource(resource, None)?
        } else {
            continue;
        };
        let mode = item.mode.unwrap_or(mode);
        put(payload, &item.path, value.into_bytes(), mode)?;
    }
    Ok(())
}

fn put(payload: &mut Payload, path: &str, content: Vec<u8>, mode: i32) -> Result<(), Problem> {
    let relative = PathBuf::from(path);
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside || path.is_empty() || path.starts_with("..") {
        return Err(Problem::Words(format!(
            "the path {path:?} does not stay inside the volume"
        )));
    }
    let mode = u32::try_from(mode).unwrap_or(0o644) & 0o777;
    payload.insert(relative, (content, mode));
    Ok(())
}

/// What a container sees of the pod's volumes, outer paths before inner ones. `variables` is its environment, for
/// `subPathExpr`.
///
/// # Errors
/// [`ConfigError`] for a mount whose volume or part of a volume cannot be shown.
pub fn mounts(
    directory: &Path,
    pod: &Pod,
    container: &Container,
    variables: &[(String, String)],
) -> Result<Vec<Mount>, ConfigError> {
    let volumes: BTreeMap<&str, &Volume> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
        .map(|volume| (volume.name.as_str(), volume))
        .collect();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes.get(mount.name.as_str()) else {
            let message = format!("volumeMount {} names no volume of the pod", mount.name);
            return Err(ConfigError { message });
        };
        let root = path_of(directory, volume);
        let expanded = mount
            .sub_path_expr
            .as_deref()
            .map(|text| crate::environment::expand(text, variables));
        let sub_path = expanded.as_deref().or(mount.sub_path.as_deref());
        let host_path = match sub_path.filter(|path| !path.is_empty()) {
            None => root,
            Some(sub) => sub_path_of(&root, sub).map_err(|problem| ConfigError {
                message: format!("failed to prepare subPath for volumeMount \"{}\" of container \"{}\": {problem}", mount.name, container.name),
            })?,
        };
        let made = volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.downward_api.is_some()
            || volume.projected.is_some();
        mounts.push(Mount {
            host_path,
            container_path: PathBuf::from(&mount.mount_path),
            read_only: made || mount.read_only == Some(true),
        });
    }
    mounts.sort_by(|a, b| a.container_path.cmp(&b.container_path));
    Ok(mounts)
}

/// A part of a volume. It is made when absent, and never leads outside, whatever links a container left there.
fn sub_path_of(root: &Path, sub: &str) -> Result<PathBuf, Problem> {
    let relative = Path::new(sub);
    let normal = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !normal {
        return Err(Problem::Words(format!(
            "{sub:?} must stay inside the volume"
        )));
    }
    let root = root
        .canonicalize()
        .map_err(disk(root.display().to_string()))?;
    let path = root.join(relative);
    if fs::symlink_metadata(&path).is_err() {
        let parent = path
            .ancestors()
            .skip(1)
            .find_map(|ancestor| ancestor.canonicalize().ok());
        if parent.is_none_or(|parent| !parent.starts_with(&root)) {
            return Err(Problem::Words(format!("{sub:?} leads outside the volume")));
        }
        fs::create_dir_all(&path).map_err(disk(path.display().to_string()))?;
    }
    let real = path
        .canonicalize()
        .map_err(disk(path.display().to_string()))?;
    if !real.starts_with(&root) {
        return Err(Problem::Words(format!("{sub:?} leads outside the volume")));
    }
    Ok(real)
}

#[cfg(test)]
mod tests;
