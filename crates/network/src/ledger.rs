//! The address ledger: which pod holds which address, on disk so that a restarted agent finds it.
//!
//! The file is rewritten whole and renamed into place, so that a killed process leaves the old ledger or the new one. It is
//! not fsynced: a namespace does not outlive the machine's power, so after a power cut there is nothing to find again.
//! A ledger that cannot be parsed is set aside under the name `*.corrupt`, not deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::dataplane::{DataplaneError, HostPort};
use crate::limits::{LEDGER_BYTES, PODS_PER_NODE_COUNT};

/// One pod's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Ports of the node that lead to it.
    #[serde(default)]
    pub host_ports: Vec<HostPort>,
}

/// The file's shape. The version is raised when an older program could misread it.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    version: u32,
    /// The index in the network that the next search starts at.
    cursor: u64,
    /// Leases by pod uid.
    leases: BTreeMap<String, Lease>,
}

const VERSION: u32 = 1;

/// The first index given to a pod: 0 is the network itself, 1 the node's end of every pod's link.
const FIRST_INDEX: u64 = 2;

/// Addresses of one node's pods. Without a path it is kept in memory only.
#[derive(Debug)]
pub struct Ledger {
    path: Option<PathBuf>,
    network: Cidr,
    cursor: u64,
    leases: BTreeMap<String, Lease>,
    taken: BTreeSet<Ipv4Addr>,
}

impl Ledger {
    /// A ledger that no file holds.
    #[must_use]
    pub fn in_memory(network: Cidr) -> Self {
        Self {
            path: None,
            network,
            cursor: FIRST_INDEX,
            leases: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Reads the ledger at `path`, or starts one. Leases outside `network` (it was configured differently once) are
    /// dropped: their pods get another address.
    ///
    /// # Errors
    /// [`DataplaneError::Ledger`] when the file can neither be read nor be set aside.
    pub fn open(path: PathBuf, network: Cidr) -> Result<Self, DataplaneError> {
        let fail = |source| DataplaneError::Ledger {
            path: path.clone(),
            source,
        };
        let page = match read(&path) {
            Ok(page) => page,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(path = %path.display(), %error, "the address ledger is corrupt; it is set aside");
                std::fs::rename(&path, path.with_extension("corrupt")).map_err(fail)?;
                None
            }
            Err(error) => return Err(fail(error)),
        };
        let mut ledger = Self::in_memory(network);
        if let Some(page) = page {
            ledger.cursor = page.cursor;
            for (uid, lease) in page.leases {
                if network.contains(lease.ip) && ledger.taken.insert(lease.ip) {
                    ledger.leases.insert(uid, lease);
                }
            }
        }
        ledger.path = Some(path);
        Ok(ledger)
    }

    /// The pod's lease.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Lease> {
        self.leases.get(uid)
    }

    /// Every lease, by uid.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Lease)> {
        self.leases.iter().map(|(uid, lease)| (uid.as_str(), lease))
    }

    /// How many pods the network can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let usable = self.network.size().saturating_sub(FIRST_INDEX + 1);
        usize::try_from(usable).map_or(PODS_PER_NODE_COUNT, |usable| {
            usable.min(PODS_PER_NODE_COUNT)
        })
    }

    /// The pod's address, given now if it has none; written to disk before it is returned. The search goes round the
    /// network, so that a freed address is the last to be used again: peers may remember connections to it.
    ///
    /// # Errors
    /// [`DataplaneError::AddressesExhausted`], or [`DataplaneError::Ledger`] when the file cannot be written.
    pub fn lease(
        &mut self,
        uid: &str,
        namespace: &str,
        name: &str,
        host_ports: &[HostPort],
    ) -> Result<Ipv4Addr, DataplaneError> {
        if let Some(lease) = self.leases.get(uid) {
            return Ok(lease.ip);
        }
        let (index, ip) = self.free_address()?;
        let lease = Lease {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ip,
            host_ports: host_ports.to_vec(),
        };
        self.leases.insert(uid.to_owned(), lease);
        self.taken.insert(ip);
        let before = std::mem::replace(&mut self.cursor, index + 1);
        if let Err(error) = self.write() {
            self.leases.remove(uid);
            self.taken.remove(&ip);
            self.cursor = before;
            return Err(error);
        }
        Ok(ip)
    }

    /// Gives the pod's address back.
    ///
    /// # Errors
    /// [`DataplaneError::Ledger`] when the file cannot be written; the lease is then kept.
    pub fn release(&mut self, uid: &str) -> Result<(), DataplaneError> {
        let Some(lease) = self.leases.remove(uid) else {
            return Ok(());
        };
        self.taken.remove(&lease.ip);
        if let Err(error) = self.write() {
            self.taken.insert(lease.ip);
            self.leases.insert(uid.to_owned(), lease);
            return Err(error);
        }
        Ok(())
    }

    /// Forgets everything and removes the file.
    ///
    /// # Errors
    /// [`DataplaneError::Ledger`] when the file cannot be removed.
    pub fn clear(&mut self) -> Result<(), DataplaneError> {
        self.leases.clear();
        self.taken.clear();
        let Some(path) = &self.path else {
            return Ok(());
        };
        match std::fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DataplaneError::Ledger {
                    path: path.clone(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    fn free_address(&self) -> Result<(u64, Ipv4Addr), DataplaneError> {
        let capacity = self.capacity();
        let exhausted = || DataplaneError::AddressesExhausted {
            network: self.network.to_string(),
            capacity,
        };
        if self.leases.len() >= capacity {
            return Err(exhausted());
        }
        // The last address is the broadcast address of the network and stays unused.
        let last = self.network.size() - 1;
        let start = self.cursor.clamp(FIRST_INDEX, last);
        (start..last)
            .chain(FIRST_INDEX..start)
            .filter_map(|index| Some((index, self.network.nth(index)?)))
            .find(|(_, ip)| !self.taken.contains(ip))
            .ok_or_else(exhausted)
    }

    fn write(&self) -> Result<(), DataplaneError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let page = Page {
            version: VERSION,
            cursor: self.cursor,
            leases: self.leases.clone(),
        };
        let save = || {
            let bytes = serde_json::to_vec(&page).map_err(io::Error::other)?;
            let draft = path.with_extension("draft");
            std::fs::write(&draft, bytes)?;
            std::fs::rename(&draft, path)
        };
        save().map_err(|source| DataplaneError::Ledger {
            path: path.clone(),
            source,
        })
    }
}

fn read(path: &Path) -> io::Result<Option<Page>> {
    if std::fs::metadata(path)?.len() > LEDGER_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is too large",
        ));
    }
    let bytes = std::fs::read(path)?;
    let page: Page = serde_json::from_slice(&bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if page.version != VERSION {
        let text = format!(
            "the file has version {}, this program reads {VERSION}",
            page.version
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(Some(page))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn network() -> Cidr {
        "10.244.0.0/29".parse().unwrap()
    }

    #[test]
    fn a_reopened_ledger_gives_a_pod_the_address_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("addresses.json");
        let mut ledger = Ledger::open(path.clone(), network()).unwrap();
        let a = ledger.lease("a", "default", "web-0", &[]).unwrap();
        let b = ledger.lease("b", "default", "web-1", &[]).unwrap();
        assert_ne!(a, b);
        let mut again = Ledger::open(path, network()).unwrap();
        assert_eq!(again.lease("b", "default", "web-1", &[]).unwrap(), b);
        assert_eq!(again.get("a").unwrap().ip, a);
    }

    #[test]
    fn a_freed_address_is_the_last_to_be_used_again() {
        let mut ledger = Ledger::in_memory(network());
        let first = ledger.lease("a", "n", "a", &[]).unwrap();
        ledger.release("a").unwrap();
        let given: Vec<_> = (0..5)
            .map(|i| ledger.lease(&i.to_string(), "n", "p", &[]).unwrap())
            .collect();
        assert_eq!(given.last(), Some(&first));
    }

    #[test]
    fn a_full_network_says_so() {
        let mut ledger = Ledger::in_memory(network());
        for i in 0..5 {
            ledger.lease(&i.to_string(), "n", "p", &[]).unwrap();
        }
        let error = ledger.lease("one more", "n", "p", &[]).unwrap_err();
        assert!(
            matches!(
                error,
                DataplaneError::AddressesExhausted { capacity: 5, .. }
            ),
            "{error}"
        );
        ledger.release("3").unwrap();
        ledger.lease("one more", "n", "p", &[]).unwrap();
    }

    #[test]
    fn a_corrupt_ledger_is_set_aside_and_one_of_a_later_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("addresses.json");
        std::fs::write(&path, b"{ half a fi").unwrap();
        let ledger = Ledger::open(path.clone(), network()).unwrap();
        assert_eq!(ledger.iter().count(), 0);
        assert!(dir.path().join("addresses.corrupt").exists());
        std::fs::write(&path, br#"{"version":9,"cursor":2,"leases":{}}"#).unwrap();
        assert!(matches!(
            Ledger::open(path, network()),
            Err(DataplaneError::Ledger { .. })
        ));
    }

    #[test]
    fn a_lease_that_cannot_be_written_is_not_given() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path().join("gone/addresses.json"), network()).unwrap();
        assert!(matches!(
            ledger.lease("a", "n", "a", &[]),
            Err(DataplaneError::Ledger { .. })
        ));
        assert!(ledger.get("a").is_none());
    }
}
