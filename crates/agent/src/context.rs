//! What every part of the agent shares.

use crate::ledger::{Ledger, Settings};
use crate::node::Capacity;
use crate::report::Reporter;
use crate::services::Services;
use jiff::Timestamp;
use parking_lot::RwLock;
use pontoon_api::name::NodeName;
use pontoon_network::dataplane::Dataplane;
use pontoon_runtime::Runtime;
use pontoon_world::World;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest sleep on a timer of the wall clock: an operator may set the clock, and then timers move.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// The shortest: a timer that stays due must not spin.
const SLEEP_MIN: Duration = Duration::from_millis(1);

pub(crate) struct Context {
    pub(crate) node: NodeName,
    pub(crate) world: World,
    pub(crate) directory: PathBuf,
    pub(crate) runtimes: BTreeMap<String, Arc<dyn Runtime>>,
    pub(crate) default_handler: String,
    pub(crate) dataplane: Arc<dyn Dataplane>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) services: Arc<Services>,
    pub(crate) settings: RwLock<Option<Settings>>,
    pub(crate) capacity: Capacity,
    /// The node's own resolver, as it was when the agent started.
    pub(crate) resolv_conf: pontoon_dns::resolv::ResolvConf,
}

impl Context {
    /// The node's addresses, the first is the `hostIP`.
    pub(crate) fn host_ips(&self) -> Vec<IpAddr> {
        vec![self.dataplane.node_address()]
    }

    pub(crate) fn default_runtime(&self) -> Arc<dyn Runtime> {
        let runtime = self.runtimes.get(&self.default_handler);
        Arc::clone(runtime.expect("the default handler is one of the runtimes: checked at start"))
    }

    /// Where a pod's volumes and files are.
    pub(crate) fn pod_directory(&self, uid: &str) -> PathBuf {
        self.directory.join("pods").join(uid)
    }

    /// Where a pod's logs are: `NAMESPACE_NAME_UID`, as kubelet names them.
    pub(crate) fn log_directory(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.directory
            .join("logs")
            .join(format!("{namespace}_{name}_{uid}"))
    }

    /// Sleeps until about `at`, for ever without one. It may return early: whoever calls looks again.
    pub(crate) async fn sleep_until(&self, at: Option<Timestamp>) {
        let Some(at) = at else {
            return std::future::pending().await;
        };
        let left = Duration::try_from(at.duration_since(self.world.now())).unwrap_or_default();
        tokio::time::sleep(left.clamp(SLEEP_MIN, SLEEP_MAX)).await;
    }
}
