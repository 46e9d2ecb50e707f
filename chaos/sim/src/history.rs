//! What clients asked for, and what they were told.

use parking_lot::Mutex;
use pontoon_state::{Key, View};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Write the register.
    Put(String),
    /// Write the register if it is as this replica shows it.
    Swap(String),
    /// Remove the register.
    Remove(String),
    /// Add an element to the set: an object of its own.
    Add,
    /// Write the register, as planned in the term in which this replica leads.
    Fenced(String),
    /// Read everything.
    Read,
    /// Forget old revisions.
    Compact,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, at this revision.
    Committed(u64),
    /// Not done: a condition does not hold.
    Refused,
    /// Certainly not done.
    NotDone,
    /// Perhaps done.
    Unknown,
    /// What was read: the revision, and each object's revision and writer.
    Read(u64, Contents),
    /// The read was not answered.
    NoRead,
}

/// Objects by name: the revision and the operation that wrote them.
pub type Contents = BTreeMap<String, (u64, u64)>;

/// One operation. Sequence numbers order calls and answers in real time.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its number, which is in what it writes.
    pub id: u64,
    /// The member that was asked.
    pub member: u64,
    /// What.
    pub ask: Ask,
    /// For [`Ask::Fenced`]: the term it was planned in.
    pub fence: Option<u64>,
    /// When it was called.
    pub called: u64,
    /// When it was answered, and with what.
    pub answer: Option<(u64, Answer)>,
}

/// The history of a run. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct History {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    sequence: u64,
    operations: Vec<Operation>,
    /// What a client saw that must never be seen.
    broken: Vec<String>,
}

impl History {
    /// An operation is called; gives its number.
    pub fn call(&self, member: u64, ask: Ask) -> u64 {
        let mut state = self.state.lock();
        let (id, called) = (state.operations.len() as u64, state.sequence);
        state.sequence += 1;
        state.operations.push(Operation {
            id,
            member,
            ask,
            fence: None,
            called,
            answer: None,
        });
        id
    }

    /// Notes the term that an operation was planned in.
    pub fn planned(&self, id: u64, term: u64) {
        self.change(id, |operation, _| operation.fence = Some(term));
    }

    /// It is answered.
    pub fn answered(&self, id: u64, answer: Answer) {
        self.change(id, |operation, sequence| {
            operation.answer = Some((*sequence, answer));
            *sequence += 1;
        });
    }

    /// A client saw what must never be.
    pub fn broken(&self, what: String) {
        self.state.lock().broken.push(what);
    }

    /// What clients saw that must never be, since this was last asked.
    pub fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().broken)
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Operation, &mut u64)) {
        let mut state = self.state.lock();
        let State {
            sequence,
            operations,
            ..
        } = &mut *state;
        if let Some(operation) = usize::try_from(id)
            .ok()
            .and_then(|index| operations.get_mut(index))
        {
            change(operation, sequence);
        }
    }

    /// Whether an operation is answered.
    pub fn answer(&self, id: u64) -> Option<Answer> {
        let state = self.state.lock();
        let operation = state.operations.get(usize::try_from(id).ok()?)?;
        operation.answer.as_ref().map(|(_, answer)| answer.clone())
    }

    /// All operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.state.lock().operations.clone()
    }
}

/// The resource and namespace of all objects.
pub fn key(name: &str) -> Key {
    Key::new("configmaps", "simulated", name)
}

/// What an operation writes, as found in an object or a log entry.
pub fn mark(id: u64) -> String {
    format!("v-{id:08}-")
}

/// The operation that wrote these bytes.
pub fn writer(bytes: &[u8]) -> Option<u64> {
    let at = bytes.windows(3).position(|part| part == b"\"v-")? + 3;
    let digits = bytes.get(at..at + 8)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a view holds.
pub fn contents(view: &View) -> Contents {
    view.iter()
        .map(|object| {
            let by = writer(&object.json).unwrap_or(u64::MAX);
            (object.key.name.to_string(), (object.revision.0, by))
        })
        .collect()
}
