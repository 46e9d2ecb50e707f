//! Real handshakes over an in-memory pair.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Authorities, Identity, Member, ServerNames, lifetime};
use jiff::Timestamp;
use pontoon_world::manual::{self, ManualClock};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct Cluster {
    world: World,
    clock: Arc<ManualClock>,
    authorities: Authorities,
    _directory: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Self {
        Self::seeded(7)
    }

    fn stranger() -> Self {
        Self::seeded(8)
    }

    fn seeded(seed: u64) -> Self {
        let start: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let (world, clock) = manual::world(start, seed);
        let directory = tempfile::tempdir().unwrap();
        let authorities = Authorities::open(directory.path(), &world).unwrap();
        Self {
            world,
            clock,
            authorities,
            _directory: directory,
        }
    }

    fn roots(&self) -> Roots {
        Roots::new([self.authorities.cluster.certificate()]).unwrap()
    }

    fn server_presented(&self) -> Arc<Presented> {
        let names = ServerNames::of_cluster("cluster.local").with("10.0.0.1");
        Presented::new(
            &self
                .authorities
                .cluster
                .server(&names, self.world.now())
                .unwrap(),
        )
        .unwrap()
    }

    fn server(&self, demand: ClientCertificate) -> Arc<ServerConfig> {
        server(
            self.server_presented(),
            &self.roots(),
            demand,
            API_PROTOCOLS,
            &self.world,
        )
        .unwrap()
    }

    fn admin(&self) -> Arc<Presented> {
        Presented::new(
            &self
                .authorities
                .cluster
                .administrator(self.world.now())
                .unwrap(),
        )
        .unwrap()
    }

    fn client(&self, presented: Option<Arc<Presented>>) -> Arc<ClientConfig> {
        client(&self.roots(), presented, API_PROTOCOLS, &self.world).unwrap()
    }
}

/// What the server learnt of the client, after bytes went both ways.
struct Met {
    certificate: Option<CertificateDer<'static>>,
    protocol: Option<Vec<u8>>,
}

/// In TLS 1.3 a client learns only after its own handshake that its certificate was refused, so
/// both sides exchange a byte.
async fn meet(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<Met, String> {
    let (near, far) = tokio::io::duplex(64 << 10);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let serving = async {
        let mut stream = TlsAcceptor::from(server)
            .accept(far)
            .await
            .map_err(|error| error.to_string())?;
        let asked = stream.read_u8().await.map_err(|error| error.to_string())?;
        stream
            .write_u8(asked)
            .await
            .map_err(|error| error.to_string())?;
        let (_, session) = stream.get_ref();
        let certificate = session
            .peer_certificates()
            .map(|chain| chain[0].clone().into_owned());
        Ok::<_, String>(Met {
            certificate,
            protocol: session.alpn_protocol().map(<[u8]>::to_vec),
        })
    };
    let asking = async {
        let mut stream = TlsConnector::from(client)
            .connect(name, near)
            .await
            .map_err(|error| error.to_string())?;
        stream
            .write_u8(7)
            .await
            .map_err(|error| error.to_string())?;
        stream.read_u8().await.map_err(|error| error.to_string())
    };
    let (served, asked) = tokio::join!(serving, asking);
    match (served, asked) {
        (Ok(met), Ok(7)) => Ok(met),
        (Err(server), _) => Err(server),
        (Ok(_), wrong) => Err(format!("{wrong:?}")),
    }
}

fn refused(result: Result<Met, String>, why: &str) {
    let error = result.err().expect("the handshake must fail");
    assert!(error.contains(why), "{error:?} does not speak of {why:?}");
}

#[tokio::test]
async fn a_good_certificate_is_let_in_and_says_who_it_is() {
    let cluster = Cluster::new();
    for demand in [ClientCertificate::Optional, ClientCertificate::Required] {
        for name in [
            "localhost",
            "10.0.0.1",
            "kubernetes.default.svc.cluster.local",
            "::1",
        ] {
            let met = meet(
                cluster.server(demand),
                cluster.client(Some(cluster.admin())),
                name,
            )
            .await
            .unwrap();
            let identity = Identity::of_certificate(&met.certificate.unwrap()).unwrap();
            assert!(identity.in_group("system:masters"));
            assert_eq!(met.protocol.unwrap(), b"h2");
        }
    }
}

#[tokio::test]
async fn without_a_certificate_the_lenient_server_talks_and_the_strict_one_does_not() {
    let cluster = Cluster::new();
    let met = meet(
        cluster.server(ClientCertificate::Optional),
        cluster.client(None),
        "localhost",
    )
    .await
    .unwrap();
    assert!(met.certificate.is_none());
    let met = meet(
        cluster.server(ClientCertificate::Required),
        cluster.client(None),
        "localhost",
    )
    .await;
    refused(met, "peer sent no certificates");
}

#[tokio::test]
async fn a_strangers_certificate_is_refused_even_where_none_would_do() {
    let (cluster, stranger) = (Cluster::new(), Cluster::stranger());
    for demand in [ClientCertificate::Optional, ClientCertificate::Required] {
        let met = meet(
            cluster.server(demand),
            cluster.client(Some(stranger.admin())),
            "localhost",
        )
        .await;
        refused(met, "invalid peer certificate");
    }
}

#[tokio::test]
async fn a_strangers_server_is_not_believed() {
    let (cluster, stranger) = (Cluster::new(), Cluster::stranger());
    let met = meet(
        stranger.server(ClientCertificate::Optional),
        cluster.client(None),
        "localhost",
    )
    .await;
    refused(met, "UnknownCA");
}

#[tokio::test]
async fn a_clients_certificate_opens_no_door_between_replicas() {
    let cluster = Cluster::new();
    let peers = Roots::new([cluster.authorities.peers.certificate()]).unwrap();
    let member = Member {
        cluster: "c".to_owned(),
        id: 1,
    };
    let issued = cluster
        .authorities
        .peers
        .member(&member, cluster.world.now())
        .unwrap();
    let presented = Presented::new(&issued).unwrap();
    let strict = server(
        Arc::clone(&presented),
        &peers,
        ClientCertificate::Required,
        GRPC_PROTOCOLS,
        &cluster.world,
    )
    .unwrap();
    let dial = |presented| client(&peers, Some(presented), GRPC_PROTOCOLS, &cluster.world).unwrap();

    let met = meet(Arc::clone(&strict), dial(presented), &member.server_name())
        .await
        .unwrap();
    assert_eq!(
        Member::of_certificate(&met.certificate.unwrap()).unwrap(),
        member
    );
    let met = meet(strict, dial(cluster.admin()), &member.server_name()).await;
    refused(met, "invalid peer certificate");
}

#[tokio::test]
async fn another_member_does_not_answer_in_ones_place() {
    let cluster = Cluster::new();
    let peers = Roots::new([cluster.authorities.peers.certificate()]).unwrap();
    let member = |id| Member {
        cluster: "c".to_owned(),
        id,
    };
    let issued = cluster
        .authorities
        .peers
        .member(&member(2), cluster.world.now())
        .unwrap();
    let presented = Presented::new(&issued).unwrap();
    let strict = server(
        Arc::clone(&presented),
        &peers,
        ClientCertificate::Required,
        GRPC_PROTOCOLS,
        &cluster.world,
    )
    .unwrap();
    let dial = client(&peers, Some(presented), GRPC_PROTOCOLS, &cluster.world).unwrap();
    refused(
        meet(strict, dial, &member(1).server_name()).await,
        "BadCertificate",
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_both_sides() {
    let cluster = Cluster::new();
    let (server, admin) = (cluster.server(ClientCertificate::Optional), cluster.admin());
    cluster
        .clock
        .advance(lifetime::MACHINE + Duration::from_secs(1));
    refused(
        meet(server, cluster.client(None), "localhost").await,
        "CertificateExpired",
    );
    cluster.clock.advance(lifetime::ADMINISTRATOR);
    let server = cluster.server(ClientCertificate::Optional);
    refused(
        meet(server, cluster.client(Some(admin)), "localhost").await,
        "expired",
    );
}

#[tokio::test]
async fn a_name_the_server_does_not_have_is_refused() {
    let cluster = Cluster::new();
    for name in ["example.com", "10.0.0.2"] {
        let met = meet(
            cluster.server(ClientCertificate::Optional),
            cluster.client(None),
            name,
        )
        .await;
        refused(met, "BadCertificate");
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let cluster = Cluster::new();
    let old = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(Arc::clone(&cluster.roots().0))
        .with_no_client_auth();
    let met = meet(
        cluster.server(ClientCertificate::Optional),
        Arc::new(old),
        "localhost",
    )
    .await;
    refused(met, "peer is incompatible");
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_the_next_and_the_last_keeps_talking() {
    let cluster = Cluster::new();
    let presented = cluster.server_presented();
    let config = server(
        Arc::clone(&presented),
        &cluster.roots(),
        ClientCertificate::Optional,
        API_PROTOCOLS,
        &cluster.world,
    )
    .unwrap();
    let connect = async || {
        let (near, far) = tokio::io::duplex(64 << 10);
        let name = ServerName::try_from("localhost").unwrap();
        let (server, client) = tokio::join!(
            TlsAcceptor::from(Arc::clone(&config)).accept(far),
            TlsConnector::from(cluster.client(None)).connect(name, near)
        );
        let client = client.unwrap();
        let shown = client.get_ref().1.peer_certificates().unwrap()[0]
            .clone()
            .into_owned();
        (server.unwrap(), client, shown)
    };
    let (mut server_side, mut client_side, before) = connect().await;

    cluster.clock.advance(lifetime::MACHINE / 3 * 2);
    assert!(presented.validity().needs_rotation(cluster.world.now()));
    let names = ServerNames::of_cluster("cluster.local");
    presented
        .replace(
            &cluster
                .authorities
                .cluster
                .server(&names, cluster.world.now())
                .unwrap(),
        )
        .unwrap();
    assert!(!presented.validity().needs_rotation(cluster.world.now()));

    let (_, _, after) = connect().await;
    assert_ne!(before, after);
    client_side.write_u8(9).await.unwrap();
    client_side.flush().await.unwrap();
    assert_eq!(server_side.read_u8().await.unwrap(), 9);
}

#[test]
fn a_key_of_another_certificate_is_refused_and_the_old_one_stays() {
    let cluster = Cluster::new();
    let now = cluster.world.now();
    let (one, other) = (
        cluster.authorities.cluster.administrator(now).unwrap(),
        cluster.authorities.cluster.administrator(now).unwrap(),
    );
    let mixed = Credentials::from_pem(
        "mixed",
        one.certificate_pem().to_owned(),
        other.key_pem().to_owned(),
    )
    .unwrap();
    let presented = Presented::new(&one).unwrap();
    assert!(matches!(presented.replace(&mixed), Err(TlsError::Key(_))));
    assert_eq!(presented.certified_key().cert, one.chain());
}
