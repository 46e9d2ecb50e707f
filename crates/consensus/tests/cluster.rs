//! Three members in one process, over real connections and real disks.
#![allow(clippy::unwrap_used)]

#[path = "cluster/members.rs"]
mod members;

use members::{Members, brisk, key, put};
use pontoon_consensus::{Consensus, Tuning};
use pontoon_state::{Outcome, Precondition, ProposeError, Replica as _, invariant};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_member_is_told_every_member_holds() {
    let members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    for (n, member) in [1, 2, 3].into_iter().enumerate() {
        // Followers forward; the answer's revision is visible where it was asked.
        let (revision, _) = members
            .at(member)
            .propose(put(&format!("k{n}"), "v"))
            .await
            .unwrap()
            .committed()
            .unwrap();
        assert!(members.at(member).view().revision() >= revision);
    }
    for member in [1, 2, 3] {
        let view = members.at(member).read().await.unwrap();
        assert_eq!(
            view.count("configmaps", None),
            3,
            "member {member}, leader {leader}"
        );
    }
    members.agree().await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_with_certificates_work_together_and_an_impostor_does_not() {
    let mut members = Members::certified(&[1, 2], brisk()).await;
    let leader = members.leader().await;
    members
        .at(3 - leader)
        .propose(put("x", "1"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    members.agree().await;
    // Member 2's address is now member 7's: whoever dials 2 there is refused before a word is said.
    let address = members.address(2);
    members.kill(2).await;
    members.start_in_place_of(7, &address).await;
    let alone = members.at(1).propose(put("x", "2")).await;
    assert!(
        matches!(
            alone,
            Err(ProposeError::Unavailable(_) | ProposeError::Indeterminate(_))
        ),
        "{alone:?}"
    );
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_gets_refusals_and_objects_as_the_leader_does() {
    let members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let follower = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    let done = members.at(follower).propose(put("x", "1")).await.unwrap();
    let (_, objects) = done.committed().unwrap();
    assert_eq!(&*objects[0].as_ref().unwrap().key.name, "x");
    let again = put("x", "2").require(Precondition::Absent(key("x")));
    assert!(matches!(
        members.at(follower).propose(again).await.unwrap(),
        Outcome::Refused(_)
    ));
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_the_leader_loses_nothing_acknowledged() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    for n in 0..20 {
        members
            .at(leader)
            .propose(put(&format!("before{n}"), "v"))
            .await
            .unwrap()
            .committed()
            .unwrap();
    }
    members.kill(leader).await;
    let survivor = members.alive()[0];
    let (revision, _) = members
        .at(survivor)
        .propose(put("after", "v"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    assert_eq!(members.at(survivor).view().count("configmaps", None), 21);
    assert_ne!(members.leader().await, leader);
    // It comes back with its disk, and catches up from the log.
    members.start(leader).await;
    members.reached(leader, revision).await;
    members.agree().await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_acknowledged() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    for other in &others {
        members.kill(*other).await;
    }
    let result = members.at(leader).propose(put("alone", "v")).await;
    assert!(
        matches!(
            result,
            Err(ProposeError::Unavailable(_) | ProposeError::Indeterminate(_))
        ),
        "{result:?}"
    );
    for other in others {
        members.start(other).await;
    }
    members
        .at(leader)
        .propose(put("together", "v"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    members.agree().await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_missed_the_log_catches_up_by_snapshot() {
    let tuning = Tuning {
        snapshot_entries: 20,
        kept_entries: 5,
        ..brisk()
    };
    let mut members = Members::founded(&[1, 2, 3], tuning).await;
    let leader = members.leader().await;
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    members
        .at(leader)
        .propose(put("first", "v"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    members.kill(behind).await;
    let mut last = None;
    for n in 0..150 {
        let done = members
            .at(leader)
            .propose(put(&format!("k{}", n % 40), &n.to_string()))
            .await
            .unwrap();
        last = Some(done.committed().unwrap().0);
    }
    members.start(behind).await;
    members.reached(behind, last.unwrap()).await;
    assert!(
        members.installed_snapshot(behind),
        "it was to come by snapshot"
    );
    members.agree().await;
    // What a snapshot brought survives a restart, and the log goes on from it.
    members.kill(behind).await;
    members.start(behind).await;
    let (revision, _) = members
        .at(leader)
        .propose(put("last", "v"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    members.reached(behind, revision).await;
    members.agree().await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_cluster_restarts_from_disk() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let writes = (0..100).map(|n| members.at(leader).propose(put(&format!("k{n}"), "v")));
    for outcome in futures::future::join_all(writes).await {
        outcome.unwrap().committed().unwrap();
    }
    members.agree().await;
    let before = invariant::digest(&members.at(leader).view());
    for id in [1, 2, 3] {
        members.kill(id).await;
    }
    for id in [3, 1, 2] {
        members.start(id).await;
    }
    for id in [1, 2, 3] {
        assert_eq!(
            invariant::digest(&members.at(id).read().await.unwrap()),
            before,
            "member {id}"
        );
    }
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_grows_to_three() {
    let mut members = Members::founded(&[1], brisk()).await;
    members.leader().await;
    members
        .at(1)
        .propose(put("early", "v"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    for id in [2, 3] {
        members.add(id).await;
        let address = members.address(id);
        members.at(1).add_learner(id, &address).await.unwrap();
    }
    members.at(1).promote(BTreeSet::from([2, 3])).await.unwrap();
    let known = members.at(1).members();
    assert!(
        known.len() == 3 && known.iter().all(|member| member.voter),
        "{known:?}"
    );
    members.kill(1).await;
    let (_, objects) = members
        .at(2)
        .propose(put("late", "v"))
        .await
        .unwrap()
        .committed()
        .unwrap();
    assert!(objects[0].is_some());
    assert_eq!(
        members
            .at(3)
            .read()
            .await
            .unwrap()
            .count("configmaps", None),
        2
    );
    members.agree().await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purging_under_load_stops_nobody() {
    // openraft issue 2116: a purge that overtakes what is being applied.
    let tuning = Tuning {
        snapshot_entries: 50,
        kept_entries: 1,
        ..brisk()
    };
    let members = Members::founded(&[1, 2, 3], tuning).await;
    let leader = members.leader().await;
    for round in 0..20 {
        let writes = (0..100).map(|n| {
            members
                .at(1 + n % 3)
                .propose(put(&format!("k{n}"), &round.to_string()))
        });
        let outcomes =
            tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(writes))
                .await
                .unwrap();
        for outcome in outcomes {
            outcome.unwrap().committed().unwrap();
        }
    }
    assert_eq!(members.at(leader).view().count("configmaps", None), 100);
    members.agree().await;
    members.stop().await;
}

/// Writes names that nobody else writes, each to be absent before: a refusal would mean that a
/// proposal was done twice. Gives what was acknowledged.
async fn write_once(
    member: Arc<Consensus>,
    prefix: String,
    acknowledged: Arc<watch::Sender<usize>>,
) -> Vec<String> {
    let mut done = Vec::new();
    for n in 0..40 {
        let name = format!("{prefix}-{n}");
        match member
            .propose(put(&name, "v").require(Precondition::Absent(key(&name))))
            .await
        {
            Ok(Outcome::Committed { .. }) => {
                done.push(name);
                acknowledged.send_modify(|count| *count += 1);
            }
            Ok(refused) => panic!("{name} was done twice: {refused:?}"),
            // Its member is gone, or its fate is not known: the next name is another.
            Err(ProposeError::Unavailable(_) | ProposeError::Indeterminate(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_leaders_fall_nothing_is_done_twice_and_nothing_acknowledged_is_lost() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let leader = members.leader().await;
        let count = Arc::new(watch::Sender::new(0));
        let mut writers = JoinSet::new();
        for member in [1, 2, 3] {
            for writer in 0..2 {
                let prefix = format!("r{round}-{member}-{writer}");
                writers.spawn(write_once(
                    members.at(member).clone(),
                    prefix,
                    count.clone(),
                ));
            }
        }
        count
            .subscribe()
            .wait_for(|count| *count >= 20)
            .await
            .unwrap();
        members.kill(leader).await;
        for done in writers.join_all().await {
            acknowledged.extend(done);
        }
        members.start(leader).await;
    }
    members.agree().await;
    let view = members.at(1).read().await.unwrap();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|name| view.get(&key(name)).is_none())
        .collect();
    assert_eq!(lost, Vec::<&String>::new());
    assert!(acknowledged.len() > 200, "{}", acknowledged.len());
    members.stop().await;
}
