//! What clients do while faults are injected, and the verdict on what they saw.
//!
//! Each workload has clients that go on until they are told to stop, and a judgement of their history. A client speaks to one server and
//! never asks twice: what becomes of its requests is what the history is about.
//!
//! What cannot be known is noted as such: a deadline, a cut connection and a server's own error may all hide a write that was done.

pub mod append;
pub mod churn;
pub mod limits;
pub mod lock;
pub mod objects;
pub mod register;
pub mod set;

pub use objects::{Servers, Stop};

use pontoon_history::{Moment, Verdict};

/// One operation for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dot {
    /// When it began.
    pub from: Moment,
    /// When its outcome was known.
    pub to: Moment,
    /// What became of it.
    pub end: DotEnd,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotEnd {
    /// Done, or refused for a reason.
    Done,
    /// Certainly not done.
    Failed,
    /// Nobody knows.
    Indeterminate,
}

/// What a workload says at the end.
#[derive(Debug, Clone)]
pub struct Result {
    /// The workload's name.
    pub name: &'static str,
    /// The judgement.
    pub verdict: Verdict,
    /// Figures in words.
    pub figures: String,
    /// Its operations.
    pub dots: Vec<Dot>,
    /// The history as Jepsen writes it, where there is such a form.
    pub edn: Option<String>,
}

/// Operations for the report.
#[must_use]
pub fn dots<C, A>(history: &[pontoon_history::Operation<C, A>]) -> Vec<Dot> {
    let dot = |one: &pontoon_history::Operation<C, A>| Dot {
        from: one.invoked,
        to: one.ended,
        end: match one.outcome {
            pontoon_history::Outcome::Done(_) => DotEnd::Done,
            pontoon_history::Outcome::Failed(_) => DotEnd::Failed,
            pontoon_history::Outcome::Indeterminate(_) => DotEnd::Indeterminate,
        },
    };
    history.iter().map(dot).collect()
}
