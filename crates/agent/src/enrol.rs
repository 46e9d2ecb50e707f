//! How a node comes into a cluster: it joins once with a token, keeps its certificate fresh from then on, and learns its part of the
//! pods' network before its own is set up.
//!
//! The key is made here and never leaves. What is known is kept ([`Enrolment`]) before it is used, so that a restart at any point goes
//! on where it was and needs no token.

use crate::limits::{ENROL_RETRY_FIRST, ENROL_RETRY_MAX, RENEW_PERIOD, WELCOME_TIMEOUT};
use crate::metrics;
use crate::session::{Connection, Dial};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use pontoon_api::name::NodeName;
use pontoon_client::Transport;
use pontoon_client::transport::{Config, ConfigError};
use pontoon_identity::authority::{IssueError, node_request};
use pontoon_identity::enrolment::{Attempt, Enrolment, EnrolmentError};
use pontoon_identity::pem::{self, PemError};
use pontoon_identity::tls::{self, TlsError};
use pontoon_identity::token::TokenError;
use pontoon_identity::{Credentials, JoinToken, Presented, Role, Roots};
use pontoon_wire::node::v1::nodes_client::NodesClient;
use pontoon_wire::node::v1::{Hello, Up, down, up};
use pontoon_wire::pontoon::v1::join_client::JoinClient;
use pontoon_wire::pontoon::v1::{JoinAgentRequest, JoinAgentResponse, RenewRequest};
use pontoon_world::World;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// Why a node has no place in a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// What it kept cannot be used.
    #[error(transparent)]
    Kept(#[from] EnrolmentError),
    /// It has joined under another name.
    #[error(
        "this data directory is that of node {kept:?}, not of {asked:?}: give it another with --data-dir, or keep the name"
    )]
    OtherNode {
        /// The name it has.
        kept: String,
        /// The name it was started with.
        asked: String,
    },
    /// The token is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is for a server.
    #[error("the token is for a server: make one with `pontoon cluster token create --role agent`")]
    Role,
    /// No key or request could be made.
    #[error("no certificate can be asked for")]
    Request(#[from] IssueError),
    /// A server's address is none, or TLS is not possible.
    #[error(transparent)]
    Transport(#[from] ConfigError),
    /// TLS is not possible.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What the cluster gave is no certificate.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The cluster refused, or could not be asked.
    #[error("{}", .0.message())]
    Refused(Box<tonic::Status>),
    /// A server's greeting was none, or did not come.
    #[error("the server did not greet")]
    NoGreeting,
}

impl From<tonic::Status> for EnrolError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl EnrolError {
    /// Whether the same may succeed a little later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(
                status.code(),
                Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled
            ),
            Self::NoGreeting => true,
            _ => false,
        }
    }
}

/// A node's place in a cluster, in use.
pub struct Member {
    directory: PathBuf,
    enrolment: Mutex<Enrolment>,
    presented: Arc<Presented>,
    transport: Transport,
    world: World,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("enrolment", &*self.enrolment.lock())
            .finish_non_exhaustive()
    }
}

/// Who joins, and where.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// Where what is known is kept.
    pub directory: &'a Path,
    /// The node's name.
    pub node: &'a NodeName,
    /// Servers to ask, each as `https://HOST:PORT`.
    pub servers: &'a [String],
    /// Who asks, for the servers' logs.
    pub user_agent: &'a str,
    /// Clock and randomness.
    pub world: &'a World,
}

impl Applicant<'_> {
    /// The place this node has, if it has joined.
    ///
    /// # Errors
    /// [`EnrolError::OtherNode`], or what is kept cannot be used.
    pub fn kept(&self) -> Result<Option<Enrolment>, EnrolError> {
        let Some(kept) = Enrolment::read(self.directory)? else {
            return Ok(None);
        };
        if kept.node() != *self.node {
            return Err(EnrolError::OtherNode {
                kept: kept.node().as_str().to_owned(),
                asked: self.node.as_str().to_owned(),
            });
        }
        Ok(Some(kept))
    }

    /// Joins with a token. Repeated after whatever went wrong it is the same request, so that a token is good until it succeeded. It is
    /// tried again for as long as no server can be asked, and `patience` lasts.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn join(&self, token: &str, patience: Duration) -> Result<Enrolment, EnrolError> {
        let parsed = JoinToken::parse(token)?;
        if parsed.role != Role::Agent {
            return Err(EnrolError::Role);
        }
        let attempt = Attempt::of(self.directory, self.node, || {
            let (key, request) = node_request(self.node)?;
            let id = self.world.entropy().uuid().to_string();
            Ok::<_, EnrolError>((id, key, request))
        })?;
        let transport = Transport::new(&Config {
            servers: self.servers.to_vec(),
            server_name: None,
            tls: tls::pinned_client(parsed.pin, tls::GRPC_PROTOCOLS, self.world)?,
            user_agent: self.user_agent.to_owned(),
        })?;
        let request = JoinAgentRequest {
            token: token.trim().to_owned(),
            attempt: attempt.id.clone(),
            node_name: self.node.as_str().to_owned(),
            csr: attempt.request.clone(),
        };
        let ask = || async {
            let mut client = JoinClient::new(transport.separate());
            Ok(client.agent(request.clone()).await?.into_inner())
        };
        let given = until(self.world, patience, ask).await?;
        let enrolment = self.enrolled(&attempt, given)?;
        enrolment.write(self.directory)?;
        Attempt::forget(self.directory)?;
        Ok(enrolment)
    }

    fn enrolled(
        &self,
        attempt: &Attempt,
        given: JoinAgentResponse,
    ) -> Result<Enrolment, EnrolError> {
        let credentials = Credentials::from_pem(
            "the node's certificate",
            given.certificate,
            attempt.key.clone(),
        )?;
        let mut enrolment = Enrolment::new(self.node, &credentials, &given.cluster_certificate);
        enrolment.servers = given.servers;
        enrolment.service_cidr = given.service_cidr;
        enrolment.pod_cidr = given.pod_cidr;
        enrolment.cluster_domain = given.cluster_domain;
        Ok(enrolment)
    }

    /// Takes its place: from here on the node speaks to servers as itself.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub fn take(&self, enrolment: Enrolment) -> Result<Arc<Member>, EnrolError> {
        let presented = Presented::new(&enrolment.credentials()?)?;
        let authority =
            pem::certificates("the cluster's authority", enrolment.authority.as_bytes())?;
        let mut servers = self.servers.to_vec();
        if servers.is_empty() {
            servers.clone_from(&enrolment.servers);
        }
        let roots = Roots::new(&authority)?;
        let transport = Transport::new(&Config {
            servers,
            server_name: None,
            tls: tls::client(
                &roots,
                Some(Arc::clone(&presented)),
                tls::GRPC_PROTOCOLS,
                self.world,
            )?,
            user_agent: self.user_agent.to_owned(),
        })?;
        transport.learn(&enrolment.servers);
        Ok(Arc::new(Member {
            directory: self.directory.to_owned(),
            enrolment: Mutex::new(enrolment),
            presented,
            transport,
            world: self.world.clone(),
        }))
    }
}

/// Repeats what may pass, for as long as `patience` lasts.
async fn until<T, F, Fut>(world: &World, patience: Duration, mut ask: F) -> Result<T, EnrolError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, EnrolError>>,
{
    let began = world.clock().monotonic();
    let mut wait = ENROL_RETRY_FIRST;
    loop {
        let error = match ask().await {
            Ok(given) => return Ok(given),
            Err(error) => error,
        };
        let past = world.clock().monotonic().saturating_sub(began);
        if !error.may_pass() || past + wait > patience {
            return Err(error);
        }
        tracing::warn!(%error, ?wait, "the cluster cannot be asked; it is tried again");
        tokio::time::sleep(world.entropy().jitter(wait)).await;
        wait = (wait * 2).min(ENROL_RETRY_MAX);
    }
}

impl Member {
    /// What is known at present.
    #[must_use]
    pub fn enrolment(&self) -> Enrolment {
        self.enrolment.lock().clone()
    }

    /// The node's part of the pods' network: as it was, or as a server gives it, for which the node is made known to the
    /// cluster. Tried for as long as `patience` lasts.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn node_cidr(&self, patience: Duration) -> Result<String, EnrolError> {
        let known = self.enrolment().node_cidr;
        if !known.is_empty() {
            return Ok(known);
        }
        let node = self.enrolment().node();
        let ask = || async {
            let given = greeted(self.transport.separate(), &node).await;
            if given.is_err() {
                self.transport.turn_away();
            }
            given
        };
        let range = until(&self.world, patience, ask).await?;
        self.keep(|enrolment| enrolment.node_cidr.clone_from(&range))?;
        Ok(range)
    }

    /// Keeps the certificate fresh for as long as the agent lives. Open connections go on; new ones show the new one.
    pub async fn stay_fresh(self: Arc<Self>) {
        loop {
            if self.presented.validity().needs_rotation(self.world.now()) {
                match self.renew().await {
                    Ok(()) => tracing::info!("the node's certificate is renewed"),
                    Err(error) => {
                        metrics::renewal_failed();
                        tracing::error!(%error, until = %self.presented.validity().not_after, "the node's certificate cannot be renewed; it is tried again");
                    }
                }
            }
            tokio::time::sleep(self.world.entropy().jitter(RENEW_PERIOD)).await;
        }
    }

    async fn renew(&self) -> Result<(), EnrolError> {
        let (key, csr) = node_request(&self.enrolment().node())?;
        let mut client = JoinClient::new(self.transport.separate());
        let given = client.renew(RenewRequest { csr }).await?.into_inner();
        let credentials =
            Credentials::from_pem("the node's new certificate", given.certificate, key)?;
        // Shown only when it is kept: else a restart would come back with the old one.
        self.keep(|enrolment| {
            enrolment.renew(&credentials, &given.cluster_certificate);
            enrolment.servers.clone_from(&given.servers);
        })?;
        self.presented.replace(&credentials)?;
        self.transport.learn(&given.servers);
        Ok(())
    }

    fn keep(&self, change: impl FnOnce(&mut Enrolment)) -> Result<(), EnrolmentError> {
        let mut enrolment = self.enrolment.lock();
        let mut next = enrolment.clone();
        change(&mut next);
        if next != *enrolment {
            next.write(&self.directory)?;
            *enrolment = next;
        }
        Ok(())
    }
}

impl Dial for Member {
    fn connection(&self) -> Connection {
        self.transport.separate()
    }

    fn turn_away(&self) {
        self.transport.turn_away();
    }

    fn learn(&self, servers: &[String]) {
        self.transport.learn(servers);
        if servers.is_empty() {
            return;
        }
        if let Err(error) = self.keep(|enrolment| enrolment.servers = servers.to_vec()) {
            tracing::error!(%error, "where the servers are cannot be kept; after a restart the ones of before are asked");
        }
    }
}

/// Makes the node known and gives its range. The session is for this alone.
async fn greeted(connection: Connection, node: &NodeName) -> Result<String, EnrolError> {
    let described = Node {
        metadata: ObjectMeta {
            name: Some(node.as_str().to_owned()),
            ..ObjectMeta::default()
        },
        ..Node::default()
    };
    let described =
        serde_json::to_vec(&described).expect("Kubernetes' types can always be written");
    let hello = Up {
        message: Some(up::Message::Hello(Hello {
            node_name: node.as_str().to_owned(),
            node: described.into(),
            handlers: Vec::new(),
        })),
    };
    // What is sent is followed by silence, not by the end: the server would take that for the session's.
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let _ = sender.try_send(hello);
    let mut client = NodesClient::new(connection);
    let exchange = async {
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let mut down = client.session(requests).await?.into_inner();
        match down.message().await?.and_then(|first| first.message) {
            Some(down::Message::Welcome(welcome)) => Ok(welcome.pod_cidr),
            _ => Err(EnrolError::NoGreeting),
        }
    };
    let greeted = tokio::time::timeout(WELCOME_TIMEOUT, exchange).await;
    greeted.unwrap_or(Err(EnrolError::NoGreeting))
}
