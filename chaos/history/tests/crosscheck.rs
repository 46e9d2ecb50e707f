//! Three judges of small random histories agree: the checkers here, `todc-utils`, which is not ours, and trying every order.
//!
//! `PONTOON_CHAOS_HISTORIES` sets how many histories each comparison takes; a run of 1,000,000 is what docs/reliability.md reports.

use pontoon_history::register::{self, Answer, Call, Version};
use pontoon_history::search::{Budget, Found, Interval, Model, search};
use pontoon_history::{Moment, Operation, Outcome, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as TheirHistory};
use todc_utils::specifications::Specification;

/// Histories of each comparison in a run that people wait for.
const HISTORIES: u64 = 20_000;

/// Operations of one history at most: 7! orders is what can be tried.
const OPERATIONS: usize = 7;

fn histories() -> u64 {
    std::env::var("PONTOON_CHAOS_HISTORIES")
        .ok()
        .map_or(HISTORIES, |text| {
            text.parse().expect("PONTOON_CHAOS_HISTORIES is a number")
        })
}

/// A register without revisions, in which values come again: many orders explain the same answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Plain {
    Read(u8),
    Write(u8),
    Cas {
        from: u8,
        to: u8,
        done: bool,
    },
    /// A compare-and-set of which nobody knows the outcome.
    PerhapsCas {
        from: u8,
        to: u8,
    },
}

struct PlainRegister;

impl Specification for PlainRegister {
    type State = u8;
    type Operation = Plain;

    fn init() -> u8 {
        0
    }

    fn apply(step: &Plain, state: &u8) -> (bool, u8) {
        match *step {
            Plain::Read(value) => (value == *state, *state),
            Plain::Write(value) => (true, value),
            Plain::Cas { from, to, done } => {
                let fits = from == *state;
                (fits == done, if fits && done { to } else { *state })
            }
            Plain::PerhapsCas { from, to } => (true, if from == *state { to } else { *state }),
        }
    }
}

impl Model for PlainRegister {
    type State = u8;
    type Step = Plain;

    fn initial(&self) -> u8 {
        0
    }

    fn apply(&self, state: &u8, step: &Plain) -> Option<u8> {
        let (fits, next) = <Self as Specification>::apply(step, state);
        fits.then_some(next)
    }

    fn only_observes(&self, step: &Plain) -> bool {
        matches!(step, Plain::Read(_) | Plain::Cas { done: false, .. })
    }
}

/// Whether some order explains `operations`: tries every one, with no memory and no cleverness.
fn by_brute_force<M: Model>(
    model: &M,
    operations: &[Interval<M::Step>],
    state: &M::State,
    done: u32,
) -> bool {
    let left = |index: &usize| done & (1 << index) == 0;
    let open = || (0..operations.len()).filter(left);
    if open().all(|index| !operations[index].required) {
        return true;
    }
    open().any(|index| {
        let one = &operations[index];
        let first = open().all(|other| {
            other == index
                || !operations[other].required
                || operations[other].returned >= one.invoked
        });
        first
            && model
                .apply(state, &one.step)
                .is_some_and(|next| by_brute_force(model, operations, &next, done | 1 << index))
    })
}

/// Intervals of three processes, one after another within each.
fn times(random: &mut StdRng, count: usize) -> Vec<(u32, Moment, Moment)> {
    let mut clocks = [0_u64; 3];
    (0..count)
        .map(|_| {
            let process = random.random_range(0..3_usize);
            let invoked = clocks[process] + random.random_range(1..4);
            let returned = invoked + random.random_range(1..6);
            clocks[process] = returned;
            (process as u32, Moment(invoked), Moment(returned))
        })
        .collect()
}

fn plain_history(random: &mut StdRng) -> Vec<(u32, Interval<Plain>)> {
    let count = random.random_range(2..=OPERATIONS);
    let mut times = times(random, count);
    // Answers of an order that keeps the intervals' middles: right, until one of them is changed.
    times.sort_by_key(|(_, invoked, returned)| invoked.0 + returned.0);
    let mut state = 0;
    let mut operations: Vec<(u32, Interval<Plain>)> = Vec::new();
    for (origin, (process, invoked, returned)) in times.into_iter().enumerate() {
        let (from, to) = (random.random_range(0..3), random.random_range(0..3));
        let mut step = match random.random_range(0..4) {
            0 | 1 => Plain::Read(state),
            2 => Plain::Write(to),
            _ => Plain::Cas {
                from,
                to,
                done: from == state,
            },
        };
        if random.random_ratio(1, 8) {
            step = Plain::Read(from);
        }
        if random.random_ratio(1, 12)
            && let Plain::Cas { from, to, .. } = step
        {
            step = Plain::PerhapsCas { from, to };
        }
        let required = !matches!(step, Plain::PerhapsCas { .. });
        state = <PlainRegister as Specification>::apply(&step, &state).1;
        let returned = if required { returned } else { Moment::NEVER };
        operations.push((
            process,
            Interval {
                step,
                invoked,
                returned,
                required,
                origin,
            },
        ));
    }
    operations
}

/// As their checker takes it: unknown outcomes end after everything else.
fn their_verdict(operations: &[(u32, Interval<Plain>)]) -> bool {
    let mut actions: Vec<(Moment, bool, usize, Action<Plain>)> = Vec::new();
    for (number, (_, one)) in operations.iter().enumerate() {
        // A process of its own for each operation: they are told apart by time alone.
        actions.push((one.invoked, false, number, Action::Call(one.step)));
        actions.push((one.returned, true, number, Action::Response(one.step)));
    }
    actions.sort_by_key(|(at, is_return, number, _)| (*at, *is_return, *number));
    let actions = actions
        .into_iter()
        .map(|(_, _, number, action)| (number, action));
    WGLChecker::<PlainRegister>::is_linearizable(TheirHistory::from_actions(actions.collect()))
}

#[test]
fn the_search_agrees_with_todc_and_with_every_order_tried() {
    let mut random = StdRng::seed_from_u64(0x706f_6e74);
    let (mut good, mut bad) = (0, 0);
    for number in 0..histories() {
        let history = plain_history(&mut random);
        let operations: Vec<Interval<Plain>> = history.iter().map(|(_, one)| one.clone()).collect();
        let ours = match search(&PlainRegister, &operations, Budget::default()) {
            Found::Order(_) => true,
            Found::Nothing { .. } => false,
            Found::GaveUp => panic!("history {number}: gave up"),
        };
        assert_eq!(
            ours,
            by_brute_force(&PlainRegister, &operations, &0, 0),
            "history {number}: {operations:?}"
        );
        assert_eq!(
            ours,
            their_verdict(&history),
            "history {number}: {operations:?}"
        );
        if ours { good += 1 } else { bad += 1 }
    }
    println!("search, todc-utils and brute force agree on {good} good and {bad} bad histories");
    assert!(
        good > histories() / 5 && bad > histories() / 5,
        "{good} good, {bad} bad"
    );
}

/// A register with revisions, one key; right until `spoil` changes something.
fn version_history(random: &mut StdRng) -> Vec<Operation<Call, Answer>> {
    let count = random.random_range(2..=OPERATIONS);
    let mut times = times(random, count);
    times.sort_by_key(|(_, invoked, returned)| invoked.0 + returned.0);
    let mut current: Option<Version> = None;
    let mut revision = 0;
    let mut history = Vec::new();
    let mut known = vec![0];
    for (number, (process, invoked, ended)) in times.into_iter().enumerate() {
        let value = 100 + number as u64;
        let expected = if random.random_ratio(2, 3) {
            current.map_or(0, |version| version.revision)
        } else {
            known[random.random_range(0..known.len())]
        };
        let call = match random.random_range(0..5) {
            0 | 1 => Call::Read,
            2 => Call::Write { value },
            _ => Call::Cas { expected, value },
        };
        let done = match call {
            Call::Read => false,
            Call::Write { .. } => true,
            Call::Cas { expected, .. } => expected == current.map_or(0, |version| version.revision),
        };
        let hidden = random.random_ratio(1, 8);
        let happens = !hidden || random.random_ratio(1, 2);
        let answer = if call == Call::Read {
            Answer::Read(current)
        } else if done && happens {
            revision += random.random_range(1..3);
            current = Some(Version { revision, value });
            known.push(revision);
            Answer::Written(revision)
        } else {
            Answer::Conflict
        };
        let outcome = if hidden {
            Outcome::Indeterminate("deadline".to_owned())
        } else {
            Outcome::Done(answer)
        };
        history.push(Operation {
            process,
            key: 0,
            call,
            invoked,
            ended,
            outcome,
        });
    }
    history
}

fn spoil(random: &mut StdRng, history: &mut [Operation<Call, Answer>]) {
    let other = history[random.random_range(0..history.len())]
        .outcome
        .clone();
    let at = random.random_range(0..history.len());
    let shift = random.random_range(1..12);
    let one = &mut history[at];
    match (random.random_range(0..5), &mut one.outcome) {
        (0, Outcome::Done(Answer::Read(seen))) => *seen = None,
        (1, outcome @ Outcome::Done(Answer::Read(_))) => {
            if let Outcome::Done(Answer::Read(_)) = other {
                *outcome = other;
            }
        }
        (2, Outcome::Done(Answer::Written(revision))) => *revision += 1,
        (3, outcome @ Outcome::Done(Answer::Conflict)) => {
            *outcome = Outcome::Done(Answer::Written(shift))
        }
        (_, _) => {
            one.invoked.0 += shift;
            one.ended.0 += shift;
        }
    }
}

/// Every order of the history itself, without anything that the checker does to it beforehand.
fn versions_by_brute_force(
    history: &[Operation<Call, Answer>],
    floor: u64,
    seen: Held,
    done: u32,
) -> bool {
    let maybe = |one: &Operation<Call, Answer>| one.answer().is_none();
    let open = || (0..history.len()).filter(|index| done & (1 << index) == 0);
    if open().all(|index| maybe(&history[index])) {
        return true;
    }
    open().any(|index| {
        let one = &history[index];
        let first = open().all(|other| {
            other == index || maybe(&history[other]) || history[other].ended >= one.invoked
        });
        first
            && after(one, floor, seen).is_some_and(|(floor, seen)| {
                versions_by_brute_force(history, floor, seen, done | 1 << index)
            })
    })
}

/// A value with its revision, if that is known.
type Held = Option<(u64, Option<u64>)>;

/// What the register holds after `one`: a revision and a value, of which the revision may be unknown.
fn after(one: &Operation<Call, Answer>, floor: u64, seen: Held) -> Option<(u64, Held)> {
    let is_at = |expected: u64| match seen {
        None => expected == 0,
        Some((_, revision)) => revision == Some(expected),
    };
    let fits = match one.call {
        Call::Cas { expected, .. } => is_at(expected),
        _ => true,
    };
    match (&one.call, one.answer()) {
        (Call::Read, None) => Some((floor, seen)),
        (Call::Read, Some(Answer::Read(answer))) => match (answer, seen) {
            (None, None) => Some((floor, seen)),
            (Some(version), Some((value, Some(revision)))) => {
                (version.value == value && version.revision == revision).then_some((floor, seen))
            }
            // The first read of a write with an unknown outcome tells its revision.
            (Some(version), Some((value, None))) => (version.value == value
                && version.revision > floor)
                .then_some((version.revision, Some((value, Some(version.revision))))),
            _ => None,
        },
        (_, Some(Answer::Conflict)) => (!fits).then_some((floor, seen)),
        (Call::Write { value } | Call::Cas { value, .. }, Some(Answer::Written(revision))) => {
            (fits && *revision > floor).then_some((*revision, Some((*value, Some(*revision)))))
        }
        (Call::Write { value } | Call::Cas { value, .. }, None) => {
            fits.then_some((floor, Some((*value, None))))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_checker_of_revisions_agrees_with_every_order_tried() {
    let mut random = StdRng::seed_from_u64(0x6f6e_2121);
    let (mut good, mut bad, mut quick) = (0, 0, 0);
    for number in 0..histories() {
        let mut history = version_history(&mut random);
        if random.random_ratio(2, 3) {
            spoil(&mut random, &mut history);
        }
        let truth = versions_by_brute_force(&history, 0, None, 0);
        let verdict = register::check(&history);
        assert!(
            !matches!(verdict, Verdict::Unknown(_)),
            "history {number}: {verdict}"
        );
        assert_eq!(
            verdict.is_valid(),
            truth,
            "history {number}: {verdict}\n{history:#?}"
        );
        if let Some(by_replay) = register::check_key_by_replay(&history) {
            quick += 1;
            assert_eq!(
                by_replay.is_valid(),
                truth,
                "history {number}, by replay: {by_replay}\n{history:#?}"
            );
        }
        if truth { good += 1 } else { bad += 1 }
    }
    println!(
        "the checker of revisions and brute force agree on {good} good and {bad} bad histories, {quick} by replay alone"
    );
    assert!(
        good > histories() / 5 && bad > histories() / 5,
        "{good} good, {bad} bad"
    );
    assert!(quick > histories() * 9 / 10, "replay decided {quick} only");
}
