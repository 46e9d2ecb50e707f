//! A cluster of one: the same code as any other, on a real disk.
#![allow(clippy::unwrap_used)]

use pontoon_consensus::{Config, Consensus, OpenError, Tuning};
use pontoon_state::{
    Key, Leadership, Outcome, Precondition, Refusal, Replica as _, Transaction, encode, invariant,
};
use pontoon_world::World;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
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
    let (revision, objects) = replica
        .propose(put("x", "1"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    assert_eq!(objects.len(), 1);
    assert!(replica.view().revision() >= revision);
    assert_eq!(replica.read().await.unwrap().revision(), revision);
    let refused = replica
        .propose(put("x", "2").require(Precondition::Absent(Key::new("configmaps", "a", "x"))))
        .await;
    assert!(matches!(
        refused.unwrap(),
        Outcome::Refused(Refusal::Precondition { .. })
    ));
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
    replica
        .propose(put("after", "v"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_directory_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let replica = open(root.path()).await;
    let error = Consensus::open(config(root.path())).await.unwrap_err();
    assert!(
        matches!(
            &error,
            OpenError::Storage(pontoon_storage::OpenError::InUse { .. })
        ),
        "{error}"
    );
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_keeps_the_replica_from_starting() {
    let root = tempfile::tempdir().unwrap();
    let replica = open(root.path()).await;
    replica
        .propose(put("x", "1"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    replica.shutdown().await;
    drop(replica);
    // The log's last owner may still be closing it.
    while std::fs::remove_dir_all(root.path().join("log")).is_err() {
        tokio::task::yield_now().await;
    }
    let error = Consensus::open(config(root.path())).await.unwrap_err();
    assert!(
        matches!(
            &error,
            OpenError::Storage(pontoon_storage::OpenError::Damaged(_))
        ),
        "{error}"
    );
    assert!(error.to_string().contains("must not vote"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_members_directory_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let replica = open(root.path()).await;
    replica.shutdown().await;
    drop(replica);
    let other = Config {
        cluster: "other".into(),
        ..config(root.path())
    };
    let error = Consensus::open(other).await.unwrap_err();
    assert!(
        matches!(
            &error,
            OpenError::Storage(pontoon_storage::OpenError::Foreign { .. })
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_among_writes_survives_restarts_and_snapshots() {
    let root = tempfile::tempdir().unwrap();
    let tuning = Tuning {
        snapshot_entries: 40,
        kept_entries: 10,
        ..Tuning::standard()
    };
    let config = Config {
        tuning,
        ..config(root.path())
    };
    let mut last = String::new();
    for round in 0..4 {
        let replica = Consensus::open(config.clone()).await.unwrap();
        leading(&replica).await;
        if round > 0 {
            assert_eq!(invariant::digest(&replica.read().await.unwrap()), last);
        }
        let writes = (0..60).map(|n| {
            let replica = replica.clone();
            async move {
                replica
                    .propose(put(&format!("k{}", n % 7), &format!("{round}.{n}")))
                    .await
                    .unwrap();
                if n % 9 == 0 {
                    let target = replica.view().revision();
                    replica
                        .submit(pontoon_state::Command::Compact(target))
                        .await
                        .unwrap();
                }
            }
        });
        futures::future::join_all(writes).await;
        assert!(replica.view().compacted() > pontoon_api::Revision(0));
        assert_eq!(invariant::violations(&replica.view()), Vec::<String>::new());
        last = invariant::digest(&replica.view());
        replica.shutdown().await;
    }
}

/// The child of [`killed_at_any_moment_it_keeps_what_it_acknowledged`]: writes, and says what is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Ok(root) = std::env::var("PONTOON_TEST_KILLED_ROOT") else {
        return;
    };
    let round = std::env::var("PONTOON_TEST_KILLED_ROUND").unwrap();
    let tuning = Tuning {
        snapshot_entries: 100,
        kept_entries: 20,
        ..Tuning::standard()
    };
    let replica = Consensus::open(Config {
        tuning,
        ..config(Path::new(&root))
    })
    .await
    .unwrap();
    leading(&replica).await;
    let writers = (0..8).map(|writer| {
        let (replica, round) = (replica.clone(), round.clone());
        async move {
            for n in 0.. {
                let name = format!("r{round}-{writer}-{n}");
                replica
                    .propose(put(&name, "v"))
                    .await
                    .unwrap()
                    .committed()
                    .unwrap();
                println!("acknowledged {name}");
            }
        }
    });
    futures::future::join_all(writers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_keeps_what_it_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..6_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "child_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env("PONTOON_TEST_KILLED_ROOT", root.path())
            .env("PONTOON_TEST_KILLED_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned));
        let mut left = 40 + 37 * round;
        for name in said {
            acknowledged.push(name);
            left = left.saturating_sub(1);
            if left == 0 {
                // What it says from here on until it is dead is read, too.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
    }
    let replica = open(root.path()).await;
    let view = replica.read().await.unwrap();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|name| view.get(&Key::new("configmaps", "a", name)).is_none())
        .collect();
    assert!(acknowledged.len() > 500, "{}", acknowledged.len());
    assert_eq!(lost, Vec::<&String>::new());
    assert_eq!(invariant::violations(&view), Vec::<String>::new());
    replica.shutdown().await;
}
