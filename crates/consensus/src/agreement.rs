//! Replicas compare what they hold, all the time: the leader names a revision, each member tells its digest at it, and what
//! a majority of the voters holds is right.
//!
//! A replica that holds something else has met a bug or a bad disk. It takes no further part (no vote, no leadership, no read, no
//! proposal, no watch) and stays up to say so. Where no majority holds one digest nobody can tell who is right: all
//! go on, and say that they are in doubt.

mod judge;

use crate::consensus::Consensus;
use crate::limits::{COMPARE_DEADLINE, DIGESTS};
use crate::messages::{Answer, Compare, Judgement, Report, Request};
use crate::metrics;
use judge::{Verdict, judge};
use parking_lot::Mutex;
use pontoon_api::Revision;
use pontoon_state::replica::Trouble;
use pontoon_state::{Digest, Feed, View};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What this replica knows of its own digests and of the others'.
#[derive(Debug)]
pub(crate) struct Agreement {
    /// Digests of this replica, ascending by revision.
    own: Mutex<VecDeque<(Revision, Digest)>>,
    /// What the members told in the last comparison.
    told: Mutex<BTreeMap<u64, (Revision, Digest)>>,
    /// Why this replica takes no further part.
    diverged: watch::Sender<Option<String>>,
    doubt: Mutex<Option<String>>,
}

impl Agreement {
    pub(crate) fn new(view: &View) -> Arc<Self> {
        Arc::new(Self {
            own: Mutex::new(VecDeque::from([(view.revision(), view.digest())])),
            told: Mutex::default(),
            diverged: watch::Sender::new(None),
            doubt: Mutex::default(),
        })
    }

    /// Remembers the digests of revisions just applied.
    pub(crate) fn extend(&self, digests: Vec<(Revision, Digest)>) {
        let mut own = self.own.lock();
        own.extend(digests);
        let surplus = own.len().saturating_sub(DIGESTS);
        own.drain(..surplus);
    }

    /// Starts over at `view`, after a snapshot replaced the state.
    pub(crate) fn reset(&self, view: &View) {
        *self.own.lock() = VecDeque::from([(view.revision(), view.digest())]);
    }

    /// This replica's digest at `revision`, while it is remembered.
    fn at(&self, revision: Revision) -> Option<Digest> {
        let own = self.own.lock();
        let index = own.binary_search_by_key(&revision, |(at, _)| *at).ok()?;
        own.get(index).map(|(_, digest)| *digest)
    }

    fn newest(&self) -> Option<(Revision, Digest)> {
        self.own.lock().back().copied()
    }

    /// What `member` told last.
    pub(crate) fn told_by(&self, member: u64) -> Option<(Revision, Digest)> {
        self.told.lock().get(&member).copied()
    }

    /// Why this replica takes no part, if so.
    pub(crate) fn diverged(&self) -> Option<String> {
        self.diverged.borrow().clone()
    }

    /// Why what this replica holds is not to be believed, or is in doubt.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let trouble = |withdrawn| move |detail| Trouble { detail, withdrawn };
        self.diverged()
            .map(trouble(true))
            .or_else(|| self.doubt.lock().clone().map(trouble(false)))
    }

    /// Answers the leader's question for the digest at `asked`.
    pub(crate) async fn answer(&self, feed: &Feed, asked: Revision) -> Answer {
        let reached = tokio::time::timeout(COMPARE_DEADLINE, feed.reached(asked)).await;
        let found = matches!(reached, Ok(Some(_)))
            .then(|| self.at(asked))
            .flatten();
        match found {
            Some(digest) => Answer::Digest(digest.to_bytes().to_vec().into()),
            None => Answer::Refused(format!("revision {asked} is not at hand here")),
        }
    }

    /// Takes note of what the leader found, and of what it means for this replica, `me`.
    pub(crate) fn learn(&self, me: u64, judgement: &Judgement) {
        let revision = Revision(judgement.revision);
        let told: BTreeMap<u64, Digest> = judgement
            .reports
            .iter()
            .filter_map(|report| Some((report.member, Digest::from_bytes(&report.digest)?)))
            .collect();
        let differ = told.values().collect::<BTreeSet<_>>().len() > 1;
        let right = Digest::from_bytes(&judgement.digest);
        self.told.lock().extend(
            told.into_iter()
                .map(|(member, digest)| (member, (revision, digest))),
        );
        // Judged by its own memory: a mistaken leader must not talk a sound replica into silence.
        match (right, self.at(revision)) {
            (Some(right), Some(own)) if right != own => self.give_up(me, revision, own, right),
            _ => {}
        }
        let doubt = (differ && right.is_none()).then(|| {
            format!("members hold different objects at revision {revision}, and no majority holds the same")
        });
        if let Some(doubt) = &doubt {
            tracing::error!(node = me, doubt, "the members' states differ");
        }
        *self.doubt.lock() = doubt;
        ::metrics::gauge!(metrics::DIVERGED).set(f64::from(u8::from(self.trouble().is_some())));
    }

    fn give_up(&self, me: u64, revision: Revision, own: Digest, right: Digest) {
        let known = self.diverged.send_if_modified(|diverged| {
            let first = diverged.is_none();
            if first {
                *diverged = Some(format!(
                    "member {me} has diverged: at revision {revision} its state's digest is {own}, a majority's is {right}; it \
                     takes no further part"
                ));
            }
            first
        });
        if known {
            tracing::error!(node = me, %revision, %own, %right, "this replica's state has diverged: it takes no further part");
        }
    }
}

/// Compares as long as the replica lives; only the leader asks.
pub(crate) async fn compare(replica: Weak<Consensus>, every: Duration) {
    let mut last = None;
    loop {
        tokio::time::sleep(every).await;
        let Some(replica) = replica.upgrade() else {
            return;
        };
        replica.withdraw().await;
        if replica.is_closing() || !replica.leadership_now().ready {
            last = None;
            continue;
        }
        last = replica.compare_once(last).await;
    }
}

/// A comparison that all members took part in: nothing new can be found until something changes.
type Complete = (Revision, Vec<u64>);

impl Consensus {
    async fn compare_once(&self, last: Option<Complete>) -> Option<Complete> {
        let (revision, own) = self.agreement.newest()?;
        let (members, voters) = self.member_ids();
        let others: Vec<u64> = members
            .iter()
            .copied()
            .filter(|id| *id != self.node())
            .collect();
        if others.is_empty() || last.as_ref() == Some(&(revision, members.clone())) {
            return last;
        }
        let answers = others.iter().map(|id| async move {
            let request = Request::Compare(Compare {
                revision: revision.0,
            });
            match self.ask(*id, request, deadline()).await {
                Ok(Answer::Digest(bytes)) => Some((*id, Digest::from_bytes(&bytes)?)),
                _ => None,
            }
        });
        let mut told: BTreeMap<u64, Digest> = futures::future::join_all(answers)
            .await
            .into_iter()
            .flatten()
            .collect();
        told.insert(self.node(), own);
        let verdict = judge(&voters, &told);
        let judgement = judgement(revision, &verdict, &told);
        self.agreement.learn(self.node(), &judgement);
        if let Verdict::Diverged { members, .. } = &verdict {
            tracing::error!(?members, %revision, "members' states have diverged");
        }
        let tell = others.iter().map(|id| {
            let request = Request::Judgement(judgement.clone());
            self.ask(*id, request, deadline())
        });
        // Who was not reached is told of the next comparison.
        futures::future::join_all(tell).await;
        (verdict == Verdict::Agreed && told.len() == members.len()).then_some((revision, members))
    }

    /// What a diverged replica does: it stands in no election, hands over what it leads, and ends its watches.
    async fn withdraw(&self) {
        if self.agreement.diverged().is_none() {
            return;
        }
        self.raft.runtime_config().elect(false);
        self.feed.close();
        if self.leadership_now().leader != Some(self.node()) {
            return;
        }
        let (members, voters) = self.member_ids();
        let right = members.into_iter().find(|id| {
            voters.contains(id)
                && *id != self.node()
                && self.agreement.told_by(*id) != self.agreement.told_by(self.node())
        });
        if let Some(to) = right
            && let Err(error) = self.hand_over(to).await
        {
            tracing::warn!(to, %error, "leadership could not be handed over");
        }
    }

    fn member_ids(&self) -> (Vec<u64>, BTreeSet<u64>) {
        let metrics = self.raft.server_metrics();
        let metrics = openraft::async_runtime::WatchReceiver::borrow_watched(&metrics);
        let membership = metrics.membership_config.membership();
        let members = membership.nodes().map(|(id, _)| *id).collect();
        (members, membership.voter_ids().collect())
    }
}

fn deadline() -> Instant {
    Instant::now() + 2 * COMPARE_DEADLINE
}

fn judgement(revision: Revision, verdict: &Verdict, told: &BTreeMap<u64, Digest>) -> Judgement {
    let right = match verdict {
        Verdict::Agreed => told.values().next().copied(),
        Verdict::Diverged { digest, .. } => Some(*digest),
        Verdict::Undecided => None,
    };
    Judgement {
        revision: revision.0,
        digest: right
            .map_or_else(Vec::new, |digest| digest.to_bytes().to_vec())
            .into(),
        reports: told
            .iter()
            .map(|(member, digest)| Report {
                member: *member,
                digest: digest.to_bytes().to_vec().into(),
            })
            .collect(),
    }
}
