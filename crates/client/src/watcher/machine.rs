//! The watcher as explicit states, without IO and without a clock.

use super::Event;
use crate::limits;
use pontoon_wire::pontoon::v1::{ListResponse, WatchEvent, watch_event};
use std::time::Duration;

/// What the driver is to do next, and then tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask for a page (the first when the token is empty); tell [`Machine::page`].
    List {
        /// Where the last page ended.
        token: String,
    },
    /// Open a watch; tell [`Machine::opened`].
    Open {
        /// Changes after this revision.
        from: u64,
    },
    /// Read the open watch; tell [`Machine::event`].
    Read,
    /// Let about this much time pass; tell [`Machine::waited`].
    Wait(Duration),
}

/// Why an action came to nothing; tell [`Machine::failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The stream ended without an error, as when a server shuts down.
    Ended,
    /// The server no longer has the history asked for (410).
    Expired,
    /// Anything else.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Listing { token: String },
    Opening { from: u64 },
    Reading { from: u64 },
    Waiting { delay: Duration, then: Box<State> },
}

/// List, then watch; when that breaks, resume where it broke, or list again where nothing can be
/// resumed.
#[derive(Debug)]
pub struct Machine {
    state: State,
    /// Failures since anything was last received.
    failures: u32,
}

impl Machine {
    /// Begins with a listing.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "a machine is begun, not defaulted"
    )]
    pub const fn new() -> Self {
        Self {
            state: State::Listing {
                token: String::new(),
            },
            failures: 0,
        }
    }

    /// What to do.
    #[must_use]
    pub fn next(&self) -> Action {
        match &self.state {
            State::Listing { token } => Action::List {
                token: token.clone(),
            },
            State::Opening { from } => Action::Open { from: *from },
            State::Reading { .. } => Action::Read,
            State::Waiting { delay, .. } => Action::Wait(*delay),
        }
    }

    /// A page has come. Gives what it means to the reader.
    ///
    /// # Panics
    /// When no page was asked for.
    pub fn page(&mut self, page: ListResponse) -> impl Iterator<Item = Event> + use<> {
        let State::Listing { token } = &self.state else {
            panic!("a page came in state {:?}", self.state)
        };
        let init = token.is_empty().then_some(Event::Init);
        let last = page.continue_token.is_empty();
        let done = last.then_some(Event::InitDone {
            revision: page.revision,
        });
        self.failures = 0;
        self.state = if last {
            State::Opening {
                from: page.revision,
            }
        } else {
            State::Listing {
                token: page.continue_token,
            }
        };
        init.into_iter()
            .chain(page.items.into_iter().map(Event::Apply))
            .chain(done)
    }

    /// The watch is open.
    ///
    /// # Panics
    /// When none was to be opened.
    pub fn opened(&mut self) {
        let State::Opening { from } = self.state else {
            panic!("a watch was opened in state {:?}", self.state)
        };
        self.state = State::Reading { from };
    }

    /// An event has come. Gives what it means to the reader; a bookmark means nothing.
    ///
    /// # Panics
    /// When none was to be read.
    pub fn event(&mut self, event: WatchEvent) -> Option<Event> {
        let State::Reading { from } = &mut self.state else {
            panic!("an event came in state {:?}", self.state)
        };
        self.failures = 0;
        let kind = event.r#type();
        // Other events of the same transaction may follow: until the next revision or a bookmark
        // shows that they have all come, a resumed watch must begin before them.
        let complete = match kind {
            watch_event::Type::Bookmark => event.revision,
            _ => event.revision.saturating_sub(1),
        };
        *from = complete.max(*from);
        let object = event.object?;
        match kind {
            watch_event::Type::Added | watch_event::Type::Modified => Some(Event::Apply(object)),
            watch_event::Type::Deleted => Some(Event::Delete(object)),
            watch_event::Type::Bookmark | watch_event::Type::Unspecified => None,
        }
    }

    /// The last action came to nothing.
    pub fn failed(&mut self, failure: Failure) {
        let then = match (failure, &self.state) {
            (Failure::Expired, _) => State::Listing {
                token: String::new(),
            },
            (Failure::Ended | Failure::Other, State::Reading { from }) => {
                State::Opening { from: *from }
            }
            (Failure::Ended | Failure::Other, same) => same.clone(),
        };
        let doubled = limits::BACKOFF_FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting {
            delay: doubled.min(limits::BACKOFF_LONGEST),
            then: Box::new(then),
        };
    }

    /// The time has passed.
    pub fn waited(&mut self) {
        if let State::Waiting { then, .. } = &self.state {
            self.state = State::clone(then);
        }
    }
}

#[cfg(test)]
mod tests;
