//! A change of size that is not a new version: shared among the sets in proportion.

use super::{DESIRED, MAX, Revisions, Rollout, Set};
use crate::controller::{Plan, PlanError};

impl Rollout<'_> {
    /// Whether the Deployment's size changed since its active sets were sized.
    pub(crate) fn is_scaling(&self) -> bool {
        let sized_for = |set: &Set| {
            set.annotation(DESIRED)
                .and_then(|size| size.parse::<i32>().ok())
        };
        self.sets
            .iter()
            .filter(|set| set.desired() > 0)
            .any(|set| sized_for(set).is_some_and(|size| size != self.replicas()))
    }

    /// One step of scaling.
    pub(crate) fn scale(
        &self,
        plan: &mut Plan,
        revisions: &Revisions<'_>,
    ) -> Result<(), PlanError> {
        let active: Vec<&Set> = revisions.all().filter(|set| set.desired() > 0).collect();
        // With one active set, or none but a newest one, that one takes it all.
        let single = match active.as_slice() {
            [] => revisions.new.or(revisions.old.last().copied()),
            [only] => Some(*only),
            _ => None,
        };
        if let Some(set) = single {
            return self.resize(plan, set, self.replicas());
        }
        if revisions.new.is_some_and(|new| self.is_saturated(new)) {
            for set in revisions.old.iter().filter(|set| set.desired() > 0) {
                self.resize(plan, set, 0)?;
            }
            return Ok(());
        }
        if active.is_empty() {
            Ok(())
        } else {
            self.share(plan, &active)
        }
    }

    /// Whether the new set alone carries the whole Deployment.
    fn is_saturated(&self, new: &Set) -> bool {
        let sized_for = new
            .annotation(DESIRED)
            .and_then(|size| size.parse::<i32>().ok());
        new.desired() == self.replicas()
            && sized_for == Some(self.replicas())
            && new.available() == self.replicas()
    }

    /// Shares what is to be added or taken among the active sets in proportion to their size; the rest goes to the
    /// largest (Kubernetes' proportional scaling: larger sets first, ties to the newer when growing, the older when shrinking).
    fn share(&self, plan: &mut Plan, active: &[&Set]) -> Result<(), PlanError> {
        let total: i32 = active.iter().map(|set| set.desired()).sum();
        let allowed = if self.replicas() > 0 {
            self.replicas() + self.max_surge()
        } else {
            0
        };
        let to_add = allowed - total;
        let mut order: Vec<&Set> = active.to_vec();
        if to_add >= 0 {
            order.sort_by_key(|set| {
                (
                    std::cmp::Reverse(set.desired()),
                    std::cmp::Reverse(set.created()),
                )
            });
        } else {
            order.sort_by_key(|set| (std::cmp::Reverse(set.desired()), set.created()));
        }
        let mut added = 0;
        let mut sizes = Vec::with_capacity(order.len());
        for set in &order {
            let share = if to_add == 0 {
                0
            } else {
                self.fraction(set, allowed, to_add, added)
            };
            added += share;
            sizes.push(set.desired() + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (set, size) in order.into_iter().zip(sizes) {
            self.resize(plan, set, size)?;
        }
        Ok(())
    }

    /// A set's share of `to_add`, never beyond what is left of it.
    fn fraction(&self, set: &Set, allowed: i32, to_add: i32, added: i32) -> i32 {
        let before = set
            .annotation(MAX)
            .and_then(|size| size.parse::<i64>().ok())
            .filter(|size| *size > 0);
        let before = before.unwrap_or_else(|| {
            i64::from(
                self.deployment
                    .status
                    .as_ref()
                    .and_then(|status| status.replicas)
                    .unwrap_or(1),
            )
            .max(1)
        });
        let wanted = i64::from(set.desired()) * i64::from(allowed);
        // Rounded to the nearest, as Kubernetes does.
        let size = (2 * wanted + before) / (2 * before);
        let share = i32::try_from(size)
            .unwrap_or(i32::MAX)
            .saturating_sub(set.desired());
        let left = to_add - added;
        if to_add > 0 {
            share.clamp(0, left.max(0))
        } else {
            share.clamp(left.min(0), 0)
        }
    }
}
