//! Which keys to look at, and when. Knows no clock: time comes in as a [`Duration`] since the loop began.

use crate::limits::{BACKOFF_FIRST, BACKOFF_LONGEST};
use pontoon_state::Key;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

/// A controller (by its place in the catalog) and one of its keys.
pub(crate) type Work = (usize, Key);

/// What became of a key's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There was nothing to do.
    Unchanged,
    /// Its writes are committed.
    Done,
    /// The plan was overtaken: plan again at once.
    Overtaken,
    /// It failed: wait longer each time.
    Failed,
}

#[derive(Debug, Default)]
struct Entry {
    queued: bool,
    in_flight: bool,
    again: bool,
    swept: bool,
    failures: u32,
    successes: u32,
    due: Option<Duration>,
}

impl Entry {
    const fn is_idle(&self) -> bool {
        !self.queued
            && !self.in_flight
            && !self.again
            && self.due.is_none()
            && self.failures == 0
            && self.successes == 0
    }
}

/// Dedupes, delays and holds keys.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: VecDeque<Work>,
    entries: HashMap<Work, Entry>,
    timers: BinaryHeap<Reverse<(Duration, Work)>>,
}

/// A key whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) work: Work,
    /// Committed plans in a row before this.
    pub(crate) successes: u32,
    /// Only the full pass asked for it.
    pub(crate) swept: bool,
}

impl Queue {
    /// Something relevant changed: look at the key as soon as it is free.
    pub(crate) fn wake(&mut self, work: Work) {
        self.enqueue(work, false);
    }

    /// The full pass comes by.
    pub(crate) fn sweep(&mut self, work: Work) {
        self.enqueue(work, true);
    }

    fn enqueue(&mut self, work: Work, swept: bool) {
        let entry = self.entries.entry(work.clone()).or_default();
        entry.swept = swept && (entry.swept || !(entry.queued || entry.again));
        // A failing key keeps its wait: changes must not turn back-off into a busy loop. The timer will come.
        if entry.failures > 0 && entry.due.is_some() {
            return;
        }
        if entry.in_flight {
            entry.again = true;
        } else if !entry.queued {
            entry.queued = true;
            self.ready.push_back(work);
        }
    }

    /// The next key; it is held until [`Queue::done`].
    pub(crate) fn pop(&mut self) -> Option<Next> {
        let work = self.ready.pop_front()?;
        let entry = self.entries.entry(work.clone()).or_default();
        entry.queued = false;
        entry.in_flight = true;
        entry.due = None;
        Some(Next {
            successes: entry.successes,
            swept: std::mem::take(&mut entry.swept),
            work,
        })
    }

    /// The key's turn is over; `look_again` is when to come back though nothing changes.
    pub(crate) fn done(
        &mut self,
        work: Work,
        turn: Turn,
        look_again: Option<Duration>,
        now: Duration,
    ) {
        let entry = self.entries.entry(work.clone()).or_default();
        entry.in_flight = false;
        let mut again = std::mem::take(&mut entry.again);
        match turn {
            Turn::Unchanged => (entry.failures, entry.successes) = (0, 0),
            Turn::Done => {
                (entry.failures, entry.successes) = (0, entry.successes.saturating_add(1))
            }
            Turn::Overtaken => again = true,
            Turn::Failed => {
                entry.successes = 0;
                entry.failures = entry.failures.saturating_add(1);
            }
        }
        let due = if turn == Turn::Failed {
            again = false;
            Some(now + backoff(entry.failures))
        } else {
            look_again.map(|wait| now + wait)
        };
        entry.due = due;
        if let Some(due) = due {
            self.timers.push(Reverse((due, work.clone())));
        }
        if again {
            entry.queued = true;
            self.ready.push_back(work);
        } else if entry.is_idle() {
            self.entries.remove(&work);
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// Makes due keys ready.
    pub(crate) fn release(&mut self, now: Duration) {
        while let Some(Reverse((due, _))) = self.timers.peek()
            && *due <= now
        {
            let Some(Reverse((due, work))) = self.timers.pop() else {
                return;
            };
            // A timer that was set anew, or whose key had its turn meanwhile, is stale.
            let Some(entry) = self
                .entries
                .get_mut(&work)
                .filter(|entry| entry.due == Some(due))
            else {
                continue;
            };
            entry.due = None;
            if entry.in_flight {
                entry.again = true;
            } else if !entry.queued {
                entry.queued = true;
                self.ready.push_back(work);
            }
        }
    }

    /// Keys waiting for their turn.
    pub(crate) fn len(&self) -> usize {
        self.ready.len()
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(20))
        .min(BACKOFF_LONGEST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const START: Duration = Duration::ZERO;

    fn work(name: &str) -> Work {
        (0, Key::new("things", "", name))
    }

    #[test]
    fn a_key_woken_twice_has_one_turn() {
        let mut queue = Queue::default();
        queue.wake(work("a"));
        queue.wake(work("a"));
        assert_eq!(queue.pop().unwrap().work, work("a"));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_key_in_flight_is_held_and_comes_again() {
        let mut queue = Queue::default();
        queue.wake(work("a"));
        queue.pop();
        queue.wake(work("a"));
        assert_eq!(queue.pop(), None);
        queue.done(work("a"), Turn::Done, None, START);
        let next = queue.pop().unwrap();
        assert_eq!((next.work, next.successes), (work("a"), 1));
    }

    #[test]
    fn failures_wait_longer_each_time_whatever_wakes_them() {
        let mut queue = Queue::default();
        queue.wake(work("a"));
        let mut now = START;
        let mut waits = Vec::new();
        for _ in 0..16 {
            queue.pop().unwrap();
            queue.done(work("a"), Turn::Failed, None, now);
            queue.wake(work("a"));
            assert_eq!(queue.pop(), None);
            let due = queue.next_due().unwrap();
            waits.push(due - now);
            now = due;
            queue.release(now);
        }
        assert!(waits.is_sorted());
        assert_eq!((waits[0], waits[1]), (BACKOFF_FIRST, BACKOFF_FIRST * 2));
        assert_eq!(*waits.last().unwrap(), BACKOFF_LONGEST);
    }

    #[test]
    fn a_timer_brings_a_key_back_once() {
        let mut queue = Queue::default();
        queue.wake(work("a"));
        queue.pop();
        queue.done(work("a"), Turn::Done, Some(Duration::from_secs(5)), START);
        queue.release(Duration::from_secs(4));
        assert_eq!(queue.pop(), None);
        queue.release(Duration::from_secs(5));
        assert!(queue.pop().is_some());
        queue.done(work("a"), Turn::Unchanged, None, Duration::from_secs(5));
        queue.release(Duration::from_secs(500));
        assert_eq!(queue.pop(), None);
        assert!(queue.entries.is_empty());
    }

    #[test]
    fn only_a_key_that_nothing_woke_counts_as_swept() {
        let mut queue = Queue::default();
        queue.sweep(work("a"));
        queue.sweep(work("b"));
        queue.wake(work("b"));
        queue.wake(work("c"));
        queue.sweep(work("c"));
        let swept: Vec<bool> = std::iter::from_fn(|| queue.pop())
            .map(|next| next.swept)
            .collect();
        assert_eq!(swept, [true, false, false]);
    }
}
