//! TLS configurations: 1.3 only, ring, and certificates that can be replaced while
//! connections live.

use crate::{Credentials, Pin, Validity};
use arc_swap::ArcSwap;
use pontoon_world::World;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::{sync::Arc, time::Duration};

/// What an API server speaks: gRPC and REST over HTTP/2, REST over HTTP/1.1.
pub const API_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What only gRPC speaks.
pub const GRPC_PROTOCOLS: &[&[u8]] = &[b"h2"];

/// Why a configuration could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate to trust is not an authority's.
    #[error("a certificate to trust is not usable as one")]
    Root(#[source] rustls::Error),
    /// The key is of a kind that ring does not know, or not the certificate's.
    #[error("the private key does not belong to the certificate")]
    Key(#[source] rustls::Error),
    /// There is nothing to trust.
    #[error("there is no certificate to trust")]
    NoRoots(#[source] rustls::server::VerifierBuilderError),
    /// rustls refuses the combination.
    #[error("cannot configure TLS")]
    Configuration(#[source] rustls::Error),
}

/// Whether a server insists on a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// One that is shown must be good; who shows none is told 401 in HTTP.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// The authorities to trust.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Trusts each of the certificates as an authority.
    ///
    /// # Errors
    /// [`TlsError::Root`].
    pub fn new<'a>(
        certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    ) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            store.add(certificate.clone()).map_err(TlsError::Root)?;
        }
        Ok(Self(Arc::new(store)))
    }
}

/// The certificate that one side shows. Replacing it touches no connection: those that are
/// begin after that show the other one.
#[derive(Debug)]
pub struct Presented {
    current: ArcSwap<(Arc<CertifiedKey>, Validity)>,
}

impl Presented {
    /// Shows `credentials`, until they are replaced.
    ///
    /// # Errors
    /// [`TlsError::Key`].
    pub fn new(credentials: &Credentials) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(certified(credentials)?),
        }))
    }

    /// Shows `credentials` on connections that begin from here on. After an error the old ones
    /// stay.
    ///
    /// # Errors
    /// [`TlsError::Key`].
    pub fn replace(&self, credentials: &Credentials) -> Result<(), TlsError> {
        self.current.store(Arc::new(certified(credentials)?));
        Ok(())
    }

    /// When the shown certificate is valid: ask it whether to replace it.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.current.load().1
    }

    fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().0)
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified_key())
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The server's side: shows `presented`, and trusts clients whose certificate comes from `roots`.
///
/// # Errors
/// See [`TlsError`].
pub fn server(
    presented: Arc<Presented>,
    roots: &Roots,
    demand: ClientCertificate,
    protocols: &[&[u8]],
    world: &World,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.0), provider());
    let verifier = match demand {
        ClientCertificate::Optional => verifier.allow_unauthenticated(),
        ClientCertificate::Required => verifier,
    };
    let verifier = verifier.build().map_err(TlsError::NoRoots)?;
    let mut config = ServerConfig::builder_with_details(provider(), time(world))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Configuration)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(presented);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    // A resumed session would carry an identity on past its certificate's end.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The client's side: trusts servers whose certificate comes from `roots` and has the dialled
/// name, and shows `presented`, if any.
///
/// # Errors
/// See [`TlsError`].
pub fn client(
    roots: &Roots,
    presented: Option<Arc<Presented>>,
    protocols: &[&[u8]],
    world: &World,
) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_details(provider(), time(world))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Configuration)?
        .with_root_certificates(Arc::clone(&roots.0));
    let mut config = match presented {
        Some(presented) => config.with_client_cert_resolver(presented),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The side of who joins: it knows nothing of the cluster but `pin`, the hash of its authority, which the server must
/// show behind its own certificate.
///
/// # Errors
/// See [`TlsError`].
pub fn pinned_client(
    pin: Pin,
    protocols: &[&[u8]],
    world: &World,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_details(provider(), time(world))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Configuration)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(pin)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Trusts the one authority that hashes to the pin, and then everything is as usual.
#[derive(Debug)]
struct Pinned(Pin);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|shown| Pin::of(shown) == self.0)
            .ok_or_else(|| {
                rustls::Error::General(
                    "the server is not of the cluster that made the token: its authority is not the pinned one"
                        .into(),
                )
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 or nothing".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn certified(credentials: &Credentials) -> Result<(Arc<CertifiedKey>, Validity), TlsError> {
    let key = CertifiedKey::from_der(
        credentials.chain().to_vec(),
        credentials.key().clone_key(),
        &provider(),
    )
    .map_err(TlsError::Key)?;
    Ok((Arc::new(key), credentials.validity()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn time(world: &World) -> Arc<dyn TimeProvider> {
    Arc::new(WorldTime(world.clone()))
}

/// Certificates are judged by the world's clock, which is the only one there is.
#[derive(Debug)]
struct WorldTime(World);

impl TimeProvider for WorldTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests;
