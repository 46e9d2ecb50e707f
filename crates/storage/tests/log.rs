//! The log: what it promised to keep is there, or it says that it is not.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use pontoon_storage::{DataDir, Identity, Log, OpenError, Position, Record};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
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

fn write_ahead_log(root: &Path) -> PathBuf {
    let files = fs::read_dir(root.join("raft"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort_by_key(|path| fs::metadata(path).unwrap().len());
    logs.pop().unwrap()
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
    fill(&log, 3, 55..57);
    let copy = crashed(root.path());
    let (_data, log) = open(copy.path()).unwrap();
    assert_eq!(log.purged(), Some(Position { term: 1, index: 9 }));
    assert_eq!(log.last(), Some(Position { term: 3, index: 56 }));
    assert_eq!(log.vote().unwrap().as_deref(), Some(&b"a vote"[..]));
    let read = log.read(0..100).unwrap();
    let expected: Vec<Record> = (10..57)
        .map(|index| {
            record(
                if index < 50 {
                    1
                } else if index < 55 {
                    2
                } else {
                    3
                },
                index,
            )
        })
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn a_torn_tail_that_was_never_synced_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let (_data, log) = open(root.path()).unwrap();
    fill(&log, 1, 0..20);
    // Sevens look like a record of a recycled log, which RocksDB alone would read for ever.
    for garbage in [0, 1, 7, 131, 255] {
        for length in [3, 50, 40_000] {
            let copy = crashed(root.path());
            let path = write_ahead_log(copy.path());
            let mut bytes = fs::read(&path).unwrap();
            bytes.extend(std::iter::repeat_n(garbage, length));
            fs::write(&path, bytes).unwrap();
            let (_data, log) = open(copy.path()).unwrap();
            assert_eq!(
                log.last(),
                Some(Position { term: 1, index: 19 }),
                "{length} times {garbage}"
            );
        }
    }
}

#[test]
fn a_log_that_lost_what_it_synced_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_data, log) = open(root.path()).unwrap();
    for index in 0..20 {
        fill(&log, 1, index..index + 1);
    }
    log.save_vote(b"a vote").unwrap();
    let whole = fs::read(write_ahead_log(root.path())).unwrap();
    for kept in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        let copy = crashed(root.path());
        fs::write(write_ahead_log(copy.path()), &whole[..kept]).unwrap();
        let error = open(copy.path()).unwrap_err();
        assert!(
            matches!(error, OpenError::Damaged(_) | OpenError::Storage(_)),
            "{kept}: {error}"
        );
    }
}

#[test]
fn a_record_of_another_kind_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let (_data, log) = open(root.path()).unwrap();
    for index in 0..5 {
        fill(&log, 1, index..index + 1);
    }
    let whole = fs::read(write_ahead_log(root.path())).unwrap();
    let second = 7 + usize::from(u16::from_le_bytes([whole[4], whole[5]]));
    for at in [0, second] {
        for bit in 0..8 {
            let copy = crashed(root.path());
            let mut bytes = whole.clone();
            bytes[at + 6] ^= 1 << bit;
            fs::write(write_ahead_log(copy.path()), bytes).unwrap();
            assert!(open(copy.path()).is_err(), "bit {bit} of the kind at {at}");
        }
    }
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
    fs::remove_dir_all(copy.path().join("raft")).unwrap();
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever byte is flipped in whatever file of the log: it opens with everything it had, or it does not open.
    #[test]
    fn a_flipped_bit_is_noticed_or_harmless(at in any::<prop::sample::Index>(), file in any::<prop::sample::Index>(), bit in 0..8_u8, closed in any::<bool>()) {
        let root = tempfile::tempdir().unwrap();
        let (data, log) = open(root.path()).unwrap();
        for index in 0..10 {
            fill(&log, 1, index * 3..index * 3 + 3);
        }
        log.save_vote(b"a vote").unwrap();
        log.purge(Position { term: 1, index: 4 }).unwrap();
        fill(&log, 2, 30..33);
        let before = log.read(0..100).unwrap();
        let copy = if closed {
            drop((log, data));
            crashed(root.path())
        } else {
            crashed(root.path())
        };
        let names = ["raft", "."].into_iter().flat_map(|dir| fs::read_dir(copy.path().join(dir)).unwrap());
        let mut files: Vec<PathBuf> = names.map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && !["LOCK", "LOG", "format"].iter().any(|name| path.ends_with(name)))
            .filter(|path| fs::metadata(path).unwrap().len() > 0)
            .collect();
        files.sort();
        let path = file.get(&files);
        let mut bytes = fs::read(path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(path, bytes).unwrap();
        if let Ok((_data, log)) = open(copy.path()) {
            // Entries are checked as they are read, too.
            if let Ok(after) = log.read(0..100) {
                let known = after.len() >= before.len() && after[after.len() - before.len()..] == before[..];
                prop_assert!(known, "{} at {at}: {} entries of {}", path.display(), after.len(), before.len());
            }
            if let Ok(vote) = log.vote() {
                prop_assert_eq!(vote.as_deref(), Some(&b"a vote"[..]));
            }
        }
    }

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
