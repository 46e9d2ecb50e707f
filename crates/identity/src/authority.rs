//! The two certificate authorities, and what each issues.
//!
//! On disk an authority is `NAME-ca.crt` and `NAME-ca.key`. The key is written first: a key
//! without a certificate has never signed anything and is replaced; a certificate without a key is
//! an authority that was lost, and an error.

use crate::{
    credentials::{BadCertificate, Credentials, Validity},
    files::{self, FileError, Readers},
    lifetime,
    pem::{self, PemError},
    token::Pin,
};
use jiff::Timestamp;
use pontoon_api::NodeName;
use pontoon_world::World;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, DnsName};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

/// The group whose members may do everything, as in Kubernetes.
pub const ADMINISTRATORS: &str = "system:masters";
/// The group of nodes, as in Kubernetes.
pub const NODES: &str = "system:nodes";
/// What a node's user name begins with, as in Kubernetes.
pub const NODE_PREFIX: &str = "system:node:";

/// An authority could not be opened or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file of it could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of it is not PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Its certificate is there and its key is not.
    #[error("{} is missing, but {} exists: restore the key from a backup", key.display(), certificate.display())]
    KeyMissing {
        /// The file that is there.
        certificate: PathBuf,
        /// The file that is not.
        key: PathBuf,
    },
    /// Its key is another certificate's.
    #[error("{} does not belong to {}", key.display(), certificate.display())]
    Mismatch {
        /// The one file.
        certificate: PathBuf,
        /// The other file.
        key: PathBuf,
    },
    /// Its certificate is over.
    #[error("{} expired at {since}", certificate.display())]
    Expired {
        /// The file.
        certificate: PathBuf,
        /// Since when.
        since: Timestamp,
    },
    /// Making it failed.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// A certificate could not be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A name cannot stand in a certificate.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// It is no request for a certificate, or not of who has its key.
    #[error("not a certificate request (PKCS #10, PEM) signed with its own key")]
    Request(#[source] rcgen::Error),
    /// Signing failed.
    #[error("cannot sign a certificate")]
    Sign(#[source] rcgen::Error),
    /// What was signed cannot be read back.
    #[error(transparent)]
    Unreadable(#[from] PemError),
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        Self::Sign(error)
    }
}

/// Both authorities of a cluster.
#[derive(Debug)]
pub struct Authorities {
    /// Signs what clients and API servers show each other.
    pub cluster: ClusterAuthority,
    /// Signs what replicas show each other.
    pub peers: PeerAuthority,
}

impl Authorities {
    /// Reads both from `directory`, and makes what is not there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(directory: &Path, world: &World) -> Result<Self, OpenError> {
        files::make_directory(directory)?;
        Ok(Self {
            cluster: ClusterAuthority(Authority::open(directory, "cluster", world)?),
            peers: PeerAuthority(Authority::open(directory, "peer", world)?),
        })
    }

    /// Writes the authorities of a cluster that exists, for a server that joins it. What is there already is replaced:
    /// it was written by an earlier attempt, and has signed nothing.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is left that [`Authorities::open`] would take for whole.
    pub fn install(directory: &Path, cluster: &Handed, peers: &Handed) -> Result<(), OpenError> {
        files::make_directory(directory)?;
        for (name, handed) in [("cluster", cluster), ("peer", peers)] {
            pem::certificates(
                &format!("the {name} authority"),
                handed.certificate.as_bytes(),
            )?;
            pem::private_key(&format!("the {name} authority"), handed.key.as_bytes())?;
            let path = |end: &str| directory.join(format!("{name}-ca.{end}"));
            files::write(&path("key"), handed.key.as_bytes(), Readers::Owner)?;
            files::write(
                &path("crt"),
                handed.certificate.as_bytes(),
                Readers::Everyone,
            )?;
        }
        Ok(())
    }

    /// Both, as one server hands them to another that joins.
    #[must_use]
    pub fn hand_over(&self) -> (Handed, Handed) {
        (self.cluster.0.hand_over(), self.peers.0.hand_over())
    }
}

/// An authority on its way from one server to another, as PEM. Whoever has it is trusted with everything.
#[derive(Clone, PartialEq, Eq)]
pub struct Handed {
    /// The certificate to trust.
    pub certificate: String,
    /// The key that signs.
    pub key: String,
}

impl std::fmt::Debug for Handed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handed").finish_non_exhaustive()
    }
}

/// Signs what clients and API servers show each other.
#[derive(Debug)]
pub struct ClusterAuthority(Authority);

impl ClusterAuthority {
    /// The certificate to trust, as PEM: for kubeconfigs and nodes.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.0.certificate_pem
    }

    /// The certificate to trust.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.certificate
    }

    /// For an API server that is reached under these names.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn server(&self, names: &ServerNames, now: Timestamp) -> Result<Credentials, IssueError> {
        let mut params = leaf("pontoon-server", None, lifetime::MACHINE, now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names.alternative_names()?;
        // With the authority itself: who joins knows nothing but its hash, and must see what was hashed.
        self.0.sign_with_chain(&params)
    }

    /// For a person who may do everything.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn administrator(&self, now: Timestamp) -> Result<Credentials, IssueError> {
        let mut params = leaf(
            "pontoon-admin",
            Some(ADMINISTRATORS),
            lifetime::ADMINISTRATOR,
            now,
        );
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.0.sign(&params)
    }

    /// For a node's agent.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn node(&self, name: &NodeName, now: Timestamp) -> Result<Credentials, IssueError> {
        self.0.sign(&of_node(name, now))
    }

    /// For a node's agent that keeps its key to itself: the certificate as PEM. Nothing of the request counts but the key,
    /// whose possession it proves.
    ///
    /// # Errors
    /// [`IssueError::Request`] when it is not one, and see there.
    pub fn node_of_request(
        &self,
        request_pem: &str,
        name: &NodeName,
        now: Timestamp,
    ) -> Result<String, IssueError> {
        let request =
            CertificateSigningRequestParams::from_pem(request_pem).map_err(IssueError::Request)?;
        let certificate = of_node(name, now).signed_by(&request.public_key, &self.0.issuer)?;
        Ok(certificate.pem())
    }

    /// What a join token pins: the SHA-256 of the certificate.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin::of(&self.0.certificate)
    }
}

/// Signs what replicas show each other.
#[derive(Debug)]
pub struct PeerAuthority(Authority);

impl PeerAuthority {
    /// The certificate to trust.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.certificate
    }

    /// For a member of the cluster. It says who it is twice: as a URI that the other side reads, and as
    /// the DNS name that whoever dials it demands.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn member(
        &self,
        member: &crate::Member,
        now: Timestamp,
    ) -> Result<Credentials, IssueError> {
        let name = member.server_name();
        let mut params = leaf(&name, None, lifetime::MACHINE, now);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![
            SanType::URI(member.uri().try_into()?),
            SanType::DnsName(name.try_into()?),
        ];
        self.0.sign(&params)
    }
}

/// The names and addresses under which an API server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNames {
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl ServerNames {
    /// What every API server is reached under: the `kubernetes` service, and this machine's own
    /// loopback.
    #[must_use]
    pub fn of_cluster(cluster_domain: &str) -> Self {
        let service = "kubernetes.default.svc";
        let names = ["localhost", "kubernetes", "kubernetes.default", service].map(str::to_owned);
        Self {
            names: names
                .into_iter()
                .chain([format!("{service}.{cluster_domain}")])
                .collect(),
            addresses: [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into(),
        }
    }

    /// Adds a host name or an address, such as the one a user configured.
    #[must_use]
    pub fn with(mut self, host: &str) -> Self {
        match host.parse() {
            Ok(address) => self.addresses.insert(address),
            Err(_) => self.names.insert(host.to_ascii_lowercase()),
        };
        self
    }

    fn alternative_names(&self) -> Result<Vec<SanType>, IssueError> {
        let name = |name: &String| match DnsName::try_from(name.as_str()) {
            Ok(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
            Err(_) => Err(IssueError::Name(name.clone())),
        };
        let addresses = self
            .addresses
            .iter()
            .map(|address| Ok(SanType::IpAddress(*address)));
        self.names.iter().map(name).chain(addresses).collect()
    }
}

/// A key, and the request for a certificate of a node made with it: both as PEM.
///
/// # Errors
/// See [`IssueError`].
pub fn node_request(name: &NodeName) -> Result<(String, String), IssueError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{NODE_PREFIX}{name}"));
    let request = params.serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), request))
}

fn of_node(name: &NodeName, now: Timestamp) -> CertificateParams {
    let mut params = leaf(
        &format!("{NODE_PREFIX}{name}"),
        Some(NODES),
        lifetime::MACHINE,
        now,
    );
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

struct Authority {
    certificate_pem: String,
    key_pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    fn open(directory: &Path, name: &str, world: &World) -> Result<Self, OpenError> {
        let certificate_path = directory.join(format!("{name}-ca.crt"));
        let key_path = directory.join(format!("{name}-ca.key"));
        let Some(certificate) = files::read(&certificate_path)? else {
            // Two authorities of one name are told apart by the suffix, which makes "unknown
            // issuer" of what would be "bad signature".
            let title = format!("pontoon-{name}-ca-{}", world.entropy().name_suffix());
            let (certificate_pem, key) = create(&title, world.now())?;
            files::write(&key_path, key.serialize_pem().as_bytes(), Readers::Owner)?;
            files::write(
                &certificate_path,
                certificate_pem.as_bytes(),
                Readers::Everyone,
            )?;
            return Self::assemble(
                &certificate_path,
                &key_path,
                certificate_pem.into_bytes(),
                key,
                world.now(),
            );
        };
        let Some(key) = files::read(&key_path)? else {
            return Err(OpenError::KeyMissing {
                certificate: certificate_path,
                key: key_path,
            });
        };
        let key = parse_key(&key_path, &key)?;
        Self::assemble(&certificate_path, &key_path, certificate, key, world.now())
    }

    fn assemble(
        path: &Path,
        key_path: &Path,
        certificate_pem: Vec<u8>,
        key: KeyPair,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let origin = path.display().to_string();
        let garbage = || PemError {
            origin: origin.clone(),
            what: "certificate",
            source: None,
        };
        let certificate = pem::certificates(&origin, &certificate_pem)?.swap_remove(0);
        let certificate_pem = String::from_utf8(certificate_pem).map_err(|_| garbage())?;
        let validity = Validity::of(&certificate).map_err(|BadCertificate| garbage())?;
        if now > validity.not_after {
            return Err(OpenError::Expired {
                certificate: path.to_owned(),
                since: validity.not_after,
            });
        }
        if !belongs(&certificate, &key) {
            return Err(OpenError::Mismatch {
                certificate: path.to_owned(),
                key: key_path.to_owned(),
            });
        }
        let key_pem = key.serialize_pem();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(IssueError::from)?;
        Ok(Self {
            certificate_pem,
            key_pem,
            certificate,
            issuer,
        })
    }

    fn sign(&self, params: &CertificateParams) -> Result<Credentials, IssueError> {
        self.issue(params, "")
    }

    fn sign_with_chain(&self, params: &CertificateParams) -> Result<Credentials, IssueError> {
        self.issue(params, &self.certificate_pem)
    }

    fn issue(&self, params: &CertificateParams, chain: &str) -> Result<Credentials, IssueError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Credentials::from_pem(
            "an issued certificate",
            certificate.pem() + chain,
            key.serialize_pem(),
        )?)
    }

    fn hand_over(&self) -> Handed {
        Handed {
            certificate: self.certificate_pem.clone(),
            key: self.key_pem.clone(),
        }
    }
}

/// A new authority: its certificate and its key (ECDSA on P-256, which every client knows).
fn create(title: &str, now: Timestamp) -> Result<(String, KeyPair), IssueError> {
    let mut params = leaf(title, None, lifetime::AUTHORITY, now);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key))
}

fn parse_key(path: &Path, text: &[u8]) -> Result<KeyPair, PemError> {
    let garbage = || PemError {
        origin: path.display().to_string(),
        what: "private key",
        source: None,
    };
    let der = pem::private_key(&path.display().to_string(), text)?;
    KeyPair::try_from(&der).map_err(|_| garbage())
}

fn belongs(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| {
        parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
    })
}

/// What all certificates have in common.
fn leaf(
    common_name: &str,
    organization: Option<&str>,
    life: Duration,
    now: Timestamp,
) -> CertificateParams {
    // Seconds since 1970 fit, whatever the sign: rcgen's type comes from a crate that is not ours.
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let issued = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(organization) = organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = issued - lifetime::BACKDATE;
    params.not_after = issued + life;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

#[cfg(test)]
mod tests;
