//! Mutual TLS between replicas: each side demands that the other is the member it says it is.

use pontoon_identity::tls::{ClientCertificate, TlsError};
use pontoon_identity::{Member, Presented, Roots};
use pontoon_world::World;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// HTTP/2 and nothing else.
const PROTOCOLS: &[&[u8]] = &[b"h2"];

/// Both sides of TLS between replicas.
#[derive(Clone)]
pub struct TlsParts {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for TlsParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsParts").finish_non_exhaustive()
    }
}

impl TlsParts {
    /// Shows `presented`, this member's certificate, and trusts the peers' authority.
    ///
    /// # Errors
    /// [`TlsError`] when no configuration can be made of them.
    pub fn new(presented: &Arc<Presented>, roots: &Roots, world: &World) -> Result<Self, TlsError> {
        let client: Arc<ClientConfig> =
            pontoon_identity::tls::client(roots, Some(presented.clone()), PROTOCOLS, world)?;
        let server: Arc<ServerConfig> =
            pontoon_identity::tls::server(presented.clone(), roots, ClientCertificate::Required, PROTOCOLS, world)?;
        Ok(Self { connector: client.into(), acceptor: server.into() })
    }

    /// Dials `member`, which must show its certificate.
    pub(crate) async fn connect(&self, stream: TcpStream, member: &Member) -> io::Result<client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(member.server_name()).map_err(io::Error::other)?;
        let stream = self.connector.connect(name, stream).await?;
        demand(stream.get_ref().1.peer_certificates(), |found| found == member)?;
        Ok(stream)
    }

    /// Accepts a member of `cluster`; says which.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        cluster: &str,
    ) -> io::Result<(server::TlsStream<TcpStream>, Member)> {
        let stream = self.acceptor.accept(stream).await?;
        let member = demand(stream.get_ref().1.peer_certificates(), |found| found.cluster == cluster)?;
        Ok((stream, member))
    }
}

fn demand(
    certificates: Option<&[rustls_pki_types::CertificateDer<'_>]>,
    wanted: impl Fn(&Member) -> bool,
) -> io::Result<Member> {
    let refused = |detail: String| io::Error::new(io::ErrorKind::PermissionDenied, detail);
    let certificate =
        certificates.and_then(<[_]>::first).ok_or_else(|| refused("the peer showed no certificate".into()))?;
    let member = Member::of_certificate(certificate).map_err(|error| refused(error.to_string()))?;
    if wanted(&member) {
        return Ok(member);
    }
    Err(refused(format!("member {} of cluster {} answered instead", member.id, member.cluster)))
}
