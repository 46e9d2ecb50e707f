//! delete: an object removed, or marked when something must happen first.

use super::create::{json_of, timestamp};
use super::update::{check_version, plain_json, removable};
use super::{Verbs, encoded, meta_mut};
use crate::admit::Admission;
use crate::error::VerbError;
use crate::limits::CONFLICT_RETRIES;
use crate::request::{Caller, DeleteOptions, Propagation, Target, Verb};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use pontoon_state::{Object, Precondition, Refusal, Transaction};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Waits for dependents (the garbage collector's word).
const FOREGROUND: &str = "foregroundDeletion";
/// Lets dependents stay (the garbage collector's word).
const ORPHAN: &str = "orphan";
/// Seconds a pod has to end when it does not say.
const DEFAULT_GRACE: i64 = 30;

/// What a deletion came to.
#[derive(Debug, Clone)]
pub struct Deleted {
    /// The object as it was, or as it is marked.
    pub json: Bytes,
    /// Its uid.
    pub uid: Arc<str>,
    /// Whether it is gone; else it waits for finalizers, its content or its node.
    pub gone: bool,
}

impl Verbs {
    /// Deletes an object.
    ///
    /// # Errors
    /// 403, 404, 409 when a precondition does not hold.
    pub async fn delete(
        &self,
        caller: &Caller,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Deleted, VerbError> {
        self.authorize(caller, Verb::Delete, target)?;
        let mut deleted = self.delete_unchecked(caller, target, options).await?;
        deleted.json = target.shown_json(deleted.json);
        Ok(deleted)
    }

    /// As [`Verbs::delete`], for a caller whose right to it was checked under another name (eviction).
    pub(super) async fn delete_unchecked(
        &self,
        caller: &Caller,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Deleted, VerbError> {
        for _ in 0..CONFLICT_RETRIES {
            let view = self.replica.read().await?;
            let current = view
                .get(&target.key())
                .cloned()
                .ok_or_else(|| target.not_found())?;
            check_preconditions(target, options, &current)?;
            check_immortal(target)?;
            let stored = current.value()?;
            self.admit(&mut Admission {
                identity: &caller.identity,
                verb: Verb::Delete,
                target,
                object: None,
                current: Some(&stored),
            })?;
            let marked = mark(target, &stored, options, self.world.now())?;
            let gone = removable(&marked);
            let uid = current.meta.uid.clone();
            if options.dry_run {
                return Ok(Deleted {
                    json: if gone {
                        current.json.clone()
                    } else {
                        plain_json(&marked)?
                    },
                    uid,
                    gone,
                });
            }
            if marked == stored {
                return Ok(Deleted {
                    json: current.json.clone(),
                    uid,
                    gone: false,
                });
            }
            let mut transaction = Transaction::default()
                .require(Precondition::Revision(target.key(), current.revision));
            transaction = if gone {
                self.addresses.release(&view, &current, &mut transaction);
                transaction.delete(target.key())
            } else {
                transaction.put(target.key(), encoded(&marked)?)
            };
            match self.commit(transaction).await? {
                Ok(committed) => {
                    return Ok(Deleted {
                        json: json_of(&committed.objects, target)?,
                        uid,
                        gone,
                    });
                }
                Err(Refusal::Precondition { .. }) => {}
                Err(refusal) => return Err(VerbError::Unavailable(refusal.to_string())),
            }
        }
        Err(target.conflict(VerbError::MODIFIED))
    }
}

/// Namespaces that no cluster is without (Kubernetes' NamespaceLifecycle admission).
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

fn check_immortal(target: &Target) -> Result<(), VerbError> {
    if target.descriptor().kind != "Namespace" || !IMMORTAL.contains(&target.name.as_str()) {
        return Ok(());
    }
    Err(VerbError::Forbidden {
        resource: target.resource(),
        name: target.name.clone(),
        detail: "this namespace may not be deleted".into(),
        cause: None,
    })
}

fn check_preconditions(
    target: &Target,
    options: &DeleteOptions,
    current: &Object,
) -> Result<(), VerbError> {
    check_version(target, &json!({"metadata": {"uid": options.uid}}), current)?;
    if let Some(revision) = &options.revision
        && *revision != current.revision.to_string()
    {
        return Err(target.conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {revision}, ResourceVersion in object meta: {}",
            current.revision
        )));
    }
    Ok(())
}

/// The object as a deletion leaves it: with its time, grace and the finalizers of its propagation.
fn mark(
    target: &Target,
    stored: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Value, VerbError> {
    let mut marked = stored.clone();
    let pod = target.descriptor().kind == "Pod";
    let grace = if pod {
        grace_of(stored, options.grace)
    } else {
        0
    };
    let before = stored["metadata"]
        .get("deletionTimestamp")
        .is_some_and(|time| !time.is_null());
    let granted = stored["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(0);
    let metadata = meta_mut(&mut marked)?;
    // A deletion that runs can be hurried, not slowed.
    if !before || grace < granted {
        let end = now
            .checked_add(SignedDuration::from_secs(grace))
            .unwrap_or(Timestamp::MAX);
        metadata.insert("deletionTimestamp".into(), timestamp(end).into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
        if !before && let Some(generation) = stored["metadata"]["generation"].as_i64() {
            metadata.insert("generation".into(), (generation + 1).into());
        }
    }
    propagate(metadata, options.propagation);
    if target.descriptor().kind == "Namespace" {
        marked["status"]["phase"] = "Terminating".into();
    }
    Ok(marked)
}

fn propagate(metadata: &mut Map<String, Value>, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let wanted = match propagation {
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Background => None,
    };
    let mut finalizers: Vec<Value> = metadata
        .get("finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    finalizers.retain(|name| {
        let name = name.as_str().unwrap_or("");
        (name != FOREGROUND && name != ORPHAN) || Some(name) == wanted
    });
    if let Some(wanted) = wanted
        && !finalizers.iter().any(|name| name == wanted)
    {
        finalizers.push(wanted.into());
    }
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), finalizers.into());
    }
}

/// Seconds a pod has to end. One that no node runs, or that has ended, needs none.
fn grace_of(pod: &Value, asked: Option<i64>) -> i64 {
    let unbound = pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty();
    let ended = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if unbound || ended {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(DEFAULT_GRACE);
    match asked.unwrap_or(own) {
        // Kubernetes reads a negative grace as one second.
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}
