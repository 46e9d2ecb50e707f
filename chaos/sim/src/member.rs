//! One simulated member: a disk that stays, and lives that come and go.
//!
//! A life is a runtime of its own on this thread, with paused time: it runs for one turn after the other, and is dropped
//! where it stands when the member dies.

use crate::chance::Chance;
use crate::disk::{Loss, SimDisk};
use crate::machine;
use crate::net::{Net, address};
use parking_lot::Mutex;
use pontoon_consensus::transport::Acceptor;
use pontoon_consensus::{Config, Consensus, Service, Tuning, serve};
use pontoon_world::manual::SeededEntropy;
use pontoon_world::{Clock, World};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The name of every simulated cluster.
pub const CLUSTER: &str = "simulated";

/// A member.
#[derive(Debug)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its disk.
    pub disk: SimDisk,
    /// Its time of day, which faults set.
    pub clock: Arc<DayClock>,
    /// Its life, while it has one.
    pub life: Option<Life>,
    /// Until when it stands still.
    pub paused_until: Option<Duration>,
    /// How fast its clock runs, in percent.
    pub rate_percent: u32,
    /// How many lives it has had.
    pub lives: u64,
}

/// A life of a member.
#[derive(Debug)]
pub struct Life {
    runtime: Runtime,
    /// When it began, and when its last turn ended, on the simulation's clock.
    turned: Duration,
    state: Arc<Mutex<Begun>>,
}

#[derive(Debug, Default)]
struct Begun {
    replica: Option<Arc<Consensus>>,
    /// Why it must end.
    failed: Option<String>,
}

/// A clock whose time of day can be set. Time passed comes from the machine.
#[derive(Debug, Default)]
pub struct DayClock {
    ahead_seconds: Mutex<i64>,
}

impl DayClock {
    /// Sets it so far ahead, or behind.
    pub fn set(&self, ahead_seconds: i64) {
        *self.ahead_seconds.lock() = ahead_seconds;
    }
}

impl Clock for DayClock {
    fn now(&self) -> jiff::Timestamp {
        let now = jiff::Timestamp::now();
        let ahead = jiff::SignedDuration::from_secs(*self.ahead_seconds.lock());
        now.checked_add(ahead).unwrap_or(now)
    }

    fn monotonic(&self) -> Duration {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// What all members of a run share.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Time and size settings.
    pub tuning: Tuning,
    /// Who founds the cluster.
    pub founders: BTreeMap<u64, String>,
    /// What they talk over.
    pub net: Net,
}

impl Member {
    /// One that has never lived.
    pub fn new(id: u64, seed: u64) -> Self {
        Self {
            id,
            disk: SimDisk::new(Chance::new(seed, &format!("disk {id}"))),
            clock: Arc::default(),
            life: None,
            paused_until: None,
            rate_percent: 100,
            lives: 0,
        }
    }

    /// Begins a life.
    pub fn start(&mut self, now: Duration, setting: &Setting, seed: u64) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        self.lives += 1;
        let entropy = SeededEntropy::new(seed ^ (self.id << 32) ^ self.lives);
        let config = Config {
            node: self.id,
            cluster: CLUSTER.into(),
            data_dir: PathBuf::new(),
            founders: setting
                .founders
                .contains_key(&self.id)
                .then(|| setting.founders.clone()),
            tls: None,
            tuning: setting.tuning,
            world: World::new(self.clock.clone(), Arc::new(entropy)),
        };
        let state = Arc::new(Mutex::new(Begun::default()));
        let listener = setting.net.listen(self.id);
        runtime.spawn(live(
            config,
            self.disk.clone(),
            setting.net.clone(),
            listener,
            state.clone(),
        ));
        self.life = Some(Life {
            runtime,
            turned: now,
            state,
        });
        Ok(())
    }

    /// Ends its life where it stands.
    pub fn die(&mut self, net: &Net, silently: bool, loss: Loss) {
        net.die(self.id, silently);
        self.disk.crash(loss);
        self.life = None;
        self.paused_until = None;
    }

    /// Lets it live until `until`, unless it stands still.
    pub fn turn(&mut self, until: Duration) {
        if self.paused_until.is_some_and(|paused| paused > until) {
            return;
        }
        self.paused_until = None;
        let Some(life) = &mut self.life else { return };
        // A member that stood still finds that all of that time has passed.
        let passed = (until - life.turned) * self.rate_percent / 100;
        life.turned = until;
        machine::set_now(until);
        life.runtime
            .block_on(async { tokio::time::sleep(passed).await });
    }

    /// The replica, once it is open.
    pub fn replica(&self) -> Option<Arc<Consensus>> {
        self.life.as_ref()?.state.lock().replica.clone()
    }

    /// Why its life must end, if it must.
    pub fn failed(&self) -> Option<String> {
        self.life.as_ref()?.state.lock().failed.clone()
    }

    /// Has it do something in its own time; nothing if it is dead.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(life) = &self.life {
            life.runtime.spawn(work);
        }
    }
}

async fn live(
    config: Config,
    disk: SimDisk,
    net: Net,
    listener: impl Acceptor,
    state: Arc<Mutex<Begun>>,
) {
    let dialer = net.dialer(config.node);
    let opened = match disk.open() {
        Ok(disk) => Consensus::open_on(config, disk, dialer).await,
        Err(error) => Err(error.into()),
    };
    let replica = match opened {
        Ok(replica) => replica,
        Err(error) => {
            state.lock().failed = Some(format!("it does not open: {error}"));
            return;
        }
    };
    let service: Service = replica.service();
    state.lock().replica = Some(replica.clone());
    let serving = serve(listener, service, None, std::future::pending());
    let reason = tokio::select! {
        biased;
        reason = replica.fatal() => reason,
        served = serving => format!("its server ended: {served:?}"),
    };
    state.lock().failed = Some(reason);
}

/// Addresses of members by id.
pub fn addresses(members: impl IntoIterator<Item = u64>) -> BTreeMap<u64, String> {
    members.into_iter().map(|id| (id, address(id))).collect()
}
