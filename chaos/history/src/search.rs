//! The general search for a linear order: Wing and Gong's algorithm with Lowe's undo list and a memory of dead ends.
//!
//! Sources: Wing & Gong, "Testing and verifying concurrent objects" (1993); Lowe, "Testing for linearizability" (2017). One object at a
//! time: histories of several independent keys are cut up first, since linearizability is local.
//!
//! An operation whose outcome is unknown is not `required` and never returns: it may take its place anywhere after its invocation, or
//! nowhere.

use crate::limits::{SEARCH_MEMORY, SEARCH_STEPS};
use crate::operation::Moment;
use std::collections::HashSet;
use std::hash::Hash;

/// What one object does, one operation after another.
pub trait Model {
    /// What the object holds.
    type State: Clone + Eq + Hash;
    /// An operation together with its answer.
    type Step;

    /// What the object holds before anything was done.
    fn initial(&self) -> Self::State;

    /// What it holds after `step`; `None` when the step could not have had that answer in this state.
    fn apply(&self, state: &Self::State, step: &Self::Step) -> Option<Self::State>;

    /// Whether `step` can never change a state: leaving it out of a history makes no other step impossible.
    fn only_observes(&self, step: &Self::Step) -> bool;
}

/// One operation with the time in which it took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval<S> {
    /// The operation and its answer.
    pub step: S,
    /// Not before this.
    pub invoked: Moment,
    /// Not after this.
    pub returned: Moment,
    /// Whether it certainly took effect.
    pub required: bool,
    /// Its place in the history that it comes from.
    pub origin: usize,
}

/// How far a search may go.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// States tried.
    pub steps: u64,
    /// Dead ends remembered.
    pub memory: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps: SEARCH_STEPS,
            memory: SEARCH_MEMORY,
        }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An order that explains everything, as places in the list that was searched.
    Order(Vec<usize>),
    /// There is none. The longest order that explains a part.
    Nothing {
        /// Places in the list, in order.
        longest: Vec<usize>,
    },
    /// The budget was used up.
    GaveUp,
}

/// Looks for an order of `operations` that each answer agrees with and that keeps what was before what.
pub fn search<M: Model>(model: &M, operations: &[Interval<M::Step>], budget: Budget) -> Found {
    let mut timeline = Timeline::new(operations);
    let mut required = operations.iter().filter(|one| one.required).count();
    let mut state = model.initial();
    let mut done = vec![0_u64; operations.len().div_ceil(64)];
    let mut dead_ends: HashSet<(Box<[u64]>, M::State)> = HashSet::new();
    let mut order: Vec<(usize, M::State)> = Vec::new();
    let mut longest: Vec<usize> = Vec::new();
    let mut cursor = timeline.first();
    let mut steps = 0_u64;
    while required > 0 {
        steps += 1;
        if steps > budget.steps || dead_ends.len() > budget.memory {
            return Found::GaveUp;
        }
        if let Some(Event::Call(index)) = cursor.map(|at| timeline.events[at]) {
            let next = model.apply(&state, &operations[index].step);
            if let Some(next) = next {
                done[index / 64] |= 1 << (index % 64);
                if dead_ends.insert((done.clone().into_boxed_slice(), next.clone())) {
                    timeline.lift(index);
                    required -= usize::from(operations[index].required);
                    order.push((index, std::mem::replace(&mut state, next)));
                    cursor = timeline.first();
                    continue;
                }
                done[index / 64] &= !(1 << (index % 64));
            }
            cursor = cursor.and_then(|at| timeline.after(at));
        } else {
            // Nothing may be placed before an operation that has returned by then: the last choice was wrong.
            if order.len() > longest.len() {
                longest = order.iter().map(|(index, _)| *index).collect();
            }
            let Some((index, before)) = order.pop() else {
                return Found::Nothing { longest };
            };
            state = before;
            done[index / 64] &= !(1 << (index % 64));
            required += usize::from(operations[index].required);
            timeline.unlift(index);
            cursor = timeline.after(timeline.call_of[index]);
        }
    }
    Found::Order(order.into_iter().map(|(index, _)| index).collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Call(usize),
    Return(usize),
}

/// Calls and returns in order of time, as a list from which operations are lifted and to which they come back in reverse order.
struct Timeline {
    events: Vec<Event>,
    /// The neighbours of each event, and of the end, which lies at `events.len()`.
    next: Vec<usize>,
    previous: Vec<usize>,
    call_of: Vec<usize>,
    return_of: Vec<Option<usize>>,
}

impl Timeline {
    fn new<S>(operations: &[Interval<S>]) -> Self {
        let mut events: Vec<(Moment, bool, Event)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            events.push((operation.invoked, false, Event::Call(index)));
            if operation.required {
                events.push((operation.returned, true, Event::Return(index)));
            }
        }
        // At the same moment calls come first: neither operation was before the other.
        events.sort_by_key(|(at, is_return, _)| (*at, *is_return));
        let events: Vec<Event> = events.into_iter().map(|(_, _, event)| event).collect();
        let end = events.len();
        let mut call_of = vec![0; operations.len()];
        let mut return_of = vec![None; operations.len()];
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Call(index) => call_of[*index] = at,
                Event::Return(index) => return_of[*index] = Some(at),
            }
        }
        Self {
            next: (0..=end).map(|at| (at + 1) % (end + 1)).collect(),
            previous: (0..=end).map(|at| (at + end) % (end + 1)).collect(),
            events,
            call_of,
            return_of,
        }
    }

    fn first(&self) -> Option<usize> {
        self.after(self.events.len())
    }

    fn after(&self, at: usize) -> Option<usize> {
        Some(self.next[at]).filter(|next| *next < self.events.len())
    }

    fn lift(&mut self, index: usize) {
        for at in std::iter::once(self.call_of[index]).chain(self.return_of[index]) {
            let (before, after) = (self.previous[at], self.next[at]);
            self.next[before] = after;
            self.previous[after] = before;
        }
    }

    fn unlift(&mut self, index: usize) {
        // In the opposite order of lifting: each event still knows its neighbours of then.
        for at in self.return_of[index]
            .into_iter()
            .chain([self.call_of[index]])
        {
            let (before, after) = (self.previous[at], self.next[at]);
            self.next[before] = at;
            self.previous[after] = at;
        }
    }
}
