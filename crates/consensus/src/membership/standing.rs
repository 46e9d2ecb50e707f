//! Whether a member may take part. Who was removed may not, ever again; who comes with an empty log and has voted may not
//! either, since it would vote away what it had acknowledged.
//!
//! Everybody refuses the messages of who was removed. It learns so from the log, or, when that came too late, by asking.

use crate::consensus::Consensus;
use crate::limits::{ASK_DEADLINE, LEADERLESS, MEMBERSHIP_PERIOD};
use crate::messages::{Answer, Request};
use crate::propose::AskError;
use crate::read;
use crate::state_machine::Progress;
use crate::types::Raft;
use futures::FutureExt as _;
use openraft::async_runtime::WatchReceiver as _;
use pontoon_state::records::{self, Wish};
use pontoon_state::{Feed, Replica as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use tokio::sync::watch;
use tokio::time::Instant;

/// What a member learns when it asks whether it may take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Admitted,
    /// It must not, for good; says why, and what would do.
    Expelled(String),
    /// Nobody could tell.
    Unknown(String),
}

/// What `member` is told when it asks.
pub(crate) async fn answer(
    raft: &Raft,
    feed: &Arc<Feed>,
    progress: &watch::Receiver<Progress>,
    member: u64,
    empty: bool,
) -> Answer {
    let present = || {
        let metrics = raft.server_metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        (
            membership.get_node(&member).is_some(),
            voters.contains(&member),
        )
    };
    if !present().0 && records::is_removed(&feed.view(), member) {
        return Answer::Declined(removed(member));
    }
    if !empty {
        return Answer::Admitted(true);
    }
    let index = match read::index(raft).await {
        Ok(index) => index,
        Err(reason) => return Answer::Refused(reason),
    };
    let mut progress = progress.clone();
    let applied = progress.wait_for(|progress| progress.index >= index);
    if !matches!(tokio::time::timeout(ASK_DEADLINE, applied).await, Ok(Ok(_))) {
        return Answer::Refused("this member lags behind".into());
    }
    if records::is_removed(&feed.view(), member) {
        return Answer::Declined(removed(member));
    }
    if present().1 {
        return Answer::Declined(wiped(member));
    }
    Answer::Admitted(true)
}

/// Why a removed member is refused.
pub(crate) fn removed(member: u64) -> String {
    format!(
        "member {member} was removed from this cluster, and its id is not given again: to join as another member, start \
         with an empty data directory and a new token (`pontoon cluster token create --role server`)"
    )
}

fn wiped(member: u64) -> String {
    format!(
        "member {member} votes in this cluster, and its log is gone: with what it acknowledged forgotten, it must not take \
         part. Remove it (`pontoon cluster remove {member}`), then join with an empty data directory and a new token"
    )
}

impl Consensus {
    /// Whether nothing was ever written to this member's log.
    ///
    /// # Errors
    /// The reason why Raft has stopped.
    pub async fn is_blank(&self) -> Result<bool, String> {
        let initialized = self.raft.is_initialized().await;
        initialized
            .map(|known| !known)
            .map_err(|error| error.to_string())
    }

    /// Asks the other members whether this one may take part. `known` are members beside those that the log names.
    pub async fn standing(&self, known: &BTreeMap<u64, String>) -> Standing {
        let empty = match self.is_blank().await {
            Ok(empty) => empty,
            Err(reason) => return Standing::Unknown(reason),
        };
        let mut others = known.clone();
        others.extend(
            self.members()
                .into_iter()
                .map(|member| (member.id, member.address)),
        );
        others.remove(&self.node());
        let mut reasons = Vec::new();
        for (member, address) in &others {
            let deadline = Instant::now() + ASK_DEADLINE;
            match self
                .ask_at(*member, address, Request::Standing(empty), deadline)
                .await
            {
                Ok(Answer::Admitted(_)) => return Standing::Admitted,
                Ok(Answer::Declined(reason)) => return Standing::Expelled(reason),
                Ok(Answer::Refused(reason) | Answer::Unknown(reason))
                | Err(AskError::NotSent(reason) | AskError::Lost(reason)) => {
                    reasons.push(format!("member {member}: {reason}"));
                }
                Ok(_) => reasons.push(format!("member {member} answered another question")),
            }
        }
        if others.is_empty() {
            reasons.push("no other member is known".into());
        }
        Standing::Unknown(reasons.join("; "))
    }
}

/// Keeps the list of those whose messages are refused, and ends this replica when it is on it. Ends with the replica.
pub(crate) async fn observe(consensus: Weak<Consensus>, fatal: watch::Sender<Option<String>>) {
    let (mut leaderless_since, mut refused) = (Instant::now(), false);
    loop {
        let Some(replica) = consensus.upgrade() else {
            return;
        };
        let (view, me) = (replica.view(), replica.node());
        let present: BTreeSet<u64> = replica.members().iter().map(|member| member.id).collect();
        let banished: BTreeSet<u64> = records::members(&view)
            .into_iter()
            .filter(|(id, member)| member.wish == Wish::Removed && !present.contains(id))
            .map(|(id, _)| id)
            .collect();
        let leaving = records::is_removed(&view, me);
        if banished.contains(&me) {
            fatal.send_replace(Some(removed(me)));
            return;
        }
        replica.peers.banish(banished);
        let has_leader = replica.leadership_now().leader.is_some();
        if has_leader {
            leaderless_since = Instant::now();
        }
        let alone = present.len() < 2;
        if refused || (!alone && leaderless_since.elapsed() > LEADERLESS) {
            if let Standing::Expelled(reason) = replica.standing(&BTreeMap::new()).await {
                fatal.send_replace(Some(reason));
                return;
            }
            (refused, leaderless_since) = (false, Instant::now());
        }
        let (feed, mut leadership) = (replica.feed.clone(), replica.leadership.clone());
        let peers = replica.peers.clone();
        drop(replica);
        tokio::time::sleep(MEMBERSHIP_PERIOD).await;
        refused |= peers.was_refused().now_or_never().is_some();
        // A cluster at rest needs no looking after.
        if has_leader && !leaving && !refused {
            tokio::select! {
                _ = feed.reached(view.revision().next()) => {}
                ended = leadership.changed() => if ended.is_err() { return },
                () = peers.was_refused() => refused = true,
            }
        }
    }
}
