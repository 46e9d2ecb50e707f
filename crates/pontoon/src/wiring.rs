//! The one place where services are joined.

mod planner;

use crate::certificates::Certificates;
use crate::config::Config;
use crate::joining::Addresses;
use crate::limits::{HAND_OVER, REMEMBER_PERIOD, TELL_PERIOD, WAIT_PAUSE};
use crate::place::Place;
use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use parking_lot::Mutex;
use planner::Forecaster;
use pontoon_api::{NodeName, Term};
use pontoon_apiserver::authorize::BuiltIn;
use pontoon_apiserver::{ApiServer, NodeLiveness, Others, Parts};
use pontoon_consensus::{Consensus, Standing, TlsParts, Tuning};
use pontoon_controllers::{Liveness, catalog};
use pontoon_identity::kubeconfig::Kubeconfig;
use pontoon_identity::{Authorities, Credentials, FileError, Presented, Roots, ServerNames, tls};
use pontoon_reconcile::Reconciler;
use pontoon_state::{Membership as _, Replica};
use pontoon_telemetry::health::{Health, Probe};
use pontoon_telemetry::{Metrics, log, trace};
use pontoon_world::World;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

/// This program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The user that the administrator's kubeconfig names.
const ADMINISTRATOR: &str = "pontoon-admin";

/// Starts the threads that everything runs on.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // A limit, not a size: pages are taken as they are touched.
        .thread_stack_size(pontoon_api::limits::DECODE_STACK_BYTES)
        .build()
        .context("cannot start threads")
}

/// Makes the data directory and gives its absolute path.
pub(crate) fn make_data_dir(config: &Config) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let path = &config.data_dir;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.with_context(|| format!("data directory {} cannot be made", path.display()))?;
    path.canonicalize()
        .with_context(|| format!("data directory {} cannot be used", path.display()))
}

/// Binds an address, which `flag` chose.
pub(crate) fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!("{address} is already in use: end what listens there, or choose another with {flag} (port 0 picks a free one)")
        }
        _ => anyhow!("{address} cannot be listened on: {error}"),
    })?;
    listener
        .set_nonblocking(true)
        .context("the listener cannot be prepared")?;
    Ok(listener)
}

/// What a process has once: its clock, logs, metrics and traces.
pub(crate) struct Process {
    pub(crate) world: World,
    pub(crate) metrics: Metrics,
    _telemetry: trace::Guard,
}

impl Process {
    /// Starts telemetry. To be called inside the runtime.
    pub(crate) fn start(config: &Config) -> anyhow::Result<Self> {
        let logs = log::Config {
            format: config.log_format,
            filter: config.log_filter.clone(),
        };
        let traces = config.otlp_endpoint.clone().map(|endpoint| trace::Config {
            endpoint,
            service: "pontoon".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            instance: config.node_name.clone(),
            ratio: 1.0,
        });
        let telemetry = pontoon_telemetry::start(&logs, traces.as_ref())
            .context("telemetry cannot be started")?;
        let metrics = Metrics::install();
        pontoon_agent::metrics::describe();
        tokio::spawn(metrics.clone().upkeep());
        Ok(Self {
            world: World::real(),
            metrics,
            _telemetry: telemetry,
        })
    }
}

/// The replicated store, the API and the control loop of one server.
pub(crate) struct ControlPlane {
    data_dir: PathBuf,
    place: Place,
    /// Where it is reached, if it may have other servers beside it.
    addresses: Option<Addresses>,
    peer_tls: Option<TlsParts>,
    consensus: Arc<Consensus>,
    api: Arc<ApiServer>,
    authorities: Arc<Authorities>,
    tls: Arc<rustls::ServerConfig>,
    world: World,
    /// Of the first listener.
    address: Option<SocketAddr>,
    stop: CancellationToken,
    reconcile: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl ControlPlane {
    /// Opens the store and starts everything but the listeners. `inside` is where pods and nodes reach the API, if
    /// they can.
    pub(crate) async fn start(
        config: &Config,
        process: &Process,
        data_dir: PathBuf,
        place: Place,
        reached: Reached,
    ) -> anyhow::Result<Self> {
        let world = process.world.clone();
        let server_dir = data_dir.join("server");
        let authorities = Authorities::open(&server_dir.join("pki"), &world)
            .context("the certificate authorities cannot be opened")?;
        let authorities = Arc::new(authorities);
        let mut certificates = Certificates::new(authorities.clone(), world.clone());
        let peer_tls = match &reached.addresses {
            None => None,
            Some(_) => Some(certificates.of_member(&place)?),
        };
        let peer = reached.addresses.as_ref().map_or_else(
            || config.listen.to_string(),
            |addresses| addresses.peer.clone(),
        );
        let consensus = Consensus::open(pontoon_consensus::Config {
            node: place.member,
            cluster: place.cluster.clone(),
            data_dir: server_dir.clone(),
            founders: place
                .founding
                .then(|| BTreeMap::from([(place.member, peer)])),
            tls: peer_tls.clone(),
            tuning: Tuning::standard(),
            world: world.clone(),
        })
        .await
        .context("the store cannot be opened")?;
        if place.founding {
            place.confirm()?;
        }
        let replica: Arc<dyn Replica> = consensus.clone();
        let tls = certificates.of_server(server_names(config, &reached))?;
        let api = ApiServer::new(Parts {
            replica: replica.clone(),
            world: world.clone(),
            authorizer: Arc::new(BuiltIn),
            plugins: Vec::new(),
            planner: Arc::new(Forecaster::new(world.clone())),
            service_cidr: config.service_cidr.clone(),
            pod_cidr: config.pod_cidr.clone(),
            cluster_domain: config.cluster_domain.clone(),
            advertise: reached.inside,
            others: Arc::new(OtherServers(consensus.clone())),
            health: health(&replica),
            metrics: process.metrics.clone(),
            cluster_id: place.cluster.clone(),
            membership: consensus.clone(),
            authorities: Some(authorities.clone()),
            version: VERSION.to_owned(),
        })?;
        let (reconcile, stopped) = watch::channel(false);
        let liveness = Arc::new(LeaderLiveness::new(
            api.liveness(),
            replica.clone(),
            world.clone(),
        ));
        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        tasks.spawn(certificates.keep(stop.clone()));
        tasks.spawn(api.nodes().clone().tell_leader());
        tasks.spawn(Reconciler::new(replica, catalog::all(), liveness, world.clone()).run(stopped));
        Ok(Self {
            data_dir,
            place,
            addresses: reached.addresses,
            peer_tls,
            consensus,
            api,
            authorities,
            tls,
            world,
            address: None,
            stop,
            reconcile,
            tasks,
        })
    }

    /// Waits until this server may take part: one without a log asks the others.
    pub(crate) async fn admission(&self) -> anyhow::Result<()> {
        let blank = self.consensus.is_blank().await;
        if !blank.map_err(|why| anyhow!("the store has stopped: {why}"))? {
            return Ok(());
        }
        let mut told = Instant::now();
        loop {
            match self.consensus.standing(&self.place.peers).await {
                Standing::Admitted => return Ok(()),
                Standing::Expelled(why) => return Err(anyhow!("{why}")),
                Standing::Unknown(why) if self.place.peers.is_empty() => {
                    return Err(anyhow!(
                        "member {} has lost its log, and knows nobody to get it from ({why}): restore it from a backup",
                        self.place.member
                    ));
                }
                Standing::Unknown(why) => {
                    told = waiting(told, "another server to get the log from", &why);
                }
            }
            tokio::time::sleep(WAIT_PAUSE).await;
        }
    }

    /// Answers the other servers, if this one may take part: who lost its log or was removed may not.
    pub(crate) async fn serve_peers(&mut self, listener: TcpListener) -> anyhow::Result<()> {
        self.admission().await?;
        let listener = tokio::net::TcpListener::from_std(listener)
            .context("the peers' listener cannot be used")?;
        let (service, tls, stop) = (
            self.consensus.service().beside(self.api.nodes().relay()),
            self.peer_tls.clone(),
            self.stop.clone(),
        );
        self.tasks.spawn(async move {
            if let Err(error) =
                pontoon_consensus::serve(listener, service, tls, stop.cancelled_owned()).await
            {
                tracing::error!(%error, "other servers are answered no longer");
            }
        });
        let (consensus, place, stop) = (
            self.consensus.clone(),
            self.place.clone(),
            self.stop.clone(),
        );
        self.tasks.spawn(async move {
            tokio::select! {
                () = remember(consensus, place) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(())
    }

    /// Serves the API on a listener. The first one is what the kubeconfig names.
    pub(crate) fn serve(&mut self, listener: TcpListener) -> anyhow::Result<()> {
        let address = listener
            .local_addr()
            .context("the listener has no address")?;
        self.address.get_or_insert(address);
        let listener =
            tokio::net::TcpListener::from_std(listener).context("the listener cannot be used")?;
        self.tasks.spawn(pontoon_apiserver::serve(
            self.api.clone(),
            listener,
            self.tls.clone(),
            self.stop.clone(),
        ));
        Ok(())
    }

    /// Waits until the store answers, makes what every cluster has, and writes the administrator's kubeconfig: from then on
    /// the cluster is usable.
    pub(crate) async fn bootstrap(&mut self) -> anyhow::Result<()> {
        let mut told = Instant::now();
        while let Err(why) = self.consensus.read().await {
            told = waiting(told, "a majority of the servers", &why.to_string());
            tokio::time::sleep(WAIT_PAUSE).await;
        }
        if let Some(Addresses { peer, api }) = &self.addresses {
            self.api
                .registrar()
                .register(peer, api, VERSION)
                .await
                .context("this server cannot be made known to the others")?;
        }
        pontoon_apiserver::bootstrap(&self.api)
            .await
            .context("the first objects cannot be made")?;
        let reached = self
            .addresses
            .as_ref()
            .map(|addresses| addresses.api.clone());
        let address = reached.unwrap_or_else(|| self.address().to_string());
        let file = AdministratorsFile {
            path: self.kubeconfig(),
            server: format!("https://{address}"),
            authority: self.authorities.cluster.certificate_pem().to_owned(),
            credentials: self.authorities.cluster.administrator(self.world.now())?,
        };
        let others = file.others(&self.api);
        file.write(&others)?;
        if self.addresses.is_some() {
            self.tasks
                .spawn(file.keep(self.api.clone(), others, self.stop.clone()));
        }
        Ok(())
    }

    /// The member's id.
    pub(crate) const fn member(&self) -> u64 {
        self.place.member
    }

    /// Where the API is served.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
            .expect("a listener is served before anything asks")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data_dir.join("admin.kubeconfig")
    }

    /// What a node of this machine presents to the API.
    pub(crate) fn node_tls(&self, name: &str) -> anyhow::Result<Arc<rustls::ClientConfig>> {
        let credentials = self
            .authorities
            .cluster
            .node(&NodeName::new(name), self.world.now())?;
        let roots = Roots::new([self.authorities.cluster.certificate()])?;
        Ok(tls::client(
            &roots,
            Some(Presented::new(&credentials)?),
            tls::GRPC_PROTOCOLS,
            &self.world,
        )?)
    }

    /// Waits until the replica must not go on, and says why.
    pub(crate) fn fatal(&self) -> impl Future<Output = String> + use<> {
        let consensus = self.consensus.clone();
        async move { consensus.fatal().await }
    }

    /// Ends the control loop, the listeners and the store, in this order.
    pub(crate) async fn stop(mut self) {
        let _ = self.reconcile.send(true);
        // The others need not find out by themselves that their leader has gone.
        if self.consensus.leadership().ready && self.consensus.members().len() > 1 {
            let _ = tokio::time::timeout(HAND_OVER, self.consensus.transfer(None)).await;
        }
        self.stop.cancel();
        self.api.end();
        while self.tasks.join_next().await.is_some() {}
        self.consensus.shutdown().await;
    }
}

/// Where a server is reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached {
    /// By pods and nodes, if they can.
    pub(crate) inside: Option<SocketAddr>,
    /// By clients and other servers; `None` for a cluster that stays one server.
    pub(crate) addresses: Option<Addresses>,
}

/// The administrator's kubeconfig: it names this server first, and the others for clients that can try several.
struct AdministratorsFile {
    path: PathBuf,
    server: String,
    authority: String,
    credentials: Credentials,
}

impl AdministratorsFile {
    fn others(&self, api: &ApiServer) -> Vec<String> {
        let mut servers = api.registrar().servers();
        servers.retain(|server| *server != self.server);
        servers
    }

    fn write(&self, others: &[String]) -> Result<(), FileError> {
        let (path, server) = (&self.path, &self.server);
        Kubeconfig::write(
            path,
            server,
            others,
            &self.authority,
            ADMINISTRATOR,
            &self.credentials,
        )
    }

    /// Writes it again when servers come and go, until `stop`.
    async fn keep(self, api: Arc<ApiServer>, mut written: Vec<String>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REMEMBER_PERIOD) => {}
            }
            let others = self.others(&api);
            if others == written {
                continue;
            }
            match self.write(&others) {
                Ok(()) => written = others,
                Err(error) => tracing::warn!(%error, "the kubeconfig cannot be written again"),
            }
        }
    }
}

/// Keeps where the other members are, for a start without a log.
async fn remember(consensus: Arc<Consensus>, mut place: Place) {
    loop {
        let me = place.member;
        let members = consensus.members().into_iter();
        let others = members
            .filter(|member| member.id != me)
            .map(|member| (member.id, member.address));
        let others: BTreeMap<u64, String> = others.collect();
        if !others.is_empty() {
            match place.clone().remember(others) {
                Ok(kept) => place = kept,
                Err(error) => tracing::warn!(%error, "where the other servers are cannot be kept"),
            }
        }
        tokio::time::sleep(REMEMBER_PERIOD).await;
    }
}

/// Says what is waited for, now and then; gives when it was said last.
fn waiting(told: Instant, what: &str, why: &str) -> Instant {
    if told.elapsed() < TELL_PERIOD {
        return told;
    }
    eprintln!("Waiting for {what}: {why}");
    Instant::now()
}

/// Every name and address a client may know the server by.
fn server_names(config: &Config, reached: &Reached) -> ServerNames {
    let mut names = ServerNames::of_cluster(&config.cluster_domain)
        .with("localhost")
        .with("127.0.0.1")
        .with("::1")
        .with(&config.node_name)
        .with(&first_service_address(&config.service_cidr));
    if let Some((host, _)) = &config.advertise {
        names = names.with(host);
    }
    if let Some((host, _)) = reached
        .addresses
        .as_ref()
        .and_then(|at| at.api.rsplit_once(':'))
    {
        names = names.with(host.trim_start_matches('[').trim_end_matches(']'));
    }
    for address in [Some(config.listen), reached.inside]
        .into_iter()
        .flatten()
        .filter(|address| !address.ip().is_unspecified())
    {
        names = names.with(&address.ip().to_string());
    }
    names
}

/// The `kubernetes` service's address: the first of the range.
fn first_service_address(cidr: &str) -> String {
    let network = cidr
        .split('/')
        .next()
        .and_then(|address| address.parse::<std::net::Ipv4Addr>().ok());
    network.map_or_else(String::new, |network| {
        std::net::Ipv4Addr::from(u32::from(network) + 1).to_string()
    })
}

fn health(replica: &Arc<dyn Replica>) -> Health {
    let health = Health::with_ping();
    let (leader, disk, state) = (
        Arc::downgrade(replica),
        Arc::downgrade(replica),
        Arc::downgrade(replica),
    );
    let gone = || "the store is closed".to_owned();
    health.add(Probe::Ready, "leader", move || {
        let leadership = leader.upgrade().ok_or_else(gone)?.leadership();
        if leadership.leader.is_some() {
            Ok(())
        } else {
            Err(format!("no leader in term {}", leadership.term))
        }
    });
    health.add(Probe::Ready, "state", move || {
        match state.upgrade().ok_or_else(gone)?.trouble() {
            None => Ok(()),
            Some(trouble) => Err(trouble.detail),
        }
    });
    health.add(Probe::Live, "store", move || {
        disk.upgrade().map(|_| ()).ok_or_else(gone)
    });
    health
}

/// The other servers over the peers' port.
struct OtherServers(Arc<Consensus>);

#[tonic::async_trait]
impl Others for OtherServers {
    fn me(&self) -> u64 {
        self.0.node()
    }

    fn ids(&self) -> Vec<u64> {
        let members = self.0.members().into_iter().map(|member| member.id);
        members.filter(|id| *id != self.0.node()).collect()
    }

    async fn channel(&self, id: u64) -> Result<Channel, Status> {
        let channel = self.0.peer(id).await;
        channel.map_err(|error| Status::unavailable(error.to_string()))
    }

    fn forget(&self, id: u64) {
        self.0.forget_peer(id);
    }
}

/// When nodes were last heard of, as the controllers ask it: a new leadership gives every node its whole grace again.
struct LeaderLiveness {
    nodes: NodeLiveness,
    replica: Arc<dyn Replica>,
    world: World,
    since: Mutex<(Term, Timestamp)>,
}

impl LeaderLiveness {
    fn new(nodes: NodeLiveness, replica: Arc<dyn Replica>, world: World) -> Self {
        let since = Mutex::new((replica.leadership().term, world.now()));
        Self {
            nodes,
            replica,
            world,
            since,
        }
    }
}

impl Liveness for LeaderLiveness {
    fn last_heard(&self, node: &str) -> Option<Timestamp> {
        let ago = self
            .world
            .clock()
            .monotonic()
            .checked_sub(self.nodes.last(node)?)?;
        let heard = self
            .world
            .now()
            .checked_sub(jiff::SignedDuration::try_from(ago).ok()?)
            .ok()?;
        Some(heard.max(self.leading_since()))
    }

    fn leading_since(&self) -> Timestamp {
        let mut since = self.since.lock();
        let term = self.replica.leadership().term;
        if since.0 != term {
            *since = (term, self.world.now());
        }
        since.1
    }
}
