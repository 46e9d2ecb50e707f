//! Histories as Jepsen writes them: one map a line, which `elle` and `knossos` read.
//!
//! A process that does not know the outcome of its request stops, as Jepsen's do, and goes on under another number.

use crate::operation::{Moment, Operation, Outcome};
use crate::{append, register, set};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How operations of one workload are written.
pub trait Edn {
    /// What was answered.
    type Answer;

    /// The `:f` of an entry, without the colon.
    fn function(&self) -> &'static str;

    /// The `:value` of an entry; without an answer, what was asked.
    fn value(&self, key: u64, answer: Option<&Self::Answer>) -> String;

    /// Whether an answer says that nothing was done.
    fn refused(&self, answer: &Self::Answer) -> bool;
}

/// The history, an entry a line, in order of time.
#[must_use]
pub fn write<C: Edn>(history: &[Operation<C, C::Answer>]) -> String {
    let mut entries: Vec<(Moment, bool, usize)> = Vec::new();
    for (place, operation) in history.iter().enumerate() {
        entries.push((operation.invoked, false, place));
        entries.push((operation.returned(), true, place));
    }
    entries.sort_unstable();
    let mut names: BTreeMap<u32, u64> = BTreeMap::new();
    let mut of_operation: Vec<u64> = vec![0; history.len()];
    // Far above any process number, so that a name stands for one process only.
    let mut unused = 1_000_000;
    let mut text = String::new();
    for (index, (_, is_end, place)) in entries.into_iter().enumerate() {
        let operation = &history[place];
        if !is_end {
            let own = u64::from(operation.process);
            of_operation[place] = *names.entry(operation.process).or_insert(own);
            if matches!(operation.outcome, Outcome::Indeterminate(_)) {
                unused += 1;
                names.insert(operation.process, unused);
            }
        }
        let (kind, answer) = match (&operation.outcome, is_end) {
            (_, false) => ("invoke", None),
            (Outcome::Done(answer), _) if operation.call.refused(answer) => ("fail", None),
            (Outcome::Done(answer), _) => ("ok", Some(answer)),
            (Outcome::Failed(_), _) => ("fail", None),
            (Outcome::Indeterminate(_), _) => ("info", None),
        };
        let time = if is_end {
            operation.ended
        } else {
            operation.invoked
        };
        let time = if time == Moment::NEVER {
            operation.invoked
        } else {
            time
        };
        let _ = writeln!(
            text,
            "{{:index {index}, :time {}, :type :{kind}, :process {}, :f :{}, :value {}}}",
            time.0,
            of_operation[place],
            operation.call.function(),
            operation.call.value(operation.key, answer)
        );
    }
    text
}

/// Keys are independent: a value is `[key value]`. A write's value is `[revision value]`, as jepsen.etcd's versioned register has it.
impl Edn for register::Call {
    type Answer = register::Answer;

    fn function(&self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write { .. } => "write",
            Self::Cas { .. } => "cas",
        }
    }

    fn value(&self, key: u64, answer: Option<&register::Answer>) -> String {
        let revision = match answer {
            Some(register::Answer::Written(revision)) => revision.to_string(),
            _ => "nil".to_owned(),
        };
        match (self, answer) {
            (Self::Read, Some(register::Answer::Read(Some(version)))) => {
                format!("[{key} [{} {}]]", version.revision, version.value)
            }
            (Self::Read, _) => format!("[{key} [nil nil]]"),
            (Self::Write { value }, _) => format!("[{key} [{revision} {value}]]"),
            (Self::Cas { expected, value }, _) => {
                format!("[{key} [{revision} [{expected} {value}]]]")
            }
        }
    }

    fn refused(&self, answer: &register::Answer) -> bool {
        *answer == register::Answer::Conflict
    }
}

impl Edn for set::Call {
    type Answer = set::Answer;

    fn function(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Read => "read",
        }
    }

    fn value(&self, _key: u64, answer: Option<&set::Answer>) -> String {
        match (self, answer) {
            (Self::Add(element), _) => element.to_string(),
            (Self::Read, Some(set::Answer::Holds(elements))) => {
                format!("#{{{}}}", joined(elements))
            }
            (Self::Read, _) => "nil".to_owned(),
        }
    }

    fn refused(&self, _answer: &set::Answer) -> bool {
        false
    }
}

impl Edn for append::Call {
    type Answer = append::Answer;

    fn function(&self) -> &'static str {
        "txn"
    }

    fn value(&self, _key: u64, answer: Option<&append::Answer>) -> String {
        let mut lists = answer.into_iter().flatten();
        let mops = self.iter().map(|mop| match mop {
            append::Mop::Append { key, value } => format!("[:append {key} {value}]"),
            append::Mop::Read { key } => match lists.next() {
                Some(list) => format!("[:r {key} [{}]]", joined(list)),
                None => format!("[:r {key} nil]"),
            },
        });
        format!("[{}]", mops.collect::<Vec<_>>().join(" "))
    }

    fn refused(&self, _answer: &append::Answer) -> bool {
        false
    }
}

fn joined<'a>(numbers: impl IntoIterator<Item = &'a u64>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(u64::to_string).collect();
    numbers.join(" ")
}
