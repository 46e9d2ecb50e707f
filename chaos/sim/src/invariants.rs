//! What must hold in every run, one file each. `turn` looks after every turn of the members, `end` when all is healed and
//! quiet.

mod acknowledged;
mod committed_immutable;
mod committed_on_quorum;
mod digest;
mod election_safety;
mod exactly_once;
mod fencing;
mod leader_completeness;
mod log_matching;
mod monotone;
mod ready;
mod revisions;
mod serializable;
mod state_machine_safety;
mod watch;

use crate::chronicle::Chronicle;
use crate::history::Operation;
use crate::member::Member;
use std::collections::BTreeMap;

/// What an invariant sees of a run.
#[derive(Debug)]
pub struct Sight<'a> {
    /// The members, dead ones too.
    pub members: &'a BTreeMap<u64, Member>,
    /// What is known from all of them.
    pub chronicle: &'a Chronicle,
    /// Which turn it is.
    pub turn: u64,
    /// All operations; only at the end, and now and then.
    pub operations: &'a [Operation],
}

/// Something that must hold.
pub trait Invariant: std::fmt::Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Looks at one turn; says what is wrong.
    fn turn(&mut self, _: &Sight<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Looks at the whole run.
    fn end(&mut self, _: &Sight<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// All of them.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(election_safety::ElectionSafety::default()),
        Box::new(log_matching::LogMatching),
        Box::new(leader_completeness::LeaderCompleteness::default()),
        Box::new(state_machine_safety::StateMachineSafety::default()),
        Box::new(committed_on_quorum::CommittedOnQuorum::default()),
        Box::new(committed_immutable::CommittedImmutable),
        Box::new(monotone::Monotone::default()),
        Box::new(digest::Digest::default()),
        Box::new(ready::Ready::default()),
        Box::new(watch::Watches),
        Box::new(revisions::Revisions),
        Box::new(acknowledged::Acknowledged),
        Box::new(serializable::Serializable),
        Box::new(exactly_once::ExactlyOnce),
        Box::new(fencing::Fencing),
    ]
}
