//! Lists that transactions append to and read: strict serializability, judged twice.
//!
//! `adya`, which is not ours, looks for the cycles that each isolation level forbids; [`cycles`] builds the graph of dependencies and
//! real time on its own and looks for any cycle. Both must find nothing.

pub mod cycles;

use crate::limits::CYCLE_SEARCH_MILLIS;
use crate::operation::{Moment, Operation, Outcome};
use crate::verdict::{Anomaly, Verdict};
use adya::history::{Interner, Mop as TheirMop, Op, OpType, ReadValue, Scalar};
use std::time::Duration;

/// One step of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mop {
    /// Put `value` at the end of the list of `key`. No value is appended twice to a key.
    Append {
        /// Which list.
        key: u64,
        /// What.
        value: u64,
    },
    /// What does the list of `key` hold? Each read takes the next of the answer's lists.
    Read {
        /// Which list.
        key: u64,
    },
}

/// What was asked: steps in order.
pub type Call = Vec<Mop>;

/// What was read, one list for each read of the call, in its order.
pub type Answer = Vec<Vec<u64>>;

/// Transactions over lists.
pub type History = [Operation<Call, Answer>];

/// Judges the transactions both ways.
#[must_use]
pub fn check(history: &History) -> Verdict {
    cycles::check(history).and(check_with_adya(history))
}

/// Judges them with `adya` alone.
#[must_use]
pub fn check_with_adya(history: &History) -> Verdict {
    let report = adya::check(
        &theirs(history),
        adya::Workload::ListAppend,
        &adya::Opts {
            timeout: Duration::from_millis(CYCLE_SEARCH_MILLIS),
            ..adya::Opts::default()
        },
    );
    match report.valid {
        adya::Valid::True => Verdict::Valid,
        adya::Valid::Unknown => Verdict::Unknown(format!("adya: {:?}", report.anomaly_types)),
        adya::Valid::False => {
            let anomalies = report.anomalies.into_iter().flat_map(|(kind, found)| {
                found.into_iter().map(move |anomaly| {
                    Anomaly::new("adya", format!("{kind}: {}", anomaly.explanation))
                })
            });
            Verdict::of(anomalies.collect())
        }
    }
}

/// The history as `adya` takes it: two entries for each operation, in order of time.
fn theirs(history: &History) -> adya::History {
    let mut interner = Interner::default();
    let mut entries: Vec<(Moment, bool, Op)> = Vec::new();
    for (place, operation) in history.iter().enumerate() {
        let mut entry = |kind, answer: Option<&Answer>, at: Moment| Op {
            index: 0,
            kind,
            // A process that does not know what became of its request goes on under another name.
            process: i64::try_from(place).ok(),
            value: mops(&operation.call, answer, &mut interner),
            time: i64::try_from(at.0).ok(),
        };
        let invoke = entry(OpType::Invoke, None, operation.invoked);
        let end = match &operation.outcome {
            Outcome::Done(answer) => Some(entry(OpType::Ok, Some(answer), operation.ended)),
            Outcome::Failed(_) => Some(entry(OpType::Fail, None, operation.ended)),
            Outcome::Indeterminate(_) => None,
        };
        entries.push((operation.invoked, false, invoke));
        match end {
            Some(end) => entries.push((operation.ended, true, end)),
            None => {
                let end = entry(OpType::Info, None, operation.ended);
                entries.push((Moment::NEVER, true, end));
            }
        }
    }
    entries.sort_by_key(|(at, is_end, _)| (*at, *is_end));
    let operations = entries
        .into_iter()
        .enumerate()
        .map(|(index, (_, _, op))| Op {
            index: index as u64,
            ..op
        });
    adya::History::from_ops(operations.collect(), interner)
}

fn mops(call: &Call, answer: Option<&Answer>, interner: &mut Interner) -> Vec<TheirMop> {
    let mut number = |number: u64| interner.intern(Scalar::Int(number.cast_signed()));
    let mut lists = answer.into_iter().flatten();
    call.iter()
        .map(|mop| match *mop {
            Mop::Append { key, value } => TheirMop::Append {
                key: number(key),
                value: number(value),
            },
            Mop::Read { key } => TheirMop::Read {
                key: number(key),
                value: match lists.next() {
                    Some(list) => ReadValue::List(list.iter().map(|one| number(*one)).collect()),
                    None => ReadValue::Nil,
                },
            },
        })
        .collect()
}
