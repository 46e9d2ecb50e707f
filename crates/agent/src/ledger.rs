//! What the node knows by itself: its pods with what they refer to and their last status, the services, and what the
//! server said of the cluster. With it a restarted agent goes on with every server down.
//!
//! Each entry is one file, replaced by a rename. An assignment is fsynced before its file is renamed; statuses and
//! services are not, since losing the latest of them costs nothing but a repetition. Files hold Secrets and are readable
//! by the owner only.

use crate::metrics;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// The format of the files; another one is refused.
const VERSION: u32 = 1;

/// One pod as it was assigned, with its last status in place of the assigned one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodEntry {
    version: u32,
    /// The pod.
    pub pod: Pod,
    /// The objects it refers to, as they came.
    pub references: Vec<Box<RawValue>>,
}

/// What a server said of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The domain of services' names.
    pub cluster_domain: String,
    /// The range of services' addresses.
    pub service_cidr: String,
    /// The range of this node's pods.
    pub pod_cidr: String,
    /// The address that pods use as their resolver, when the data plane has none of its own.
    pub dns_address: String,
}

/// One service as it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// The Service.
    pub service: Box<RawValue>,
    /// Its EndpointSlices.
    pub slices: Vec<Box<RawValue>>,
}

/// The directory cannot be used, or a file in it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk's words.
    #[error("ledger {}", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was written by another version.
    #[error("ledger {} has format {found}; this agent reads {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// What a ledger holds when the agent starts.
#[derive(Debug, Default)]
pub struct Contents {
    /// The pods.
    pub pods: Vec<PodEntry>,
    /// The services.
    pub services: Vec<ServiceEntry>,
    /// What the last server said.
    pub settings: Option<Settings>,
}

#[derive(Debug)]
enum Change {
    Put { bytes: Vec<u8>, durable: bool },
    Remove,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<PathBuf, Change>,
    writing: bool,
}

/// The node's ledger. Writes are handed over and happen in order of arrival per file, the latest one wins.
#[derive(Debug)]
pub struct Ledger {
    /// Without one nothing is kept.
    root: Option<PathBuf>,
    queue: Mutex<Queue>,
    work: Notify,
    idle: Notify,
}

impl PodEntry {
    /// An entry of the present format.
    #[must_use]
    pub fn new(pod: Pod, references: Vec<Box<RawValue>>) -> Self {
        Self {
            version: VERSION,
            pod,
            references,
        }
    }
}

impl Ledger {
    /// Opens or makes the directory and reads what is in it. Blocks. A file that cannot be read as what it should be is
    /// put aside as `NAME.broken` and warned about: one bad file must not keep the others' pods down.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(root: &Path) -> Result<(Arc<Self>, Contents), LedgerError> {
        for folder in ["pods", "services"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|source| LedgerError::Disk { path, source })?;
        }
        let mut contents = Contents {
            pods: read_all(&root.join("pods"))?,
            services: read_all(&root.join("services"))?,
            settings: read(&root.join("settings.json"))?,
        };
        if let Some(entry) = contents.pods.iter().find(|entry| entry.version != VERSION) {
            return Err(LedgerError::Version {
                path: root.to_owned(),
                found: entry.version,
            });
        }
        contents
            .pods
            .retain(|entry| entry.pod.metadata.uid.is_some());
        let ledger = Self {
            root: Some(root.to_owned()),
            queue: Mutex::default(),
            work: Notify::new(),
            idle: Notify::new(),
        };
        Ok((Arc::new(ledger), contents))
    }

    /// A ledger that keeps nothing: of a node that is only played, whose pods end with its process.
    #[must_use]
    pub fn blank() -> Arc<Self> {
        Arc::new(Self {
            root: None,
            queue: Mutex::default(),
            work: Notify::new(),
            idle: Notify::new(),
        })
    }

    fn pod_path(&self, uid: &str) -> Option<PathBuf> {
        let root = self.root.as_ref()?;
        Some(root.join("pods").join(format!("{uid}.json")))
    }

    fn service_path(&self, namespace: &str, name: &str) -> Option<PathBuf> {
        let root = self.root.as_ref()?;
        Some(
            root.join("services")
                .join(format!("{namespace}_{name}.json")),
        )
    }

    /// Writes a pod; `durable` for an assignment, not for a mere change of its status.
    pub fn put_pod(&self, uid: &str, entry: &PodEntry, durable: bool) {
        self.put(self.pod_path(uid), entry, durable);
    }

    /// Forgets a pod.
    pub fn remove_pod(&self, uid: &str) {
        self.enqueue(self.pod_path(uid), Change::Remove);
    }

    /// Writes what a server said.
    pub fn put_settings(&self, settings: &Settings) {
        let path = self.root.as_ref().map(|root| root.join("settings.json"));
        self.put(path, settings, true);
    }

    /// Writes a service.
    pub fn put_service(&self, namespace: &str, name: &str, entry: &ServiceEntry) {
        self.put(self.service_path(namespace, name), entry, false);
    }

    /// Forgets a service.
    pub fn remove_service(&self, namespace: &str, name: &str) {
        self.enqueue(self.service_path(namespace, name), Change::Remove);
    }

    fn put(&self, path: Option<PathBuf>, value: &impl Serialize, durable: bool) {
        if path.is_some() {
            let bytes = serde_json::to_vec(value).expect("Kubernetes' types can always be written");
            self.enqueue(path, Change::Put { bytes, durable });
        }
    }

    fn enqueue(&self, path: Option<PathBuf>, write: Change) {
        let Some(path) = path else { return };
        let mut queue = self.queue.lock();
        let durable_before = matches!(
            queue.waiting.get(&path),
            Some(Change::Put { durable: true, .. })
        );
        let write = match write {
            Change::Put { bytes, durable } => Change::Put {
                bytes,
                durable: durable || durable_before,
            },
            Change::Remove => Change::Remove,
        };
        queue.waiting.insert(path, write);
        drop(queue);
        self.work.notify_one();
    }

    /// Writes what is handed over; run it as a task for as long as the agent lives.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.work.notified().await;
            while let Some(batch) = self.take() {
                let written = tokio::task::spawn_blocking(move || write_batch(batch)).await;
                if written.is_err() {
                    tracing::error!("writing the ledger panicked");
                }
                self.queue.lock().writing = false;
                self.idle.notify_waiters();
            }
        }
    }

    fn take(&self) -> Option<BTreeMap<PathBuf, Change>> {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() {
            return None;
        }
        queue.writing = true;
        Some(std::mem::take(&mut queue.waiting))
    }

    /// Returns once everything handed over before is on the disk. Needs [`Ledger::run`] to be running.
    pub(crate) async fn flush(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            {
                let queue = self.queue.lock();
                if queue.waiting.is_empty() && !queue.writing {
                    return;
                }
            }
            idle.await;
        }
    }
}

fn write_batch(batch: BTreeMap<PathBuf, Change>) {
    let mut folders = std::collections::BTreeSet::new();
    for (path, write) in batch {
        let result = match write {
            Change::Put { bytes, durable } => {
                if durable && let Some(folder) = path.parent() {
                    folders.insert(folder.to_owned());
                }
                replace(&path, &bytes, durable)
            }
            Change::Remove => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = result {
            metrics::ledger_failed();
            tracing::error!(path = %path.display(), %error, "the ledger could not be written: this pod or service is forgotten if the agent restarts");
        }
    }
    for folder in folders {
        if let Err(error) = fs::File::open(&folder).and_then(|folder| folder.sync_all()) {
            metrics::ledger_failed();
            tracing::error!(path = %folder.display(), %error, "the ledger's directory could not be synced");
        }
    }
}

fn replace(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_data()?;
    }
    fs::rename(&next, path)
}

fn read_all<T: DeserializeOwned>(folder: &Path) -> Result<Vec<T>, LedgerError> {
    let disk = |source| LedgerError::Disk {
        path: folder.to_owned(),
        source,
    };
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk)? {
        let path = entry.map_err(disk)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            all.extend(read(&path)?);
        }
    }
    Ok(all)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LedgerError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(LedgerError::Disk {
                path: path.to_owned(),
                source,
            });
        }
        Ok(bytes) => bytes,
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let aside = path.with_extension("broken");
            tracing::warn!(path = %path.display(), %error, "a file of the ledger cannot be read and is put aside");
            fs::rename(path, &aside).map_err(|source| LedgerError::Disk {
                path: aside,
                source,
            })?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(name: &str) -> PodEntry {
        let pod = serde_json::json!({"metadata": {"name": name, "uid": format!("uid-{name}")}});
        PodEntry::new(serde_json::from_value(pod).unwrap(), Vec::new())
    }

    #[tokio::test]
    async fn what_was_flushed_is_found_again_and_what_was_removed_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(directory.path()).unwrap();
        let writer = tokio::spawn(Arc::clone(&ledger).run());
        ledger.put_pod("a", &entry("a"), true);
        ledger.put_pod("b", &entry("b"), false);
        ledger.flush().await;
        ledger.remove_pod("a");
        ledger.flush().await;
        writer.abort();
        let (_, contents) = Ledger::open(directory.path()).unwrap();
        let names: Vec<_> = contents
            .pods
            .iter()
            .map(|e| e.pod.metadata.name.clone().unwrap())
            .collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn a_broken_file_is_put_aside_and_another_version_refused() {
        let directory = tempfile::tempdir().unwrap();
        Ledger::open(directory.path()).unwrap();
        let broken = directory.path().join("pods/x.json");
        fs::write(&broken, "{").unwrap();
        let (_, contents) = Ledger::open(directory.path()).unwrap();
        assert!(contents.pods.is_empty());
        assert!(broken.with_extension("broken").exists());
        let mut other = entry("y");
        other.version = 9;
        fs::write(&broken, serde_json::to_vec(&other).unwrap()).unwrap();
        assert!(matches!(
            Ledger::open(directory.path()),
            Err(LedgerError::Version { found: 9, .. })
        ));
    }
}
