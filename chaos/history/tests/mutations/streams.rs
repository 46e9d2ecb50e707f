//! Streams of changes, and lists in pages.

use crate::{finds, random};
use pontoon_history::ledger::{Change, Ledger};
use pontoon_history::paging::{self, End, List, Page};
use pontoon_history::register::Version;
use pontoon_history::watch::{self, Item, Kind, Scope, Stream};
use pontoon_history::{Moment, Verdict};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};

/// Ten keys over three hundred revisions, some transactions with two keys, and a stream of it all.
fn streams() -> (Ledger, Stream) {
    let mut random = random();
    let mut ledger = Ledger::default();
    let mut items = Vec::new();
    let mut held: BTreeMap<u64, u64> = BTreeMap::new();
    for revision in 1..=300_u64 {
        let mut keys = BTreeSet::from([random.random_range(0..10_u64)]);
        if revision % 5 == 0 {
            keys.insert(random.random_range(0..10_u64));
        }
        for key in keys {
            let value = revision * 100 + key;
            ledger.attempt(key, value);
            let before = held.get(&key).copied();
            let (kind, value, change) = match before {
                Some(old) if random.random_ratio(1, 5) => {
                    held.remove(&key);
                    (Kind::Deleted, old, None)
                }
                _ => {
                    held.insert(key, value);
                    (
                        if before.is_some() {
                            Kind::Modified
                        } else {
                            Kind::Added
                        },
                        value,
                        Some(value),
                    )
                }
            };
            ledger.learn(
                Change {
                    revision,
                    key,
                    value: change,
                },
                "writer",
            );
            items.push(Item::Event {
                kind,
                key,
                value,
                revision,
            });
        }
        if revision % 50 == 0 {
            items.push(Item::Bookmark(revision));
        }
    }
    let stream = Stream {
        name: "watcher 1".to_owned(),
        scope: Scope::All,
        from: 0,
        present: None,
        items,
        until: 0,
    };
    (ledger, stream)
}

fn judged(change: impl FnOnce(&mut Stream)) -> Verdict {
    let (mut ledger, mut stream) = streams();
    change(&mut stream);
    watch::check(&mut ledger, &[stream])
}

fn revision_of(item: &Item) -> u64 {
    match item {
        Item::Event { revision, .. } | Item::Bookmark(revision) => *revision,
    }
}

#[test]
fn good_streams_of_any_scope_and_beginning_are_valid() {
    assert_eq!(judged(|_| ()), Verdict::Valid);
    let residue = Scope::Residue {
        divisor: 3,
        remainder: 1,
    };
    for scope in [Scope::Key(4), residue] {
        let own = scope.clone();
        let verdict = judged(|stream| {
            stream.items.retain(|item| match item {
                Item::Event { key, .. } => own.holds(*key),
                Item::Bookmark(_) => true,
            });
            stream.scope = scope;
        });
        assert_eq!(verdict, Verdict::Valid);
    }
    let (mut ledger, mut stream) = streams();
    stream.from = 120;
    stream.present = Some(ledger.state_at(120).into_iter().collect());
    stream.items.retain(|item| revision_of(item) > 120);
    assert_eq!(stream.resume_from(), 300);
    assert_eq!(watch::check(&mut ledger, &[stream]), Verdict::Valid);
}

#[test]
fn each_broken_guarantee_of_a_stream_is_found_by_name() {
    let is_event = |item: &Item| matches!(item, Item::Event { .. });
    finds(
        &judged(|stream| {
            stream.scope = Scope::Key(4);
        }),
        "watch-filter",
    );
    finds(&judged(|stream| stream.items.swap(20, 30)), "watch-ordered");
    finds(
        &judged(|stream| {
            let again = stream.items[40];
            stream.items.insert(41, again);
        }),
        "watch-unique",
    );
    finds(
        &judged(|stream| {
            let at = stream.items.iter().position(is_event).unwrap();
            stream.items.remove(at + 30);
        }),
        "watch-reliable",
    );
    finds(
        &judged(|stream| {
            stream.items.drain(..5);
        }),
        "watch-resumable",
    );
    finds(
        &judged(|stream| {
            stream.from = 10;
        }),
        "watch-resumable",
    );
    finds(
        &judged(|stream| {
            stream
                .items
                .retain(|item| !is_event(item) || revision_of(item) < 290);
        }),
        "watch-bookmarkable",
    );
    finds(
        &judged(|stream| {
            stream.items.insert(0, Item::Bookmark(2));
        }),
        "watch-bookmarkable",
    );
    finds(
        &judged(|stream| {
            stream.items.truncate(100);
            stream.until = 300;
        }),
        "watch-reliable",
    );
    finds(
        &judged(|stream| {
            let pair = stream.items.windows(2).position(|pair| {
                is_event(&pair[0])
                    && is_event(&pair[1])
                    && revision_of(&pair[0]) == revision_of(&pair[1])
            });
            stream.items.remove(pair.unwrap());
        }),
        "watch-atomic",
    );
    for (wanted, kind) in [
        (Kind::Deleted, "watch-previous"),
        (Kind::Added, "watch-is-create"),
        (Kind::Modified, "watch-is-create"),
    ] {
        let verdict = judged(|stream| {
            let found = stream.items.iter_mut().find_map(|item| match item {
                Item::Event { kind, value, .. } if *kind == wanted => Some((kind, value)),
                _ => None,
            });
            let (kind, value) = found.unwrap();
            match wanted {
                Kind::Deleted => *value += 1,
                Kind::Added => *kind = Kind::Modified,
                Kind::Modified => *kind = Kind::Added,
            }
        });
        finds(&verdict, kind);
    }
    finds(
        &judged(|stream| {
            stream.present = Some(vec![(
                3,
                Version {
                    revision: 1,
                    value: 3,
                },
            )])
        }),
        "value-from-nowhere",
    );
    finds(&judged(|stream| stream.from = 100), "watch-resumable");
}

#[test]
fn two_streams_that_tell_different_histories_are_found() {
    let (mut ledger, stream) = streams();
    ledger.attempt(3, 77_777);
    let mut other = stream.clone();
    other.items.push(Item::Event {
        kind: Kind::Modified,
        key: 3,
        value: 77_777,
        revision: 301,
    });
    let mut third = stream;
    ledger.attempt(3, 88_888);
    third.items.push(Item::Event {
        kind: Kind::Modified,
        key: 3,
        value: 88_888,
        revision: 301,
    });
    finds(
        &watch::check(&mut ledger, &[other, third]),
        "histories-differ",
    );
}

fn paged() -> (Ledger, List) {
    let (ledger, _) = streams();
    let all: Vec<(u64, Version)> = ledger.state_at(200).into_iter().collect();
    let mut left = all.len();
    let pages = all
        .chunks(3)
        .map(|items| {
            left -= items.len();
            Page {
                revision: 200,
                items: items.to_vec(),
                remaining: Some(left as u64),
            }
        })
        .collect();
    let list = List {
        name: "list 1".to_owned(),
        invoked: Moment(1_000),
        at: None,
        pages,
        end: End::Complete,
    };
    (ledger, list)
}

#[test]
fn a_list_that_is_not_one_moment_is_found() {
    let acknowledged = [(Moment(900), 180), (Moment(2_000), 290)];
    let judged = |change: &dyn Fn(&mut List)| {
        let (mut ledger, mut list) = paged();
        change(&mut list);
        paging::check(&mut ledger, &acknowledged, &[list])
    };
    assert_eq!(judged(&|_| ()), Verdict::Valid);
    assert_eq!(
        judged(&|list| {
            list.pages.pop();
            list.end = End::Expired;
        }),
        Verdict::Valid
    );
    finds(
        &judged(&|list| list.pages[1].revision = 201),
        "pages-of-several-moments",
    );
    finds(&judged(&|list| list.at = Some(150)), "wrong-past");
    finds(&judged(&|list| list.invoked = Moment(3_000)), "stale-list");
    finds(
        &judged(&|list| {
            let item = list.pages[0].items[0];
            list.pages[1].items.push(item);
        }),
        "listed-twice",
    );
    finds(
        &judged(&|list| {
            list.pages[1].items.pop();
        }),
        "missing-in-list",
    );
    finds(
        &judged(&|list| list.pages[0].remaining = Some(1)),
        "wrong-remaining",
    );
    let (ledger, _) = paged();
    let later = ledger.state_at(300);
    finds(
        &judged(&|list| {
            for page in &mut list.pages {
                for (key, version) in &mut page.items {
                    *version = later.get(key).copied().unwrap_or(*version);
                }
            }
        }),
        "torn-list",
    );
}
