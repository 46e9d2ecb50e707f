//! The state on disk against its model in memory.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use pontoon_state::kv::Batch;
use pontoon_state::{Family, Kv, MemKv};
use pontoon_storage::{DataDir, Identity, Snapshots, StateStore, StorageError};
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

fn open(root: &Path) -> (DataDir, Arc<StateStore>) {
    let data = DataDir::open(
        root,
        &Identity {
            cluster: "c".into(),
            node: 1,
        },
    )
    .unwrap();
    let store = StateStore::open(&data).unwrap();
    (data, store)
}

#[derive(Debug, Clone)]
enum Step {
    Write(Batch),
    Get(Family, Vec<u8>),
    Scan(Family, Vec<u8>, Option<Vec<u8>>, usize),
    Reopen,
    Checkpoint,
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

/// Few and short keys, with the bytes that sort at the edges.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop::sample::select(vec![0_u8, 1, b'a', b'b', 254, 255]),
        0..4,
    )
}

fn batch() -> impl Strategy<Value = Batch> {
    let operation = (family(), key(), prop::option::of(vec(any::<u8>(), 0..40)));
    vec(operation, 0..12).prop_map(|operations| Batch {
        operations: operations
            .into_iter()
            .map(|(family, key, value)| (family, key, value.map(Bytes::from)))
            .collect(),
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => batch().prop_map(Step::Write),
        3 => (family(), key()).prop_map(|(family, key)| Step::Get(family, key)),
        6 => (family(), key(), prop::option::of(key()), 0_usize..20)
            .prop_map(|(family, from, until, limit)| Step::Scan(family, from, until, limit)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Checkpoint),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_does_what_the_model_does(steps in vec(step(), 1..40)) {
        let root = tempfile::tempdir().unwrap();
        let (mut data, mut store) = open(root.path());
        let model = MemKv::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write(batch) => {
                    store.write(batch.clone()).unwrap();
                    model.write(batch).unwrap();
                }
                Step::Get(family, key) => {
                    prop_assert_eq!(store.get(family, &key).unwrap(), model.get(family, &key).unwrap());
                }
                Step::Scan(family, from, until, limit) => {
                    let found = store.scan(family, &from, until.as_deref(), limit).unwrap();
                    let backwards = until.as_ref().is_some_and(|until| *until <= from);
                    let expected = if backwards { Vec::new() } else { model.scan(family, &from, until.as_deref(), limit).unwrap() };
                    prop_assert_eq!(found, expected);
                }
                Step::Reopen => {
                    drop(store);
                    drop(data);
                    (data, store) = open(root.path());
                }
                // A copy of the state takes the state's place: nothing changes.
                Step::Checkpoint => {
                    let snapshots = Snapshots::open(&data).unwrap();
                    let snapshot = snapshots.take(&store, b"applied").unwrap().finish(&format!("{number:04}")).unwrap();
                    store.install(&snapshot).unwrap();
                }
            }
        }
        for family in Family::ALL {
            prop_assert_eq!(store.scan(family, &[], None, 10_000).unwrap(), model.scan(family, &[], None, 10_000).unwrap());
        }
    }
}

fn put(store: &StateStore, key: &str, value: &str) {
    let mut batch = Batch::default();
    batch.put(
        Family::Versions,
        key.as_bytes().to_vec(),
        value.as_bytes().to_vec(),
    );
    store.write(batch).unwrap();
}

fn get(store: &StateStore, key: &str) -> Option<String> {
    let value = store.get(Family::Versions, key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn a_snapshot_is_of_the_instant_it_was_taken_and_comes_back_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let (data, store) = open(root.path());
    let snapshots = Snapshots::open(&data).unwrap();
    put(&store, "a", "before");
    let taken = snapshots.take(&store, b"at 1").unwrap();
    put(&store, "a", "after");
    taken.finish("1").unwrap();
    drop((snapshots, store, data));
    let (data, store) = open(root.path());
    assert_eq!(get(&store, "a").as_deref(), Some("after"));
    let snapshots = Snapshots::open(&data).unwrap();
    let current = snapshots.current().unwrap();
    assert_eq!(current.manifest().applied, b"at 1");
    store.install(&current).unwrap();
    assert_eq!(get(&store, "a").as_deref(), Some("before"));
    drop((current, snapshots, store, data));
    let (_data, store) = open(root.path());
    assert_eq!(get(&store, "a").as_deref(), Some("before"));
}

#[test]
fn an_install_cut_short_leaves_the_old_state() {
    let root = tempfile::tempdir().unwrap();
    let (data, store) = open(root.path());
    put(&store, "a", "old");
    drop((store, data));
    // Everything but the last step: the marker still names the old generation.
    let state = root.path().join("state");
    std::fs::create_dir(state.join("generation-00000002")).unwrap();
    std::fs::write(state.join("generation-00000002/CURRENT"), "half").unwrap();
    std::fs::create_dir(state.join("generation-00000003.staged")).unwrap();
    let (_data, store) = open(root.path());
    assert_eq!(get(&store, "a").as_deref(), Some("old"));
    let left: Vec<_> = std::fs::read_dir(state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_newer_snapshot_takes_an_older_ones_place_and_a_damaged_one_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let (data, store) = open(root.path());
    let snapshots = Snapshots::open(&data).unwrap();
    put(&store, "a", "1");
    snapshots.take(&store, b"1").unwrap().finish("1").unwrap();
    put(&store, "a", "2");
    snapshots.take(&store, b"2").unwrap().finish("2").unwrap();
    let dirs = || {
        std::fs::read_dir(root.path().join("snapshots"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    assert_eq!(dirs().count(), 1);
    drop(snapshots);
    let manifest = dirs().next().unwrap();
    let mut files = std::fs::read_dir(&manifest)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let table = files
        .find(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .unwrap();
    // The table is linked into the live state as well: damage a copy.
    let mut bytes = std::fs::read(&table).unwrap();
    std::fs::remove_file(&table).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    assert!(Snapshots::open(&data).unwrap().current().is_none());
}

#[test]
fn a_received_snapshot_is_refused_unless_it_is_what_was_sent() {
    let root = tempfile::tempdir().unwrap();
    let (data, store) = open(root.path());
    let snapshots = Snapshots::open(&data).unwrap();
    put(&store, "a", "sent");
    let sent = snapshots.take(&store, b"1").unwrap().finish("1").unwrap();
    let content: Vec<(String, Vec<u8>)> = sent
        .manifest()
        .files
        .iter()
        .map(|file| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut sent.open_file(file).unwrap(), &mut bytes).unwrap();
            (file.name.clone(), bytes)
        })
        .collect();

    let far = tempfile::tempdir().unwrap();
    let (far_data, far_store) = open(far.path());
    let far_snapshots = Snapshots::open(&far_data).unwrap();
    // One flipped bit in one file.
    let mut incoming = far_snapshots.receive(sent.manifest().clone()).unwrap();
    let mut results = content.iter().map(|(name, bytes)| {
        let mut damaged = bytes.clone();
        if let Some(first) = damaged.first_mut() {
            *first ^= 1;
        }
        incoming.write(name, 0, &damaged, true)
    });
    assert!(matches!(
        results.find_map(Result::err),
        Some(StorageError::Corrupt(_))
    ));
    drop(results);
    drop(incoming);
    // One file missing.
    let mut incoming = far_snapshots.receive(sent.manifest().clone()).unwrap();
    incoming
        .write(&content[0].0, 0, &content[0].1, true)
        .unwrap();
    assert!(incoming.finish().is_err());
    // A name that leads elsewhere.
    let mut manifest = sent.manifest().clone();
    manifest.files[0].name = "../escape".into();
    assert!(far_snapshots.receive(manifest).is_err());
    // All of it, in pieces.
    let mut incoming = far_snapshots.receive(sent.manifest().clone()).unwrap();
    for (name, bytes) in &content {
        let (one, other) = bytes.split_at(bytes.len() / 2);
        incoming.write(name, 0, one, false).unwrap();
        incoming.write(name, one.len() as u64, other, true).unwrap();
    }
    let received = incoming.finish().unwrap();
    far_store.install(&received).unwrap();
    far_snapshots.adopt(&received, "1").unwrap();
    drop(received);
    assert_eq!(get(&far_store, "a").as_deref(), Some("sent"));
    assert_eq!(
        std::fs::read_dir(far.path().join("snapshots"))
            .unwrap()
            .count(),
        1
    );
}
