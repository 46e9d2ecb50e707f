//! The log: what it promised to keep is there, or it says that it is not.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use pontoon_storage::{DataDir, Identity, Log, OpenError, Position, Record};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

fn open(root: &Path) -> Result<(DataDir, Arc<Log>), OpenError> {
    let data = DataDir::open(
        root,
        &Identity {
            cluster: "c".into(),
            node: 1,
        },
    )?;
    let log = Log::open(&data)?;
    Ok((data, log))
}

fn record(term: u64, index: u64) -> Record {
    let payload = Bytes::from(format!("entry {index} of term {term}, {}", "x".repeat(100)));
    Record {
        position: Position { term, index },
        payload,
    }
}

/// Appends, and waits until it is durable.
fn append(log: &Log, records: Vec<Record>) {
    let (done, durable) = mpsc::channel();
    log.append(records, Box::new(move |result| done.send(result).unwrap()))
        .unwrap();
    durable.recv().unwrap().unwrap();
}

fn fill(log: &Log, term: u64, range: std::ops::Range<u64>) {
    append(log, range.map(|index| record(term, index)).collect());
}

/// A copy of a directory as a crash of the process would leave it. The files are copied while they are open.
fn crashed(root: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(root, copy.path());
    copy
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_was_reported_durable_is_there_after_a_crash() {
    let root = tempfile::tempdir().unwrap();
    let (_data, log) = open(root.path()).unwrap();
    fill(&log, 1, 0..50);
    log.save_vote(b"a vote").unwrap();
    log.purge(Position { term: 1, index: 9 }).unwrap();
    fill(&log, 2, 50..60);
    log.truncate_after(Some(54)).unwrap();
    log.save_committed(Some(Position { term: 1, index: 30 }))
        .unwrap();
    fill(&log, 3, 55..57);
    let copy = crashed(root.path());
    let (_data, log) = open(copy.path()).unwrap();
    assert_eq!(log.purged(), Some(Position { term: 1, index: 9 }));
    assert_eq!(log.committed(), Some(Position { term: 1, index: 30 }));
    assert_eq!(log.last(), Some(Position { term: 3, index: 56 }));
    assert_eq!(log.vote().as_deref(), Some(&b"a vote"[..]));
    let read = log.read(0..100).unwrap();
    let term = |index| match index {
        ..50 => 1,
        50..55 => 2,
        _ => 3,
    };
    let expected: Vec<Record> = (10..57).map(|index| record(term(index), index)).collect();
    assert_eq!(read, expected);
}

#[test]
fn what_is_left_unsynced_is_durable_when_the_log_is_closed() {
    let root = tempfile::tempdir().unwrap();
    let (data, log) = open(root.path()).unwrap();
    fill(&log, 1, 0..5);
    log.save_committed(Some(Position { term: 1, index: 4 }))
        .unwrap();
    drop((log, data));
    let (_data, log) = open(root.path()).unwrap();
    assert_eq!(log.committed(), Some(Position { term: 1, index: 4 }));
}

#[test]
fn entries_that_left_memory_are_read_from_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let (data, log) = open(root.path()).unwrap();
    // More than memory and a segment hold, and one that is larger than a segment.
    let record = |index: u64| Record {
        position: Position { term: 1, index },
        payload: vec![index as u8; if index == 30 { 9 << 20 } else { 1 << 19 }].into(),
    };
    for index in 0..40 {
        append(&log, vec![record(index)]);
    }
    let expected: Vec<Record> = (0..40).map(record).collect();
    assert_eq!(log.read(0..100).unwrap(), expected);
    assert_eq!(log.read_limited(3..100, 3 << 19).unwrap().len(), 3);
    assert_eq!(log.read_limited(38..100, 1).unwrap(), expected[38..39]);
    log.purge(Position { term: 1, index: 35 }).unwrap();
    append(&log, vec![record(40)]);
    drop((log, data));
    let (_data, log) = open(root.path()).unwrap();
    assert_eq!(log.read(0..100).unwrap().len(), 5);
    let files = fs::read_dir(root.path().join("log")).unwrap().count();
    assert!(files <= 4, "{files} files are left");
}

#[test]
fn a_missing_mark_or_log_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_data, log) = open(root.path()).unwrap();
    fill(&log, 1, 0..5);
    let copy = crashed(root.path());
    fs::remove_file(copy.path().join("synced")).unwrap();
    assert!(matches!(open(copy.path()), Err(OpenError::Damaged(_))));
    let copy = crashed(root.path());
    fs::remove_dir_all(copy.path().join("log")).unwrap();
    let error = open(copy.path()).unwrap_err().to_string();
    assert!(error.contains("must not vote"), "{error}");
    // One of its two slots is torn: the other serves.
    let copy = crashed(root.path());
    let mut mark = fs::read(copy.path().join("synced")).unwrap();
    mark[..40].fill(0);
    fs::write(copy.path().join("synced"), mark).unwrap();
    open(copy.path()).unwrap();
}

#[test]
fn a_gap_is_never_written() {
    let root = tempfile::tempdir().unwrap();
    let (_data, log) = open(root.path()).unwrap();
    fill(&log, 1, 0..5);
    assert!(log.append(vec![record(1, 6)], Box::new(|_| ())).is_err());
    assert_eq!(log.last(), Some(Position { term: 1, index: 4 }));
}

#[test]
fn many_appends_share_a_sync_and_are_reported_in_order() {
    let root = tempfile::tempdir().unwrap();
    let (_data, log) = open(root.path()).unwrap();
    let (done, reported) = mpsc::channel();
    for index in 0..2_000 {
        let done = done.clone();
        let flushed = move |result: Result<(), _>| done.send(result.map(|()| index)).unwrap();
        log.append(vec![record(1, index)], Box::new(flushed))
            .unwrap();
    }
    let order: Vec<u64> = reported.iter().take(2_000).map(Result::unwrap).collect();
    assert!(order.is_sorted());
    assert_eq!(log.read(0..3_000).unwrap().len(), 2_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Against a plain vector.
    #[test]
    fn the_log_does_what_a_vector_does(steps in vec((0..6_u8, any::<u8>()), 1..40)) {
        let root = tempfile::tempdir().unwrap();
        let (mut data, mut log) = open(root.path()).unwrap();
        let (mut model, mut purged, mut term): (Vec<Record>, Option<Position>, u64) = (Vec::new(), None, 1);
        for (step, number) in steps {
            let next = model.last().map(|last| last.position).or(purged).map_or(0, |last| last.index + 1);
            match step {
                0..=2 => {
                    let records: Vec<Record> = (next..next + u64::from(number % 5)).map(|index| record(term, index)).collect();
                    model.extend(records.clone());
                    append(&log, records);
                }
                3 => {
                    let keep = usize::from(number) % (model.len() + 1);
                    model.truncate(keep);
                    let last = model.last().map(|last| last.position).or(purged).map(|last| last.index);
                    log.truncate_after(last).unwrap();
                    term += 1;
                }
                4 if !model.is_empty() => {
                    let upto = model[usize::from(number) % model.len()].position;
                    log.purge(upto).unwrap();
                    model.retain(|record| record.position.index > upto.index);
                    purged = Some(upto);
                }
                _ => {
                    drop(log);
                    drop(data);
                    (data, log) = open(root.path()).unwrap();
                }
            }
            prop_assert_eq!(log.purged(), purged);
            prop_assert_eq!(log.last(), model.last().map(|last| last.position).or(purged));
            prop_assert_eq!(&log.read(0..u64::MAX).unwrap(), &model);
        }
    }
}
