//! What to do next about the membership: a pure function of what the records wish and what Raft has.
//!
//! One step at a time, and none while another is under way: two at once could leave a joint configuration behind. Whoever
//! leads goes on from where the last leader was, since all there is to know is in the records and the configuration.

use pontoon_state::records::{Member, Wish};
use std::collections::{BTreeMap, BTreeSet};

/// A member as Raft has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub address: String,
    pub voter: bool,
}

/// All there is to know.
#[derive(Debug, Clone)]
pub(crate) struct Situation {
    /// The leader.
    pub me: u64,
    pub records: Vec<(u64, Member)>,
    /// Whether Raft is between two configurations.
    pub joint: bool,
    pub present: BTreeMap<u64, Present>,
    /// Those that answer, and have nearly all of the log.
    pub caught_up: BTreeSet<u64>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ends what an earlier leader began.
    Settle,
    /// Another leads, since this one is to leave.
    HandOver { to: u64 },
    /// Takes a voter out.
    RemoveVoter { id: u64 },
    /// Takes a learner out.
    RemoveLearner { id: u64 },
    /// A member has moved.
    Move { id: u64, address: String },
    /// Begins to send the log.
    Add { id: u64, address: String },
    /// Lets it vote.
    Promote { id: u64 },
}

impl Situation {
    /// The next step, if there is one that can be taken. Departures come before arrivals: a member that is gone counts
    /// against every majority.
    pub(crate) fn next(&self) -> Option<Step> {
        if self.joint {
            return Some(Step::Settle);
        }
        self.departure()
            .or_else(|| self.moved())
            .or_else(|| self.arrival())
    }

    /// Whether everything is as wished.
    pub(crate) fn is_settled(&self) -> bool {
        let fits = |(id, member): &(u64, Member)| match (member.wish, self.present.get(id)) {
            (Wish::Removed, present) => present.is_none(),
            (Wish::Voter, Some(present)) => present.voter && present.address == member.peer_address,
            (Wish::Learner, Some(present)) => present.address == member.peer_address,
            (_, None) => false,
        };
        !self.joint && self.records.iter().all(fits)
    }

    fn wished(&self, id: u64) -> Option<Wish> {
        let found = self.records.iter().find(|(known, _)| *known == id);
        found.map(|(_, member)| member.wish)
    }

    fn departure(&self) -> Option<Step> {
        let leaving = |id: &u64| self.wished(*id) == Some(Wish::Removed);
        let others = || {
            let voters = self.present.iter().filter(|(_, present)| present.voter);
            voters.map(|(id, _)| *id).filter(|id| !leaving(id))
        };
        let (id, present) = self.present.iter().find(|(id, _)| leaving(id))?;
        if !present.voter {
            return Some(Step::RemoveLearner { id: *id });
        }
        // The last voter stays: without it there is no cluster.
        others().next()?;
        if *id != self.me {
            return Some(Step::RemoveVoter { id: *id });
        }
        let to = others().find(|id| self.caught_up.contains(id))?;
        Some(Step::HandOver { to })
    }

    fn moved(&self) -> Option<Step> {
        let moved = |(id, member): &&(u64, Member)| {
            self.present.get(id).is_some_and(|present| {
                member.wish != Wish::Removed && present.address != member.peer_address
            })
        };
        self.records
            .iter()
            .find(moved)
            .map(|(id, member)| Step::Move {
                id: *id,
                address: member.peer_address.clone(),
            })
    }

    fn arrival(&self) -> Option<Step> {
        let absent = |(id, member): &&(u64, Member)| {
            member.wish != Wish::Removed && !self.present.contains_key(id)
        };
        if let Some((id, member)) = self.records.iter().find(absent) {
            return Some(Step::Add {
                id: *id,
                address: member.peer_address.clone(),
            });
        }
        let ready = |(id, member): &&(u64, Member)| {
            member.wish == Wish::Voter
                && self.caught_up.contains(id)
                && self.present.get(id).is_some_and(|present| !present.voter)
        };
        self.records
            .iter()
            .find(ready)
            .map(|(id, _)| Step::Promote { id: *id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text in, step out: `1v` a voter, `2l` a learner, `-` not there; `+` behind it when it is caught up.
    fn next(me: u64, present: &[&str], wishes: &[(u64, Wish)]) -> Option<Step> {
        situation(me, present, wishes).next()
    }

    fn address(id: u64) -> String {
        format!("10.0.0.{id}:6444")
    }

    fn situation(me: u64, present: &[&str], wishes: &[(u64, Wish)]) -> Situation {
        let id = |text: &str| u64::from(text.as_bytes()[0] - b'0');
        let member = |(id, wish): &(u64, Wish)| {
            let member = Member {
                wish: *wish,
                peer_address: address(*id),
                api_address: String::new(),
                version: String::new(),
                since: String::new(),
            };
            (*id, member)
        };
        Situation {
            me,
            records: wishes.iter().map(member).collect(),
            joint: false,
            present: present
                .iter()
                .map(|text| {
                    let voter = text.contains('v');
                    (
                        id(text),
                        Present {
                            address: address(id(text)),
                            voter,
                        },
                    )
                })
                .collect(),
            caught_up: present
                .iter()
                .filter(|text| text.ends_with('+'))
                .map(|text| id(text))
                .collect(),
        }
    }

    use Wish::{Learner, Removed, Voter};

    #[test]
    fn a_server_that_joined_gets_the_log_then_a_vote() {
        let wishes = [(1, Voter), (2, Voter)];
        let add = Step::Add {
            id: 2,
            address: address(2),
        };
        assert_eq!(next(1, &["1v+"], &wishes), Some(add));
        assert_eq!(next(1, &["1v+", "2l"], &wishes), None, "it is behind");
        assert_eq!(
            next(1, &["1v+", "2l+"], &wishes),
            Some(Step::Promote { id: 2 })
        );
        assert_eq!(next(1, &["1v+", "2v+"], &wishes), None);
        assert!(situation(1, &["1v+", "2v+"], &wishes).is_settled());
        assert!(!situation(1, &["1v+", "2l"], &wishes).is_settled());
    }

    #[test]
    fn who_is_to_stay_a_learner_is_never_promoted() {
        assert_eq!(next(1, &["1v+", "2l+"], &[(1, Voter), (2, Learner)]), None);
    }

    #[test]
    fn departures_come_before_arrivals() {
        let wishes = [(1, Voter), (2, Voter), (3, Removed), (4, Voter)];
        assert_eq!(
            next(1, &["1v+", "2v+", "3v"], &wishes),
            Some(Step::RemoveVoter { id: 3 })
        );
        assert_eq!(
            next(1, &["1v+", "2v+", "3l"], &wishes),
            Some(Step::RemoveLearner { id: 3 })
        );
    }

    #[test]
    fn a_leader_that_is_to_leave_hands_over_first_and_only_to_who_can() {
        let wishes = [(1, Removed), (2, Voter), (3, Voter)];
        assert_eq!(next(1, &["1v+", "2v", "3v"], &wishes), None);
        assert_eq!(
            next(1, &["1v+", "2v", "3v+"], &wishes),
            Some(Step::HandOver { to: 3 })
        );
        assert_eq!(
            next(3, &["1v+", "2v", "3v+"], &wishes),
            Some(Step::RemoveVoter { id: 1 })
        );
    }

    #[test]
    fn the_last_voter_stays_whatever_is_wished() {
        assert_eq!(next(1, &["1v+"], &[(1, Removed)]), None);
        assert_eq!(
            next(1, &["1v+", "2v+"], &[(1, Removed), (2, Removed)]),
            None
        );
    }

    #[test]
    fn a_member_that_moved_is_followed_and_a_founder_without_a_record_is_left_alone() {
        let mut situation = situation(1, &["1v+", "2v+"], &[(2, Voter)]);
        assert_eq!(situation.next(), None);
        situation.records[0].1.peer_address = "10.0.0.9:1".into();
        let step = Step::Move {
            id: 2,
            address: "10.0.0.9:1".into(),
        };
        assert_eq!(situation.next(), Some(step));
        situation.joint = true;
        assert_eq!(situation.next(), Some(Step::Settle), "one change at a time");
    }
}
