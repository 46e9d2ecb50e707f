//! A cluster of one: the same code as any other, on a real disk.
#![allow(clippy::unwrap_used)]

use pontoon_consensus::{Config, Consensus, OpenError, Tuning};
use pontoon_state::{Key, Leadership, Outcome, Precondition, Refusal, Replica as _, Transaction, encode, invariant};
use pontoon_world::World;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

fn config(root: &Path) -> Config {
    Config {
        node: 1,
        cluster: "test".into(),
        data_dir: root.into(),
        founders: Some(BTreeMap::from([(1, String::new())])),
        tls: None,
        tuning: Tuning::standard(),
        world: World::real(),
    }
}

fn put(name: &str, value: &str) -> Transaction {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": name, "uid": name}, "data": {"v": value}});
    Transaction::default().put(Key::new("configmaps", "a", name), encode(&object).unwrap())
}

async fn leading(replica: &Consensus) -> Leadership {
    let mut known = Leadership::default();
    tokio::time::timeout(LIMIT, async {
        while !known.ready {
            known = replica.leadership_changed(known).await;
        }
        known
    })
    .await
    .unwrap()
}

async fn open(root: &Path) -> Arc<Consensus> {
    let replica = Consensus::open(config(root)).await.unwrap();
    leading(&replica).await;
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_leads_at_once_and_answers_with_what_it_stored() {
    let root = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let replica = open(root.path()).await;
    let ready = begun.elapsed();
    // The aim is 100 ms; the machine may be busy.
    assert!(ready < Duration::from_secs(2), "it took {ready:?} to lead");
    let (revision, objects) = replica.propose(put("x", "1")).await.unwrap().committed().unwrap();
    assert_eq!(objects.len(), 1);
    assert!(replica.view().revision() >= revision);
    assert_eq!(replica.read().await.unwrap().revision(), revision);
    let refused = replica.propose(put("x", "2").require(Precondition::Absent(Key::new("configmaps", "a", "x")))).await;
    assert!(matches!(refused.unwrap(), Outcome::Refused(Refusal::Precondition { .. })));
    assert_eq!(replica.members().len(), 1);
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let replica = open(root.path()).await;
    let writes = (0..50).map(|n| replica.propose(put(&format!("k{n}"), "v")));
    for outcome in futures::future::join_all(writes).await {
        outcome.unwrap().committed().unwrap();
    }
    let before = invariant::digest(&replica.view());
    replica.shutdown().await;
    drop(replica);
    let replica = open(root.path()).await;
    assert_eq!(invariant::digest(&replica.read().await.unwrap()), before);
    assert_eq!(invariant::violations(&replica.view()), Vec::<String>::new());
    replica.propose(put("after", "v")).await.unwrap().committed().unwrap();
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_directory_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let replica = open(root.path()).await;
    let error = Consensus::open(config(root.path())).await.unwrap_err();
    assert!(matches!(&error, OpenError::Storage(pontoon_storage::OpenError::InUse { .. })), "{error}");
    replica.shutdown().await;
}
