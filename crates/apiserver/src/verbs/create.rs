//! create: one new object.

use super::{
    Verbs, admission, check_fields, encoded, malformed, meta_mut, meta_text, namespace_key, settle,
};
use crate::admit::Admission;
use crate::error::VerbError;
use crate::limits::{CONFLICT_RETRIES, GENERATE_ATTEMPTS, GENERATE_PREFIX_BYTES};
use crate::request::{Caller, Target, Verb, WriteOptions, Written};
use bytes::Bytes;
use pontoon_api::decode::Document;
use pontoon_state::{Object, Precondition, Refusal, Transaction, View};
use serde_json::Value;
use std::sync::Arc;

/// An object ready to be stored, and where.
pub(crate) struct Prepared {
    pub(crate) target: Target,
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

impl Verbs {
    /// Creates an object.
    ///
    /// # Errors
    /// 400, 403, 404 for its namespace, 409 when the name is taken, 413, 422.
    pub async fn create(
        &self,
        caller: &Caller,
        target: &Target,
        body: Document,
        options: &WriteOptions,
    ) -> Result<Written, VerbError> {
        self.authorize(caller, Verb::Create, target)?;
        let mut object = body.value;
        settle(target, &mut object)?;
        let warnings = check_fields(target, &object, &body.duplicates, options.validation)?;
        let stem = generate_stem(&object).to_owned();
        let attempts = if stem.is_empty() {
            1
        } else {
            GENERATE_ATTEMPTS
        };
        for attempt in 1..=attempts {
            let mut candidate = object.clone();
            if !stem.is_empty() {
                let name = format!("{stem}{}", self.world.entropy().name_suffix());
                meta_mut(&mut candidate)?.insert("name".into(), name.into());
            }
            let mut prepared = self.prepare_create(caller, target, candidate)?;
            prepared.warnings.splice(0..0, warnings.iter().cloned());
            match self.store_new(prepared, options.dry_run).await {
                Err(VerbError::AlreadyExists { .. }) if attempt < attempts => {}
                done => return done.map(|written| written.shown(target)),
            }
        }
        Err(VerbError::Internal("no generated name was free".into()))
    }

    /// Everything before the store: identity, admission, defaults, validation.
    pub(crate) fn prepare_create(
        &self,
        caller: &Caller,
        target: &Target,
        mut object: Value,
    ) -> Result<Prepared, VerbError> {
        let metadata = meta_mut(&mut object)?;
        metadata.insert("uid".into(), self.world.entropy().uuid().to_string().into());
        metadata.insert(
            "creationTimestamp".into(),
            timestamp(self.world.now()).into(),
        );
        for member in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "resourceVersion",
            "managedFields",
        ] {
            metadata.remove(member);
        }
        let mut target = target.clone();
        target.name = meta_text(&object, "name").to_owned();
        self.admit(&mut Admission {
            identity: &caller.identity,
            verb: Verb::Create,
            target: &target,
            object: Some(&mut object),
            current: None,
        })?;
        admission::create(&self.replica.view(), &target, &mut object)?;
        let admitted = target
            .kind
            .create(object)
            .map_err(|refusal| malformed(&target, refusal))?;
        Ok(Prepared {
            target,
            object: admitted.object,
            warnings: admitted.warnings,
        })
    }

    async fn store_new(&self, prepared: Prepared, dry_run: bool) -> Result<Written, VerbError> {
        let Prepared {
            target,
            object,
            warnings,
        } = prepared;
        for _ in 0..CONFLICT_RETRIES {
            let view = self.view_with_namespace(&target).await?;
            let mut object = object.clone();
            let mut transaction = Transaction::default();
            guard_create(&target, &mut transaction);
            self.addresses.allocate(
                &view,
                &target,
                &mut object,
                None,
                &mut transaction,
                self.world.entropy(),
            )?;
            let stored = encoded(&object)?;
            if dry_run {
                if let Some(found) = view.get(&target.key()) {
                    return Err(taken(&target, found));
                }
                return Ok(Written {
                    json: stored.json,
                    warnings,
                    created: true,
                });
            }
            match self.commit(transaction.put(target.key(), stored)).await? {
                Ok(committed) => {
                    return Ok(Written {
                        json: json_of(&committed.objects, &target)?,
                        warnings,
                        created: true,
                    });
                }
                Err(refusal) => explain_create(&target, &refusal)?,
            }
        }
        Err(VerbError::Timeout(
            "the addresses or ports of the service were taken by others too often".into(),
        ))
    }

    /// A view in which the namespace lives: the local one if it does there, else the newest.
    pub(super) async fn view_with_namespace(
        &self,
        target: &Target,
    ) -> Result<Arc<View>, VerbError> {
        let local = self.replica.view();
        if !target.is_namespaced() || namespace_error(&local, target).is_none() {
            return Ok(local);
        }
        let newest = self.replica.read().await?;
        match namespace_error(&newest, target) {
            None => Ok(newest),
            Some(error) => Err(error),
        }
    }
}

/// The preconditions of a creation: a free name in a living namespace.
pub(super) fn guard_create(target: &Target, transaction: &mut Transaction) {
    transaction
        .preconditions
        .push(Precondition::Absent(target.key()));
    if target.is_namespaced() {
        transaction
            .preconditions
            .push(Precondition::Live(namespace_key(&target.namespace)));
    }
}

/// Time as Kubernetes writes it, in whole seconds.
pub(crate) fn timestamp(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a generated name begins with; empty when the name is given.
fn generate_stem(object: &Value) -> &str {
    let stem = meta_text(object, "generateName");
    if !meta_text(object, "name").is_empty() || stem.is_empty() {
        return "";
    }
    &stem[..stem.floor_char_boundary(GENERATE_PREFIX_BYTES)]
}

fn namespace_error(view: &View, target: &Target) -> Option<VerbError> {
    match view.get(&namespace_key(&target.namespace)) {
        None => Some(no_namespace(&target.namespace)),
        Some(namespace) if namespace.meta.deleting => Some(terminating(target)),
        Some(_) => None,
    }
}

fn no_namespace(name: &str) -> VerbError {
    let kind = pontoon_api::kinds::by_plural("", "v1", "namespaces");
    kind.map_or_else(
        || VerbError::Internal("there is no kind Namespace".into()),
        |kind| Target::new(kind, "", name).not_found(),
    )
}

fn terminating(target: &Target) -> VerbError {
    let namespace = &target.namespace;
    VerbError::Forbidden {
        resource: target.resource(),
        name: target.name.clone(),
        detail: format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        ),
        cause: Some((
            "NamespaceTerminating".into(),
            "metadata.namespace".into(),
            format!("namespace {namespace} is being terminated"),
        )),
    }
}

fn taken(target: &Target, found: &Object) -> VerbError {
    if found.meta.deleting {
        let resource = target.resource();
        return VerbError::Deleting {
            resource,
            name: target.name.clone(),
        };
    }
    VerbError::AlreadyExists {
        resource: target.resource(),
        name: target.name.clone(),
    }
}

/// Words the store's refusal of a creation; `Ok` when another attempt may succeed (an address was taken).
pub(super) fn explain_create(target: &Target, refusal: &Refusal) -> Result<(), VerbError> {
    let Refusal::Precondition { key, found, .. } = refusal else {
        return Err(VerbError::Unavailable(refusal.to_string()));
    };
    if *key == target.key() {
        return Err(match found {
            Some(found) => taken(target, found),
            None => target.not_found(),
        });
    }
    if &*key.resource == "namespaces" {
        return Err(if found.is_some() {
            terminating(target)
        } else {
            no_namespace(&key.name)
        });
    }
    Ok(())
}

/// The target's own object among a transaction's writes.
pub(super) fn json_of(
    objects: &[Option<Arc<Object>>],
    target: &Target,
) -> Result<Bytes, VerbError> {
    let key = target.key();
    objects
        .iter()
        .flatten()
        .find(|object| object.key == key)
        .map(|object| object.json.clone())
        .ok_or_else(|| VerbError::Internal(format!("the store did not answer with {key}")))
}
