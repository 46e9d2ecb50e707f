//! Networks that are cut in part: some members hear each other, some do not, and nobody is told.
#![allow(clippy::unwrap_used)]
#![allow(
    dead_code,
    reason = "the cluster under test is shared with other tests"
)]

#[path = "cluster/members.rs"]
mod members;

use members::{Members, brisk, put};
use pontoon_state::Replica as _;
use std::time::{Duration, Instant};

/// What a busy machine may take for what is promised within three seconds.
const SOON: Duration = Duration::from_secs(20);

/// Cuts every connection between two members.
fn part(members: &Members, one: u64, other: u64) {
    members.cuts.cut(one, &members.address(other));
    members.cuts.cut(other, &members.address(one));
}

/// Writes at `at` until it is acknowledged; gives how long that took.
async fn acknowledged(members: &Members, at: u64, name: &str) -> Duration {
    let begun = Instant::now();
    let written = async {
        loop {
            let outcome = members.at(at).propose(put(name, "v")).await;
            if outcome.is_ok_and(|outcome| outcome.committed().is_ok()) {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, written)
        .await
        .unwrap_or_else(|_| panic!("member {at} got no acknowledgement within {SOON:?}"));
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_reaches_one_member_only_does_not_keep_the_others_from_electing() {
    // openraft issue 2080: the one member that still hears the old leader belongs to the majority that must elect, and would
    // refuse to as long as it hears heartbeats.
    let members = Members::founded(&[1, 2, 3, 4, 5], brisk()).await;
    let leader = members.leader().await;
    let others: Vec<u64> = (1..=5).filter(|id| *id != leader).collect();
    for cut_off in &others[1..] {
        part(&members, leader, *cut_off);
    }
    let took = acknowledged(&members, others[1], "elected").await;
    let now = members.at(others[1]).leadership().leader;
    assert_ne!(now, Some(leader), "after {took:?}");
    members.cuts.heal();
    members.agree().await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_nobody_reaches_holds_up_nobody() {
    let members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let lost = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    let other = 6 - leader - lost;
    for rest in [leader, other] {
        part(&members, lost, rest);
    }
    for round in 0..20 {
        acknowledged(&members, other, &format!("round-{round}")).await;
    }
    assert_eq!(
        members.at(other).leadership().leader,
        Some(leader),
        "it deposes nobody"
    );
    // What it asks of those it cannot reach ends in time.
    let begun = Instant::now();
    assert!(members.at(lost).read().await.is_err());
    assert!(members.at(lost).propose(put("lost", "v")).await.is_err());
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "{:?}",
        begun.elapsed()
    );
    members.cuts.heal();
    members.agree().await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_in_a_row_the_middle_one_serves_both_ends() {
    let members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let ends: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    part(&members, ends[0], ends[1]);
    for at in [leader, ends[0], ends[1]] {
        acknowledged(&members, at, &format!("at-{at}")).await;
        members.at(at).read().await.unwrap();
    }
    members.cuts.heal();
    members.agree().await;
    members.stop().await;
}
