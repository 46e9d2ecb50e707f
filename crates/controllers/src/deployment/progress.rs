//! What a Deployment says of itself: counts, and the conditions Available and Progressing.

use super::{EventType, REVISION, Revisions, Rollout, Set};
use crate::controller::{Intent, Plan, PlanError};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pontoon_api::Part;

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

impl Rollout<'_> {
    /// Writes the status if it is not as it should be. The revision's annotation goes with it: written with the object, it
    /// would count as a change of what is asked for, and raise the generation.
    pub(crate) fn write_status(
        &self,
        plan: &mut Plan,
        revisions: &Revisions<'_>,
    ) -> Result<(), PlanError> {
        let before = self.deployment.status.clone().unwrap_or_default();
        let mut status = self.counts(revisions, &before);
        let mut conditions = before.conditions.clone().unwrap_or_default();
        self.set_available(&mut conditions, &status);
        self.set_progressing(plan, &mut conditions, &status, &before, revisions);
        status.conditions = Some(conditions);
        let revision = self.unwritten_revision(revisions);
        if status != before || revision.is_some() {
            let mut value = self.owner.object.value()?;
            value["status"] = serde_json::to_value(status)?;
            if let Some(revision) = revision {
                value["metadata"]["annotations"][REVISION] = revision.into();
            }
            plan.writes.push(Intent::Update {
                base: self.owner.object.clone(),
                object: value,
                part: Part::Status,
            });
        }
        Ok(())
    }

    fn counts(&self, revisions: &Revisions<'_>, before: &DeploymentStatus) -> DeploymentStatus {
        let sum = |count: fn(&Set) -> i32| revisions.all().map(count).sum::<i32>();
        let some = |count: i32| (count > 0).then_some(count);
        let available = sum(Set::available);
        DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: some(sum(Set::actual)),
            updated_replicas: some(revisions.new.map_or(0, Set::actual)),
            ready_replicas: some(sum(Set::ready)),
            available_replicas: some(available),
            unavailable_replicas: some(sum(Set::desired) - available),
            collision_count: before.collision_count,
            terminating_replicas: before.terminating_replicas,
            conditions: None,
        }
    }

    fn set_available(&self, conditions: &mut Vec<DeploymentCondition>, status: &DeploymentStatus) {
        let enough =
            status.available_replicas.unwrap_or(0) >= self.replicas() - self.max_unavailable();
        let (truth, reason, message) = if enough {
            (
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            )
        } else {
            (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        set(
            conditions,
            AVAILABLE,
            truth,
            reason,
            message.to_owned(),
            self.context.now,
            false,
        );
    }

    fn set_progressing(
        &self,
        plan: &mut Plan,
        conditions: &mut Vec<DeploymentCondition>,
        status: &DeploymentStatus,
        before: &DeploymentStatus,
        revisions: &Revisions<'_>,
    ) {
        let now = self.context.now;
        let found = conditions
            .iter()
            .find(|condition| condition.type_ == PROGRESSING)
            .cloned();
        if self.is_paused() {
            if found
                .as_ref()
                .and_then(|condition| condition.reason.as_deref())
                != Some("DeploymentPaused")
            {
                set(
                    conditions,
                    PROGRESSING,
                    "Unknown",
                    "DeploymentPaused",
                    "Deployment is paused".into(),
                    now,
                    true,
                );
            }
            return;
        }
        let Some(deadline) = self
            .spec
            .progress_deadline_seconds
            .filter(|deadline| *deadline < i32::MAX)
        else {
            conditions.retain(|condition| condition.type_ != PROGRESSING);
            return;
        };
        let name = revisions.new.map_or_else(
            || self.owner.object.key.name.to_string(),
            |set| set.object.key.name.to_string(),
        );
        let was = found
            .as_ref()
            .and_then(|condition| condition.reason.as_deref())
            .unwrap_or_default();
        if self.is_complete(revisions) {
            if was != "NewReplicaSetAvailable" || !mentions(found.as_ref(), &name) {
                let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
                set(
                    conditions,
                    PROGRESSING,
                    "True",
                    "NewReplicaSetAvailable",
                    message,
                    now,
                    true,
                );
            }
            return;
        }
        let progressed = has_progressed(status, before)
            || was.is_empty()
            || was == "DeploymentPaused"
            || !mentions(found.as_ref(), &name);
        if progressed || (was == "NewReplicaSetAvailable" && updated(status) < self.replicas()) {
            let message = format!("ReplicaSet \"{name}\" is progressing.");
            set(
                conditions,
                PROGRESSING,
                "True",
                "ReplicaSetUpdated",
                message,
                now,
                true,
            );
            Self::look_again(
                plan,
                SignedDuration::from_secs(i64::from(deadline)).unsigned_abs(),
            );
            return;
        }
        self.judge_deadline(plan, conditions, found.as_ref(), &name, deadline);
    }

    fn judge_deadline(
        &self,
        plan: &mut Plan,
        conditions: &mut Vec<DeploymentCondition>,
        found: Option<&DeploymentCondition>,
        name: &str,
        deadline: i32,
    ) {
        let now = self.context.now;
        let reason = found
            .and_then(|condition| condition.reason.as_deref())
            .unwrap_or_default();
        if matches!(reason, TIMED_OUT | "NewReplicaSetAvailable") {
            return;
        }
        let since = found
            .and_then(|condition| condition.last_update_time.as_ref())
            .map_or(now, |time| time.0);
        let left = SignedDuration::from_secs(i64::from(deadline)) - now.duration_since(since);
        if left > SignedDuration::ZERO {
            Self::look_again(plan, left.unsigned_abs());
            return;
        }
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        self.note(plan, EventType::Warning, TIMED_OUT, message.clone());
        set(
            conditions,
            PROGRESSING,
            "False",
            TIMED_OUT,
            message,
            now,
            true,
        );
    }
}

fn updated(status: &DeploymentStatus) -> i32 {
    status.updated_replicas.unwrap_or(0)
}

fn mentions(condition: Option<&DeploymentCondition>, name: &str) -> bool {
    condition
        .and_then(|condition| condition.message.as_deref())
        .is_some_and(|message| message.contains(name))
}

/// Whether more replicas are updated, ready or available than before, or fewer old ones are left.
fn has_progressed(status: &DeploymentStatus, before: &DeploymentStatus) -> bool {
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - updated(status);
    updated(status) > updated(before)
        || old(status) < old(before)
        || status.ready_replicas.unwrap_or(0) > before.ready_replicas.unwrap_or(0)
        || status.available_replicas.unwrap_or(0) > before.available_replicas.unwrap_or(0)
}

/// Sets a condition. `touch` renews the update time though truth and reason stay.
fn set(
    conditions: &mut Vec<DeploymentCondition>,
    kind: &str,
    truth: &str,
    reason: &str,
    message: String,
    now: Timestamp,
    touch: bool,
) {
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let found = conditions
        .iter()
        .position(|condition| condition.type_ == kind);
    let before = found.map(|at| conditions[at].clone());
    let same = before.as_ref().filter(|before| before.status == truth);
    if !touch && same.is_some_and(|before| before.reason.as_deref() == Some(reason)) {
        return;
    }
    let condition = DeploymentCondition {
        type_: kind.to_owned(),
        status: truth.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: same
            .and_then(|before| before.last_transition_time.clone())
            .or_else(|| Some(now.clone())),
        last_update_time: Some(now),
    };
    match found {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}
