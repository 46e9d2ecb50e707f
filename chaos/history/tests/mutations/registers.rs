//! Registers with revisions.

use crate::{finds, random};
use pontoon_history::register::{self, Answer, Call, Version};
use pontoon_history::{Moment, Operation, Outcome, Verdict};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};

/// A thousand operations of five clients on four registers, overlapping, one in thirty with an unknown outcome.
pub fn registers(random: &mut StdRng) -> Vec<Operation<Call, Answer>> {
    registers_with(random, true)
}

fn registers_with(random: &mut StdRng, unknown_outcomes: bool) -> Vec<Operation<Call, Answer>> {
    let mut clocks = [0_u64; 5];
    let mut plan: Vec<(u64, usize, u64, u64)> = (0..1_000)
        .map(|_| {
            let process = random.random_range(0..5_usize);
            let invoked = clocks[process] + random.random_range(1..20);
            let ended = invoked + random.random_range(2..60);
            clocks[process] = ended;
            (
                random.random_range(invoked..=ended),
                process,
                invoked,
                ended,
            )
        })
        .collect();
    plan.sort_unstable();
    let mut current: BTreeMap<u64, Version> = BTreeMap::new();
    // A compare-and-set is over what somebody saw.
    let mut seen = BTreeSet::from([0]);
    let mut history = Vec::new();
    for (number, (_, process, invoked, ended)) in plan.into_iter().enumerate() {
        let key = random.random_range(0..4);
        let revision = number as u64 + 1;
        let value = revision * 10;
        let now = current.get(&key).copied();
        let (call, answer) = match random.random_range(0..4) {
            0 => (Call::Write { value }, Answer::Written(revision)),
            1 if seen.contains(&now.map_or(0, |version| version.revision)) => {
                let expected = now.map_or(0, |version| version.revision);
                (Call::Cas { expected, value }, Answer::Written(revision))
            }
            2 => (
                Call::Cas {
                    expected: 999_999,
                    value,
                },
                Answer::Conflict,
            ),
            _ => (Call::Read, Answer::Read(now)),
        };
        if answer == Answer::Written(revision) {
            current.insert(key, Version { revision, value });
        }
        let outcome = if unknown_outcomes && random.random_ratio(1, 30) {
            Outcome::Indeterminate("deadline".to_owned())
        } else {
            seen.extend(match answer {
                Answer::Written(revision) => Some(revision),
                Answer::Read(version) => version.map(|version| version.revision),
                Answer::Conflict => None,
            });
            Outcome::Done(answer)
        };
        history.push(Operation {
            process: process as u32,
            key,
            call,
            invoked: Moment(invoked),
            ended: Moment(ended),
            outcome,
        });
    }
    history
}

fn position(
    history: &[Operation<Call, Answer>],
    from: usize,
    wanted: impl Fn(&Operation<Call, Answer>) -> bool,
) -> usize {
    from + history[from..].iter().position(wanted).unwrap()
}

fn is_read(one: &Operation<Call, Answer>) -> bool {
    matches!(one.answer(), Some(Answer::Read(Some(_))))
}

#[test]
fn good_registers_are_valid() {
    let mut random = random();
    for _ in 0..20 {
        assert_eq!(register::check(&registers(&mut random)), Verdict::Valid);
    }
}

#[test]
fn a_read_of_an_older_version_is_stale() {
    let mut history = registers(&mut random());
    let old = position(&history, 0, is_read);
    let key = history[old].key;
    let late = position(&history, 900, |one| one.key == key && is_read(one));
    history[late].outcome = history[old].outcome.clone();
    finds(&register::check(&history), "stale-read");
}

#[test]
fn an_acknowledged_write_that_is_overwritten_unseen_is_a_lost_update() {
    let mut history = registers(&mut random());
    let is_cas = |one: &Operation<Call, Answer>| {
        matches!(
            (one.call, one.answer()),
            (Call::Cas { .. }, Some(Answer::Written(_)))
        )
    };
    let first = position(&history, 300, is_cas);
    let key = history[first].key;
    let second = position(&history, first + 1, |one| one.key == key && is_cas(one));
    let Call::Cas { expected, .. } = history[first].call else {
        unreachable!()
    };
    let Call::Cas { value, .. } = history[second].call else {
        unreachable!()
    };
    history[second].call = Call::Cas { expected, value };
    finds(&register::check(&history), "lost-update");
}

#[test]
fn a_failed_write_that_is_read_is_found() {
    let mut history = registers(&mut random());
    let read = position(&history, 500, is_read);
    let Some(Answer::Read(Some(version))) = history[read].answer() else {
        unreachable!()
    };
    let value = version.value;
    let writer = position(
        &history,
        0,
        |one| matches!(one.call, Call::Write { value: own } | Call::Cas { value: own, .. } if own == value),
    );
    history[writer].outcome = Outcome::Failed("refused".to_owned());
    finds(&register::check(&history), "failed-write-seen");
    history[writer].outcome = Outcome::Done(Answer::Conflict);
    finds(&register::check(&history), "refused-write-seen");
}

#[test]
fn values_and_versions_that_nobody_wrote_are_found() {
    let history = registers(&mut random());
    let read = position(&history, 500, is_read);
    let Some(Answer::Read(Some(version))) = history[read].answer().copied() else {
        unreachable!()
    };
    for (changed, kind) in [
        (
            Version {
                value: 1,
                ..version
            },
            "value-from-nowhere",
        ),
        (
            Version {
                revision: version.revision + 1,
                ..version
            },
            "version-differs",
        ),
    ] {
        let mut history = history.clone();
        history[read].outcome = Outcome::Done(Answer::Read(Some(changed)));
        finds(&register::check(&history), kind);
    }
}

#[test]
fn revisions_that_do_not_follow_time_are_found_across_keys() {
    let mut history = registers(&mut random());
    let is_write = |one: &Operation<Call, Answer>| {
        matches!(
            (one.call, one.answer()),
            (Call::Write { .. }, Some(Answer::Written(_)))
        )
    };
    let first = position(&history, 100, is_write);
    let last = position(&history, 800, is_write);
    history[first].outcome = Outcome::Done(Answer::Written(5_000));
    finds(&register::check(&history), "revisions-against-time");
    history[first].outcome = history[last].outcome.clone();
    finds(&register::check(&history), "revision-given-twice");
}

#[test]
fn a_refusal_without_a_reason_is_shown_with_few_operations() {
    // No unknown outcome can be the reason.
    let mut history = registers_with(&mut random(), false);
    let write = position(&history, 900, |one| {
        matches!(one.answer(), Some(Answer::Written(_)))
    });
    let Some(Answer::Written(revision)) = history[write].answer().copied() else {
        unreachable!()
    };
    let key = history[write].key;
    history.truncate(write + 1);
    let after = history[write].ended.0 + 100;
    history.push(Operation {
        process: 9,
        key,
        call: Call::Cas {
            expected: revision,
            value: 1,
        },
        invoked: Moment(after),
        ended: Moment(after + 1),
        outcome: Outcome::Done(Answer::Conflict),
    });
    let verdict = register::check(&history);
    finds(&verdict, "refused-without-reason");
    let story = verdict.to_string();
    assert!(story.lines().count() <= 6, "{story}");
}

#[test]
fn values_written_twice_are_not_judged() {
    let mut history = registers(&mut random());
    let own = |value: u64| Operation {
        process: 1,
        key: 0,
        call: Call::Write { value },
        invoked: Moment(0),
        ended: Moment(1),
        outcome: Outcome::Indeterminate(String::new()),
    };
    history.extend([own(3), own(3)]);
    assert!(matches!(register::check(&history), Verdict::Unknown(_)));
}
