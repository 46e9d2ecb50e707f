//! What an agent keeps of its place in a cluster: who it is there, whom it trusts, where the servers are, and what every node is
//! set to alike. One file, replaced whole: a certificate is never without its key.
//!
//! Before it asks to join, an agent keeps its [`Attempt`]: asking again after whatever went wrong is then the same request, and a
//! token that is good for one is not spent twice.

use crate::{
    credentials::Credentials,
    files::{self, FileError, Readers},
    pem::PemError,
};
use pontoon_api::NodeName;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The format of the files; another one is refused.
const VERSION: u32 = 1;

const ENROLMENT: &str = "enrolment.json";
const ATTEMPT: &str = "attempt.json";

/// A node's place in a cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolment {
    version: u32,
    node: String,
    certificate: String,
    key: String,
    /// The authority to trust, as PEM.
    pub authority: String,
    /// Every server's `https://HOST:PORT`, as last heard.
    pub servers: Vec<String>,
    /// Addresses of services.
    pub service_cidr: String,
    /// Addresses of all pods.
    pub pod_cidr: String,
    /// This node's part of them; empty until a server has said it.
    #[serde(default)]
    pub node_cidr: String,
    /// The domain of services' names.
    pub cluster_domain: String,
}

/// A request to join that was made, or is about to be.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    version: u32,
    /// Makes a repeated request the same request.
    pub id: String,
    /// The node's name.
    pub node: String,
    /// The node's private key, as PEM. Handle with care.
    pub key: String,
    /// The request for its certificate, as PEM.
    pub request: String,
}

// Both hold a private key.
impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment")
            .field("node", &self.node)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// What an agent kept cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what it should be.
    #[error("{} is damaged: {why}; remove it and join again with a new token", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate or key in it is not one.
    #[error(transparent)]
    Pem(#[from] PemError),
}

impl Enrolment {
    /// A place just given. `credentials` is the node's certificate and its key.
    #[must_use]
    pub fn new(node: &NodeName, credentials: &Credentials, authority: &str) -> Self {
        Self {
            version: VERSION,
            node: node.as_str().to_owned(),
            certificate: credentials.certificate_pem().to_owned(),
            key: credentials.key_pem().to_owned(),
            authority: authority.to_owned(),
            servers: Vec::new(),
            service_cidr: String::new(),
            pod_cidr: String::new(),
            node_cidr: String::new(),
            cluster_domain: String::new(),
        }
    }

    /// What is kept in `directory`, if anything is.
    ///
    /// # Errors
    /// See [`EnrolmentError`].
    pub fn read(directory: &Path) -> Result<Option<Self>, EnrolmentError> {
        let path = directory.join(ENROLMENT);
        let Some(found) = read::<Self>(&path)? else {
            return Ok(None);
        };
        known(&path, found.version)?;
        Ok(Some(found))
    }

    /// Keeps it. When this returns it survives a power cut.
    ///
    /// # Errors
    /// See [`EnrolmentError`]; what was kept before is still there.
    pub fn write(&self, directory: &Path) -> Result<(), EnrolmentError> {
        write(&directory.join(ENROLMENT), self)
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> NodeName {
        NodeName::new(&self.node)
    }

    /// The node's certificate and key.
    ///
    /// # Errors
    /// See [`PemError`].
    pub fn credentials(&self) -> Result<Credentials, PemError> {
        Credentials::from_pem(
            "the node's certificate",
            self.certificate.clone(),
            self.key.clone(),
        )
    }

    /// Takes a new certificate, with the authority that goes with it.
    pub fn renew(&mut self, credentials: &Credentials, authority: &str) {
        credentials
            .certificate_pem()
            .clone_into(&mut self.certificate);
        credentials.key_pem().clone_into(&mut self.key);
        authority.clone_into(&mut self.authority);
    }
}

impl Attempt {
    /// The attempt of this node that is kept in `directory`, or a new one with what `make` gives: an id, a key and a request.
    ///
    /// # Errors
    /// See [`EnrolmentError`], and what `make` says.
    pub fn of<E: From<EnrolmentError>>(
        directory: &Path,
        node: &NodeName,
        make: impl FnOnce() -> Result<(String, String, String), E>,
    ) -> Result<Self, E> {
        let path = directory.join(ATTEMPT);
        let kept = read::<Self>(&path)?;
        // Another name, or another program's file, is another attempt.
        if let Some(kept) =
            kept.filter(|kept| kept.version == VERSION && kept.node == node.as_str())
        {
            return Ok(kept);
        }
        let (id, key, request) = make()?;
        let attempt = Self {
            version: VERSION,
            id,
            node: node.as_str().to_owned(),
            key,
            request,
        };
        write(&path, &attempt)?;
        Ok(attempt)
    }

    /// Forgets the attempt: it came to something, or never will.
    ///
    /// # Errors
    /// See [`EnrolmentError`].
    pub fn forget(directory: &Path) -> Result<(), EnrolmentError> {
        Ok(files::remove(&directory.join(ATTEMPT))?)
    }
}

fn known(path: &Path, version: u32) -> Result<(), EnrolmentError> {
    if version == VERSION {
        return Ok(());
    }
    Err(EnrolmentError::Damaged {
        path: path.to_owned(),
        why: format!("it has format {version}, and this program reads {VERSION}"),
    })
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, EnrolmentError> {
    let Some(bytes) = files::read(path)? else {
        return Ok(None);
    };
    let read = serde_json::from_slice(&bytes).map_err(|error| EnrolmentError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    Ok(Some(read))
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), EnrolmentError> {
    if let Some(directory) = path.parent() {
        files::make_directory(directory)?;
    }
    let bytes = serde_json::to_vec_pretty(value).expect("a struct of text always encodes");
    Ok(files::write(path, &bytes, Readers::Owner)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Authorities;
    use pontoon_world::World;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_enrolment_is_read_back_and_is_its_owners_alone() {
        let (directory, world) = (tempfile::tempdir().unwrap(), World::real());
        let authorities = Authorities::open(&directory.path().join("pki"), &world).unwrap();
        let node = NodeName::new("n1");
        let issued = authorities.cluster.node(&node, world.now()).unwrap();
        let place = directory.path().join("node");
        assert_eq!(Enrolment::read(&place).unwrap(), None);
        let authority = authorities.cluster.certificate_pem();
        let mut enrolment = Enrolment::new(&node, &issued, authority);
        enrolment.servers = vec!["https://a:6443".to_owned()];
        enrolment.write(&place).unwrap();
        let renewed = authorities.cluster.node(&node, world.now()).unwrap();
        enrolment.renew(&renewed, authority);
        enrolment.write(&place).unwrap();
        let read = Enrolment::read(&place).unwrap().unwrap();
        assert_eq!(read, enrolment);
        assert_eq!(read.node(), node);
        assert_eq!(read.credentials().unwrap().chain(), renewed.chain());
        let file = place.join(ENROLMENT);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{read:?}").contains("KEY"));
        std::fs::write(&file, "{").unwrap();
        let error = Enrolment::read(&place).unwrap_err().to_string();
        assert!(error.contains("join again"), "{error}");
    }

    #[test]
    fn an_attempt_is_made_once_for_each_name() {
        let directory = tempfile::tempdir().unwrap();
        let make = |id: &str| {
            let id = id.to_owned();
            move || Ok::<_, EnrolmentError>((id, "key".to_owned(), "request".to_owned()))
        };
        let of = |name: &str, id: &str| {
            Attempt::of(directory.path(), &NodeName::new(name), make(id))
                .unwrap()
                .id
        };
        assert_eq!(of("n1", "first"), "first");
        assert_eq!(of("n1", "second"), "first");
        assert_eq!(of("n2", "third"), "third");
        Attempt::forget(directory.path()).unwrap();
        Attempt::forget(directory.path()).unwrap();
        assert_eq!(of("n2", "fourth"), "fourth");
    }
}
