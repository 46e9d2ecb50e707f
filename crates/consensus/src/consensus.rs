//! One replica: opened, served, asked, shut down.

use crate::agreement::{self, Agreement};
use crate::config::Config;
use crate::disk::{Disk, RaftLog, StateDisk};
use crate::limits::{TASK_END, TASK_END_POLL};
use crate::log_store::LogStore;
use crate::membership::{self, MembershipError};
use crate::metrics;
use crate::network::Network;
use crate::peers::Peers;
use crate::read::Gate;
use crate::service::Service;
use crate::space::Space;
use crate::state_machine::{Progress, StateMachine};
use crate::transport::{Dialer, Tcp};
use crate::types::{Raft, TypeConfig};
use crate::waiters::Waiters;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use pontoon_api::{Revision, Term};
use pontoon_identity::Member;
use pontoon_state::apply::History;
use pontoon_state::replica::{MemberStatus, Trouble};
use pontoon_state::seeded::{self, Bug};
use pontoon_state::{
    Command, Feed, KvError, Leadership, Outcome, ProposeError, ReadError, Replica, View, Watch,
    WatchEnd,
};
use pontoon_storage::Identity;
use std::sync::{Arc, Weak};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A replica cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its data directory cannot.
    #[error(transparent)]
    Storage(#[from] pontoon_storage::OpenError),
    /// Its state cannot be loaded.
    #[error(transparent)]
    State(#[from] KvError),
    /// Raft refused to start over what is stored.
    #[error("consensus cannot start: {0}")]
    Raft(String),
    /// The settings contradict each other.
    #[error("consensus is set up wrongly: {0}")]
    Config(String),
    /// The cluster could not be founded.
    #[error(transparent)]
    Found(#[from] MembershipError),
}

/// One replica of the store. Implements `state`'s [`Replica`].
pub struct Consensus {
    pub(crate) raft: Raft,
    pub(crate) feed: Arc<Feed>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) gate: Gate,
    pub(crate) agreement: Arc<Agreement>,
    pub(crate) membership: tokio::sync::Mutex<()>,
    store: Arc<dyn StateDisk>,
    /// Owned by Raft's tasks.
    log: Weak<dyn RaftLog>,
    fatal: watch::Receiver<Option<String>>,
    closing: watch::Sender<bool>,
    observer: JoinHandle<()>,
    keepers: parking_lot::Mutex<JoinSet<()>>,
    // Behind everything that uses the directory: it holds the lock.
    pub(crate) space: Arc<Space>,
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus")
            .field("me", &self.peers.me)
            .field("leadership", &self.leadership_now())
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}

impl Consensus {
    /// Opens the data directory and takes part in the cluster. A sole member leads when this returns or shortly after:
    /// wait with [`Replica::leadership_changed`].
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs.
    pub async fn open(config: Config) -> Result<Arc<Self>, OpenError> {
        let identity = Identity {
            cluster: config.cluster.clone(),
            node: config.node,
        };
        let disk = Disk::open(&config.data_dir, &identity)?;
        Self::open_on(config, disk, Arc::new(Tcp)).await
    }

    /// As [`Consensus::open`], on a given disk and network. The configuration's directory is not looked at.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs.
    pub async fn open_on(
        config: Config,
        disk: Disk,
        dialer: Arc<dyn Dialer>,
    ) -> Result<Arc<Self>, OpenError> {
        metrics::describe();
        pontoon_storage::metrics::describe();
        let Disk {
            log,
            state: store,
            room,
        } = disk;
        let held = Arc::downgrade(&log);
        let waiters = Waiters::new(config.node, config.world.entropy().u64());
        let machine = StateMachine::open(store.clone(), waiters.clone())?;
        let (feed, progress) = (machine.feed(), machine.progress());
        let agreement = machine.agreement();
        let me = Member {
            cluster: config.cluster.clone(),
            id: config.node,
        };
        let peers = Arc::new(Peers::new(me, config.tls.clone(), dialer));
        let settings = config
            .raft()
            .validate()
            .map_err(|error| OpenError::Config(error.to_string()))?;
        let network = Network {
            peers: peers.clone(),
        };
        let raft = Raft::new(
            config.node,
            Arc::new(settings),
            network,
            LogStore::new(log),
            machine,
        )
        .await
        .map_err(|error| OpenError::Raft(error.to_string()))?;
        let (leads, leadership) = watch::channel(Leadership::default());
        let (failed, fatal) = watch::channel(None);
        let observer = tokio::spawn(observe(
            raft.clone(),
            config.node,
            progress.clone(),
            leads,
            failed.clone(),
        ));
        let consensus = Arc::new(Self {
            raft,
            feed,
            peers,
            waiters,
            progress,
            leadership,
            gate: Gate::default(),
            agreement,
            membership: tokio::sync::Mutex::new(()),
            store,
            log: held,
            fatal,
            closing: watch::Sender::new(false),
            observer,
            keepers: parking_lot::Mutex::new(JoinSet::new()),
            space: Arc::new(Space::new(room)),
        });
        consensus.start(&config).await?;
        let mut keepers = consensus.keepers.lock();
        let weak = || Arc::downgrade(&consensus);
        keepers.spawn(membership::drive(weak(), consensus.leadership.clone()));
        keepers.spawn(membership::observe(weak(), failed));
        keepers.spawn(agreement::compare(weak(), config.tuning.compare));
        drop(keepers);
        Ok(consensus)
    }

    async fn start(&self, config: &Config) -> Result<(), OpenError> {
        let raft_failed =
            |error: openraft::errors::Fatal<TypeConfig>| OpenError::Raft(error.to_string());
        if !self.raft.is_initialized().await.map_err(raft_failed)? {
            if let Some(founders) = &config.founders {
                self.found(founders).await?;
            }
            return Ok(());
        }
        let metrics = self.raft.server_metrics().borrow_watched().clone();
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        if voters == [config.node] && !metrics.state.is_leader() {
            // Nobody else can be elected: there is nothing to wait for.
            self.raft
                .trigger()
                .elect(false)
                .await
                .map_err(raft_failed)?;
        }
        Ok(())
    }

    /// This member's id.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.peers.me.id
    }

    /// What answers the other replicas; to be served by [`crate::serve`].
    #[must_use]
    pub fn service(&self) -> Service {
        Service {
            raft: self.raft.clone(),
            peers: self.peers.clone(),
            state: self.store.clone(),
            space: Arc::downgrade(&self.space),
            agreement: self.agreement.clone(),
            feed: self.feed.clone(),
            beside: None,
            progress: self.progress.clone(),
        }
    }

    /// Waits until the replica failed for good, and says why. The process must then exit: after a failed sync
    /// nothing in it can be believed. Never ends for a replica that is shut down in order.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.fatal.clone();
        let reason = fatal
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// Leaves the cluster in order: nothing is applied or acknowledged afterwards.
    pub async fn shutdown(&self) {
        self.closing.send_replace(true);
        self.observer.abort();
        // They hold the replica while they work, and with it the directory.
        let mut keepers = std::mem::take(&mut *self.keepers.lock());
        keepers.shutdown().await;
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the Raft task ended badly");
        }
        self.feed.close();
        // Raft's tasks have been told to end; the directory is free when they have.
        let ended = async {
            while self.log.strong_count() > 0 {
                tokio::time::sleep(TASK_END_POLL).await;
            }
        };
        if tokio::time::timeout(TASK_END, ended).await.is_err() {
            tracing::warn!("a task of Raft still has the log open");
        }
        self.store.close();
    }

    /// Makes a snapshot now, beside those that the log's growth brings about.
    ///
    /// # Errors
    /// The reason why Raft has stopped.
    pub async fn snapshot(&self) -> Result<(), String> {
        self.raft
            .trigger()
            .snapshot()
            .await
            .map_err(|error| error.to_string())
    }

    pub(crate) fn leadership_now(&self) -> Leadership {
        *self.leadership.borrow()
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow() || self.fatal.borrow().is_some()
    }

    /// Waits until the replica is shut down or has failed.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            // The sender lives as long as `self`.
            _ = closing.wait_for(|closing| *closing) => {}
            _ = self.fatal() => {}
        }
    }

    pub(crate) fn address_of(&self, member: u64) -> Option<String> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics
            .membership_config
            .get_node(&member)
            .map(|node| node.addr.clone())
    }
}

/// Turns Raft's metrics into leadership, and its end into a reason.
async fn observe(
    raft: Raft,
    node: u64,
    mut progress: watch::Receiver<Progress>,
    leadership: watch::Sender<Leadership>,
    fatal: watch::Sender<Option<String>>,
) {
    let mut server = raft.server_metrics();
    let mut all = raft.metrics();
    let mut term_applied = 0;
    loop {
        let known = {
            let server = server.borrow_watched();
            // A leader that is its own majority has nobody to send heartbeats to and no lease to lose: idle, it
            // need not wake. A member more, learner or voter, starts the clock again.
            let alone = server.state == ServerState::Leader
                && server.membership_config.nodes().count() == 1;
            raft.runtime_config().tick(!alone);
            let term = server.vote.leader_id.term;
            let leads = server.state == ServerState::Leader && server.current_leader == Some(node);
            Leadership {
                term: Term(term),
                leader: server.current_leader,
                ready: leads && (term_applied == term || seeded::makes(Bug::ReadyEarly)),
            }
        };
        if leadership.send_if_modified(|before| std::mem::replace(before, known) != known) {
            tracing::info!(
                node,
                term = known.term.0,
                leader = known.leader,
                ready = known.ready,
                "leadership changed"
            );
            report(known);
        }
        let failed = all
            .borrow_watched()
            .running_state
            .as_ref()
            .err()
            .map(ToString::to_string);
        if let Some(reason) = failed {
            tracing::error!(node, reason, "this replica has failed and must stop");
            fatal.send_replace(Some(reason));
            return;
        }
        tokio::select! {
            changed = server.changed() => if changed.is_err() {
                let reason = all.borrow_watched().running_state.as_ref().err().map(ToString::to_string);
                fatal.send_replace(Some(reason.unwrap_or_else(|| "Raft has stopped".into())));
                return;
            },
            // Metrics of Raft change all the time; only its end is of interest here.
            _ = failure(&mut all) => {}
            Ok(applied) = progress.wait_for(|progress| progress.term != term_applied) => term_applied = applied.term,
        }
    }
}

async fn failure(
    all: &mut openraft::type_config::alias::WatchReceiverOf<
        TypeConfig,
        openraft::RaftMetrics<TypeConfig>,
    >,
) {
    while all.borrow_watched().running_state.is_ok() && all.changed().await.is_ok() {}
}

fn report(known: Leadership) {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; a term beyond 2^52 is far away"
    )]
    ::metrics::gauge!(metrics::TERM).set(known.term.0 as f64);
    ::metrics::gauge!(metrics::LEADS).set(f64::from(u8::from(known.ready)));
    ::metrics::counter!(metrics::LEADER_CHANGES).increment(1);
}

#[async_trait::async_trait]
impl Replica for Consensus {
    async fn submit(&self, command: Command) -> Result<Outcome, ProposeError> {
        self.propose_command(command).await
    }

    async fn read(&self) -> Result<Arc<View>, ReadError> {
        self.read_view().await
    }

    fn view(&self) -> Arc<View> {
        self.feed.view()
    }

    async fn reached(&self, revision: Revision) -> Option<Arc<View>> {
        self.feed.reached(revision).await
    }

    fn watch(&self, after: Revision) -> Result<Watch, WatchEnd> {
        self.feed.watch(after)
    }

    fn history(&self) -> Arc<dyn History> {
        self.feed.history()
    }

    fn leadership(&self) -> Leadership {
        self.leadership_now()
    }

    async fn leadership_changed(&self, known: Leadership) -> Leadership {
        let mut leadership = self.leadership.clone();
        let changed = leadership
            .wait_for(|present| *present != known)
            .await
            .ok()
            .map(|present| *present);
        match changed {
            Some(present) => present,
            // The replica has ended: nothing changes any more.
            None => std::future::pending().await,
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership.nodes();
        members
            .map(|(id, node)| MemberStatus {
                id: *id,
                address: node.addr.clone(),
                voter: voters.contains(id),
                digest: self.agreement.told_by(*id),
            })
            .collect()
    }

    fn applied_index(&self) -> u64 {
        self.progress.borrow().index
    }

    fn trouble(&self) -> Option<Trouble> {
        self.agreement.trouble()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Tuning;
    use pontoon_state::{Key, Transaction, encode};
    use pontoon_world::World;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_replica_whose_disk_fails_acknowledges_nothing_and_says_that_it_must_stop() {
        let root = tempfile::tempdir().unwrap();
        let config = Config {
            node: 1,
            cluster: "test".into(),
            data_dir: root.path().into(),
            founders: Some(BTreeMap::from([(1, String::new())])),
            tls: None,
            tuning: Tuning::standard(),
            world: World::real(),
        };
        let replica = Consensus::open(config).await.unwrap();
        let mut leadership = replica.leadership.clone();
        leadership.wait_for(|known| known.ready).await.unwrap();
        // A closed store answers as a failed disk does.
        replica.store.close();
        let object =
            serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
        let write =
            Transaction::default().put(Key::new("configmaps", "a", "x"), encode(&object).unwrap());
        let error = replica.propose(write.clone()).await.unwrap_err();
        assert!(matches!(error, ProposeError::Indeterminate(_)), "{error}");
        let reason = tokio::time::timeout(Duration::from_secs(20), replica.fatal())
            .await
            .unwrap();
        assert!(reason.contains("the state is closed"), "{reason}");
        assert!(replica.propose(write).await.is_err());
        assert!(replica.read().await.is_err());
        replica.shutdown().await;
    }
}
