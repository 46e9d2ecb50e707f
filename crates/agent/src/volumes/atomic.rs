//! A directory whose files change all at once, in the layout kubelet gives them: each visible name is a link through
//! `..data`, which is a link to the directory that holds the present version and is replaced by one rename.

use super::Payload;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// Makes `directory` show exactly `payload`. A reader sees the version before or this one, never a mixture.
pub(super) fn write(directory: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    let before = fs::read_link(directory.join(DATA)).ok();
    if let Some(before) = &before
        && holds(&directory.join(before), payload)
    {
        return link_names(directory, payload);
    }
    let version = next_version(directory, before.as_deref());
    let path = directory.join(&version);
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    fs::create_dir(&path)?;
    for (name, (content, mode)) in payload {
        write_file(&path, name, content, *mode, group)?;
    }
    let next = directory.join(DATA_NEXT);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&version, &next)?;
    fs::rename(&next, directory.join(DATA))?;
    link_names(directory, payload)?;
    if let Some(before) = before {
        fs::remove_dir_all(directory.join(before))?;
    }
    Ok(())
}

/// Versions are numbered; the number of the next one follows the present one's.
fn next_version(directory: &Path, before: Option<&Path>) -> OsString {
    let number = before
        .and_then(Path::to_str)
        .and_then(|name| name.strip_prefix("..version_"))
        .and_then(|number| number.parse::<u64>().ok())
        .map_or(0, |number| number.wrapping_add(1));
    debug_assert!(directory.is_absolute() || directory.exists());
    OsString::from(format!("..version_{number}"))
}

fn write_file(
    root: &Path,
    name: &Path,
    content: &[u8],
    mode: u32,
    group: Option<u32>,
) -> io::Result<()> {
    let path = root.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = if group.is_some() { mode | 0o040 } else { mode };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)?;
    file.write_all(content)?;
    // The process's umask took bits away that were asked for.
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    if let Some(group) = group {
        // Without the right to change owners the file's mode has to do.
        let _ = chown(&path, None, Some(group));
    }
    Ok(())
}

fn holds(version: &Path, payload: &Payload) -> bool {
    let mut found = BTreeSet::new();
    if collect(version, Path::new(""), &mut found).is_err() {
        return false;
    }
    found.len() == payload.len()
        && payload.iter().all(|(name, (content, mode))| {
            let path = version.join(name);
            let same_mode = fs::metadata(&path)
                .is_ok_and(|found| found.permissions().mode() & 0o737 == mode & 0o737);
            found.contains(name)
                && same_mode
                && fs::read(&path).is_ok_and(|bytes| bytes == *content)
        })
}

fn collect(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

/// Links each first part of a path through `..data`, and takes away links to what is gone.
fn link_names(directory: &Path, payload: &Payload) -> io::Result<()> {
    let wanted: BTreeSet<OsString> = payload
        .keys()
        .filter_map(|name| name.components().next())
        .map(|part| part.as_os_str().to_owned())
        .collect();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let ours = name.to_string_lossy().starts_with("..");
        if !ours && !wanted.contains(&name) {
            fs::remove_file(directory.join(&name))?;
        }
    }
    for name in wanted {
        let link = directory.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&name), link)?;
        }
    }
    Ok(())
}
