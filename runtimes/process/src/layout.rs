//! Where things lie under the state directory, and how files appear there whole or not at all.
//!
//! ```text
//! STATE/lock                              held by the one agent that owns the directory
//! STATE/sandboxes/SANDBOX/sandbox.json    what was asked, and when; without it the directory is rubbish
//!                         stopped         its presence means that no container may start
//!                         resolv.conf, hosts
//!                         containers/NAME-ATTEMPT/plan.json     what was asked
//!                                                 lock          held by the attempt's shim for life
//!                                                 begun         left before the program was forked
//!                                                 shim.json, started.json, exit.json
//!                                                 shim.log      the shim's own complaints
//!                                                 stage/        where mounts are prepared
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pontoon_runtime::{ContainerId, SandboxId};

/// Whether a write must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It must: the file and its name are synced.
    Synced,
    /// Pids and mounts do not outlive the kernel, so what describes them need not either.
    UntilReboot,
}

/// The directory of one attempt of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerDirectory(PathBuf);

macro_rules! member {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)+) => {
        $($(#[$doc])* pub(crate) fn $name(&self) -> PathBuf {
            self.0.join($file)
        })+
    };
}

impl ContainerDirectory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    member! {
        plan = "plan.json";
        lock = "lock";
        begun = "begun";
        shim = "shim.json";
        started = "started.json";
        exit = "exit.json";
        shim_log = "shim.log";
        stage = "stage";
    }
}

/// The directory of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SandboxDirectory(PathBuf);

impl SandboxDirectory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    member! {
        record = "sandbox.json";
        stopped = "stopped";
        resolv_conf = "resolv.conf";
        hosts = "hosts";
        containers = "containers";
    }

    pub(crate) fn container(&self, name: &str, attempt: u32) -> ContainerDirectory {
        ContainerDirectory(self.containers().join(format!("{name}-{attempt}")))
    }
}

/// The state directory.
#[derive(Clone, Debug)]
pub(crate) struct StateDirectory(PathBuf);

impl StateDirectory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    member! {
        lock = "lock";
        sandboxes = "sandboxes";
    }

    pub(crate) fn sandbox(&self, id: &SandboxId) -> SandboxDirectory {
        SandboxDirectory(self.sandboxes().join(id.as_str()))
    }
}

/// Name of a sandbox: the pod's uid and the attempt.
pub(crate) fn sandbox_id(pod_uid: &str, attempt: u32) -> SandboxId {
    SandboxId::new(format!("{pod_uid}-{attempt}"))
}

/// Name of a container. Container names are DNS labels, so the underscore cannot be part of one.
pub(crate) fn container_id(sandbox: &SandboxId, name: &str, attempt: u32) -> ContainerId {
    ContainerId::new(format!("{sandbox}_{name}_{attempt}"))
}

/// Whether a uid or a name can be a file name: it is one path component of letters, digits, `-` and `.`.
pub(crate) fn is_file_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !text.is_empty() && text.len() <= 128 && !text.starts_with('.') && text.bytes().all(plain)
}

/// Makes a directory and its parents, for the owner only: plans hold Secrets.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Writes a file so that it appears whole or not at all.
pub(crate) fn write_whole(
    path: &Path,
    contents: &[u8],
    mode: u32,
    durability: Durability,
) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&unfinished)?;
    file.write_all(contents)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    fs::rename(&unfinished, path)?;
    if let (Durability::Synced, Some(directory)) = (durability, path.parent()) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Writes a record so that it appears whole or not at all.
pub(crate) fn write_record<T: Serialize>(
    path: &Path,
    record: &T,
    durability: Durability,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
    write_whole(path, &bytes, 0o600, durability)
}

/// Reads a record; `None` when it is not there.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a lock file, making it if need be.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_that_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "a_b", "a b", ".hidden", "a\0"] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
        assert!(is_file_name("0a1b-2c.d"));
    }

    #[test]
    fn a_record_is_read_as_written_and_absence_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        assert_eq!(read_record::<Vec<u8>>(&path).unwrap(), None);
        write_record(&path, &vec![1u8, 2], Durability::Synced).unwrap();
        assert_eq!(read_record::<Vec<u8>>(&path).unwrap(), Some(vec![1, 2]));
        fs::write(&path, "[1,").unwrap();
        assert!(read_record::<Vec<u8>>(&path).is_err());
    }
}
