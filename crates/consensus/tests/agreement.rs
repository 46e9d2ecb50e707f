//! Members whose states are compared, and one that holds something else.
#![allow(clippy::unwrap_used)]
#![allow(
    dead_code,
    reason = "the cluster under test is shared with other tests"
)]

#[path = "cluster/members.rs"]
mod members;

use members::{Members, brisk, put};
use pontoon_state::replica::Trouble;
use pontoon_state::{Replica as _, WatchEnd};
use std::time::Duration;

/// Writes at `at` until `id` is in trouble: a comparison needs something new to compare.
async fn trouble_of(members: &Members, at: u64, id: u64) -> Trouble {
    let found = async {
        for n in 0_u64.. {
            // A leader that is found out hands over.
            let _ = members.at(at).propose(put("beat", &n.to_string())).await;
            if let Some(trouble) = members.at(id).trouble() {
                return trouble;
            }
        }
        unreachable!("the loop has no end")
    };
    tokio::time::timeout(Duration::from_secs(60), found)
        .await
        .unwrap()
}

async fn diverged(members: &mut Members, id: u64) {
    members.at(id).propose(put("first", "v")).await.unwrap();
    members.agree().await;
    members.kill(id).await;
    members.diverge(id);
    members.start(id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_holds_something_else_serves_nothing_and_the_others_go_on() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    let leader = members.leader().await;
    let odd = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    diverged(&mut members, odd).await;
    let mut watch = members
        .at(odd)
        .watch(members.at(odd).view().revision())
        .unwrap();
    let trouble = trouble_of(&members, leader, odd).await;
    assert!(
        trouble.withdrawn
            && trouble
                .detail
                .contains(&format!("member {odd} has diverged")),
        "{trouble:?}"
    );
    let error = members.at(odd).read().await.unwrap_err();
    assert!(error.to_string().contains("has diverged"), "{error}");
    let error = members.at(odd).propose(put("x", "v")).await.unwrap_err();
    assert!(error.to_string().contains("has diverged"), "{error}");
    let ended = async { while watch.next().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), ended)
        .await
        .unwrap();
    assert!(matches!(watch.next().await, Err(WatchEnd::Closed)));
    for id in members.alive().into_iter().filter(|id| *id != odd) {
        assert_eq!(members.at(id).trouble(), None);
        members.at(id).read().await.unwrap();
        let told = members.at(id).members();
        let digest = |of| told.iter().find(|member| member.id == of).unwrap().digest;
        assert!(
            digest(odd).is_some() && digest(odd) != digest(id),
            "{told:?}"
        );
    }
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_holds_something_else_hands_over_and_is_not_asked_any_more() {
    let mut members = Members::founded(&[1, 2, 3], brisk()).await;
    members.leader().await;
    members.kill(3).await;
    diverged(&mut members, 1).await;
    let leads = async {
        // Of two that differ each may lead.
        while members.leader().await != 1 {
            let known = members.at(2).leadership();
            members.at(2).hand_over(1).await.unwrap();
            members.at(2).leadership_changed(known).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), leads)
        .await
        .unwrap();
    members.start(3).await;
    let trouble = trouble_of(&members, 2, 1).await;
    assert!(trouble.withdrawn, "{trouble:?}");
    // Writes go on under another leader.
    members.at(2).propose(put("after", "v")).await.unwrap();
    members.at(3).propose(put("after", "w")).await.unwrap();
    assert_ne!(members.at(2).leadership().leader, Some(1));
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_that_differ_go_on_and_say_that_they_are_in_doubt() {
    let mut members = Members::founded(&[1, 2], brisk()).await;
    members.leader().await;
    diverged(&mut members, 2).await;
    for id in [1, 2] {
        let trouble = trouble_of(&members, 1, id).await;
        assert!(
            !trouble.withdrawn && trouble.detail.contains("no majority holds the same"),
            "{trouble:?}"
        );
        members.at(id).read().await.unwrap();
    }
    members.stop().await;
}
