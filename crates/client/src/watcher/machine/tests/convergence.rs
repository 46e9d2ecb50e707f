//! Whatever breaks on the way, a reader that follows the rules ends up with what the server has.

use super::{Event, Failure, Machine, change};
use crate::watcher::Action;
use pontoon_wire::pontoon::v1::{ListResponse, Object, WatchEvent, watch_event};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Names to revisions, with every change since the last compaction.
#[derive(Debug, Default)]
struct Server {
    objects: BTreeMap<u8, u64>,
    history: Vec<WatchEvent>,
    revision: u64,
    compacted: u64,
}

#[derive(Debug, Clone)]
enum Step {
    /// One transaction: toggles whether each name exists, or touches it.
    Write(Vec<(u8, bool)>),
    Compact,
    /// The machine's next action succeeds; of a stream, this many events arrive before it breaks or waits.
    Serve {
        events: usize,
        breaks: bool,
    },
    /// It fails.
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec((0_u8..6, any::<bool>()), 1..4).prop_map(Step::Write),
        1 => Just(Step::Compact),
        6 => (0_usize..5, any::<bool>()).prop_map(|(events, breaks)| Step::Serve { events, breaks }),
        1 => Just(Step::Fail),
    ];
    prop::collection::vec(step, 0..80)
}

impl Server {
    fn write(&mut self, names: &[(u8, bool)]) {
        self.revision += 1;
        for (name, remove) in names {
            let existed = self.objects.contains_key(name);
            let kind = match (existed, remove) {
                (true, true) => watch_event::Type::Deleted,
                (true, false) => watch_event::Type::Modified,
                (false, _) => watch_event::Type::Added,
            };
            if kind == watch_event::Type::Deleted {
                self.objects.remove(name);
            } else {
                self.objects.insert(*name, self.revision);
            }
            let mut event = change(kind, &self.revision.to_string(), Some(&name.to_string()));
            if let Some(object) = &mut event.object {
                object.revision = self.revision;
            }
            self.history.push(event);
        }
    }

    /// Pages of two, of the present: that a listing is of one revision is the real server's duty, which
    /// this one keeps by refusing the token of another revision.
    fn page(&self, token: &str) -> Option<ListResponse> {
        let (revision, after) = match token.split_once(' ') {
            Some((revision, after)) => (revision.parse().ok()?, Some(after.parse::<u8>().ok()?)),
            None => (self.revision, None),
        };
        if revision != self.revision {
            return None;
        }
        let rest: Vec<_> = self
            .objects
            .iter()
            .filter(|(name, _)| after.is_none_or(|after| **name > after))
            .collect();
        let shown = &rest[..rest.len().min(2)];
        let more = rest.len() > shown.len();
        Some(ListResponse {
            items: shown
                .iter()
                .map(|(name, revision)| Object {
                    name: name.to_string(),
                    revision: **revision,
                    ..Object::default()
                })
                .collect(),
            revision,
            continue_token: shown
                .last()
                .filter(|_| more)
                .map(|last| format!("{revision} {}", last.0))
                .unwrap_or_default(),
            remaining: None,
        })
    }
}

/// A reader that knows only what it is told.
#[derive(Debug, Default)]
struct Reader {
    objects: BTreeMap<String, u64>,
    init: Option<BTreeSet<String>>,
}

impl Reader {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Init => self.init = Some(BTreeSet::new()),
            Event::Apply(object) => {
                if let Some(seen) = &mut self.init {
                    seen.insert(object.name.clone());
                }
                self.objects.insert(object.name, object.revision);
            }
            Event::Delete(object) => {
                self.objects.remove(&object.name);
            }
            Event::InitDone { .. } => {
                let seen = self.init.take().expect("it was begun");
                self.objects.retain(|name, _| seen.contains(name));
            }
        }
    }
}

struct Run {
    server: Server,
    machine: Machine,
    reader: Reader,
    /// How far the open stream has come: an index into all history, kept as revision and place in it.
    sent: Vec<WatchEvent>,
}

impl Run {
    fn serve(&mut self, events: usize, breaks: bool) {
        match self.machine.next() {
            Action::Wait(_) => self.machine.waited(),
            Action::List { token } => match self.server.page(&token) {
                Some(page) => self
                    .machine
                    .page(page)
                    .for_each(|event| self.reader.tell(event)),
                None => self.machine.failed(Failure::Expired),
            },
            Action::Open { from } if from < self.server.compacted => {
                self.machine.failed(Failure::Expired)
            }
            Action::Open { from } => {
                self.sent = self
                    .server
                    .history
                    .iter()
                    .filter(|event| event.revision <= from)
                    .cloned()
                    .collect();
                self.machine.opened();
            }
            Action::Read => {
                // The stream goes on where it was, in the middle of a transaction if need be.
                let waiting: Vec<_> = self.server.history[self.sent.len()..]
                    .iter()
                    .take(events)
                    .cloned()
                    .collect();
                for event in waiting {
                    self.sent.push(event.clone());
                    self.machine
                        .event(event)
                        .into_iter()
                        .for_each(|event| self.reader.tell(event));
                }
                if self.sent.len() == self.server.history.len() {
                    let bookmark = change(
                        watch_event::Type::Bookmark,
                        &self.server.revision.to_string(),
                        None,
                    );
                    assert_eq!(self.machine.event(bookmark), None);
                }
                if breaks {
                    self.machine.failed(Failure::Ended);
                }
            }
        }
    }

    fn caught_up(&self) -> bool {
        self.machine.next() == Action::Read && self.sent.len() == self.server.history.len()
    }
}

proptest! {
    #[test]
    fn a_reader_ends_up_with_what_the_server_has(steps in steps()) {
        let mut run = Run {
            server: Server::default(),
            machine: Machine::new(),
            reader: Reader::default(),
            sent: Vec::new(),
        };
        for step in steps {
            match step {
                Step::Write(names) => run.server.write(&names),
                // The history is kept here and only refused to those who open: a running stream has its own.
                Step::Compact => run.server.compacted = run.server.revision,
                Step::Serve { events, breaks } => run.serve(events, breaks),
                Step::Fail => match run.machine.next() {
                    Action::Wait(_) => run.machine.waited(),
                    _ => run.machine.failed(Failure::Other),
                },
            }
        }
        for _ in 0..50 {
            run.serve(usize::MAX, false);
        }
        prop_assert!(run.caught_up(), "{:?}", run.machine);
        let has: BTreeMap<_, _> = run.server.objects.iter().map(|(name, at)| (name.to_string(), *at)).collect();
        prop_assert_eq!(run.reader.objects, has);
    }
}
