//! Mutual TLS between replicas: each side demands that the other is the member it says it is.

use crate::transport::Stream;
use pontoon_identity::tls::{ClientCertificate, TlsError};
use pontoon_identity::{Member, Presented, Roots};
use pontoon_world::World;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
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
        let server: Arc<ServerConfig> = pontoon_identity::tls::server(
            presented.clone(),
            roots,
            ClientCertificate::Required,
            PROTOCOLS,
            world,
        )?;
        Ok(Self {
            connector: client.into(),
            acceptor: server.into(),
        })
    }

    /// Dials `member`, which must show its certificate.
    pub(crate) async fn connect(
        &self,
        stream: Stream,
        member: &Member,
    ) -> io::Result<client::TlsStream<Stream>> {
        let name = ServerName::try_from(member.server_name()).map_err(io::Error::other)?;
        let stream = self.connector.connect(name, stream).await?;
        demand(stream.get_ref().1.peer_certificates(), |found| {
            found == member
        })?;
        Ok(stream)
    }

    /// Accepts a member of `cluster`; says which.
    pub(crate) async fn accept(
        &self,
        stream: Stream,
        cluster: &str,
    ) -> io::Result<(server::TlsStream<Stream>, Member)> {
        let stream = self.acceptor.accept(stream).await?;
        let member = demand(stream.get_ref().1.peer_certificates(), |found| {
            found.cluster == cluster
        })?;
        Ok((stream, member))
    }
}

fn demand(
    certificates: Option<&[rustls_pki_types::CertificateDer<'_>]>,
    wanted: impl Fn(&Member) -> bool,
) -> io::Result<Member> {
    let refused = |detail: String| io::Error::new(io::ErrorKind::PermissionDenied, detail);
    let certificate = certificates
        .and_then(<[_]>::first)
        .ok_or_else(|| refused("the peer showed no certificate".into()))?;
    let member = Member::of_certificate(certificate).map_err(|error| refused(error.to_string()))?;
    if wanted(&member) {
        return Ok(member);
    }
    Err(refused(format!(
        "member {} of cluster {} answered instead",
        member.id, member.cluster
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pontoon_api::NodeName;
    use pontoon_identity::{Authorities, Credentials};
    use tokio::net::{TcpListener, TcpStream};

    fn member(cluster: &str, id: u64) -> Member {
        Member {
            cluster: cluster.into(),
            id,
        }
    }

    fn parts(authorities: &Authorities, credentials: &Credentials, world: &World) -> TlsParts {
        let roots = Roots::new([authorities.peers.certificate()]).unwrap();
        TlsParts::new(&Presented::new(credentials).unwrap(), &roots, world).unwrap()
    }

    /// A handshake of `dialler` with `answerer`, who is dialled as `wanted` and serves cluster `c`: what
    /// either side says.
    async fn handshake(
        dialler: TlsParts,
        answerer: TlsParts,
        wanted: Member,
    ) -> (bool, Option<Member>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            Some(answerer.accept(Box::pin(stream), "c").await.ok()?.1)
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let dialled = dialler.connect(Box::pin(stream), &wanted).await.is_ok();
        (dialled, served.await.unwrap())
    }

    #[tokio::test]
    async fn each_side_learns_who_the_other_is() {
        let (root, world) = (tempfile::tempdir().unwrap(), World::real());
        let authorities = Authorities::open(root.path(), &world).unwrap();
        let issue = |id| {
            parts(
                &authorities,
                &authorities
                    .peers
                    .member(&member("c", id), world.now())
                    .unwrap(),
                &world,
            )
        };
        let (dialled, served) = handshake(issue(1), issue(2), member("c", 2)).await;
        assert!(dialled);
        assert_eq!(served, Some(member("c", 1)));
    }

    #[tokio::test]
    async fn another_member_than_the_dialled_one_is_refused() {
        let (root, world) = (tempfile::tempdir().unwrap(), World::real());
        let authorities = Authorities::open(root.path(), &world).unwrap();
        let issue = |id| {
            parts(
                &authorities,
                &authorities
                    .peers
                    .member(&member("c", id), world.now())
                    .unwrap(),
                &world,
            )
        };
        assert!(!handshake(issue(1), issue(3), member("c", 2)).await.0);
    }

    #[tokio::test]
    async fn members_of_another_cluster_and_clients_are_refused() {
        let (root, world) = (tempfile::tempdir().unwrap(), World::real());
        let authorities = Authorities::open(root.path(), &world).unwrap();
        let good = parts(
            &authorities,
            &authorities
                .peers
                .member(&member("c", 2), world.now())
                .unwrap(),
            &world,
        );
        let foreign = authorities
            .peers
            .member(&member("other", 1), world.now())
            .unwrap();
        let node = authorities
            .cluster
            .node(&NodeName::new("n"), world.now())
            .unwrap();
        for intruder in [foreign, node] {
            let intruder = parts(&authorities, &intruder, &world);
            assert_eq!(
                handshake(intruder, good.clone(), member("c", 2)).await.1,
                None
            );
        }
    }
}
