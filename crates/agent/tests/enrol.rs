//! How a node comes into a cluster and stays there, against a cluster that the test plays over real TLS.
#![allow(clippy::unwrap_used, missing_docs)]

use parking_lot::Mutex;
use pontoon_agent::enrol::{Applicant, EnrolError};
use pontoon_api::name::NodeName;
use pontoon_identity::{
    Authorities, Identity, JoinToken, Presented, Role, Roots, ServerNames, tls,
};
use pontoon_wire::pontoon::v1 as wire;
use pontoon_wire::pontoon::v1::join_server::{Join, JoinServer};
use pontoon_world::manual::{ManualClock, SeededEntropy};
use pontoon_world::{Clock as _, World};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};

const DAY: Duration = Duration::from_secs(86_400);

/// What the cluster does and remembers.
struct Cluster {
    authorities: Authorities,
    world: World,
    /// Answers that are lost on their way, before one arrives.
    losses: Mutex<u32>,
    /// The attempts that were seen, and the keys they asked for.
    attempts: Mutex<Vec<(String, String)>>,
    renewals: watch::Sender<u32>,
}

#[derive(Clone)]
struct Front(Arc<Cluster>);

impl Front {
    fn certificate(&self, csr: &str, node: &str) -> String {
        let (authority, now) = (&self.0.authorities.cluster, self.0.world.now());
        authority
            .node_of_request(csr, &NodeName::new(node), now)
            .unwrap()
    }
}

#[tonic::async_trait]
impl Join for Front {
    async fn server(
        &self,
        _: Request<wire::JoinServerRequest>,
    ) -> Result<Response<wire::JoinServerResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn agent(
        &self,
        request: Request<wire::JoinAgentRequest>,
    ) -> Result<Response<wire::JoinAgentResponse>, Status> {
        let asked = request.into_inner();
        let seen = (asked.attempt.clone(), asked.csr.clone());
        self.0.attempts.lock().push(seen);
        {
            let mut losses = self.0.losses.lock();
            if *losses > 0 {
                *losses -= 1;
                return Err(Status::unavailable("the answer is lost"));
            }
        }
        if asked.node_name == "denied" {
            return Err(Status::permission_denied(
                "the token was used by node/other",
            ));
        }
        Ok(Response::new(wire::JoinAgentResponse {
            certificate: self.certificate(&asked.csr, &asked.node_name),
            cluster_certificate: self.0.authorities.cluster.certificate_pem().to_owned(),
            servers: vec!["https://127.0.0.1:1".to_owned()],
            service_cidr: "10.96.0.0/16".to_owned(),
            pod_cidr: "10.244.0.0/16".to_owned(),
            cluster_domain: "cluster.test".to_owned(),
        }))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        let answer = wire::RenewResponse {
            certificate: self.certificate(&request.into_inner().csr, "n1"),
            cluster_certificate: self.0.authorities.cluster.certificate_pem().to_owned(),
            servers: vec!["https://127.0.0.1:2".to_owned()],
        };
        self.0.renewals.send_modify(|count| *count += 1);
        Ok(Response::new(answer))
    }
}

struct Stage {
    directory: tempfile::TempDir,
    cluster: Arc<Cluster>,
    clock: Arc<ManualClock>,
    servers: Vec<String>,
    token: String,
}

impl Stage {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(
            jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        ));
        let world = World::new(clock.clone(), Arc::new(SeededEntropy::new(1)));
        let authorities = Authorities::open(&directory.path().join("pki"), &world).unwrap();
        let token = JoinToken::generate(Role::Agent, authorities.cluster.pin()).unwrap();
        let cluster = Arc::new(Cluster {
            authorities,
            world,
            losses: Mutex::new(0),
            attempts: Mutex::default(),
            renewals: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let servers = vec![format!("https://{}", listener.local_addr().unwrap())];
        tokio::spawn(serve(listener, cluster.clone()));
        Self {
            directory,
            cluster,
            clock,
            servers,
            token: token.reveal(),
        }
    }

    fn place(&self) -> std::path::PathBuf {
        self.directory.path().join("node")
    }

    fn applicant<'a>(&'a self, place: &'a Path, node: &'a NodeName) -> Applicant<'a> {
        Applicant {
            directory: place,
            node,
            servers: &self.servers,
            user_agent: "test",
            world: &self.cluster.world,
        }
    }
}

async fn serve(listener: TcpListener, cluster: Arc<Cluster>) {
    let world = cluster.world.clone();
    let roots = Roots::new([cluster.authorities.cluster.certificate()]).unwrap();
    accept(listener, move || {
        let names = ServerNames::of_cluster("cluster.test");
        let authority = &cluster.authorities.cluster;
        // Signed anew for each connection: the test's time jumps by months.
        let presented = Presented::new(&authority.server(&names, world.now()).unwrap()).unwrap();
        let optional = tls::ClientCertificate::Optional;
        let front = Front(cluster.clone());
        let config = tls::server(presented, &roots, optional, tls::GRPC_PROTOCOLS, &world).unwrap();
        (TlsAcceptor::from(config), front)
    })
    .await;
}

async fn accept(listener: TcpListener, with: impl Fn() -> (TlsAcceptor, Front)) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, front) = with();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let shown = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(<[_]>::first);
            if let Some(shown) = shown {
                assert_eq!(
                    Identity::of_certificate(shown).unwrap().user,
                    "system:node:n1"
                );
            }
            let incoming = tokio_stream::iter([Ok::<_, std::io::Error>(stream)]);
            let server = tonic::transport::Server::builder().add_service(JoinServer::new(front));
            // The client may go whenever it likes.
            let _ = server.serve_with_incoming(incoming).await;
        });
    }
}

#[tokio::test]
async fn a_node_joins_once_with_one_key_however_often_the_answer_is_lost() {
    let stage = Stage::new().await;
    let (place, node) = (stage.place(), NodeName::new("n1"));
    let applicant = stage.applicant(&place, &node);
    assert!(applicant.kept().unwrap().is_none());
    *stage.cluster.losses.lock() = 2;
    let patience = Duration::from_secs(60);
    let given_up = applicant.join(&stage.token, Duration::ZERO).await;
    assert!(matches!(given_up, Err(EnrolError::Refused(_))));
    let joined = applicant.join(&stage.token, patience).await.unwrap();
    let attempts = stage.cluster.attempts.lock().clone();
    assert_eq!(attempts.len(), 3);
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]));
    assert_eq!(joined.pod_cidr, "10.244.0.0/16");
    // From here on no token is needed, and another name is refused.
    assert_eq!(applicant.kept().unwrap(), Some(joined));
    let other = NodeName::new("n2");
    let error = stage.applicant(&place, &other).kept().unwrap_err();
    assert!(error.to_string().contains("--data-dir"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_final_and_another_cluster_is_told_nothing() {
    let stage = Stage::new().await;
    let (place, node) = (stage.place(), NodeName::new("denied"));
    let patience = Duration::from_secs(600);
    let applicant = stage.applicant(&place, &node);
    let error = applicant.join(&stage.token, patience).await.unwrap_err();
    assert_eq!(error.to_string(), "the token was used by node/other");
    let stranger = Stage::new().await;
    let applicant = Applicant {
        servers: &stranger.servers,
        ..applicant
    };
    let refused = applicant.join(&stage.token, Duration::ZERO).await;
    assert!(
        matches!(refused, Err(EnrolError::Refused(_))),
        "{refused:?}"
    );
    assert!(stranger.cluster.attempts.lock().is_empty());
    let server = JoinToken::generate(Role::Server, stage.cluster.authorities.cluster.pin());
    let refused = applicant.join(&server.unwrap().reveal(), patience).await;
    assert!(matches!(refused, Err(EnrolError::Role)), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_expires_and_kept_before_it_is_shown() {
    let stage = Stage::new().await;
    let (place, node) = (stage.place(), NodeName::new("n1"));
    let applicant = stage.applicant(&place, &node);
    let joined = applicant.join(&stage.token, Duration::ZERO).await.unwrap();
    let member = applicant.take(joined.clone()).unwrap();
    let mut renewals = stage.cluster.renewals.subscribe();
    stage.clock.advance(61 * DAY);
    let fresh = tokio::spawn(member.clone().stay_fresh());
    renewals.wait_for(|count| *count == 1).await.unwrap();
    while member.enrolment() == joined {
        tokio::task::yield_now().await;
    }
    let kept = applicant.kept().unwrap().unwrap();
    assert_eq!(kept, member.enrolment());
    assert_eq!(kept.servers, ["https://127.0.0.1:2"]);
    let credentials = kept.credentials().unwrap();
    assert!(credentials.validity().not_after > stage.clock.now() + 80 * DAY);
    assert_ne!(
        credentials.key_pem(),
        joined.credentials().unwrap().key_pem()
    );
    fresh.abort();
}
