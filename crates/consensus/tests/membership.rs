//! Members that come and go: the records wish, and whoever leads makes it so.
#![allow(clippy::unwrap_used)]
#![allow(
    dead_code,
    reason = "the cluster under test is shared with other tests"
)]

#[path = "cluster/members.rs"]
mod members;
#[path = "cluster/records.rs"]
mod records;

use members::{Members, brisk, put};
use pontoon_state::records::Wish;
use pontoon_state::{Membership as _, MembershipError, Replica as _};
use records::wish;
use std::time::Duration;

/// Whatever takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `at` knows exactly these members, all of them voters.
async fn voters(members: &Members, at: u64, ids: &[u64]) {
    let fits = async {
        loop {
            let known = members.at(at).members();
            let same = known.iter().map(|member| member.id).eq(ids.iter().copied());
            if same && known.iter().all(|member| member.voter) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let known = || members.at(at).members();
    assert!(
        tokio::time::timeout(LIMIT, fits).await.is_ok(),
        "{ids:?} were to vote: {:?}",
        known()
    );
}

/// Waits until these members of three have the end of the change of membership: in its middle a majority of the former voters is asked
/// for as well, and of two that takes both.
async fn settled(members: &Members, ids: &[u64]) {
    let end = vec![std::collections::BTreeSet::from([1, 2, 3])];
    let fits = async {
        while !ids.iter().all(|id| members.at(*id).inspect().voters == end) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, fits).await.unwrap();
}

/// Why a member ends.
async fn end_of(members: &Members, id: u64) -> String {
    tokio::time::timeout(LIMIT, members.at(id).fatal())
        .await
        .unwrap()
}

/// Writes as a client does, who asks again when no answer came.
async fn write(members: &Members, at: u64, name: &str) {
    let asking = async {
        loop {
            if let Ok(done) = members.at(at).propose(put(name, "v")).await {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(LIMIT, asking).await.unwrap();
    done.committed().unwrap();
}

/// Has leadership handed to `to`, or to whoever is furthest, as soon as that one is far enough.
async fn hand_over(members: &Members, at: u64, to: Option<u64>) -> u64 {
    let asking = async {
        loop {
            if let Ok(chosen) = members.at(at).transfer(to).await {
                return chosen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_becomes_three_by_records_alone() {
    let mut members = Members::founded(&[1], brisk()).await;
    members.leader().await;
    wish(&members, 1, 1, Wish::Voter).await;
    for id in [2, 3] {
        members.add(id).await;
        wish(&members, 1, id, Wish::Voter).await;
    }
    voters(&members, 1, &[1, 2, 3]).await;
    settled(&members, &[2, 3]).await;
    members.kill(1).await;
    write(&members, 2, "after").await;
    members.agree().await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_goes_on_with_what_the_last_one_began() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let other = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    members.add(4).await;
    wish(&members, other, 4, Wish::Voter).await;
    members.kill(leader).await;
    voters(&members, other, &[1, 2, 3, 4]).await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_hands_over_and_ends_and_says_why() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    wish(&members, leader, leader, Wish::Removed).await;
    let rest: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    voters(&members, rest[0], &rest).await;
    let why = end_of(&members, leader).await;
    assert!(
        why.contains(&format!("member {leader} was removed")),
        "{why}"
    );
    members.kill(leader).await;
    write(&members, rest[0], "without").await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_removed_while_it_was_away_is_told_so() {
    let mut members = Members::certified(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let away = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    let rest: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != away).collect();
    members.kill(away).await;
    wish(&members, leader, away, Wish::Removed).await;
    voters(&members, leader, &rest).await;
    members.start(away).await;
    let why = end_of(&members, away).await;
    assert!(why.contains(&format!("member {away} was removed")), "{why}");
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_to_who_is_named_and_only_to_who_can_lead() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let other = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    // Asked at any member; done when it is answered.
    assert_eq!(hand_over(&members, other, Some(other)).await, other);
    assert_eq!(members.at(other).leadership().leader, Some(other));
    let chosen = hand_over(&members, leader, None).await;
    assert_ne!(chosen, other);
    let unknown = members.at(1).transfer(Some(9)).await.unwrap_err();
    assert!(
        matches!(&unknown, MembershipError::Refused(why) if why.contains("not a member")),
        "{unknown}"
    );
    let known = members.at(other).progress().await.unwrap();
    assert!(
        known.len() == 3 && known.iter().all(|known| known.voter),
        "{known:?}"
    );
    let gone = [1, 2, 3].into_iter().find(|id| *id != chosen).unwrap();
    members.kill(gone).await;
    let refused = async {
        loop {
            match members.at(chosen).transfer(Some(gone)).await {
                Err(MembershipError::Refused(why)) => return why,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let why = tokio::time::timeout(LIMIT, refused).await.unwrap();
    assert!(why.contains("has not caught up"), "{why}");
    members.stop().await;
}
