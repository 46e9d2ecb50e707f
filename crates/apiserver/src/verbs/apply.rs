//! apply: many objects created or merged in one atomic transaction, all or none. Pontoon's own verb.
//!
//! Each object that exists is changed by a three-way merge, as `kubectl apply` does it: what the last applied
//! configuration had and this one has not is removed, what this one says is set, the rest stays.

use super::create::{Prepared, explain_create, guard_create, json_of};
use super::update::{Manner, plain_json};
use super::{Verbs, check_fields, encoded, meta_mut, meta_text, settle};
use crate::error::VerbError;
use crate::limits::{APPLY_OBJECTS, CONFLICT_RETRIES};
use crate::planner::Forecast;
use crate::request::{Caller, Target, Verb, WriteOptions};
use bytes::Bytes;
use pontoon_api::decode::Document;
use pontoon_api::patch::{PatchType, apply};
use pontoon_api::{Part, Revision, kinds};
use pontoon_state::{Precondition, Transaction, View};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Where the last applied configuration is kept: `kubectl`'s own place, so that both tools go together.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What became of one object of an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Created,
    /// It was changed.
    Configured,
    /// It was as it should be.
    Unchanged,
}

/// One object of an apply.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What became of it.
    pub action: Action,
    /// Which it is.
    pub target: Target,
    /// As stored.
    pub json: Bytes,
    /// What its author should be told.
    pub warnings: Vec<String>,
}

/// What an apply would come to.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What would become of its objects.
    pub applied: Vec<Applied>,
    /// What this was planned from.
    pub revision: Revision,
    /// What would become of pods.
    pub forecast: Forecast,
}

/// Each object in the form it was sent in.
fn shown(mut applied: Vec<Applied>) -> Vec<Applied> {
    for one in &mut applied {
        one.json = one.target.shown_json(std::mem::take(&mut one.json));
    }
    applied
}

struct Item {
    target: Target,
    sent: Value,
    warnings: Vec<String>,
}

/// A transaction in the making, and what it will have done.
struct Draft {
    transaction: Transaction,
    applied: Vec<Applied>,
}

impl Verbs {
    /// Applies objects in one transaction.
    ///
    /// # Errors
    /// As create and patch; nothing is changed then.
    pub async fn apply(
        &self,
        caller: &Caller,
        documents: Vec<Document>,
        default_namespace: &str,
        options: &WriteOptions,
    ) -> Result<(Vec<Applied>, Revision), VerbError> {
        let items = items(documents, default_namespace, options)?;
        for _ in 0..CONFLICT_RETRIES {
            let view = self.replica.read().await?;
            let mut draft = self.draft(caller, &view, &items)?;
            if options.dry_run || draft.transaction.writes.is_empty() {
                return Ok((shown(draft.applied), view.revision()));
            }
            match self.commit(draft.transaction).await? {
                Ok(committed) => {
                    for applied in draft
                        .applied
                        .iter_mut()
                        .filter(|applied| applied.action != Action::Unchanged)
                    {
                        applied.json = json_of(&committed.objects, &applied.target)?;
                    }
                    return Ok((shown(draft.applied), committed.revision));
                }
                Err(refusal) => {
                    tracing::debug!(%refusal, "an apply lost a race and is planned again")
                }
            }
        }
        Err(VerbError::Timeout(
            "the objects were changed by others too often; apply again".into(),
        ))
    }

    /// What [`Verbs::apply`] would do, and what would become of pods because of it. Nothing is written.
    ///
    /// # Errors
    /// As apply.
    pub async fn plan(
        &self,
        caller: &Caller,
        documents: Vec<Document>,
        default_namespace: &str,
        options: &WriteOptions,
    ) -> Result<Planned, VerbError> {
        let items = items(documents, default_namespace, options)?;
        let view = self.replica.read().await?;
        let Draft {
            transaction,
            applied,
        } = self.draft(caller, &view, &items)?;
        let revision = view.revision();
        let forecast = if transaction.writes.is_empty() {
            Forecast::nothing()
        } else {
            let planner = self.planner.clone();
            let turn = self.forecasts.acquire().await;
            let work =
                tokio::task::spawn_blocking(move || planner.forecast(&view, transaction)).await;
            drop(turn);
            work.map_err(|_| VerbError::Internal("the forecast of pods failed".into()))?
        };
        Ok(Planned {
            applied: shown(applied),
            revision,
            forecast,
        })
    }

    fn draft(&self, caller: &Caller, view: &View, items: &[Item]) -> Result<Draft, VerbError> {
        let mut draft = Draft {
            transaction: Transaction::default(),
            applied: Vec::new(),
        };
        for item in items {
            self.draft_one(caller, view, item, items, &mut draft)?;
        }
        Ok(draft)
    }

    fn draft_one(
        &self,
        caller: &Caller,
        view: &View,
        item: &Item,
        all: &[Item],
        draft: &mut Draft,
    ) -> Result<(), VerbError> {
        match view.get(&item.target.key()) {
            Some(current) if current.meta.deleting => Err(item
                .target
                .conflict("the object is being deleted; wait until it is gone, then apply again")),
            Some(current) => self.draft_change(caller, view, item, current, draft),
            None => self.draft_creation(caller, view, item, all, draft),
        }
    }

    fn draft_creation(
        &self,
        caller: &Caller,
        view: &View,
        item: &Item,
        all: &[Item],
        draft: &mut Draft,
    ) -> Result<(), VerbError> {
        self.authorize(caller, Verb::Create, &item.target)?;
        let mut sent = item.sent.clone();
        remember(&mut sent, &item.sent)?;
        let Prepared {
            target,
            mut object,
            mut warnings,
        } = self.prepare_create(caller, &item.target, sent)?;
        let mut guard = Transaction::default();
        guard_create(&target, &mut guard);
        let own_namespace = all.iter().any(|other| {
            other.target.descriptor().kind == "Namespace" && other.target.name == target.namespace
        });
        for precondition in guard.preconditions {
            // A namespace that comes in the same transaction is not there before it.
            let brought = own_namespace && view.get(precondition.key()).is_none();
            if matches!(precondition, Precondition::Live(_)) && !brought {
                check_namespace(view, &target, &precondition)?;
            } else if matches!(precondition, Precondition::Live(_)) {
                continue;
            }
            draft.transaction.preconditions.push(precondition);
        }
        self.addresses.allocate(
            view,
            &target,
            &mut object,
            None,
            &mut draft.transaction,
            self.world.entropy(),
        )?;
        let form = encoded(&object)?;
        let json = form.json.clone();
        draft.transaction = std::mem::take(&mut draft.transaction).put(target.key(), form);
        warnings.splice(0..0, item.warnings.iter().cloned());
        draft.applied.push(Applied {
            action: Action::Created,
            target,
            json,
            warnings,
        });
        Ok(())
    }

    fn draft_change(
        &self,
        caller: &Caller,
        view: &View,
        item: &Item,
        current: &pontoon_state::Object,
        draft: &mut Draft,
    ) -> Result<(), VerbError> {
        self.authorize(caller, Verb::Patch, &item.target)?;
        let stored = current.value()?;
        let body = merged(&item.target, &item.target.shown_value(&stored), &item.sent)?;
        let manner = Manner {
            verb: Verb::Patch,
            part: Part::Main,
            dry_run: false,
        };
        let (mut object, more) =
            self.prepare_update(caller, &item.target, manner, body, (current, &stored))?;
        let transaction = &mut draft.transaction;
        transaction
            .preconditions
            .push(Precondition::Revision(item.target.key(), current.revision));
        self.addresses.allocate(
            view,
            &item.target,
            &mut object,
            Some(&stored),
            transaction,
            self.world.entropy(),
        )?;
        let mut warnings = item.warnings.clone();
        warnings.extend(more);
        let target = item.target.clone();
        if object == stored {
            draft.applied.push(Applied {
                action: Action::Unchanged,
                target,
                json: current.json.clone(),
                warnings,
            });
            return Ok(());
        }
        let json = plain_json(&object)?;
        draft.transaction =
            std::mem::take(&mut draft.transaction).put(target.key(), encoded(&object)?);
        draft.applied.push(Applied {
            action: Action::Configured,
            target,
            json,
            warnings,
        });
        Ok(())
    }
}

fn check_namespace(view: &View, target: &Target, live: &Precondition) -> Result<(), VerbError> {
    match view.get(live.key()) {
        Some(namespace) if !namespace.meta.deleting => Ok(()),
        found => explain_create(
            target,
            &pontoon_state::Refusal::Precondition {
                index: 0,
                key: live.key().clone(),
                found: found.cloned(),
            },
        ),
    }
}

fn items(
    documents: Vec<Document>,
    default_namespace: &str,
    options: &WriteOptions,
) -> Result<Vec<Item>, VerbError> {
    if documents.len() > APPLY_OBJECTS {
        return Err(VerbError::TooLarge(format!(
            "at most {APPLY_OBJECTS} objects can be applied at once"
        )));
    }
    let mut seen = BTreeSet::new();
    let mut items = Vec::with_capacity(documents.len());
    for document in documents {
        let item = item(document, default_namespace, options)?;
        if !seen.insert(item.target.key()) {
            return Err(VerbError::BadRequest(format!(
                "{} is in the file twice",
                item.target.key()
            )));
        }
        items.push(item);
    }
    Ok(items)
}

fn item(
    document: Document,
    default_namespace: &str,
    options: &WriteOptions,
) -> Result<Item, VerbError> {
    let mut sent = document.value;
    let text = |name: &str| sent[name].as_str().unwrap_or("").to_owned();
    let (version, name) = (text("apiVersion"), text("kind"));
    let kind = kinds::by_kind(&version, &name).ok_or_else(|| {
        VerbError::BadRequest(format!(
            "no matches for kind \"{name}\" in version \"{version}\""
        ))
    })?;
    let mut target = Target::new(kind, "", meta_text(&sent, "name"));
    if target.is_namespaced() {
        let own = meta_text(&sent, "namespace");
        let default = if default_namespace.is_empty() {
            "default"
        } else {
            default_namespace
        };
        target.namespace = if own.is_empty() {
            default.to_owned()
        } else {
            own.to_owned()
        };
    }
    if target.name.is_empty() {
        return Err(VerbError::BadRequest(format!(
            "an applied object needs metadata.name (generateName cannot be used with apply): {name}"
        )));
    }
    settle(&target, &mut sent)?;
    let warnings = check_fields(&target, &sent, &document.duplicates, options.validation)?;
    Ok(Item {
        target,
        sent,
        warnings,
    })
}

/// Writes the sent configuration into the annotation that the next apply compares with.
fn remember(object: &mut Value, sent: &Value) -> Result<(), VerbError> {
    let mut plain = sent.clone();
    if let Some(annotations) = plain["metadata"]
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    let text = format!("{plain}\n");
    let annotations = meta_mut(object)?
        .entry("annotations")
        .or_insert_with(|| json!({}));
    if !annotations.is_object() {
        *annotations = json!({});
    }
    annotations[LAST_APPLIED] = text.into();
    Ok(())
}

/// The stored object after a three-way merge with what is sent.
fn merged(target: &Target, stored: &Value, sent: &Value) -> Result<Value, VerbError> {
    let last = stored["metadata"]["annotations"][LAST_APPLIED]
        .as_str()
        .unwrap_or("{}");
    let last: Value = serde_json::from_str(last).unwrap_or_else(|_| json!({}));
    let mut wanted = sent.clone();
    remember(&mut wanted, sent)?;
    let removals = removals(&last, sent, stored);
    let failed = |error: pontoon_api::patch::PatchError| VerbError::BadRequest(error.to_string());
    let kind = target.descriptor().kind;
    let cleared = apply(kind, stored, &removals, PatchType::Strategic).map_err(failed)?;
    apply(kind, &cleared, &wanted, PatchType::Strategic).map_err(failed)
}

/// A strategic merge patch that takes away what was applied before and is not any more: members of objects, and
/// entries of lists that merge by a key.
fn removals(last: &Value, sent: &Value, stored: &Value) -> Value {
    let mut patch = json!({});
    let Some(members) = last.as_object() else {
        return patch;
    };
    for (name, before) in members {
        match (sent.get(name), stored.get(name)) {
            (_, None) => {}
            (None | Some(Value::Null), Some(_)) => patch[name] = Value::Null,
            (Some(now @ Value::Object(_)), Some(there)) if before.is_object() => {
                let inner = removals(before, now, there);
                if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                    patch[name] = inner;
                }
            }
            (Some(Value::Array(now)), Some(Value::Array(there))) => {
                let dropped = dropped_items(name, before, now, there);
                if !dropped.is_empty() {
                    patch[name] = dropped.into();
                }
            }
            _ => {}
        }
    }
    patch
}

/// Merge keys of the lists that are entry by entry merged in pods and services (`references` of Kubernetes' types).
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        "ownerReferences" => "uid",
        _ => return None,
    })
}

fn dropped_items(list: &str, before: &Value, now: &[Value], there: &[Value]) -> Vec<Value> {
    // Ports merge by containerPort in containers and by port in services.
    let keys: Vec<&str> = match list {
        "ports" => vec!["containerPort", "port"],
        _ => merge_key(list).into_iter().collect(),
    };
    let mut patches = Vec::new();
    for old in before.as_array().into_iter().flatten() {
        let Some(key) = keys.iter().find(|key| old.get(**key).is_some()) else {
            continue;
        };
        let same = |item: &&Value| item.get(*key) == old.get(*key);
        match (now.iter().find(same), there.iter().find(same)) {
            (None, Some(_)) => patches.push(json!({*key: old[*key], "$patch": "delete"})),
            (Some(now), Some(there)) => {
                let mut inner = removals(old, now, there);
                if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                    inner[*key] = old[*key].clone();
                    patches.push(inner);
                }
            }
            _ => {}
        }
    }
    patches
}
