//! The log on a disk that fails: every crash point, every byte, every sync.
//!
//! A script is run on the disk in memory. Power is cut before each of its disk operations in turn, and what was not synced is lost,
//! kept or torn at sectors: what is found must be a state between the last one that was reported durable and the one being
//! written. Then the disk rots, a byte at a time: what was durable is found whole, or the log does not open.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use parking_lot::Mutex;
use pontoon_storage::disk::{Disk, Loss, MemoryDisk, Operation, Verdict};
use pontoon_storage::log::{Log, Settings, Syncing};
use pontoon_storage::{LogDamaged, OpenError, Position, Record, StorageError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So small that the script needs several.
const SEGMENT: u64 = 2_048;

fn open(disk: &MemoryDisk) -> Result<Arc<Log>, OpenError> {
    let settings = Settings {
        segment_bytes: SEGMENT,
        syncing: Syncing::Inline,
    };
    Log::open_on(Arc::new(disk.clone()), Path::new("/"), settings)
}

fn damaged(error: OpenError) -> LogDamaged {
    match error {
        OpenError::Damaged(damaged) => damaged,
        other => panic!("{other}"),
    }
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Model {
    entries: Vec<Record>,
    purged: Option<Position>,
    vote: Option<Bytes>,
}

fn found(log: &Log) -> Model {
    Model {
        entries: log.read(0..u64::MAX).unwrap(),
        purged: log.purged(),
        vote: log.vote(),
    }
}

/// The states that a script went through, and the last one that was reported durable.
struct Run {
    states: Vec<Model>,
    durable: usize,
    term: u64,
}

impl Run {
    fn new() -> Self {
        Self {
            states: vec![Model::default()],
            durable: 0,
            term: 1,
        }
    }

    fn step(&mut self, change: impl FnOnce(&mut Model)) {
        let mut next = self.states.last().unwrap().clone();
        change(&mut next);
        self.states.push(next);
    }

    fn reported(&mut self, result: Result<(), StorageError>) -> Result<(), StorageError> {
        result?;
        self.durable = self.states.len() - 1;
        Ok(())
    }

    fn append(&mut self, log: &Log, sizes: &[usize]) -> Result<(), StorageError> {
        let model = self.states.last().unwrap();
        let last = model.entries.last().map(|last| last.position);
        let next = last.or(model.purged).map_or(0, |last| last.index + 1);
        let mut records = Vec::new();
        for (index, size) in (next..).zip(sizes) {
            let position = Position {
                term: self.term,
                index,
            };
            let byte = u8::try_from(1 + index % 250).unwrap();
            let payload = vec![byte; *size].into();
            records.push(Record { position, payload });
            self.step(|model| model.entries.extend(records.last().cloned()));
        }
        let flushed = Arc::new(Mutex::new(None));
        let seen = flushed.clone();
        log.append(records, Box::new(move |result| *seen.lock() = Some(result)))?;
        let result = flushed.lock().take().unwrap();
        self.reported(result)
    }

    fn vote(&mut self, log: &Log, vote: &'static [u8]) -> Result<(), StorageError> {
        self.step(|model| model.vote = Some(Bytes::from_static(vote)));
        self.reported(log.save_vote(vote))
    }

    fn truncate(&mut self, log: &Log, keep: usize) -> Result<(), StorageError> {
        self.step(|model| model.entries.truncate(keep));
        self.term += 1;
        let model = self.states.last().unwrap();
        let last = model.entries.last().map(|last| last.position);
        log.truncate_after(last.or(model.purged).map(|last| last.index))
    }

    fn purge(&mut self, log: &Log, upto: Position) -> Result<(), StorageError> {
        self.step(|model| {
            model
                .entries
                .retain(|entry| entry.position.index > upto.index);
            model.purged = Some(upto);
        });
        log.purge(upto)
    }

    /// Everything a log does, across several segments.
    fn script(&mut self, log: &Log) -> Result<(), StorageError> {
        self.vote(log, b"for myself")?;
        self.append(log, &[3])?;
        self.append(log, &[100, 0, 700])?;
        log.save_committed(Some(Position { term: 1, index: 2 }))?;
        self.append(log, &[600, 500])?;
        self.truncate(log, 4)?;
        self.append(log, &[20, 20])?;
        self.vote(log, b"for another")?;
        self.append(log, &[900, 900, 5])?;
        self.purge(log, Position { term: 1, index: 2 })?;
        self.append(log, &[1_200])?;
        // More than a segment.
        self.append(log, &[3_000])?;
        self.append(log, &[50])?;
        let last = log.last().unwrap();
        self.purge(log, last)?;
        self.append(log, &[10, 1_500])?;
        self.truncate(log, 1)?;
        self.truncate(log, 0)?;
        self.append(log, &[80])?;
        // A snapshot took the log's place.
        self.purge(log, Position { term: 9, index: 99 })?;
        self.term = 9;
        self.append(log, &[40, 40])
    }
}

const LOSSES: [Loss; 6] = [
    Loss::Everything,
    Loss::Nothing,
    Loss::Torn(1),
    Loss::Torn(2),
    Loss::Torn(3),
    Loss::Torn(4),
];

/// The power goes at the `nth` operation from here on.
fn cut_at(disk: &MemoryDisk, nth: u64) {
    let count = AtomicU64::new(0);
    disk.decide(move |operation, _| {
        if matches!(operation, Operation::Read(_)) {
            return Verdict::Do;
        }
        match count.fetch_add(1, Ordering::Relaxed) {
            before if before < nth => Verdict::Do,
            at if at == nth => Verdict::Cut,
            _ if operation == Operation::Sync || operation == Operation::SyncDir => Verdict::Cut,
            _ => Verdict::Fail(io::ErrorKind::Other),
        }
    });
}

/// Goes on with a log that was found, and loses the power again.
fn goes_on(disk: &MemoryDisk, log: &Arc<Log>, what: &str) {
    let mut run = Run::new();
    run.states = vec![found(log)];
    run.term = 50;
    run.append(log, &[30, 2_500]).unwrap();
    run.vote(log, b"again").unwrap();
    let after = disk.after_power_failure(Loss::Everything);
    assert_eq!(
        found(&open(&after).unwrap()),
        *run.states.last().unwrap(),
        "{what}"
    );
}

#[test]
fn after_power_failures_at_every_point_a_prefix_is_found_that_holds_all_that_was_reported() {
    let whole = MemoryDisk::new();
    let log = open(&whole).unwrap();
    Run::new().script(&log).unwrap();
    let points = whole.operations();
    assert!(points > 80, "{points}");
    for point in 0..points {
        let disk = MemoryDisk::new();
        cut_at(&disk, point);
        let mut run = Run::new();
        if let Ok(log) = open(&disk) {
            // Ends where the power does.
            let _ = run.script(&log);
        }
        for loss in LOSSES {
            let what = format!("point {point} of {points}, {loss:?}");
            let after = disk.after_power_failure(loss);
            // The power may go again while the log is being opened.
            let attempt = after.duplicate();
            open(&attempt).unwrap();
            for again in 0..attempt.operations() {
                let interrupted = after.duplicate();
                cut_at(&interrupted, again);
                drop(open(&interrupted));
                let twice = interrupted.after_power_failure(Loss::Torn(again));
                assert!(open(&twice).is_ok(), "{what}, then {again}");
            }
            let log = open(&after).unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = found(&log);
            assert!(
                run.states[run.durable..].contains(&found),
                "{what}: {found:?}"
            );
            goes_on(&after, &log, &what);
        }
    }
}

fn run_whole(close: bool) -> (MemoryDisk, Run) {
    let disk = MemoryDisk::new();
    let log = open(&disk).unwrap();
    let mut run = Run::new();
    run.script(&log).unwrap();
    // A truncation and more, so that segments hold what is needed.
    run.append(&log, &[200, 1_700, 300, 300]).unwrap();
    run.append(&log, &[9]).unwrap();
    if close {
        drop(log);
        return (disk, run);
    }
    (disk.after_power_failure(Loss::Everything), run)
}

/// The segments, and where each ends.
fn segments(disk: &MemoryDisk) -> Vec<(PathBuf, usize)> {
    let paths = disk.paths().into_iter();
    let paths = paths.filter(|path| path.to_string_lossy().contains("/segment-"));
    let number = |path: &Path| -> u32 {
        let name = path.file_name().unwrap().to_string_lossy();
        name.trim_start_matches("segment-").parse().unwrap()
    };
    paths
        .map(|path| {
            let content = disk.content(&path);
            let mut end = 512;
            // A record says its segment, and its length.
            while let Some(record) = content.get(end..end + 40) {
                let small = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
                if small(16) != number(&path) {
                    break;
                }
                end += (40 + small(8) as usize).next_multiple_of(8);
            }
            (path, end)
        })
        .collect()
}

#[test]
fn every_flipped_bit_of_what_was_synced_is_noticed() {
    let (disk, run) = run_whole(true);
    let expected = run.states.last().unwrap();
    let mut flips = 0;
    for (path, end) in segments(&disk) {
        for at in 0..disk.content(&path).len() {
            let copy = disk.duplicate();
            copy.damage(&path, at, 1 << (at % 8));
            match open(&copy) {
                Ok(log) => {
                    assert!(at >= end, "{} at {at} of {end}", path.display());
                    assert_eq!(found(&log), *expected);
                }
                Err(error) => {
                    assert!(damaged(error).lost.is_some());
                    flips += 1;
                }
            }
        }
    }
    assert!(flips > 3_000, "{flips}");
    for path in disk.paths() {
        if path.to_string_lossy().contains("/segment-") {
            continue;
        }
        for at in 0..disk.content(&path).len() {
            let copy = disk.duplicate();
            copy.damage(&path, at, 0x10);
            assert_eq!(
                found(&open(&copy).unwrap()),
                *expected,
                "{} at {at}",
                path.display()
            );
        }
    }
}

/// The mark is not synced with every group: without it, what was written later tells what had been durable.
#[test]
fn a_power_failure_and_a_flipped_bit_together_cost_at_most_the_last_group() {
    let (disk, run) = run_whole(false);
    let expected = run.states.last().unwrap();
    let mut without_last = expected.clone();
    without_last.entries.pop();
    for (path, end) in segments(&disk) {
        for at in 0..end {
            let copy = disk.duplicate();
            copy.damage(&path, at, 0x80);
            if let Ok(log) = open(&copy) {
                assert_eq!(
                    found(&log),
                    without_last,
                    "{} at {at} of {end}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn a_segment_that_is_short_or_gone_is_noticed() {
    let (disk, _) = run_whole(true);
    for (path, end) in segments(&disk) {
        for length in [0, 100, 511, 512, 520, end / 2, end - 1] {
            if length < end {
                let copy = disk.duplicate();
                copy.shorten(&path, length);
                assert!(
                    open(&copy).is_err(),
                    "{} cut to {length} of {end}",
                    path.display()
                );
            }
        }
        let copy = disk.duplicate();
        copy.remove(&path).unwrap();
        damaged(open(&copy).unwrap_err());
    }
}

#[test]
fn a_damaged_log_says_which_entries_are_lost() {
    let disk = MemoryDisk::new();
    let log = open(&disk).unwrap();
    let mut run = Run::new();
    for _ in 0..20 {
        run.append(&log, &[10]).unwrap();
    }
    drop(log);
    let (path, _) = segments(&disk).remove(0);
    // Every record has 56 bytes.
    disk.damage(&path, 512 + 7 * 56 + 45, 1);
    let damaged = damaged(open(&disk).unwrap_err());
    let lost = damaged.lost.unwrap();
    assert_eq!((lost.first, lost.through, lost.vote), (7, Some(19), false));
    assert!(damaged.to_string().contains("must not vote"), "{damaged}");
}

#[test]
fn a_torn_tail_of_whatever_is_dropped() {
    let disk = MemoryDisk::new();
    let log = open(&disk).unwrap();
    let mut run = Run::new();
    run.append(&log, &[10, 20, 30]).unwrap();
    let (path, end) = segments(&disk).remove(0);
    for garbage in [1, 7, 131, 255] {
        for length in [1, 39, 40, 500] {
            let copy = disk.duplicate();
            let file = copy.open(&path).unwrap();
            file.write_at(end as u64, &vec![garbage; length]).unwrap();
            let log = open(&copy).unwrap();
            assert_eq!(found(&log), *run.states.last().unwrap());
            goes_on(&copy, &log, "a torn tail");
        }
    }
}

#[test]
fn a_failed_write_or_sync_is_final_and_loses_nothing_that_was_reported() {
    let whole = MemoryDisk::new();
    Run::new().script(&open(&whole).unwrap()).unwrap();
    for nth in 0..whole.operations() {
        let disk = MemoryDisk::new();
        let count = AtomicU64::new(0);
        disk.decide(move |operation, _| {
            let fails = !matches!(operation, Operation::Read(_))
                && count.fetch_add(1, Ordering::Relaxed) == nth;
            if fails {
                Verdict::Fail(io::ErrorKind::Other)
            } else {
                Verdict::Do
            }
        });
        let Ok(log) = open(&disk) else { continue };
        let mut run = Run::new();
        if run.script(&log).is_ok() {
            // The failure came where nothing depends on it, at the very end.
            continue;
        }
        let durable = run.durable;
        assert!(run.append(&log, &[1]).is_err(), "{nth}");
        assert!(log.save_vote(b"late").is_err(), "{nth}");
        for loss in LOSSES {
            let after = disk.after_power_failure(loss);
            let log = open(&after).unwrap_or_else(|error| panic!("{nth} {loss:?}: {error}"));
            assert!(
                run.states[durable..].contains(&found(&log)),
                "{nth} {loss:?}"
            );
        }
    }
}

/// The tests would notice: a disk that only says that it synced loses what was reported.
#[test]
fn a_lying_disk_is_noticed_where_a_later_write_tells() {
    let disk = MemoryDisk::new();
    let log = open(&disk).unwrap();
    let mut run = Run::new();
    run.append(&log, &[10, 10]).unwrap();
    disk.decide(|operation, path| {
        let lies = operation == Operation::Sync && path.starts_with("/log");
        if lies { Verdict::Pretend } else { Verdict::Do }
    });
    run.append(&log, &[10]).unwrap();
    // The vote's mark is really synced.
    run.vote(&log, b"x").unwrap();
    let after = disk.after_power_failure(Loss::Everything);
    let lost = damaged(open(&after).unwrap_err()).lost.unwrap();
    assert_eq!((lost.first, lost.through, lost.vote), (2, Some(2), true));
}
