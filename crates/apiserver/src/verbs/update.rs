//! update: a whole object replaced, and the loop that every change of an existing object goes through.

use super::create::json_of;
use super::{Verbs, admission, check_fields, encoded, malformed, meta_mut, meta_text, settle};
use crate::admit::Admission;
use crate::error::VerbError;
use crate::limits::CONFLICT_RETRIES;
use crate::request::{Caller, Target, Verb, WriteOptions, Written};
use pontoon_api::decode::Document;
use pontoon_api::{FieldError, FieldErrorKind, Part};
use pontoon_state::{Object, Precondition, Refusal, Transaction};
use serde_json::Value;

/// Kinds whose updates must say which version they replace (Kubernetes' `AllowUnconditionalUpdate` is false).
const CONDITIONAL: [&str; 4] = [
    "leases.coordination.k8s.io",
    "endpointslices.discovery.k8s.io",
    "runtimeclasses.node.k8s.io",
    "serviceaccounts",
];

/// One attempt's proposal: the new body made from the current object.
pub(super) struct Draft {
    /// The whole new object.
    pub body: Value,
    /// Warnings of its making.
    pub warnings: Vec<String>,
}

/// What a change may touch, and through which verb.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub verb: Verb,
    pub part: Part,
    pub dry_run: bool,
}

impl Verbs {
    /// Replaces an object, or its status.
    ///
    /// # Errors
    /// 400, 403, 404, 409 when it is not the version the client saw, 413, 422.
    pub async fn update(
        &self,
        caller: &Caller,
        target: &Target,
        body: Document,
        options: &WriteOptions,
    ) -> Result<Written, VerbError> {
        self.authorize(caller, Verb::Update, target)?;
        let mut object = body.value;
        if target.subresource == "scale" {
            return self.update_scale(caller, target, &object, options).await;
        }
        settle(target, &mut object)?;
        match meta_text(&object, "name") {
            "" => {
                let name = target.name.clone().into();
                meta_mut(&mut object)?.insert("name".into(), name);
            }
            name if name != target.name => return Err(wrong_name(target, name)),
            _ => {}
        }
        let warnings = check_fields(target, &object, &body.duplicates, options.validation)?;
        if target.subresource == "finalize" {
            return self.finalize(target, &object, options).await;
        }
        demand_version(target, &object)?;
        let manner = Manner {
            verb: Verb::Update,
            part: part_of(target)?,
            dry_run: options.dry_run,
        };
        self.change(caller, target, manner, |_| {
            Ok(Draft {
                body: object.clone(),
                warnings: warnings.clone(),
            })
        })
        .await
        .map(|written| written.shown(target))
    }

    /// Changes an object by what `draft` makes of the current one; again on a lost race, unless the
    /// draft itself names a version.
    pub(super) async fn change(
        &self,
        caller: &Caller,
        target: &Target,
        manner: Manner,
        mut draft: impl FnMut(&Value) -> Result<Draft, VerbError> + Send,
    ) -> Result<Written, VerbError> {
        for _ in 0..CONFLICT_RETRIES {
            let view = self.replica.read().await?;
            let current = view
                .get(&target.key())
                .cloned()
                .ok_or_else(|| target.not_found())?;
            let stored = current.value()?;
            let Draft { body, mut warnings } = draft(&stored)?;
            let (mut object, more) =
                self.prepare_update(caller, target, manner, body, (&current, &stored))?;
            warnings.extend(more);
            let mut transaction = Transaction::default()
                .require(Precondition::Revision(target.key(), current.revision));
            let entropy = self.world.entropy();
            self.addresses.allocate(
                &view,
                target,
                &mut object,
                Some(&stored),
                &mut transaction,
                entropy,
            )?;
            let removed = removable(&object);
            let form = encoded(&object)?;
            if manner.dry_run {
                return Ok(Written {
                    json: plain_json(&object)?,
                    warnings,
                    created: false,
                });
            }
            transaction = if removed {
                // What was allocated for it above is not written: the object goes instead.
                let mut removal = Transaction::default()
                    .require(Precondition::Revision(target.key(), current.revision));
                self.addresses.release(&view, &current, &mut removal);
                removal.delete(target.key())
            } else {
                transaction.put(target.key(), form)
            };
            match self.commit(transaction).await? {
                Ok(_) if removed => {
                    return Ok(Written {
                        json: plain_json(&object)?,
                        warnings,
                        created: false,
                    });
                }
                Ok(committed) => {
                    return Ok(Written {
                        json: json_of(&committed.objects, target)?,
                        warnings,
                        created: false,
                    });
                }
                Err(Refusal::Precondition { .. }) => {}
                Err(refusal) => return Err(VerbError::Unavailable(refusal.to_string())),
            }
        }
        Err(target.conflict(VerbError::MODIFIED))
    }

    /// Everything before the store: versions, admission, defaults, validation.
    pub(super) fn prepare_update(
        &self,
        caller: &Caller,
        target: &Target,
        manner: Manner,
        mut body: Value,
        (current, stored): (&Object, &Value),
    ) -> Result<(Value, Vec<String>), VerbError> {
        check_version(target, &body, current)?;
        let metadata = meta_mut(&mut body)?;
        metadata.insert(
            "resourceVersion".into(),
            current.revision.to_string().into(),
        );
        metadata.remove("managedFields");
        // Kubernetes lets a client neither set nor clear these: what is stored holds.
        for member in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            match stored["metadata"].get(member) {
                Some(value) => metadata.insert(member.into(), value.clone()),
                None => metadata.remove(member),
            };
        }
        crate::services::carry_over(target, &mut body, stored);
        self.admit(&mut Admission {
            identity: &caller.identity,
            verb: manner.verb,
            target,
            object: Some(&mut body),
            current: Some(stored),
        })?;
        admission::update(target, &mut body, stored);
        let admitted = target
            .kind
            .update(body, stored, manner.part)
            .map_err(|refusal| malformed(target, refusal))?;
        Ok((admitted.object, admitted.warnings))
    }

    /// The `finalize` subresource of namespaces: the only way to change `spec.finalizers`.
    async fn finalize(
        &self,
        target: &Target,
        sent: &Value,
        options: &WriteOptions,
    ) -> Result<Written, VerbError> {
        for _ in 0..CONFLICT_RETRIES {
            let view = self.replica.read().await?;
            let current = view
                .get(&target.key())
                .cloned()
                .ok_or_else(|| target.not_found())?;
            check_version(target, sent, &current)?;
            let mut object = current.value()?;
            let finalizers = sent["spec"]["finalizers"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            object["spec"]["finalizers"] = finalizers.into();
            if options.dry_run {
                return Ok(Written {
                    json: plain_json(&object)?,
                    warnings: Vec::new(),
                    created: false,
                });
            }
            let transaction = Transaction::default()
                .require(Precondition::Revision(target.key(), current.revision));
            let transaction = if removable(&object) {
                transaction.delete(target.key())
            } else {
                transaction.put(target.key(), encoded(&object)?)
            };
            if let Ok(committed) = self.commit(transaction).await? {
                let json = json_of(&committed.objects, target)?;
                return Ok(Written {
                    json,
                    warnings: Vec::new(),
                    created: false,
                });
            }
        }
        Err(target.conflict(VerbError::MODIFIED))
    }
}

/// 400 for a body that names another object.
pub(super) fn wrong_name(target: &Target, name: &str) -> VerbError {
    VerbError::BadRequest(format!(
        "the name of the object ({name}) does not match the name on the URL ({})",
        target.name
    ))
}

/// The part of an object a subresource stands for.
///
/// # Errors
/// 405 for one that cannot be written this way.
pub(super) fn part_of(target: &Target) -> Result<Part, VerbError> {
    match target.subresource.as_str() {
        "" => Ok(Part::Main),
        "status" => Ok(Part::Status),
        _ => Err(VerbError::MethodNotAllowed),
    }
}

fn demand_version(target: &Target, object: &Value) -> Result<(), VerbError> {
    let conditional = CONDITIONAL.contains(&target.descriptor().resource().as_str());
    if !conditional || !meta_text(object, "resourceVersion").is_empty() {
        return Ok(());
    }
    Err(VerbError::Invalid {
        group: target.descriptor().group.to_owned(),
        kind: target.descriptor().kind.to_owned(),
        name: target.name.clone(),
        errors: vec![FieldError {
            field: "metadata.resourceVersion".into(),
            kind: FieldErrorKind::Invalid,
            message: "Invalid value: 0x0: must be specified for an update".into(),
        }],
    })
}

/// The version and identity a body names must be the stored ones.
pub(super) fn check_version(
    target: &Target,
    body: &Value,
    current: &Object,
) -> Result<(), VerbError> {
    let version = meta_text(body, "resourceVersion");
    if !version.is_empty() && version != "0" {
        let wanted: u64 = version.parse().map_err(|_| {
            VerbError::BadRequest(format!(
                "metadata.resourceVersion: Invalid value: \"{version}\": must be a number"
            ))
        })?;
        if wanted != current.revision.0 {
            return Err(target.conflict(VerbError::MODIFIED));
        }
    }
    let uid = meta_text(body, "uid");
    if !uid.is_empty() && uid != &*current.meta.uid {
        return Err(target.conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            current.meta.uid
        )));
    }
    Ok(())
}

/// Whether nothing keeps a deleted object any more: no finalizer, no grace period that runs.
pub(crate) fn removable(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let deleting = metadata
        .get("deletionTimestamp")
        .is_some_and(|time| !time.is_null());
    let namespace = object["kind"] == "Namespace";
    deleting
        && empty(&metadata["finalizers"])
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && (!namespace || empty(&object["spec"]["finalizers"]))
}

/// An object that is not stored, as bytes.
pub(super) fn plain_json(object: &Value) -> Result<bytes::Bytes, VerbError> {
    serde_json::to_vec(object)
        .map(Into::into)
        .map_err(|error| VerbError::Internal(error.to_string()))
}
