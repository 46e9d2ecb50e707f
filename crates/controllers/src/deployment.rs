//! Deployments: one ReplicaSet for each version of the template, and an orderly way from one to the next.
//!
//! Follows Kubernetes' Deployment controller: a new template makes a new ReplicaSet at the next revision; RollingUpdate
//! moves replicas within maxSurge and maxUnavailable, Recreate waits for the old pods to be gone; a change of size during
//! a rollout is shared in proportion; old ReplicaSets are kept for rollback up to the history limit.
//!
//! A plan does one step and is woken by what it changed.

mod history;
mod progress;
mod rollout;
mod scale;

use crate::controller::{
    Context, Controller, EventNote, EventType, Intent, Plan, PlanError, Requeue,
};
use crate::ownership::{OwnerOf, claim, selector};
use crate::replica_set;
use history::Revisions;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use pontoon_api::Part;
use pontoon_state::{Change, Key, Object, View};
use std::sync::Arc;

pub(crate) const RESOURCE: &str = "deployments.apps";
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(crate) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(crate) const MAX: &str = "deployment.kubernetes.io/max-replicas";
pub(crate) const TEMPLATE_HASH: &str = "pod-template-hash";

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct DeploymentController;

impl Controller for DeploymentController {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn wakes(&self, change: &Change, view: &View, wake: &mut dyn FnMut(Key)) {
        let object = change.object();
        match &*object.key.resource {
            RESOURCE => wake(object.key.clone()),
            replica_set::RESOURCE => {
                for set in [&change.before, &change.after].into_iter().flatten() {
                    wake_owner(set, view, wake);
                }
            }
            // Recreate waits for old pods to be gone.
            "pods" if change.after.is_none() => {
                if let Some(owner) = object
                    .controller()
                    .filter(|owner| &*owner.kind == "ReplicaSet")
                    && let Some(set) = view.get(&Key::new(
                        replica_set::RESOURCE,
                        &object.key.namespace,
                        &owner.name,
                    ))
                {
                    wake_owner(set, view, wake);
                }
            }
            _ => {}
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.list(RESOURCE, None)
            .map(|object| object.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, context: &Context<'_>) -> Result<Plan, PlanError> {
        let Some(object) = view.get(key) else {
            return Ok(Plan::default());
        };
        let deployment: Deployment = object.decode()?;
        let Some(spec) = deployment.spec.clone() else {
            return Ok(Plan::default());
        };
        let owner = OwnerOf {
            object,
            api_version: "apps/v1",
            kind: "Deployment",
        };
        let claimed = claim(
            view,
            &owner,
            &selector(&spec.selector)?,
            replica_set::RESOURCE,
        )?;
        if !claimed.writes.is_empty() {
            return Ok(Plan {
                writes: claimed.writes,
                ..Plan::default()
            });
        }
        let mut sets = Vec::with_capacity(claimed.owned.len());
        for set in &claimed.owned {
            sets.push(Set {
                object: set.clone(),
                set: set.decode()?,
            });
        }
        let rollout = Rollout::new(view, &owner, &deployment, spec, sets, context);
        rollout.plan()
    }
}

fn wake_owner(set: &Object, view: &View, wake: &mut dyn FnMut(Key)) {
    match set.controller() {
        Some(owner) if &*owner.kind == "Deployment" => {
            wake(Key::new(RESOURCE, &set.key.namespace, &owner.name))
        }
        Some(_) => {}
        None => view
            .list(RESOURCE, Some(&set.key.namespace))
            .filter(|deployment| selects(deployment, set))
            .for_each(|deployment| wake(deployment.key.clone())),
    }
}

fn selects(deployment: &Object, set: &Object) -> bool {
    let spec = deployment
        .decode::<Deployment>()
        .ok()
        .and_then(|deployment| deployment.spec);
    spec.and_then(|spec| selector(&spec.selector).ok())
        .is_some_and(|selector| {
            !selector.is_empty()
                && selector.matches(|label| set.meta.labels.get(label).map(|value| &**value))
        })
}

/// One ReplicaSet of a Deployment.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) object: Arc<Object>,
    pub(crate) set: ReplicaSet,
}

impl Set {
    /// `spec.replicas`.
    pub(crate) fn desired(&self) -> i32 {
        self.set
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1)
    }

    /// `status.replicas`.
    pub(crate) fn actual(&self) -> i32 {
        self.set.status.as_ref().map_or(0, |status| status.replicas)
    }

    /// `status.readyReplicas`.
    pub(crate) fn ready(&self) -> i32 {
        self.set
            .status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0)
    }

    /// `status.availableReplicas`.
    pub(crate) fn available(&self) -> i32 {
        self.set
            .status
            .as_ref()
            .and_then(|status| status.available_replicas)
            .unwrap_or(0)
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.set
            .metadata
            .annotations
            .as_ref()?
            .get(name)
            .map(String::as_str)
    }

    /// Its revision in the Deployment's history; 0 when it has none.
    pub(crate) fn revision(&self) -> i64 {
        self.annotation(REVISION)
            .and_then(|revision| revision.parse().ok())
            .unwrap_or(0)
    }

    /// Seconds since the epoch of its creation: what "older" means.
    pub(crate) fn created(&self) -> i64 {
        self.set
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(0, |time| time.0.as_second())
    }
}

/// Everything one plan works on.
pub(crate) struct Rollout<'a> {
    pub(crate) view: &'a View,
    pub(crate) owner: &'a OwnerOf<'a>,
    pub(crate) deployment: &'a Deployment,
    pub(crate) spec: DeploymentSpec,
    /// Oldest first.
    pub(crate) sets: Vec<Set>,
    pub(crate) context: &'a Context<'a>,
}

impl<'a> Rollout<'a> {
    fn new(
        view: &'a View,
        owner: &'a OwnerOf<'a>,
        deployment: &'a Deployment,
        spec: DeploymentSpec,
        mut sets: Vec<Set>,
        context: &'a Context<'a>,
    ) -> Self {
        sets.sort_by(|a, b| (a.created(), &a.object.key).cmp(&(b.created(), &b.object.key)));
        Self {
            view,
            owner,
            deployment,
            spec,
            sets,
            context,
        }
    }

    fn plan(&self) -> Result<Plan, PlanError> {
        let mut plan = Plan::default();
        let revisions = Revisions::of(self);
        if self.owner.object.meta.deleting {
            self.write_status(&mut plan, &revisions)?;
            return Ok(plan);
        }
        if self.is_paused() || self.is_scaling() {
            self.scale(&mut plan, &revisions)?;
            if self.is_paused() && plan.writes.is_empty() {
                self.clean_up(&mut plan, &revisions)?;
            }
        } else if self.is_recreate() {
            self.recreate(&mut plan, &revisions)?;
        } else {
            self.roll(&mut plan, &revisions)?;
        }
        if plan.writes.is_empty() {
            self.write_status(&mut plan, &revisions)?;
        }
        Ok(plan)
    }

    /// `spec.replicas`.
    pub(crate) fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.spec.paused.unwrap_or(false)
    }

    fn is_recreate(&self) -> bool {
        self.spec
            .strategy
            .as_ref()
            .and_then(|strategy| strategy.type_.as_deref())
            == Some("Recreate")
    }

    pub(crate) fn note(&self, plan: &mut Plan, kind: EventType, reason: &str, message: String) {
        let about = self.owner.object.clone();
        plan.events.push(EventNote {
            about,
            kind,
            reason: reason.to_owned(),
            message,
            made: None,
        });
    }

    /// Changes a set's size, with the annotations that go with it.
    pub(crate) fn resize(
        &self,
        plan: &mut Plan,
        set: &Set,
        replicas: i32,
    ) -> Result<(), PlanError> {
        let mut value = set.object.value()?;
        let before = set.desired();
        value["spec"]["replicas"] = replicas.into();
        self.annotate_size(&mut value);
        if value == set.object.value()? {
            return Ok(());
        }
        if replicas != before {
            let direction = if replicas > before { "up" } else { "down" };
            let message = format!(
                "Scaled {direction} replica set {} from {before} to {replicas}",
                set.object.key.name
            );
            self.note(plan, EventType::Normal, "ScalingReplicaSet", message);
        }
        plan.writes.push(Intent::Update {
            base: set.object.clone(),
            object: value,
            part: Part::Main,
        });
        Ok(())
    }

    /// What the Deployment's size was when a set was last sized: how a change of it is noticed.
    pub(crate) fn annotate_size(&self, set: &mut serde_json::Value) {
        set["metadata"]["annotations"][DESIRED] = self.replicas().to_string().into();
        set["metadata"]["annotations"][MAX] =
            (self.replicas() + self.max_surge()).to_string().into();
    }

    /// Looks again after `wait`, or sooner if that is asked already.
    pub(crate) fn look_again(plan: &mut Plan, wait: std::time::Duration) {
        plan.requeue = match plan.requeue {
            Requeue::After(sooner) if sooner <= wait => Requeue::After(sooner),
            _ => Requeue::After(wait),
        };
    }
}
