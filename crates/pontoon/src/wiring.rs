//! The one place where services are joined.

mod planner;

use crate::config::Config;
use crate::limits::{READY_TIMEOUT, ROTATION_PERIOD};
use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use parking_lot::Mutex;
use planner::Forecaster;
use pontoon_api::{NodeName, Term};
use pontoon_apiserver::authorize::BuiltIn;
use pontoon_apiserver::{ApiServer, NodeLiveness, Others, Parts};
use pontoon_consensus::{Consensus, Tuning};
use pontoon_controllers::{Liveness, catalog};
use pontoon_identity::kubeconfig::Kubeconfig;
use pontoon_identity::{Authorities, Presented, Roots, ServerNames, tls};
use pontoon_reconcile::Reconciler;
use pontoon_state::Replica;
use pontoon_telemetry::health::{Health, Probe};
use pontoon_telemetry::{Metrics, log, trace};
use pontoon_world::World;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

/// The id of the one member of a cluster of one.
const SOLE_MEMBER: u64 = 1;

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

/// Binds the API's address.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!("{address} is already in use: end what listens there, or choose another with --listen (port 0 picks a free one)")
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
        inside: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let world = process.world.clone();
        let server_dir = data_dir.join("server");
        let cluster = cluster_id(&server_dir, &world)?;
        let consensus = Consensus::open(pontoon_consensus::Config {
            node: SOLE_MEMBER,
            cluster: cluster.clone(),
            data_dir: server_dir.clone(),
            founders: Some(BTreeMap::from([(SOLE_MEMBER, config.listen.to_string())])),
            tls: None,
            tuning: Tuning::standard(),
            world: world.clone(),
        })
        .await
        .context("the store cannot be opened")?;
        let replica: Arc<dyn Replica> = consensus.clone();
        let authorities = Authorities::open(&server_dir.join("pki"), &world)
            .context("the certificate authorities cannot be opened")?;
        let names = server_names(config, inside);
        let presented = Presented::new(&authorities.cluster.server(&names, world.now())?)?;
        let roots = Roots::new([authorities.cluster.certificate()])?;
        let tls = tls::server(
            presented.clone(),
            &roots,
            tls::ClientCertificate::Optional,
            tls::API_PROTOCOLS,
            &world,
        )?;
        let authorities = Arc::new(authorities);
        let api = ApiServer::new(Parts {
            replica: replica.clone(),
            world: world.clone(),
            authorizer: Arc::new(BuiltIn),
            plugins: Vec::new(),
            planner: Arc::new(Forecaster::new(world.clone())),
            service_cidr: config.service_cidr.clone(),
            pod_cidr: config.pod_cidr.clone(),
            cluster_domain: config.cluster_domain.clone(),
            advertise: inside,
            others: Arc::new(OtherServers(consensus.clone())),
            health: health(&replica),
            metrics: process.metrics.clone(),
            cluster_id: cluster,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })?;
        let (reconcile, stopped) = watch::channel(false);
        let liveness = Arc::new(LeaderLiveness::new(
            api.liveness(),
            replica.clone(),
            world.clone(),
        ));
        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        tasks.spawn(rotate(
            authorities.clone(),
            names,
            presented,
            world.clone(),
            stop.clone(),
        ));
        tasks.spawn(api.nodes().clone().tell_leader());
        tasks.spawn(Reconciler::new(replica, catalog::all(), liveness, world.clone()).run(stopped));
        Ok(Self {
            data_dir,
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

    /// Waits until this server leads, makes what every cluster has, and writes the administrator's kubeconfig: from then on the
    /// cluster is usable.
    pub(crate) async fn bootstrap(&mut self) -> anyhow::Result<()> {
        let lead = async {
            let mut known = self.consensus.leadership();
            while !known.ready {
                known = self.consensus.leadership_changed(known).await;
            }
        };
        tokio::time::timeout(READY_TIMEOUT, lead)
            .await
            .map_err(|_| anyhow!("no leader after {READY_TIMEOUT:?}"))?;
        pontoon_apiserver::bootstrap(&self.api)
            .await
            .context("the first objects cannot be made")?;
        let credentials = self.authorities.cluster.administrator(self.world.now())?;
        let server = format!("https://{}", self.address());
        Kubeconfig::write(
            &self.kubeconfig(),
            &server,
            self.authorities.cluster.certificate_pem(),
            ADMINISTRATOR,
            &credentials,
        )?;
        Ok(())
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
    pub(crate) async fn fatal(&self) -> String {
        self.consensus.fatal().await
    }

    /// Ends the control loop, the listeners and the store, in this order.
    pub(crate) async fn stop(mut self) {
        let _ = self.reconcile.send(true);
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.consensus.shutdown().await;
    }
}

/// The cluster's id, made at the first start and durable before it is used.
fn cluster_id(server_dir: &Path, world: &World) -> anyhow::Result<String> {
    use std::io::Write as _;
    let path = server_dir.join("cluster-id");
    let failed = || format!("the cluster's id in {} cannot be kept", path.display());
    std::fs::create_dir_all(server_dir).with_context(failed)?;
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Ok(_) => {
            return Err(anyhow!(
                "{} is empty: restore it from a backup, or remove the data directory to begin anew",
                path.display()
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(failed),
    }
    let id = world.entropy().uuid().to_string();
    let staged = server_dir.join("cluster-id.new");
    let mut file = std::fs::File::create(&staged).with_context(failed)?;
    file.write_all(id.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(failed)?;
    std::fs::rename(&staged, &path).with_context(failed)?;
    std::fs::File::open(server_dir)
        .and_then(|directory| directory.sync_all())
        .with_context(failed)?;
    Ok(id)
}

/// Every name and address a client may know the server by.
fn server_names(config: &Config, inside: Option<SocketAddr>) -> ServerNames {
    let mut names = ServerNames::of_cluster(&config.cluster_domain)
        .with("localhost")
        .with("127.0.0.1")
        .with("::1")
        .with(&config.node_name)
        .with(&first_service_address(&config.service_cidr));
    for address in [Some(config.listen), inside]
        .into_iter()
        .flatten()
        .filter(|address| !address.ip().is_unspecified())
    {
        names = names.with(&address.ip().to_string());
    }
    names
}

/// Renews the server's certificate before it expires. Connections go on; new ones see the new one.
async fn rotate(
    authorities: Arc<Authorities>,
    names: ServerNames,
    presented: Arc<Presented>,
    world: World,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROTATION_PERIOD) => {}
        }
        if !presented.validity().needs_rotation(world.now()) {
            continue;
        }
        let renewed = authorities
            .cluster
            .server(&names, world.now())
            .map_err(anyhow::Error::from);
        match renewed.and_then(|credentials| Ok(presented.replace(&credentials)?)) {
            Ok(()) => tracing::info!("the server's certificate is renewed"),
            Err(error) => tracing::error!(%error, "the server's certificate cannot be renewed"),
        }
    }
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
