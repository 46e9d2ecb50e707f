//! A reader's view of a collection, kept up to date whatever happens to the connection.
//!
//! A [`Machine`] says what to do next (list, watch, wait) and what each answer means to the
//! reader; [`watch`] does it over a [`Client`]. The machine is pure, so that its behaviour is tested as
//! scripts.
//!
//! What the reader sees:
//! - [`Event::Init`], then every present object as [`Event::Apply`], then [`Event::InitDone`]: what it has
//!   and was not told of in between is gone;
//! - after that every change, in the order of revisions, each at least once: after a lost connection the
//!   changes of the last revision seen are told again, because a transaction may have been cut in two;
//! - another [`Event::Init`] whenever the history in between was lost.
//!
//! [`follow`] is for a reader that has listed already and prints what comes: each change once, from a revision on.
//!
//! Nothing is buffered but the page at hand: a reader that does not read stops the server.

pub mod follow;
pub mod machine;

use crate::{
    api::{Client, Selection},
    error::ClientError,
    typed,
};
use futures::{Stream, StreamExt as _};
use pontoon_wire::pontoon::v1::{Object, Target};
use serde::de::DeserializeOwned;
use std::time::Duration;

pub use follow::follow;
pub use machine::{Action, Failure, Machine};

/// What happened to the collection.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<T = Object> {
    /// Everything that exists follows.
    Init,
    /// The object exists, and looks like this.
    Apply(T),
    /// The object is gone; it last looked like this.
    Delete(T),
    /// Everything that existed at this revision has been told.
    InitDone {
        /// Which.
        revision: u64,
    },
}

impl Event {
    /// The same with the object as its type.
    ///
    /// # Errors
    /// [`ClientError::Malformed`] when it is of another.
    pub fn decode<K: DeserializeOwned>(&self) -> Result<Event<K>, ClientError> {
        Ok(match self {
            Self::Init => Event::Init,
            Self::Apply(object) => Event::Apply(typed::decode(object)?),
            Self::Delete(object) => Event::Delete(typed::decode(object)?),
            Self::InitDone { revision } => Event::InitDone {
                revision: *revision,
            },
        })
    }
}

/// Keeps the reader up to date for as long as it reads: the stream does not end. An error in it says
/// what went wrong on the way, and that it is being tried again.
///
/// `selection` says which objects; its revision is not used. `jitter` varies each wait, such as `World`'s entropy does.
pub fn watch(
    client: Client,
    target: Target,
    selection: Selection,
    jitter: impl Fn(Duration) -> Duration + Send + Sync + 'static,
) -> impl Stream<Item = Result<Event, ClientError>> + Send {
    // A listing of the past has no future to watch.
    let selection = Selection {
        at_revision: 0,
        ..selection
    };
    async_stream::stream! {
        let mut machine = Machine::new();
        let mut open = None;
        loop {
            let action = machine.next();
            let failed = match action {
                Action::Wait(delay) => {
                    open = None;
                    tokio::time::sleep(jitter(delay)).await;
                    machine.waited();
                    continue;
                }
                Action::List { token } => match client.list_page(&target, &selection, &token).await {
                    Ok(page) => {
                        for event in machine.page(page) {
                            yield Ok(event);
                        }
                        continue;
                    }
                    Err(error) => error,
                },
                Action::Open { from } => match client.watch(&target, &selection, from).await {
                    Ok(stream) => {
                        open = Some(stream);
                        machine.opened();
                        continue;
                    }
                    Err(error) => error,
                },
                Action::Read => match open.as_mut().expect("the machine reads what was opened").next().await {
                    Some(Ok(event)) => {
                        if let Some(event) = machine.event(event) {
                            yield Ok(event);
                        }
                        continue;
                    }
                    None => {
                        machine.failed(Failure::Ended);
                        continue;
                    }
                    Some(Err(error)) => error,
                },
            };
            if failed.is_expired() {
                machine.failed(Failure::Expired);
            } else {
                machine.failed(Failure::Other);
                yield Err(failed);
            }
        }
    }
}
