//! From the old sets to the new one: RollingUpdate and Recreate.

use super::{Revisions, Rollout, Set};
use crate::controller::{Plan, PlanError};
use crate::pod;
use k8s_openapi::api::apps::v1::RollingUpdateDeployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A number or a share of the replicas. Surge rounds up and unavailability down, as Kubernetes documents the fields.
fn resolve(value: Option<&IntOrString>, replicas: i32, up: bool) -> i32 {
    match value {
        None => resolve(Some(&IntOrString::String("25%".into())), replicas, up),
        Some(IntOrString::Int(number)) => (*number).max(0),
        Some(IntOrString::String(text)) => {
            let percent: i64 = text
                .strip_suffix('%')
                .and_then(|percent| percent.parse().ok())
                .unwrap_or(0);
            let share = percent * i64::from(replicas);
            let whole = if up { (share + 99) / 100 } else { share / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

impl Rollout<'_> {
    fn rolling(&self) -> Option<&RollingUpdateDeployment> {
        self.spec
            .strategy
            .as_ref()
            .and_then(|strategy| strategy.rolling_update.as_ref())
    }

    fn is_rolling(&self) -> bool {
        self.spec
            .strategy
            .as_ref()
            .is_none_or(|strategy| strategy.type_.as_deref() != Some("Recreate"))
    }

    /// Pods there may be above the wanted number.
    pub(crate) fn max_surge(&self) -> i32 {
        if !self.is_rolling() {
            return 0;
        }
        resolve(
            self.rolling()
                .and_then(|rolling| rolling.max_surge.as_ref()),
            self.replicas(),
            true,
        )
    }

    /// Pods that may be unavailable. When both bounds come to nothing, one may, or the rollout could not move.
    pub(crate) fn max_unavailable(&self) -> i32 {
        if !self.is_rolling() || self.replicas() == 0 {
            return 0;
        }
        let unavailable = resolve(
            self.rolling()
                .and_then(|rolling| rolling.max_unavailable.as_ref()),
            self.replicas(),
            false,
        );
        if unavailable == 0 && self.max_surge() == 0 {
            1
        } else {
            unavailable.min(self.replicas())
        }
    }

    /// The size the new set may have at once.
    fn new_size(&self, revisions: &Revisions<'_>) -> i32 {
        let now = revisions.new.map_or(0, Set::desired);
        if !self.is_rolling() {
            return self.replicas();
        }
        let total: i32 = revisions.all().map(Set::desired).sum();
        let room = (self.replicas() + self.max_surge() - total).max(0);
        if total >= self.replicas() + self.max_surge() {
            return now;
        }
        now + room.min(self.replicas() - now)
    }

    /// One step of a rolling update.
    pub(crate) fn roll(&self, plan: &mut Plan, revisions: &Revisions<'_>) -> Result<(), PlanError> {
        if !self.ensure_new(plan, revisions, self.new_size(revisions))? {
            return Ok(());
        }
        let Some(new) = revisions.new else {
            return Ok(());
        };
        let size = if new.desired() > self.replicas() {
            self.replicas()
        } else {
            self.new_size(revisions)
        };
        if size != new.desired() {
            return self.resize(plan, new, size);
        }
        self.shrink_old(plan, revisions, new)?;
        if plan.writes.is_empty() && self.is_complete(revisions) {
            self.clean_up(plan, revisions)?;
        }
        Ok(())
    }

    /// Takes replicas from the old sets: first those that are not available anyway, then as many as may be missed.
    fn shrink_old(
        &self,
        plan: &mut Plan,
        revisions: &Revisions<'_>,
        new: &Set,
    ) -> Result<(), PlanError> {
        let old: Vec<&Set> = revisions
            .old
            .iter()
            .copied()
            .filter(|set| set.desired() > 0)
            .collect();
        let total: i32 = revisions.all().map(Set::desired).sum();
        let minimum = self.replicas() - self.max_unavailable();
        let new_unavailable = new.desired() - new.available();
        let may_go = total - minimum - new_unavailable;
        if old.is_empty() || may_go <= 0 {
            return Ok(());
        }
        let mut sizes: Vec<i32> = old.iter().map(|set| set.desired()).collect();
        let mut unhealthy_left = may_go;
        for (set, size) in old.iter().zip(&mut sizes) {
            let unhealthy = (set.desired() - set.available()).clamp(0, unhealthy_left);
            *size -= unhealthy;
            unhealthy_left -= unhealthy;
        }
        let available: i32 = revisions.all().map(Set::available).sum();
        let mut spare = (available - minimum).max(0);
        for (set, size) in old.iter().zip(&mut sizes) {
            // What is left of a set beyond its available replicas has been counted above.
            let healthy = (*size).min(set.available()).min(spare);
            *size -= healthy;
            spare -= healthy;
        }
        for (set, size) in old.iter().zip(sizes) {
            if size != set.desired() {
                self.resize(plan, set, size)?;
            }
        }
        Ok(())
    }

    /// One step of a recreation: nothing of the new runs before everything of the old is gone.
    pub(crate) fn recreate(
        &self,
        plan: &mut Plan,
        revisions: &Revisions<'_>,
    ) -> Result<(), PlanError> {
        for set in revisions.old.iter().filter(|set| set.desired() > 0) {
            self.resize(plan, set, 0)?;
        }
        if !plan.writes.is_empty() || self.old_pods_run(revisions)? {
            return Ok(());
        }
        if !self.ensure_new(plan, revisions, self.replicas())? {
            return Ok(());
        }
        if let Some(new) = revisions.new.filter(|new| new.desired() != self.replicas()) {
            return self.resize(plan, new, self.replicas());
        }
        if self.is_complete(revisions) {
            self.clean_up(plan, revisions)?;
        }
        Ok(())
    }

    fn old_pods_run(&self, revisions: &Revisions<'_>) -> Result<bool, PlanError> {
        for set in &revisions.old {
            for object in self
                .view
                .owned_by(&set.object.meta.uid)
                .filter(|object| &*object.key.resource == "pods")
            {
                if !pod::is_terminal(&object.decode::<Pod>()?) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether every replica is of the new template and available, and none of the old is left.
    pub(crate) fn is_complete(&self, revisions: &Revisions<'_>) -> bool {
        let (updated, available) = revisions
            .new
            .map_or((0, 0), |new| (new.actual(), new.available()));
        let total: i32 = revisions.all().map(Set::actual).sum();
        updated == self.replicas() && total == self.replicas() && available >= self.replicas()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_up_for_surge_and_down_for_unavailability() {
        let quarter = IntOrString::String("25%".into());
        assert_eq!(
            (
                resolve(Some(&quarter), 10, true),
                resolve(Some(&quarter), 10, false)
            ),
            (3, 2)
        );
        assert_eq!((resolve(None, 3, true), resolve(None, 3, false)), (1, 0));
        assert_eq!(resolve(Some(&IntOrString::Int(5)), 3, true), 5);
        assert_eq!(
            resolve(Some(&IntOrString::String("100%".into())), i32::MAX, true),
            i32::MAX
        );
    }
}
