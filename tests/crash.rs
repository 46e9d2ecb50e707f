//! `pontoon dev` killed with a signal that it cannot catch, at random moments, while it is written to.
//!
//! Writers count in ConfigMaps. A number whose write was acknowledged is never missing afterwards, and no number appears that nobody
//! wrote. Meanwhile pods run: they are not to notice.

use crate::kube_rs::client;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use pontoon_tests::{Cluster, Process, User, eventually, processes_of};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often the cluster is killed.
const KILLS: u32 = 50;

/// Programs that write at once, and the objects that each counts in.
const WRITERS: usize = 4;
const OBJECTS_PER_WRITER: usize = 8;

/// How long a write may take before its writer gives up and asks anew.
const REQUEST: Duration = Duration::from_secs(5);

/// What one object was told.
#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    /// The last number whose write was acknowledged; 0 for none.
    acknowledged: u64,
    /// The last number that was sent.
    attempted: u64,
}

#[derive(Debug, Default)]
struct Ledger {
    counters: Mutex<BTreeMap<String, Counter>>,
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

/// Writes until told to stop. Every failure is looked upon as "perhaps".
async fn write_on(kubeconfig: &Path, writer: usize, seed: u64, ledger: &Ledger) {
    let mut random = StdRng::seed_from_u64(seed);
    while !ledger.stop.load(Ordering::Relaxed) {
        // The port is another after each start, and the file may be half gone while the cluster is down.
        let Ok(config) = kube::config::Kubeconfig::read_from(kubeconfig) else {
            continue;
        };
        let options = kube::config::KubeConfigOptions::default();
        let Ok(config) = kube::Config::from_custom_kubeconfig(config, &options).await else {
            continue;
        };
        let Ok(client) = Client::try_from(config) else {
            continue;
        };
        let maps: Api<ConfigMap> = Api::namespaced(client, "default");
        while !ledger.stop.load(Ordering::Relaxed) {
            let name = format!(
                "count-{writer}-{}",
                random.random_range(0..OBJECTS_PER_WRITER)
            );
            if !count_up(&maps, &name, ledger).await {
                // Breathe: a refused connection answers at once.
                tokio::time::sleep(Duration::from_millis(20)).await;
                break;
            }
        }
    }
}

/// Writes the next number; answers whether that was acknowledged.
async fn count_up(maps: &Api<ConfigMap>, name: &str, ledger: &Ledger) -> bool {
    let counter = {
        let mut counters = ledger.counters.lock().unwrap();
        let counter = counters.entry(name.to_owned()).or_default();
        counter.attempted += 1;
        *counter
    };
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": counter.attempted.to_string()}});
    let write = async {
        if counter.acknowledged == 0 {
            match maps
                .create(
                    &PostParams::default(),
                    &serde_json::from_value(body.clone()).unwrap(),
                )
                .await
            {
                // An earlier create whose answer was lost.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                other => return other,
            }
        }
        maps.patch(name, &PatchParams::default(), &Patch::Merge(&body))
            .await
    };
    let written = tokio::time::timeout(REQUEST, write).await;
    let written = match written {
        Ok(Ok(_)) => true,
        Ok(Err(kube::Error::Api(status))) if status.code < 500 && status.code != 429 => {
            panic!("{name}: {status:?}")
        }
        _ => false,
    };
    if written {
        ledger
            .counters
            .lock()
            .unwrap()
            .get_mut(name)
            .unwrap()
            .acknowledged = counter.attempted;
        ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    written
}

/// Reads every object and holds it against what was acknowledged before it was read.
async fn check(client: Client, ledger: &Ledger) {
    let before = ledger.counters.lock().unwrap().clone();
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let list = maps.list(&ListParams::default()).await.unwrap();
    let found = |name: &str| {
        list.items
            .iter()
            .find(|map| map.metadata.name.as_deref() == Some(name))
    };
    let after = ledger.counters.lock().unwrap().clone();
    for (name, counter) in before
        .iter()
        .filter(|(_, counter)| counter.acknowledged > 0)
    {
        let map = found(name)
            .unwrap_or_else(|| panic!("{name} was acknowledged and is gone: {counter:?}"));
        let number: u64 = map.data.as_ref().unwrap()["n"].parse().unwrap();
        assert!(
            number >= counter.acknowledged,
            "{name} is {number}, but {counter:?}"
        );
        assert!(
            number <= after[name].attempted,
            "{name} is {number}, which nobody wrote: {counter:?}"
        );
    }
}

const STEADY: &str = "91001";
const CHANGING: &str = "91002";

fn deployment(name: &str, replicas: u32, seconds: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: host, command: [sleep, "{seconds}"]}}]
---
"#
    )
}

fn programs(cluster: &Cluster, seconds: &str) -> Vec<i32> {
    let wanted = format!("sleep {seconds}");
    let processes = processes_of(cluster.directory(), None).into_iter();
    let mut pids: Vec<i32> = processes
        .filter(|process: &Process| process.command == wanted)
        .map(|process| process.pid)
        .collect();
    pids.sort_unstable();
    pids
}

fn pods(cluster: &Cluster) -> String {
    let path = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} \
                {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    cluster
        .kubectl([
            "get",
            "pods",
            "-l",
            "app=steady",
            "--sort-by=.metadata.uid",
            "-o",
            path,
        ])
        .ok()
}

/// Kills the cluster again and again, at moments that `random` chooses.
fn kill_and_check(cluster: &mut Cluster, random: &mut StdRng, ledger: &Ledger, steady: &[i32]) {
    for kill in 0..KILLS {
        // A quarter of the kills hits a start; the others hit the work.
        if random.random_ratio(1, 4) {
            cluster.launch();
            std::thread::sleep(Duration::from_millis(random.random_range(0..1_000)));
            cluster.kill();
        }
        cluster.run();
        let kubeconfig = cluster.kubeconfig();
        cluster.namespace().inside(|| {
            runtime().block_on(async { check(client(&kubeconfig).await, ledger).await })
        });
        assert_eq!(programs(cluster, STEADY), steady, "after kill {kill}");
        let replicas = random.random_range(0..4).to_string();
        let _ = cluster
            .kubectl(["scale", "deployment", "changing", "--replicas", &replicas])
            .ok();
        // The moment of the kill, not a wait: whatever happens by then is hit.
        std::thread::sleep(Duration::from_millis(random.random_range(0..1_000)));
        cluster.kill();
        assert_eq!(
            programs(cluster, STEADY),
            steady,
            "kill {kill} took pods with it"
        );
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn converges(cluster: &Cluster, containers: &str, steady: &[i32]) {
    cluster.wait_for_node();
    let _ = cluster
        .kubectl(["scale", "deployment", "changing", "--replicas=2"])
        .ok();
    for name in ["deployment/changing", "deployment/steady"] {
        let _ = cluster
            .kubectl(["rollout", "status", name, "--timeout=60s"])
            .ok();
    }
    eventually("as many programs run as were asked for", || {
        let found = programs(cluster, CHANGING);
        if found.len() == 2 {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    assert_eq!(
        pods(cluster),
        containers,
        "the same containers, never restarted"
    );
    assert_eq!(programs(cluster, STEADY), steady);
    let _ = cluster
        .kubectl(["delete", "deployment", "changing", "steady"])
        .ok();
    eventually("what is deleted ends", || {
        let left = [programs(cluster, CHANGING), programs(cluster, STEADY)].concat();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_and_no_pod_notices_when_dev_is_killed_fifty_times() {
    let seed = std::env::var("PONTOON_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("PONTOON_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::new(User::Root, &[]);
    cluster.run();
    cluster.wait_for_node();
    cluster.apply(&(deployment("steady", 3, STEADY) + &deployment("changing", 1, CHANGING)));
    let _ = cluster
        .kubectl(["rollout", "status", "deployment/steady", "--timeout=60s"])
        .ok();
    let (containers, steady) = (pods(&cluster), programs(&cluster, STEADY));
    assert_eq!(steady.len(), 3, "{containers}");

    let ledger = Ledger::default();
    let kubeconfig = cluster.kubeconfig();
    let inode = cluster.namespace().path();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (ledger, kubeconfig, inode, seed) = (&ledger, &kubeconfig, &inode, random.random());
            scope.spawn(move || {
                nix::sched::setns(
                    std::fs::File::open(inode).unwrap(),
                    nix::sched::CloneFlags::CLONE_NEWNET,
                )
                .unwrap();
                runtime().block_on(write_on(kubeconfig, writer, seed, ledger));
            });
        }
        let stop = StopWhenDropped(&ledger);
        cluster.kill();
        kill_and_check(&mut cluster, &mut random, &ledger, &steady);
        drop(stop);
    });
    cluster.run();
    cluster
        .namespace()
        .inside(|| runtime().block_on(async { check(client(&kubeconfig).await, &ledger).await }));
    let written = ledger.acknowledged.load(Ordering::Relaxed);
    assert!(written > 200, "only {written} writes: that is no load");
    converges(&cluster, &containers, &steady);
}

/// Lets the writers go also when an assertion fails.
struct StopWhenDropped<'a>(&'a Ledger);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
