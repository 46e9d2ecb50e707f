//! The pod subresources that are verbs of their own: binding to a node, and eviction.

use super::create::timestamp;
use super::{Deleted, Verbs, encoded, meta_text};
use crate::error::VerbError;
use crate::limits::CONFLICT_RETRIES;
use crate::request::{Caller, DeleteOptions, Target, Verb, WriteOptions};
use pontoon_state::{Precondition, Transaction};
use serde_json::{Value, json};

impl Verbs {
    /// Binds a pod to a node, once.
    ///
    /// # Errors
    /// 400, 403, 404, 409 when it is bound or being deleted.
    pub async fn bind(
        &self,
        caller: &Caller,
        target: &Target,
        binding: &Value,
        options: &WriteOptions,
    ) -> Result<(), VerbError> {
        self.authorize(caller, Verb::Create, target)?;
        let node = binding["target"]["name"].as_str().unwrap_or("");
        if node.is_empty() {
            return Err(VerbError::BadRequest(
                "Binding \"\" is invalid: target.name: Required value".into(),
            ));
        }
        let name = meta_text(binding, "name");
        if !name.is_empty() && name != target.name {
            return Err(super::update::wrong_name(target, name));
        }
        for _ in 0..CONFLICT_RETRIES {
            let view = self.replica.read().await?;
            let current = view.get(&target.key()).ok_or_else(|| target.not_found())?;
            super::update::check_version(target, binding, current)?;
            if let Some(bound) = &current.meta.node {
                return Err(conflict(
                    target,
                    &format!(
                        "pod {} is already assigned to node \"{bound}\"",
                        target.name
                    ),
                ));
            }
            if current.meta.deleting {
                return Err(conflict(
                    target,
                    &format!(
                        "pod {} is being deleted, cannot be assigned to a host",
                        target.name
                    ),
                ));
            }
            let mut pod = current.value()?;
            pod["spec"]["nodeName"] = node.into();
            scheduled(&mut pod, &timestamp(self.world.now()));
            if options.dry_run {
                return Ok(());
            }
            let transaction = Transaction::default()
                .require(Precondition::Revision(target.key(), current.revision))
                .put(target.key(), encoded(&pod)?);
            if self.commit(transaction).await?.is_ok() {
                return Ok(());
            }
        }
        Err(target.conflict(VerbError::MODIFIED))
    }

    /// Evicts a pod: deletes it, when nothing forbids that. (Disruption budgets take their place here.)
    ///
    /// # Errors
    /// 400, 403, 404, 409.
    pub async fn evict(
        &self,
        caller: &Caller,
        target: &Target,
        eviction: &Value,
        mut options: DeleteOptions,
    ) -> Result<Deleted, VerbError> {
        self.authorize(caller, Verb::Create, target)?;
        let name = meta_text(eviction, "name");
        if !name.is_empty() && name != target.name {
            return Err(VerbError::BadRequest(format!(
                "name in URL does not match name in Eviction object: {} != {name}",
                target.name
            )));
        }
        options.dry_run |= eviction["deleteOptions"]["dryRun"]
            .as_array()
            .is_some_and(|dry| !dry.is_empty());
        let mut pod = target.clone();
        pod.subresource.clear();
        self.delete_unchecked(caller, &pod, &options).await
    }
}

fn conflict(target: &Target, detail: &str) -> VerbError {
    let mut resource = target.resource();
    resource.plural.push_str("/binding");
    VerbError::conflict(&resource, &target.name, detail)
}

fn scheduled(pod: &mut Value, now: &str) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    let conditions = &mut pod["status"]["conditions"];
    match conditions.as_array_mut() {
        Some(list) => {
            list.retain(|found| found["type"] != "PodScheduled");
            list.push(condition);
        }
        None => *conditions = json!([condition]),
    }
}
