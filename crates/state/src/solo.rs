//! A [`Replica`] of one, in memory, without a log: what tests of services stand on.
//!
//! It runs the real [`Machine`], so that revisions, refusals and feeds are the real ones. It keeps nothing.

use crate::apply::{Entry, History, Machine};
use crate::command::Command;
use crate::feed::{Feed, Watch, WatchEnd};
use crate::kv::MemKv;
use crate::limits::TRANSACTION_BYTES;
use crate::outcome::Outcome;
use crate::replica::{Leadership, MemberStatus, ProposeError, ReadError, Replica};
use crate::view::View;
use bytes::Bytes;
use event_listener::Event;
use pontoon_api::{Revision, Term};
use std::sync::{Arc, Mutex, PoisonError};

/// The in-memory replica.
#[derive(Debug)]
pub struct Solo {
    machine: Mutex<Machine<MemKv>>,
    feed: Arc<Feed>,
    leadership: Mutex<Leadership>,
    changed: Event,
}

impl Solo {
    /// An empty store that leads in term 1.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let machine =
            Machine::open(Arc::new(MemKv::default())).expect("an empty store in memory opens");
        let feed = Arc::new(Feed::new(machine.view(), Arc::new(machine.past())));
        let leadership = Leadership {
            term: Term(1),
            leader: Some(1),
            ready: true,
        };
        Arc::new(Self {
            machine: Mutex::new(machine),
            feed,
            leadership: Mutex::new(leadership),
            changed: Event::new(),
        })
    }

    /// Changes who leads, as an election would.
    pub fn set_leadership(&self, leadership: Leadership) {
        *self
            .leadership
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = leadership;
        self.changed.notify(usize::MAX);
    }
}

#[async_trait::async_trait]
impl Replica for Solo {
    async fn submit(&self, command: Command) -> Result<Outcome, ProposeError> {
        let bytes = command.encode();
        if bytes.len() > TRANSACTION_BYTES {
            return Err(ProposeError::TooLarge {
                size: bytes.len(),
                limit: TRANSACTION_BYTES,
            });
        }
        let command =
            Command::decode(bytes).map_err(|error| ProposeError::Unavailable(error.to_string()))?;
        let entry = Entry {
            term: self.leadership().term,
            command: Some(command),
        };
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut applied = machine
            .apply(&[entry], Bytes::new())
            .map_err(|error| ProposeError::Unavailable(error.to_string()))?;
        self.feed.publish(applied.view, applied.changes);
        drop(machine);
        Ok(applied
            .outcomes
            .pop()
            .flatten()
            .expect("an entry with a command has an outcome"))
    }

    async fn read(&self) -> Result<Arc<View>, ReadError> {
        Ok(self.feed.view())
    }

    fn view(&self) -> Arc<View> {
        self.feed.view()
    }

    async fn reached(&self, revision: Revision) -> Option<Arc<View>> {
        self.feed.reached(revision).await
    }

    fn watch(&self, after: Revision) -> Result<Watch, WatchEnd> {
        self.feed.watch(after)
    }

    fn history(&self) -> Arc<dyn History> {
        self.feed.history()
    }

    fn leadership(&self) -> Leadership {
        *self
            .leadership
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn leadership_changed(&self, known: Leadership) -> Leadership {
        loop {
            let listener = self.changed.listen();
            let present = self.leadership();
            if present != known {
                return present;
            }
            listener.await;
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        let view = self.feed.view();
        vec![MemberStatus {
            id: 1,
            address: "memory".into(),
            voter: true,
            digest: Some((view.revision(), view.digest())),
        }]
    }

    fn applied_index(&self) -> u64 {
        self.feed.view().revision().0
    }
}
