//! How a pod ends: regular containers together, then sidecars in reverse order, then what they stood on.

use crate::action::{Action, EventType};
use crate::limits::{GRACE_LATE, GRACE_MIN};
use crate::machine::{End, Machine, Provision, Teardown, Why};
use crate::restart::{later, since};
use crate::slot::{Role, Run};
use jiff::Timestamp;
use std::time::Duration;

impl Machine {
    /// Decides that the pod is to end. A later decision can only hasten it, and a deletion stays one.
    pub(crate) fn begin_end(&mut self, why: Why, grace: Duration, now: Timestamp) {
        let deadline = later(now, grace.max(GRACE_MIN));
        self.end = Some(match self.end {
            None => End { why, deadline },
            Some(old) => End {
                why: if why == Why::Deleted { why } else { old.why },
                deadline: old.deadline.min(deadline),
            },
        });
        for slot in &mut self.slots {
            if matches!(slot.run, Run::Fetching | Run::Fetched) {
                slot.run = Run::Idle;
            }
        }
    }

    /// Asks for the next stops, and notes when nothing is left to stop.
    pub(crate) fn wind_down(&mut self, now: Timestamp) {
        let Some(end) = self.end else { return };
        if self.ended {
            return;
        }
        let regular: Vec<usize> = (0..self.slots.len())
            .filter(|index| self.slots[*index].role != Role::Sidecar)
            .collect();
        for index in &regular {
            self.wind_down_container(*index, end, now);
        }
        if regular.iter().all(|index| !self.slots[*index].is_live()) {
            let last = self.slots.iter().rposition(crate::slot::Slot::is_live);
            if let Some(index) = last {
                self.wind_down_container(index, end, now);
            }
        }
        let settled = self.sandbox != Provision::Pending && self.volumes != Provision::Pending;
        self.ended = settled && self.slots.iter().all(|slot| !slot.is_live());
    }

    fn wind_down_container(&mut self, index: usize, end: End, now: Timestamp) {
        let slot = &self.slots[index];
        if slot.running().is_none() {
            return;
        }
        let late = later(now, GRACE_LATE);
        let (first, due) = match slot.stopping {
            None => (true, true),
            Some(stopping) => {
                let slow = stopping.deadline > end.deadline.max(late);
                (false, slow || stopping.retry_at.is_some_and(|at| at <= now))
            }
        };
        if !due {
            return;
        }
        let name = slot.name.clone();
        if first {
            let message = format!("Stopping container {name}");
            self.event(EventType::Normal, "Killing", message, Some(&name));
        }
        let left = since(end.deadline, now);
        let grace = if left.is_zero() { GRACE_LATE } else { left };
        self.stop_container(&name, grace, now);
    }

    /// Repeats stops that failed while the pod is to run (after a probe's verdict or a changed image).
    pub(crate) fn retry_stops(&mut self, now: Timestamp) {
        let due: Vec<(String, Duration)> = self
            .slots
            .iter()
            .filter_map(|slot| {
                let stopping = slot.stopping?;
                let at = stopping.retry_at?;
                let left = since(stopping.deadline, now).max(GRACE_LATE);
                (at <= now).then(|| (slot.name.clone(), left))
            })
            .collect();
        for (name, grace) in due {
            self.stop_container(&name, grace, now);
        }
    }

    /// Takes away what the containers stood on, once they are gone.
    pub(crate) fn tear_down(&mut self, now: Timestamp) {
        let Some(end) = self.end.filter(|_| self.ended) else {
            return;
        };
        let deleted = end.why == Why::Deleted;
        match self.teardown {
            Teardown::Not(at) if at <= now && !deleted => {
                self.teardown = Teardown::Stopping;
                self.out.push(Action::StopSandbox);
            }
            Teardown::Not(at) if at <= now => self.remove(),
            Teardown::Stopped if deleted => self.remove(),
            Teardown::Not(_)
            | Teardown::Stopping
            | Teardown::Stopped
            | Teardown::Removing
            | Teardown::Removed => {}
        }
    }

    fn remove(&mut self) {
        self.teardown = Teardown::Removing;
        self.out.push(Action::RemoveSandbox);
    }
}
