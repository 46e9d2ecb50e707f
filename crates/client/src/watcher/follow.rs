//! One watch that goes on at another server when its own is gone, from where it was: every change after a revision, once and
//! in order, without ever listing. It ends when the history in between is lost, which the caller is told.

use crate::{
    api::{Client, Selection},
    error::ClientError,
    limits::{BACKOFF_FIRST, BACKOFF_LONGEST},
};
use futures::{Stream, StreamExt as _};
use pontoon_wire::pontoon::v1::{Target, WatchEvent, watch_event};
use std::{collections::HashSet, time::Duration};

/// What was told: enough to ask for the rest, and to know what comes twice.
#[derive(Debug)]
struct Told {
    /// Everything up to this revision.
    whole: u64,
    /// The last revision of which something was told.
    last: u64,
    /// What was told of it: changes of one revision are those of one transaction, which a lost connection may have cut in two.
    objects: HashSet<(String, String)>,
}

impl Told {
    fn new(from: u64) -> Self {
        Self {
            whole: from,
            last: from,
            objects: HashSet::new(),
        }
    }

    /// Whether the event is one that was not told yet.
    fn is_new(&mut self, event: &WatchEvent) -> bool {
        if event.r#type() == watch_event::Type::Bookmark {
            self.whole = self.whole.max(event.revision);
            return true;
        }
        if event.revision < self.last {
            return false;
        }
        if event.revision > self.last {
            self.last = event.revision;
            self.whole = self.whole.max(event.revision - 1);
            self.objects.clear();
        }
        let object = event.object.as_ref();
        let key = object.map(|object| (object.namespace.clone(), object.name.clone()));
        key.is_none_or(|key| self.objects.insert(key))
    }
}

/// Follows a collection from a revision above zero. A failure before the first stream is open ends it; after that only one that
/// trying again does not mend, such as [`ClientError::is_expired`].
///
/// `jitter` varies each wait, such as `World`'s entropy does.
pub fn follow(
    client: Client,
    target: Target,
    selection: Selection,
    from: u64,
    jitter: impl Fn(Duration) -> Duration + Send + Sync + 'static,
) -> impl Stream<Item = Result<WatchEvent, ClientError>> + Send {
    async_stream::stream! {
        let mut told = Told::new(from);
        let mut begun = false;
        let mut wait = BACKOFF_FIRST;
        loop {
            match client.watch(&target, &selection, told.whole).await {
                Ok(mut events) => {
                    begun = true;
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(event) => {
                                wait = BACKOFF_FIRST;
                                if told.is_new(&event) {
                                    yield Ok(event);
                                }
                            }
                            Err(error) if error.is_transient() => break,
                            Err(error) => {
                                yield Err(error);
                                return;
                            }
                        }
                    }
                }
                Err(error) if begun && error.is_transient() => {}
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
            tokio::time::sleep(jitter(wait)).await;
            wait = (wait * 2).min(BACKOFF_LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pontoon_wire::pontoon::v1::Object;

    fn event(kind: watch_event::Type, name: &str, revision: u64) -> WatchEvent {
        let object = Object {
            name: name.to_owned(),
            ..Object::default()
        };
        WatchEvent {
            r#type: kind.into(),
            object: (!name.is_empty()).then_some(object),
            revision,
        }
    }

    #[test]
    fn a_transaction_that_was_cut_in_two_is_told_to_its_end_and_nothing_twice() {
        let added = watch_event::Type::Added;
        let mut told = Told::new(5);
        assert!(told.is_new(&event(added, "a", 6)));
        assert!(told.is_new(&event(added, "b", 7)));
        assert_eq!(told.whole, 6, "more of 7 may come");
        assert!(!told.is_new(&event(added, "b", 7)));
        assert!(told.is_new(&event(added, "c", 7)));
        assert!(!told.is_new(&event(added, "a", 6)), "time goes forward");
        assert!(told.is_new(&event(watch_event::Type::Bookmark, "", 9)));
        assert_eq!(told.whole, 9);
    }
}
