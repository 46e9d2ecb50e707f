//! Makes a counter-example small.
//!
//! Only changes are tried that cannot make a good history bad: ending it earlier, leaving out a step that only observes, forgetting that
//! a step returned. What is left is therefore wrong for a reason that the whole history has.

use crate::limits::BRIEF_SEARCHES;
use crate::operation::Moment;
use crate::search::{Budget, Found, Interval, Model, search};

/// The smallest part of `operations` that has no linear order, as far as the searches allowed go. `operations` itself has none.
#[must_use]
pub fn brief<M: Model>(model: &M, operations: &[Interval<M::Step>]) -> Vec<Interval<M::Step>>
where
    M::Step: Clone,
{
    let budget = Budget {
        steps: Budget::default().steps / 20,
        ..Budget::default()
    };
    let mut searches = 0;
    let mut is_wrong = |part: &[Interval<M::Step>]| {
        searches += 1;
        searches <= BRIEF_SEARCHES && matches!(search(model, part, budget), Found::Nothing { .. })
    };
    let mut small = shortest_prefix(operations, &mut is_wrong);
    loop {
        let before = (small.len(), small.iter().filter(|one| one.required).count());
        for at in (0..small.len()).rev() {
            let mut candidate = small.clone();
            if model.only_observes(&small[at].step) {
                candidate.remove(at);
            } else if small[at].required {
                candidate[at].required = false;
                candidate[at].returned = Moment::NEVER;
            } else {
                continue;
            }
            if is_wrong(&candidate) {
                small = candidate;
            }
        }
        if (small.len(), small.iter().filter(|one| one.required).count()) == before {
            return small;
        }
    }
}

/// The history up to the earliest moment at which it is wrong already.
fn shortest_prefix<S: Clone>(
    operations: &[Interval<S>],
    is_wrong: &mut impl FnMut(&[Interval<S>]) -> bool,
) -> Vec<Interval<S>> {
    let mut ends: Vec<Moment> = operations
        .iter()
        .filter(|one| one.required)
        .map(|one| one.returned)
        .collect();
    ends.sort_unstable();
    ends.dedup();
    let (mut low, mut high) = (0, ends.len().saturating_sub(1));
    while low < high {
        let middle = usize::midpoint(low, high);
        if is_wrong(&until(operations, ends[middle])) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    match ends.get(low) {
        Some(end) if is_wrong(&until(operations, *end)) => until(operations, *end),
        _ => operations.to_vec(),
    }
}

/// What was known at `end`: operations that had not returned are unknown, those not begun are absent.
fn until<S: Clone>(operations: &[Interval<S>], end: Moment) -> Vec<Interval<S>> {
    let begun = operations.iter().filter(|one| one.invoked <= end).cloned();
    begun
        .map(|mut one| {
            if one.returned > end {
                one.required = false;
                one.returned = Moment::NEVER;
            }
            one
        })
        .collect()
}
