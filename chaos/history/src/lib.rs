//! What clients asked and were told while faults were injected, and the checkers that judge it.
//!
//! A [`Recorder`] takes operations down as they happen; a checker of one workload looks at the finished list and gives a [`Verdict`].
//! Checkers are pure: the same history gives the same verdict and the same words. None of them asks the product anything, and none
//! shares code with it, so that a mistake cannot be made twice.
//!
//! * [`register`]: one value per key with compare-and-set, by revisions; what those cannot decide goes to [`search`], the general search
//!   for a linear order. [`brief`] makes a counter-example small.
//! * [`set`]: what was added stays. [`append`]: lists over transactions, by `adya` and by a second way of our own.
//! * [`watch`]: nine guarantees of a stream of changes. [`paging`]: a list read in pages is one moment.
//! * [`lock`]: who was fenced off writes nothing. [`availability`]: never two where one must be, never fewer than promised.
//! * [`edn`] writes histories as Jepsen does.
//!
//! Invariants:
//! * an outcome that nobody can know is [`Outcome::Indeterminate`], never a failure;
//! * a checker that could not decide says so ([`Verdict::Unknown`]); it never guesses.

pub mod append;
pub mod availability;
pub mod brief;
pub mod edn;
pub mod ledger;
pub mod limits;
pub mod lock;
pub mod operation;
pub mod paging;
pub mod register;
pub mod search;
pub mod set;
pub mod verdict;

pub mod watch;

pub use operation::{Moment, Operation, Outcome, Recorder, Ticket};
pub use verdict::{Anomaly, Verdict};
