//! Operations as clients saw them, and the recorder that takes them down.

use crate::limits::RECORDED_OPERATIONS;
use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

/// Nanoseconds since the recorder was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than anything that is recorded: when an operation whose end nobody saw may have ended.
    pub const NEVER: Self = Self(u64::MAX);
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("?");
        }
        write!(f, "{:.6}s", self.0 as f64 / 1e9)
    }
}

/// How an operation ended, as far as its client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<A> {
    /// It was done, and this was the answer.
    Done(A),
    /// It was certainly not done.
    Failed(String),
    /// Nobody can say whether it was done, or will be: a deadline, a cut connection.
    Indeterminate(String),
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<C, A> {
    /// Who asked. One process has one operation under way at most.
    pub process: u32,
    /// What it was about; zero where a workload has no keys.
    pub key: u64,
    /// What was asked.
    pub call: C,
    /// When it was sent off: not later than its effect.
    pub invoked: Moment,
    /// When its outcome was known to the client.
    pub ended: Moment,
    /// What came of it.
    pub outcome: Outcome<A>,
}

impl<C, A> Operation<C, A> {
    /// The answer, when it was done.
    #[must_use]
    pub fn answer(&self) -> Option<&A> {
        match &self.outcome {
            Outcome::Done(answer) => Some(answer),
            Outcome::Failed(_) | Outcome::Indeterminate(_) => None,
        }
    }

    /// Until when it may have taken effect.
    #[must_use]
    pub fn returned(&self) -> Moment {
        match self.outcome {
            Outcome::Done(_) | Outcome::Failed(_) => self.ended,
            Outcome::Indeterminate(_) => Moment::NEVER,
        }
    }

    /// Whether it may have been done.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        !matches!(self.outcome, Outcome::Failed(_))
    }
}

/// Names one operation that is under way.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an operation that is never ended counts as indeterminate"]
pub struct Ticket(usize);

/// The history is as long as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder holds {RECORDED_OPERATIONS} operations already; end the run earlier")]
pub struct Full;

/// Takes operations down, from any thread, on one clock.
#[derive(Debug)]
pub struct Recorder<C, A> {
    start: Instant,
    operations: Mutex<Vec<Operation<C, A>>>,
}

impl<C, A> Recorder<C, A> {
    /// A recorder whose clock began at `start`. Recorders of one run share it, so that their times compare.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            operations: Mutex::new(Vec::new()),
        }
    }

    /// The time on this recorder's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        let nanos = self.start.elapsed().as_nanos();
        Moment(u64::try_from(nanos).unwrap_or(u64::MAX - 1))
    }

    /// Notes that `process` is about to ask `call` of `key`. To be called before the request is sent.
    ///
    /// # Errors
    /// When the history is full.
    pub fn begin(&self, process: u32, key: u64, call: C) -> Result<Ticket, Full> {
        let mut operations = self.lock();
        if operations.len() >= RECORDED_OPERATIONS {
            return Err(Full);
        }
        // Read inside the lock, so that the list is in order of invocation.
        let invoked = self.now();
        operations.push(Operation {
            process,
            key,
            call,
            invoked,
            ended: Moment::NEVER,
            outcome: Outcome::Indeterminate("still under way at the end".to_owned()),
        });
        Ok(Ticket(operations.len() - 1))
    }

    /// Notes what came of it. To be called after the answer was received.
    pub fn end(&self, ticket: Ticket, outcome: Outcome<A>) {
        let ended = self.now();
        let operation = &mut self.lock()[ticket.0];
        operation.ended = ended;
        operation.outcome = outcome;
    }

    /// How many operations were begun, and how many of them are known to be done.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let operations = self.lock();
        let done = operations.iter().filter(|one| one.answer().is_some());
        (operations.len(), done.count())
    }

    /// Everything, in order of invocation. Operations that were never ended are indeterminate.
    #[must_use]
    pub fn finish(self) -> Vec<Operation<C, A>> {
        self.operations
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The operations so far, even if a client panicked while it held them: what was noted is whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Operation<C, A>>> {
        self.operations
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
