//! What only the leader knows or can do, asked through any member.

use crate::consensus::Consensus;
use crate::limits::{
    ASK_DEADLINE, CAUGHT_UP_ENTRIES, HEARD_RECENTLY, RETRY_PAUSE, TRANSFER_DEADLINE,
};
use crate::messages::{Answer, MemberProgress, Progresses, Request};
use crate::propose::AskError;
use crate::types::Raft;
use openraft::async_runtime::WatchReceiver as _;
use pontoon_state::{Membership, MembershipError, Progress};
use tokio::time::Instant;

impl From<Progress> for MemberProgress {
    fn from(known: Progress) -> Self {
        Self {
            id: known.id,
            matched: known.matched,
            heard_ms: known.heard_ms,
            voter: known.voter,
        }
    }
}

impl From<MemberProgress> for Progress {
    fn from(told: MemberProgress) -> Self {
        Self {
            id: told.id,
            matched: told.matched,
            heard_ms: told.heard_ms,
            voter: told.voter,
        }
    }
}

/// At the leader: has `to` lead, or whichever voter is furthest; gives who leads then.
///
/// A leader that hands over takes no proposals until its successor is elected, or its lease ends. So it hands over only to a
/// voter that answers and has nearly all of the log (openraft issue 2088).
pub(crate) async fn hand_over(
    raft: &Raft,
    me: u64,
    to: Option<u64>,
) -> Result<u64, MembershipError> {
    let known = super::progress(raft)
        .ok_or_else(|| MembershipError::Unavailable(format!("member {me} does not lead")))?;
    let to = successor(&known, me, to)?;
    if to == me {
        return Ok(me);
    }
    raft.trigger()
        .transfer_leader(to)
        .await
        .map_err(|error| MembershipError::Unavailable(error.to_string()))?;
    let mut metrics = raft.server_metrics();
    let elected = async {
        while metrics
            .borrow_watched()
            .current_leader
            .is_none_or(|leader| leader == me)
        {
            if metrics.changed().await.is_err() {
                break;
            }
        }
        metrics.borrow_watched().current_leader
    };
    match tokio::time::timeout(TRANSFER_DEADLINE, elected).await {
        Ok(Some(leader)) if leader == to => Ok(leader),
        Ok(Some(other)) => Err(MembershipError::Unavailable(format!(
            "member {other} was elected instead of member {to}"
        ))),
        _ => Err(MembershipError::Unavailable(format!(
            "member {to} did not take over within {TRANSFER_DEADLINE:?}"
        ))),
    }
}

/// Who may lead next.
fn successor(known: &[Progress], me: u64, to: Option<u64>) -> Result<u64, MembershipError> {
    let refused = |detail: String| Err(MembershipError::Refused(detail));
    let last = known
        .iter()
        .find(|member| member.id == me)
        .map_or(0, |member| member.matched);
    let Some(to) = to else {
        let furthest = known
            .iter()
            .filter(|member| member.voter && member.id != me && is_near(member, last))
            .max_by_key(|member| member.matched);
        return match furthest {
            Some(member) => Ok(member.id),
            None => refused("no other voter answers and has caught up".into()),
        };
    };
    match known.iter().find(|member| member.id == to) {
        _ if to == me => Ok(me),
        None => refused(format!(
            "member {to} is not a member: see `pontoon cluster members`"
        )),
        Some(member) if !member.voter => {
            refused(format!("member {to} does not vote yet, and so cannot lead"))
        }
        Some(member) if !is_near(member, last) => refused(format!(
            "member {to} has not caught up: it is {} entries behind, and was heard {} ago",
            last.saturating_sub(member.matched),
            member
                .heard_ms
                .map_or_else(|| "never".into(), |ms| format!("{ms} ms")),
        )),
        Some(_) => Ok(to),
    }
}

fn is_near(member: &Progress, last: u64) -> bool {
    member.matched + CAUGHT_UP_ENTRIES >= last
        && member.heard_ms.is_some_and(|heard| heard <= HEARD_RECENTLY)
}

impl Consensus {
    /// Asks the leader, wherever it is, until it answers or the deadline is over.
    async fn ask_leader(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Answer, MembershipError> {
        loop {
            let reason = match self.leadership_now().leader {
                None => "no leader is known".to_owned(),
                Some(leader) if leader == self.node() => {
                    match self.answer_as_leader(&request).await {
                        Answer::Refused(reason) => reason,
                        answer => return Ok(answer),
                    }
                }
                Some(leader) => match self.ask(leader, request.clone(), deadline).await {
                    Ok(Answer::Refused(reason) | Answer::Unknown(reason)) => reason,
                    Ok(answer) => return Ok(answer),
                    Err(AskError::NotSent(reason) | AskError::Lost(reason)) => reason,
                },
            };
            if Instant::now() >= deadline || self.is_closing() {
                return Err(MembershipError::Unavailable(reason));
            }
            self.leader_may_have_changed(RETRY_PAUSE).await;
        }
    }

    async fn answer_as_leader(&self, request: &Request) -> Answer {
        match request {
            Request::Transfer(to) => answer_transfer(&self.raft, self.node(), *to).await,
            _ => answer_progress(&self.raft),
        }
    }
}

/// As `raft.v1` answers it.
pub(crate) async fn answer_transfer(raft: &Raft, me: u64, to: u64) -> Answer {
    match hand_over(raft, me, Some(to).filter(|to| *to != 0)).await {
        Ok(leader) => Answer::Transferred(leader),
        Err(MembershipError::Refused(reason)) => Answer::Declined(reason),
        Err(MembershipError::Unavailable(reason)) => Answer::Refused(reason),
    }
}

/// As `raft.v1` answers it.
pub(crate) fn answer_progress(raft: &Raft) -> Answer {
    match super::progress(raft) {
        Some(known) => Answer::Progress(Progresses {
            members: known.into_iter().map(MemberProgress::from).collect(),
        }),
        None => Answer::Refused("this member does not lead".into()),
    }
}

#[async_trait::async_trait]
impl Membership for Consensus {
    fn me(&self) -> u64 {
        self.node()
    }

    async fn progress(&self) -> Result<Vec<Progress>, MembershipError> {
        let answer = self
            .ask_leader(Request::Progress(true), Instant::now() + ASK_DEADLINE)
            .await?;
        match answer {
            Answer::Progress(told) => Ok(told.members.into_iter().map(Progress::from).collect()),
            _ => Err(astray()),
        }
    }

    async fn transfer(&self, to: Option<u64>) -> Result<u64, MembershipError> {
        let deadline = Instant::now() + 2 * TRANSFER_DEADLINE;
        match self
            .ask_leader(Request::Transfer(to.unwrap_or(0)), deadline)
            .await?
        {
            Answer::Transferred(leader) => {
                // Who asked here sees it here.
                let mut leadership = self.leadership.clone();
                let seen = leadership.wait_for(|known| known.leader == Some(leader));
                let _ = tokio::time::timeout(TRANSFER_DEADLINE, seen).await;
                Ok(leader)
            }
            Answer::Declined(reason) => Err(MembershipError::Refused(reason)),
            _ => Err(astray()),
        }
    }
}

fn astray() -> MembershipError {
    MembershipError::Unavailable("the leader answered another question".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(id: u64, matched: u64, heard_ms: Option<u64>, voter: bool) -> Progress {
        Progress {
            id,
            matched,
            heard_ms,
            voter,
        }
    }

    #[test]
    fn only_a_voter_that_answers_and_has_caught_up_may_lead_next() {
        let far = 10 * CAUGHT_UP_ENTRIES;
        let known = [
            member(1, far, Some(0), true),
            member(2, 1, Some(1), true),
            member(3, far, Some(60_000), true),
            member(4, far, Some(1), false),
            member(5, far - 1, Some(1), true),
        ];
        assert_eq!(successor(&known, 1, None).unwrap(), 5);
        assert_eq!(successor(&known, 1, Some(5)).unwrap(), 5);
        assert_eq!(successor(&known, 1, Some(1)).unwrap(), 1);
        for (to, words) in [
            (2, "has not caught up"),
            (3, "60000 ms ago"),
            (4, "does not vote"),
            (9, "is not a member"),
        ] {
            let error = successor(&known, 1, Some(to)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(successor(&known[..4], 1, None).is_err());
    }
}
