//! What holds after every input, checked in production too: a machine that breaks one of these must not go on.

use crate::action::Action;
use crate::machine::{Machine, Teardown};
use crate::phase::Phase;
use crate::slot::{Role, Run};

/// What is remembered of a machine from before an input.
#[derive(Clone, Debug)]
pub struct Snapshot {
    phase: Phase,
    attempts: Vec<Option<u32>>,
    ended: bool,
    removed: bool,
}

impl Snapshot {
    /// The present.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        Self {
            phase: machine.phase,
            attempts: machine.slots.iter().map(|slot| slot.attempt).collect(),
            ended: machine.ended,
            removed: machine.teardown == Teardown::Removed,
        }
    }
}

/// Panics when a step broke an invariant.
///
/// # Panics
/// See [`violations`].
pub fn check(before: &Snapshot, machine: &Machine) {
    let found = violations(before, machine);
    assert!(
        found.is_empty(),
        "pod {}: {}",
        machine.full_name(),
        found.join("; ")
    );
}

/// Every invariant that the step from `before` broke, a sentence each.
#[must_use]
pub fn violations(before: &Snapshot, machine: &Machine) -> Vec<String> {
    let mut found = Vec::new();
    if machine.phase < before.phase || (before.phase.is_terminal() && machine.phase != before.phase)
    {
        found.push(format!(
            "the phase went from {:?} to {:?}",
            before.phase, machine.phase
        ));
    }
    if before.ended && !machine.ended {
        found.push("an ended pod came back".to_owned());
    }
    if before.removed && !machine.out.is_empty() {
        found.push("a removed pod acted".to_owned());
    }
    let live = machine.slots.iter().any(crate::slot::Slot::is_live);
    if machine.ended && live {
        found.push("a container of an ended pod lives".to_owned());
    }
    containers(before, machine, &mut found);
    starts(machine, &mut found);
    found
}

fn containers(before: &Snapshot, machine: &Machine, found: &mut Vec<String>) {
    for (slot, old) in machine.slots.iter().zip(&before.attempts) {
        if slot.attempt < *old {
            found.push(format!("{}: attempts went back", slot.name));
        }
        let fits = match slot.run {
            Run::Idle | Run::Fetching | Run::Fetched => true,
            Run::Starting { attempt } => attempt == slot.next_attempt(),
            Run::Running { attempt, .. } => slot.attempt == Some(attempt) && slot.ended.is_none(),
        };
        if !fits {
            found.push(format!("{}: attempt numbers do not fit", slot.name));
        }
        if slot.role != Role::Init && slot.is_ready() && slot.running().is_none() {
            found.push(format!("{}: ready but not running", slot.name));
        }
    }
}

/// Each start asked for is the one live attempt of its container.
fn starts(machine: &Machine, found: &mut Vec<String>) {
    for slot in &machine.slots {
        let asked: Vec<u32> = machine
            .out
            .iter()
            .filter_map(|action| match action {
                Action::StartContainer { container, attempt } if *container == slot.name => {
                    Some(*attempt)
                }
                _ => None,
            })
            .collect();
        let fits = match (asked.as_slice(), &slot.run) {
            ([], _) => true,
            ([attempt], Run::Starting { attempt: live }) => attempt == live,
            _ => false,
        };
        if !fits {
            found.push(format!("{}: started twice", slot.name));
        }
    }
}
