//! watch: changes of a collection, from any retained revision, in order, none twice, none missing.

use super::Verbs;
use crate::error::VerbError;
use crate::fanout::{Ended, Frames, Subscription, line};
use crate::limits::{BOOKMARK_PERIOD, WATCH_LIFETIME};
use crate::request::{Caller, Target, Verb, WatchOptions, WatchStart};
use crate::selection::Selection;
use bytes::Bytes;
use futures::Stream;
use pontoon_api::Revision;
use pontoon_state::{Change, Object, View, Watch, WatchEnd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What happened to an object, as the watcher sees it: an object that enters its selection is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It came, or came into the selection.
    Added,
    /// It changed.
    Modified,
    /// It went, or left the selection.
    Deleted,
}

impl EventKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One event of a watch.
#[derive(Clone)]
pub enum Event {
    /// An object changed, or was there at the start.
    Change {
        /// What happened.
        kind: EventKind,
        /// The object; of a deletion, as it last was, at the deletion's revision.
        object: Arc<Object>,
        /// The event as one line of JSON, shared with other watchers.
        line: Bytes,
    },
    /// Everything up to the revision has been sent.
    Bookmark {
        /// That revision.
        revision: Revision,
        /// Whether it ends the initial objects of a streaming list.
        initial_end: bool,
    },
}

/// The events of a watch. Ends without an error when its time is up.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<Event, VerbError>> + Send>>;

/// A watch being served.
struct Watcher {
    verbs: Arc<Verbs>,
    target: Target,
    resource: String,
    selection: Selection,
    bookmarks: bool,
    source: Source,
}

/// Where a watcher reads.
enum Source {
    /// The feed, or history behind it, while catching up.
    Feed(Watch),
    /// The topic of its resource.
    Topic(Subscription),
}

impl Verbs {
    /// Starts a watch.
    ///
    /// # Errors
    /// 400, 403, 504 when the revision is not reached. 410 comes as the stream's first item, as in Kubernetes.
    pub async fn watch(
        self: &Arc<Self>,
        caller: &Caller,
        target: &Target,
        options: WatchOptions,
    ) -> Result<WatchStream, VerbError> {
        self.authorize(caller, Verb::Watch, target)?;
        let lifetime = options.timeout.unwrap_or_else(|| {
            let spread = u64::try_from(WATCH_LIFETIME.as_millis()).unwrap_or(u64::MAX);
            WATCH_LIFETIME + Duration::from_millis(self.world.entropy().u64() % spread)
        });
        let (after, present) = match options.start {
            WatchStart::After(revision) => {
                self.reached(revision).await?;
                (revision, None)
            }
            WatchStart::Present(freshness) => {
                let view = self.view(freshness).await?;
                (view.revision(), Some(view))
            }
            WatchStart::Newest(freshness) => (self.view(freshness).await?.revision(), None),
        };
        let watch = match self.replica.watch(after) {
            Ok(watch) => watch,
            Err(end) => {
                let error = ended(&end, self.replica.view().revision());
                return Ok(Box::pin(futures::stream::iter([Err(error)])));
            }
        };
        let watcher = Watcher {
            verbs: self.clone(),
            resource: target.kind.storage(),
            target: target.clone(),
            selection: options.selection,
            bookmarks: options.bookmarks,
            source: Source::Feed(watch),
        };
        Ok(Box::pin(watcher.events(
            present,
            options.mark_initial,
            lifetime,
        )))
    }
}

impl Watcher {
    fn events(
        mut self,
        present: Option<Arc<View>>,
        mark_initial: bool,
        lifetime: Duration,
    ) -> impl Stream<Item = Result<Event, VerbError>> + Send {
        let end = tokio::time::Instant::now() + lifetime;
        async_stream::stream! {
            if let Some(view) = present {
                // Collected first: the view's iterator must not live across a wait.
                let initial: Vec<Arc<Object>> = self
                    .selection
                    .candidates(&view, &self.target, None)
                    .filter(|object| self.selection.matches(self.target.kind, object))
                    .cloned()
                    .collect();
                for object in initial {
                    let object = self.target.shown(object);
                    let line = line(EventKind::Added, &object.json);
                    yield Ok(Event::Change { kind: EventKind::Added, object, line });
                }
                if mark_initial && self.bookmarks {
                    yield Ok(Event::Bookmark { revision: view.revision(), initial_end: true });
                }
            }
            let mut bookmark = tokio::time::interval(BOOKMARK_PERIOD);
            bookmark.reset();
            loop {
                let next = tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(end) => return,
                    next = self.next() => next,
                    _ = bookmark.tick(), if self.bookmarks => {
                        yield Ok(Event::Bookmark { revision: self.quiet_until(), initial_end: false });
                        continue;
                    }
                };
                match next {
                    Ok(sets) => {
                        for frames in &sets {
                            for event in self.of_set(frames) {
                                yield Ok(event);
                            }
                        }
                    }
                    Err(why) => {
                        // A stopping server closes its watches in silence: clients go on elsewhere.
                        if !matches!(why, WatchEnd::Closed) {
                            yield Err(ended(&why, self.verbs.replica.view().revision()));
                        }
                        return;
                    }
                }
            }
        }
    }

    /// The next sets that may concern this watcher: from the feed until it has caught up, then from its topic.
    async fn next(&mut self) -> Result<Vec<Arc<Frames>>, WatchEnd> {
        loop {
            match &mut self.source {
                Source::Feed(watch) => {
                    if let Some(sets) = watch.poll()? {
                        return Ok(sets
                            .into_iter()
                            .map(|set| Arc::new(Frames::new(set)))
                            .collect());
                    }
                    let (replica, at) = (&self.verbs.replica, watch.revision());
                    match self.verbs.fanout.subscribe(replica, &self.resource, at) {
                        Some(subscription) => self.source = Source::Topic(subscription),
                        // The topic is ahead of what the feed had a moment ago: there is more by now.
                        None => tokio::task::yield_now().await,
                    }
                }
                Source::Topic(topic) => match topic.next().await {
                    Ok(sets) => return Ok(sets),
                    Err(Ended::Closed) => return Err(WatchEnd::Closed),
                    Err(Ended::Behind) => {
                        self.source = Source::Feed(self.verbs.replica.watch(topic.revision())?)
                    }
                },
            }
        }
    }

    /// The newest revision up to which there is nothing left to send.
    fn quiet_until(&mut self) -> Revision {
        match &mut self.source {
            Source::Feed(watch) => watch.revision(),
            Source::Topic(topic) => topic.skip_quiet(),
        }
    }

    fn of_set(&self, frames: &Frames) -> Vec<Event> {
        let events = frames.changes().filter_map(|(index, change)| {
            let kind = self.kind_of(change)?;
            let object = self.target.shown(frames.object(index, kind));
            // Lines are shared by those who watch the stored form.
            let line = if self.target.kind.form().is_none() {
                frames.line(index, kind)
            } else {
                line(kind, &object.json)
            };
            Some(Event::Change { kind, object, line })
        });
        events.collect()
    }

    /// What a change is to this watcher, if anything.
    fn kind_of(&self, change: &Change) -> Option<EventKind> {
        let key = &change.object().key;
        if *key.resource != *self.resource
            || self
                .target
                .scope()
                .is_some_and(|namespace| *key.namespace != *namespace)
        {
            return None;
        }
        let selected = |object: &Option<Arc<Object>>| {
            object
                .as_ref()
                .is_some_and(|object| self.selection.matches(self.target.kind, object))
        };
        match (selected(&change.before), selected(&change.after)) {
            (false, true) => Some(EventKind::Added),
            (true, true) => Some(EventKind::Modified),
            (true, false) => Some(EventKind::Deleted),
            (false, false) => None,
        }
    }
}

fn ended(end: &WatchEnd, current: Revision) -> VerbError {
    match end {
        WatchEnd::Expired(revision) => VerbError::Expired {
            message: format!("too old resource version: {revision} ({current})"),
            token: None,
        },
        WatchEnd::Closed => VerbError::Unavailable("the server is stopping".into()),
        WatchEnd::Store(error) => {
            tracing::error!(%error, "the store cannot be read");
            VerbError::Internal(error.to_string())
        }
    }
}
