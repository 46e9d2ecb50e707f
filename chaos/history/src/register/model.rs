//! A register with revisions as a sequential object.

use super::Version;
use crate::search::Model;

/// An operation whose answer is worked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Saw this.
    Read(Option<Version>),
    /// Wrote `version`, over the revision `over` if that was asked for.
    Write {
        /// The revision that had to be there; zero for none.
        over: Option<u64>,
        /// What was written.
        version: Version,
    },
    /// May have written a value that nobody ever saw, with a revision that nobody knows.
    Unseen {
        /// The revision that had to be there; zero for none.
        over: Option<u64>,
    },
    /// Was refused, because the revision was not `over`.
    Refused {
        /// The revision that had to be there; zero for none.
        over: u64,
    },
}

/// What a register shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seen {
    /// It does not exist.
    Absent,
    /// A value that somebody knows.
    Known(Version),
    /// A value that nobody ever saw.
    Unknown,
}

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The greatest revision that it is known to have had.
    pub floor: u64,
    /// What it shows.
    pub seen: Seen,
}

impl State {
    fn is_at(&self, revision: u64) -> bool {
        match self.seen {
            Seen::Absent => revision == 0,
            Seen::Known(version) => version.revision == revision,
            Seen::Unknown => false,
        }
    }
}

/// The sequential object.
#[derive(Debug, Clone, Copy)]
pub struct Versions;

impl Model for Versions {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        State {
            floor: 0,
            seen: Seen::Absent,
        }
    }

    fn apply(&self, state: &State, step: &Step) -> Option<State> {
        match *step {
            Step::Read(None) => (state.seen == Seen::Absent).then_some(*state),
            Step::Read(Some(version)) => (state.seen == Seen::Known(version)).then_some(*state),
            Step::Refused { over } => (!state.is_at(over)).then_some(*state),
            Step::Unseen { over } => over.is_none_or(|over| state.is_at(over)).then_some(State {
                floor: state.floor,
                seen: Seen::Unknown,
            }),
            Step::Write { over, version } => {
                let fits = over.is_none_or(|over| state.is_at(over));
                (fits && version.revision > state.floor).then_some(State {
                    floor: version.revision,
                    seen: Seen::Known(version),
                })
            }
        }
    }

    fn only_observes(&self, step: &Step) -> bool {
        matches!(step, Step::Read(_) | Step::Refused { .. })
    }
}
