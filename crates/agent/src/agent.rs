//! The agent as a whole: what it is started with, and how it ends.

use crate::context::Context;
use crate::ledger::{Contents, Ledger, LedgerError};
use crate::limits::PODS_DEFAULT_COUNT;
use crate::node::{Capacity, Reserve};
use crate::pods::Pods;
use crate::report::Reporter;
use crate::services::{Names, Services};
use crate::session::{Dial, Session};
use crate::tunnel::Tunnels;
use parking_lot::RwLock;
use pontoon_api::name::NodeName;
use pontoon_dns::resolv::ResolvConf;
use pontoon_network::dataplane::Dataplane;
use pontoon_runtime::Runtime;
use pontoon_world::World;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What an agent is started with.
pub struct Config {
    /// The node's name; the certificate behind `dial` has to be this node's.
    pub node: NodeName,
    /// The agent's own directory. Everything it keeps is under it.
    pub directory: PathBuf,
    /// Whether what it knows outlives it.
    pub memory: Memory,
    /// How servers are reached: a [`pontoon_client::Transport`].
    pub dial: Arc<dyn Dial>,
    /// The runtimes of this node; the first serves pods that name none.
    pub runtimes: Vec<Arc<dyn Runtime>>,
    /// The node's network.
    pub dataplane: Arc<dyn Dataplane>,
    /// The node's name server, told of every service.
    pub names: Arc<dyn Names>,
    /// Clock and randomness.
    pub world: World,
    /// Labels of the Node on top of the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// What the node keeps for itself.
    pub reserve: Reserve,
    /// Most pods; [`PODS_DEFAULT_COUNT`] when `None`.
    pub pods: Option<usize>,
    /// The node's own resolver configuration: the text of /etc/resolv.conf.
    pub resolv_conf: String,
}

/// Whether an agent finds again what it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Pods, services and settings are kept under the agent's directory: with every server down, the next agent goes on.
    Kept,
    /// Nothing is: for nodes that are only played, whose pods end with the process.
    None,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It has nothing to run pods with.
    #[error("a node needs at least one runtime")]
    NoRuntime,
    /// Two runtimes have one handler.
    #[error("two runtimes have the handler {0:?}")]
    TwoRuntimes(String),
}

/// A running agent.
pub struct Agent {
    context: Arc<Context>,
    pods: Arc<Pods>,
    tasks: JoinSet<()>,
    synced: watch::Receiver<bool>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("node", &self.context.node)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Starts the agent: reads its ledger, finds what runs, goes on with it, and dials a server. Returns once the pods of
    /// the ledger are driven, whether or not a server is there.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (labels, dial) = (config.labels.clone(), Arc::clone(&config.dial));
        let (ledger, contents) = match config.memory {
            Memory::None => (Ledger::blank(), Contents::default()),
            Memory::Kept => {
                let path = config.directory.join("ledger");
                let opened = tokio::task::spawn_blocking(move || Ledger::open(&path));
                opened.await.expect("opening the ledger does not panic")?
            }
        };
        let context = Arc::new(context(config, ledger)?);
        *context.settings.write() = contents.settings;
        context.services.restore(&contents.services);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&context.ledger).run());
        let (dataplane, world) = (Arc::clone(&context.dataplane), context.world.clone());
        tasks.spawn(Arc::clone(&context.services).run(dataplane, world));
        let pods = Pods::begin(Arc::clone(&context)).await;
        pods.restore(contents.pods);
        for runtime in context.runtimes.values() {
            tasks.spawn(Arc::clone(&pods).follow(Arc::clone(runtime)));
        }
        let (sender, synced) = watch::channel(false);
        let session = Session {
            context: Arc::clone(&context),
            pods: Arc::clone(&pods),
            tunnels: Tunnels::new(Arc::clone(&pods)),
            dial,
            labels,
            synced: sender,
        };
        tasks.spawn(session.run());
        Ok(Self {
            context,
            pods,
            tasks,
            synced,
        })
    }

    /// True while a session is up and the server has named everything: for `/readyz`.
    #[must_use]
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.clone()
    }

    /// Ends the agent. With `keep_pods` everything on the node goes on and the next agent finds it; otherwise every pod is
    /// stopped within `grace` and removed from the node, and nothing of that is reported: the objects stay as they are.
    pub async fn shutdown(mut self, keep_pods: bool, grace: Duration) {
        if keep_pods {
            self.pods.let_go().await;
        } else {
            self.pods.discard(grace).await;
        }
        self.context.ledger.flush().await;
        self.tasks.shutdown().await;
    }
}

fn context(config: Config, ledger: Arc<Ledger>) -> Result<Context, StartError> {
    let first = config.runtimes.first().ok_or(StartError::NoRuntime)?;
    let default_handler = first.handler().to_owned();
    let mut runtimes: BTreeMap<String, Arc<dyn Runtime>> = BTreeMap::new();
    for runtime in config.runtimes {
        let handler = runtime.handler().to_owned();
        if runtimes.insert(handler.clone(), runtime).is_some() {
            return Err(StartError::TwoRuntimes(handler));
        }
    }
    let pods = config.pods.unwrap_or(PODS_DEFAULT_COUNT);
    Ok(Context {
        capacity: Capacity::measure(&config.directory, pods, config.reserve),
        reporter: Arc::new(Reporter::new(config.node.clone(), config.world.clone())),
        services: Arc::new(Services::new(config.node.clone(), config.names)),
        node: config.node,
        world: config.world,
        directory: config.directory,
        runtimes,
        default_handler,
        dataplane: config.dataplane,
        ledger,
        settings: RwLock::new(None),
        resolv_conf: ResolvConf::parse(&config.resolv_conf),
    })
}
