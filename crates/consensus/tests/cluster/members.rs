//! Members of a cluster under test: each with its own disk and port.

#[path = "cuts.rs"]
pub mod cuts;

use cuts::{Cuts, Cuttable};
use pontoon_api::{Revision, Term};
use pontoon_consensus::{Config, Consensus, Disk, TlsParts, Tuning, serve};
use pontoon_identity::{Authorities, Member, Presented, Roots};
use pontoon_state::{
    Command, Entry, Key, Leadership, Machine, Replica as _, Transaction, encode, invariant,
};
use pontoon_storage::{DataDir, Identity, StateStore};
use pontoon_world::World;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Whatever takes longer than this hangs: the machine may be slow, not that slow.
const LIMIT: Duration = Duration::from_secs(60);

/// Quick elections, slow enough for a busy machine.
pub fn brisk() -> Tuning {
    Tuning {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(400),
        election_max: Duration::from_millis(800),
        compare: Duration::from_millis(100),
        ..Tuning::standard()
    }
}

pub fn key(name: &str) -> Key {
    Key::new("configmaps", "a", name)
}

pub fn put(name: &str, value: &str) -> Transaction {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "a", "name": name, "uid": name}, "data": {"v": value},
    });
    Transaction::default().put(key(name), encode(&object).unwrap())
}

struct Running {
    replica: Arc<Consensus>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

pub struct Members {
    roots: BTreeMap<u64, tempfile::TempDir>,
    addresses: BTreeMap<u64, String>,
    running: BTreeMap<u64, Running>,
    founders: Vec<u64>,
    tuning: Tuning,
    authorities: Option<(tempfile::TempDir, Authorities)>,
    pub cuts: Arc<Cuts>,
}

impl Members {
    /// A cluster of these members, without TLS.
    pub async fn founded(ids: &[u64], tuning: Tuning) -> Self {
        Self::founded_by(ids, tuning, None).await
    }

    /// A cluster of these members, each with a certificate of its own.
    pub async fn certified(ids: &[u64], tuning: Tuning) -> Self {
        let root = tempfile::tempdir().unwrap();
        let authorities = Authorities::open(root.path(), &World::real()).unwrap();
        Self::founded_by(ids, tuning, Some((root, authorities))).await
    }

    async fn founded_by(
        ids: &[u64],
        tuning: Tuning,
        authorities: Option<(tempfile::TempDir, Authorities)>,
    ) -> Self {
        let mut members = Self {
            roots: BTreeMap::new(),
            addresses: BTreeMap::new(),
            running: BTreeMap::new(),
            founders: ids.to_vec(),
            tuning,
            authorities,
            cuts: Arc::default(),
        };
        let mut listeners = Vec::new();
        for id in ids {
            listeners.push((*id, members.listen(*id).await));
        }
        for (id, listener) in listeners {
            members.run(id, listener).await;
        }
        members
    }

    async fn listen(&mut self, id: u64) -> TcpListener {
        let known = self.addresses.get(&id).cloned();
        let listener = TcpListener::bind(known.as_deref().unwrap_or("127.0.0.1:0"))
            .await
            .unwrap();
        self.addresses
            .insert(id, listener.local_addr().unwrap().to_string());
        listener
    }

    fn tls(&self, id: u64) -> Option<TlsParts> {
        let (_, authorities) = self.authorities.as_ref()?;
        let world = World::real();
        let member = Member {
            cluster: "test".into(),
            id,
        };
        let credentials = authorities.peers.member(&member, world.now()).unwrap();
        let roots = Roots::new([authorities.peers.certificate()]).unwrap();
        Some(TlsParts::new(&Presented::new(&credentials).unwrap(), &roots, &world).unwrap())
    }

    async fn run(&mut self, id: u64, listener: TcpListener) {
        let tls = self.tls(id);
        let root = self
            .roots
            .entry(id)
            .or_insert_with(|| tempfile::tempdir().unwrap());
        let founders = self
            .founders
            .iter()
            .map(|id| (*id, self.addresses[id].clone()))
            .collect();
        let config = Config {
            node: id,
            cluster: "test".into(),
            data_dir: root.path().into(),
            founders: self.founders.contains(&id).then_some(founders),
            tls: tls.clone(),
            tuning: self.tuning,
            world: World::real(),
        };
        let identity = Identity {
            cluster: config.cluster.clone(),
            node: id,
        };
        let disk = Disk::open(&config.data_dir, &identity).unwrap();
        let dialer = Arc::new(Cuttable {
            me: id,
            cuts: self.cuts.clone(),
        });
        let replica = Consensus::open_on(config, disk, dialer).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let service = replica.service();
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve(listener, service, tls, stopped).await.unwrap();
        });
        self.running.insert(
            id,
            Running {
                replica,
                stop,
                server,
            },
        );
    }

    pub fn at(&self, id: u64) -> &Arc<Consensus> {
        &self.running[&id].replica
    }

    pub fn address(&self, id: u64) -> String {
        self.addresses[&id].clone()
    }

    pub fn alive(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    /// Starts a member that is not a founder.
    pub async fn add(&mut self, id: u64) {
        let listener = self.listen(id).await;
        self.run(id, listener).await;
    }

    /// Starts a member that is not a founder at another's address.
    pub async fn start_in_place_of(&mut self, id: u64, address: &str) {
        self.addresses.insert(id, address.to_owned());
        self.add(id).await;
    }

    /// Changes what a stopped member holds behind everybody's back, as a bug in `apply` would.
    #[allow(dead_code, reason = "not every test that shares this module needs it")]
    pub fn diverge(&self, id: u64) {
        let identity = Identity {
            cluster: "test".into(),
            node: id,
        };
        let data = DataDir::open(self.roots[&id].path(), &identity).unwrap();
        let store = StateStore::open(&data).unwrap();
        let mut machine = Machine::open(store).unwrap();
        let applied = machine.applied().unwrap().unwrap();
        let entry = Entry {
            term: Term(1),
            command: Some(Command::Transact(put("nobody-wrote-this", "v"))),
        };
        machine.apply(&[entry], applied).unwrap();
    }

    /// Starts a member again, on its disk and port.
    pub async fn start(&mut self, id: u64) {
        self.add(id).await;
    }

    /// Ends a member without a word to the others.
    pub async fn kill(&mut self, id: u64) {
        let Running {
            replica,
            stop,
            server,
        } = self.running.remove(&id).unwrap();
        server.abort();
        drop(stop);
        let _ = server.await;
        replica.shutdown().await;
    }

    /// The member that leads and is ready.
    pub async fn leader(&self) -> u64 {
        let waits = self.running.iter().map(|(id, running)| {
            Box::pin(async move {
                let mut known = Leadership::default();
                while !known.ready {
                    known = running.replica.leadership_changed(known).await;
                }
                *id
            })
        });
        tokio::time::timeout(LIMIT, futures::future::select_all(waits))
            .await
            .unwrap()
            .0
    }

    pub async fn reached(&self, id: u64, revision: Revision) {
        tokio::time::timeout(LIMIT, self.at(id).reached(revision))
            .await
            .unwrap()
            .unwrap();
    }

    /// Whether a snapshot that it did not make is what its state came from.
    pub fn installed_snapshot(&self, id: u64) -> bool {
        let live = std::fs::read_to_string(self.roots[&id].path().join("state/LIVE")).unwrap();
        live.trim() != "1"
    }

    /// Waits until all hold the same, and checks that they do.
    pub async fn agree(&self) {
        let ids = self.alive();
        let mut newest = Revision(0);
        for id in &ids {
            newest = newest.max(self.at(*id).read().await.unwrap().revision());
        }
        for id in &ids {
            self.reached(*id, newest).await;
        }
        let digests: Vec<String> = ids
            .iter()
            .map(|id| invariant::digest(&self.at(*id).view()))
            .collect();
        assert!(
            digests.windows(2).all(|pair| pair[0] == pair[1]),
            "{ids:?} hold {digests:?}"
        );
        for id in &ids {
            assert_eq!(
                invariant::violations(&self.at(*id).view()),
                Vec::<String>::new()
            );
        }
    }

    pub async fn stop(mut self) {
        for id in self.alive() {
            let Running {
                replica,
                stop,
                server,
            } = self.running.remove(&id).unwrap();
            server.abort();
            drop(stop);
            let _ = server.await;
            replica.shutdown().await;
        }
    }
}
