//! The state machine against a plain model: what is committed, refused, remembered and forgotten.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use pontoon_api::{Revision, Term};
use pontoon_state::apply::{Applied, History};
use pontoon_state::{
    Command, Entry, Feed, Key, Machine, MemKv, Outcome, Precondition, Refusal, Transaction, View,
    WatchEnd, Write, encode, invariant,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn key(name: u8) -> Key {
    Key::new(
        if name.is_multiple_of(2) {
            "pods"
        } else {
            "configmaps"
        },
        if name < 4 { "a" } else { "b" },
        &format!("n{name}"),
    )
}

fn object(name: u8, value: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Thing",
        "metadata": {
            "name": format!("n{name}"), "uid": format!("uid-{name}"), "labels": {"value": value.to_string()},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Owner", "name": "o", "uid": format!("owner-{}", value % 3)}],
        },
        "spec": {"nodeName": if value.is_multiple_of(2) { "" } else { "node" }, "value": value},
    })
}

fn put(name: u8, value: u8) -> Write {
    Write::Put(key(name), encode(&object(name, value)).unwrap())
}

fn transact(transaction: Transaction) -> Entry {
    Entry {
        term: Term(1),
        command: Some(Command::Transact(transaction)),
    }
}

struct Fixture {
    kv: Arc<MemKv>,
    machine: Machine<MemKv>,
}

impl Fixture {
    fn new() -> Self {
        let kv = Arc::new(MemKv::default());
        Self {
            machine: Machine::open(kv.clone()).unwrap(),
            kv,
        }
    }

    fn apply(&mut self, entries: &[Entry]) -> Applied {
        self.machine
            .apply(entries, Bytes::from_static(b"applied"))
            .unwrap()
    }

    fn one(&mut self, transaction: Transaction) -> Outcome {
        self.apply(&[transact(transaction)])
            .outcomes
            .pop()
            .flatten()
            .unwrap()
    }
}

#[test]
fn a_transaction_commits_whole_at_one_revision() {
    let mut fixture = Fixture::new();
    let transaction = Transaction {
        writes: vec![put(0, 1), put(1, 1)],
        ..Transaction::default()
    };
    let (revision, objects) = fixture.one(transaction).committed().unwrap();
    assert_eq!(revision, Revision(1));
    for object in objects.into_iter().flatten() {
        assert_eq!(object.revision, revision);
        assert_eq!(object.value().unwrap()["metadata"]["resourceVersion"], "1");
    }
}

#[test]
fn each_precondition_refuses_what_does_not_hold_and_nothing_is_changed() {
    let mut fixture = Fixture::new();
    fixture.one(Transaction {
        writes: vec![put(0, 1)],
        ..Transaction::default()
    });
    let before = invariant::digest(&fixture.machine.view());
    let failing = [
        Precondition::Absent(key(0)),
        Precondition::Live(key(1)),
        Precondition::Uid(key(0), "another".into()),
        Precondition::Revision(key(0), Revision(7)),
        Precondition::Revision(key(1), Revision(0)),
    ];
    for precondition in failing {
        let transaction = Transaction::default()
            .require(Precondition::Live(key(0)))
            .require(precondition.clone());
        let outcome = fixture.one(Transaction {
            writes: vec![put(2, 1)],
            ..transaction
        });
        assert!(
            matches!(
                outcome,
                Outcome::Refused(Refusal::Precondition { index: 1, .. })
            ),
            "{precondition:?}"
        );
    }
    assert_eq!(invariant::digest(&fixture.machine.view()), before);
}

#[test]
fn a_plan_of_another_term_is_fenced() {
    let mut fixture = Fixture::new();
    let fenced = Transaction {
        writes: vec![put(0, 1)],
        ..Transaction::default()
    }
    .fenced(Term(2));
    assert_eq!(
        fixture.one(fenced),
        Outcome::Refused(Refusal::Fenced {
            planned: Term(2),
            current: Term(1)
        })
    );
}

#[test]
fn malformed_transactions_are_outcomes() {
    let mut fixture = Fixture::new();
    let mut misplaced = encode(&object(0, 1)).unwrap();
    misplaced.splice = 3;
    let not_json = pontoon_state::encoding::Encoded {
        json: Bytes::from_static(b"{{"),
        splice: 1,
    };
    for writes in [
        vec![put(0, 1), put(0, 2)],
        vec![Write::Put(key(0), misplaced)],
        vec![Write::Put(key(0), not_json)],
        vec![Write::Delete(Key::new("pods", "a", ""))],
        vec![Write::Delete(Key::new("pods", "a\0b", "x"))],
    ] {
        let outcome = fixture.one(Transaction {
            writes,
            ..Transaction::default()
        });
        assert!(
            matches!(outcome, Outcome::Refused(Refusal::Malformed(_))),
            "{outcome:?}"
        );
    }
    assert_eq!(fixture.machine.view().revision(), Revision(0));
}

#[test]
fn writing_what_is_there_takes_no_revision() {
    let mut fixture = Fixture::new();
    fixture.one(Transaction {
        writes: vec![put(0, 1)],
        ..Transaction::default()
    });
    let applied = fixture.apply(&[transact(Transaction {
        writes: vec![put(0, 1)],
        ..Transaction::default()
    })]);
    assert_eq!(
        (applied.view.revision(), applied.changes.len()),
        (Revision(1), 0)
    );
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    CreateOnly(u8, u8),
    Both(u8, u8, u8),
    Compact(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_u8, 0..5_u8).prop_map(|(name, value)| Step::Put(name, value)),
        2 => (0..8_u8).prop_map(Step::Delete),
        2 => (0..8_u8, 0..5_u8).prop_map(|(name, value)| Step::CreateOnly(name, value)),
        2 => (0..4_u8, 4..8_u8, 0..5_u8).prop_map(|(one, other, value)| Step::Both(one, other, value)),
        1 => (0..100_u8).prop_map(Step::Compact),
    ]
}

fn entry(step: &Step, view_revision: Revision) -> Entry {
    let writes = |writes| Transaction {
        writes,
        ..Transaction::default()
    };
    match step {
        Step::Put(name, value) => transact(writes(vec![put(*name, *value)])),
        Step::Delete(name) => transact(writes(vec![Write::Delete(key(*name))])),
        Step::CreateOnly(name, value) => {
            transact(writes(vec![put(*name, *value)]).require(Precondition::Absent(key(*name))))
        }
        Step::Both(one, other, value) => {
            transact(writes(vec![put(*one, *value), put(*other, *value)]))
        }
        Step::Compact(percent) => {
            let target = view_revision.0 * u64::from(*percent) / 100;
            Entry {
                term: Term(1),
                command: Some(Command::Compact(Revision(target))),
            }
        }
    }
}

/// The model: what is stored, by key, as its value.
fn model(model: &mut BTreeMap<Key, u8>, step: &Step) {
    match step {
        Step::Put(name, value) => drop(model.insert(key(*name), *value)),
        Step::Delete(name) => drop(model.remove(&key(*name))),
        Step::CreateOnly(name, value) => drop(model.entry(key(*name)).or_insert(*value)),
        Step::Both(one, other, value) => {
            model.insert(key(*one), *value);
            model.insert(key(*other), *value);
        }
        Step::Compact(_) => {}
    }
}

fn values(view: &View) -> BTreeMap<Key, u8> {
    view.iter()
        .map(|object| {
            (
                object.key.clone(),
                u8::try_from(object.value().unwrap()["spec"]["value"].as_u64().unwrap()).unwrap(),
            )
        })
        .collect()
}

fn drain(feed: &Arc<Feed>, after: Revision) -> Result<Vec<(Revision, usize)>, WatchEnd> {
    let mut watch = feed.watch(after)?;
    let mut seen = Vec::new();
    while let Some(sets) = watch.poll()? {
        seen.extend(sets.iter().map(|set| (set.revision, set.changes.len())));
    }
    Ok(seen)
}

proptest! {
    #[test]
    fn the_machine_follows_the_model_and_reloads_as_it_was(steps in proptest::collection::vec(step(), 1..60)) {
        let mut fixture = Fixture::new();
        let mut expected = BTreeMap::new();
        for step in &steps {
            let revision = fixture.machine.view().revision();
            fixture.apply(&[entry(step, revision)]);
            model(&mut expected, step);
            let view = fixture.machine.view();
            prop_assert_eq!(values(&view), expected.clone());
            prop_assert_eq!(invariant::violations(&view), Vec::<String>::new());
        }
        let reloaded = Machine::open(fixture.kv.clone()).unwrap();
        prop_assert_eq!(invariant::digest(&reloaded.view()), invariant::digest(&fixture.machine.view()));
        prop_assert_eq!(reloaded.applied().unwrap(), Some(Bytes::from_static(b"applied")));
    }

    #[test]
    fn batches_do_not_matter(steps in proptest::collection::vec(step(), 1..40), cuts in proptest::collection::vec(1..6_usize, 1..40)) {
        let (mut one, mut other) = (Fixture::new(), Fixture::new());
        let mut entries = Vec::new();
        for step in &steps {
            let next = entry(step, one.machine.view().revision());
            one.apply(std::slice::from_ref(&next));
            entries.push(next);
        }
        let mut rest = entries.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let alone = |entry: &Entry| matches!(entry.command, Some(Command::Compact(_)));
            let next = rest.iter().position(alone).map_or(rest.len(), |at| at.max(1));
            let (batch, after) = rest.split_at((*cut).min(next));
            other.apply(batch);
            rest = after;
        }
        prop_assert_eq!(invariant::digest(&one.machine.view()), invariant::digest(&other.machine.view()));
    }

    #[test]
    fn a_watch_from_any_retained_revision_sees_every_later_change_once_in_order(
        steps in proptest::collection::vec(step(), 1..50), at in 0..50_usize,
    ) {
        let mut fixture = Fixture::new();
        let mut committed: Vec<(Revision, usize)> = Vec::new();
        let mut feed = None;
        for (index, step) in steps.iter().enumerate() {
            if index == at.min(steps.len() - 1) {
                // What came before is read from the store, what comes after from memory.
                feed = Some(Arc::new(Feed::new(fixture.machine.view(), Arc::new(fixture.machine.past()))));
            }
            let revision = fixture.machine.view().revision();
            let applied = fixture.apply(&[entry(step, revision)]);
            committed.extend(applied.changes.iter().map(|set| (set.revision, set.changes.len())));
            if let Some(feed) = &feed {
                feed.publish(applied.view, applied.changes);
            }
        }
        let feed = feed.unwrap();
        let compacted = fixture.machine.view().compacted();
        for after in 0..=fixture.machine.view().revision().0 {
            let expected: Vec<_> = committed.iter().filter(|(revision, _)| revision.0 > after).copied().collect();
            match drain(&feed, Revision(after)) {
                Ok(seen) => prop_assert_eq!(seen, expected),
                Err(WatchEnd::Expired(_)) => prop_assert!(after < compacted.0),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn the_past_is_as_it_was_until_it_is_compacted(steps in proptest::collection::vec(step(), 1..50)) {
        let mut fixture = Fixture::new();
        let mut past: Vec<(Revision, BTreeMap<Key, u8>)> = vec![(Revision(0), BTreeMap::new())];
        for step in &steps {
            let revision = fixture.machine.view().revision();
            fixture.apply(&[entry(step, revision)]);
            let view = fixture.machine.view();
            if view.revision() > past.last().unwrap().0 {
                past.push((view.revision(), values(&view)));
            }
        }
        let history = fixture.machine.past();
        for (revision, expected) in past.into_iter().filter(|(revision, _)| *revision >= fixture.machine.view().compacted()) {
            let mut found = BTreeMap::new();
            for resource in ["pods", "configmaps"] {
                let mut after = None;
                loop {
                    let page = history.list_at(resource, None, after.as_ref(), 2, revision).unwrap();
                    let Some(last) = page.last() else { break };
                    after = Some(last.key.clone());
                    for object in page {
                        let alone = history.get_at(&object.key, revision).unwrap();
                        prop_assert_eq!(alone.as_ref(), Some(&object));
                        found.insert(object.key.clone(), u8::try_from(object.value().unwrap()["spec"]["value"].as_u64().unwrap()).unwrap());
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_view_answers_as_a_scan_would(steps in proptest::collection::vec(step(), 1..40), value in 0..5_u8) {
        let mut fixture = Fixture::new();
        for step in &steps {
            let revision = fixture.machine.view().revision();
            fixture.apply(&[entry(step, revision)]);
        }
        let view = fixture.machine.view();
        let scan = |wanted: &dyn Fn(&pontoon_state::Object) -> bool| -> Vec<Key> {
            view.iter().filter(|object| wanted(object)).map(|object| object.key.clone()).collect()
        };
        let keys = |objects: Vec<&Arc<pontoon_state::Object>>| -> Vec<Key> { objects.into_iter().map(|object| object.key.clone()).collect() };
        let label = value.to_string();
        for namespace in [None, Some("a"), Some("b"), Some("c")] {
            let within = |object: &pontoon_state::Object| namespace.is_none_or(|namespace| &*object.key.namespace == namespace);
            prop_assert_eq!(keys(view.list("pods", namespace).collect()), scan(&|object| &*object.key.resource == "pods" && within(object)));
            prop_assert_eq!(view.count("pods", namespace), view.list("pods", namespace).count());
            prop_assert_eq!(
                keys(view.labelled("configmaps", namespace, "value", &label).collect()),
                scan(&|object| &*object.key.resource == "configmaps" && within(object) && object.meta.labels["value"].as_ref() == label)
            );
        }
        prop_assert_eq!(keys(view.on_node("node").collect()), scan(&|object| object.meta.node.as_deref() == Some("node")));
        prop_assert_eq!(keys(view.owned_by("owner-1").collect()), scan(&|object| &*object.meta.owners[0].uid == "owner-1"));
        let in_a: Vec<_> = ["configmaps", "pods"].into_iter().filter(|resource| view.count(resource, Some("a")) > 0).collect();
        prop_assert_eq!(view.resources_in("a").iter().map(|name| name.to_string()).collect::<Vec<_>>(), in_a);
    }

    #[test]
    fn commands_survive_the_log_and_damage_never_panics(steps in proptest::collection::vec(step(), 1..8), flip in any::<(usize, u8)>()) {
        for step in &steps {
            let command = entry(step, Revision(3)).command.unwrap();
            let bytes = command.encode();
            prop_assert_eq!(&Command::decode(bytes.clone()).unwrap(), &command);
            let mut damaged = bytes.to_vec();
            if !damaged.is_empty() {
                let at = flip.0 % damaged.len();
                damaged[at] ^= flip.1;
            }
            if let Ok(command) = Command::decode(damaged.into()) {
                Fixture::new().apply(&[Entry { term: Term(1), command: Some(command) }]);
            }
        }
    }
}

#[test]
fn a_live_watcher_that_falls_behind_what_memory_keeps_is_ended() {
    let mut fixture = Fixture::new();
    let feed = Arc::new(Feed::new(
        fixture.machine.view(),
        Arc::new(fixture.machine.past()),
    ));
    let mut watch = feed.watch(Revision(0)).unwrap();
    let write = |fixture: &mut Fixture, value: u8| {
        let applied = fixture.apply(&[transact(Transaction {
            writes: vec![put(0, value)],
            ..Transaction::default()
        })]);
        feed.publish(applied.view, applied.changes);
    };
    write(&mut fixture, 1);
    assert_eq!(watch.poll().unwrap().unwrap().len(), 1);
    for turn in 0..=pontoon_state::limits::FEED_REVISIONS {
        write(&mut fixture, if turn.is_multiple_of(2) { 2 } else { 1 });
    }
    assert!(matches!(watch.poll(), Err(WatchEnd::Expired(Revision(1)))));
}
