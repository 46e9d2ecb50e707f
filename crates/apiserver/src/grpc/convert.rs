//! Messages to requests, and objects to messages.

use crate::authenticate::Identity;
use crate::error::VerbError;
use crate::request::{Caller, FieldValidation, Target, WriteOptions};
use bytes::Bytes;
use pontoon_api::decode::{self, Document};
use pontoon_api::limits::BODY_BYTES;
use pontoon_api::{Descriptor, Scope, kinds};
use pontoon_state::Object;
use pontoon_wire::pontoon::v1 as wire;
use serde_json::Value;
use tonic::{Request, Status};

/// Who sends a request.
#[allow(clippy::result_large_err, reason = "tonic's own error type")]
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let identity = request.extensions().get::<Identity>().cloned();
    identity
        .map(|identity| Caller { identity })
        .ok_or_else(|| VerbError::Unauthorized.into())
}

/// The kind and place that a message names.
///
/// # Errors
/// 404 for a kind that is not there, 400 for a place it cannot have.
pub(super) fn target(sent: Option<wire::Target>) -> Result<Target, VerbError> {
    let sent = sent.ok_or_else(|| VerbError::BadRequest("the request needs a target".into()))?;
    let version = if sent.version.is_empty() {
        default_version(&sent)?
    } else {
        sent.version.clone()
    };
    let kind =
        kinds::by_plural(&sent.group, &version, &sent.resource).ok_or(VerbError::NoSuchResource)?;
    for part in [&sent.namespace, &sent.name, &sent.subresource] {
        if part.contains(['/', '\0', '%']) {
            return Err(VerbError::BadRequest(format!("{part:?} is not a name")));
        }
    }
    let namespaced = kind.descriptor().scope == Scope::Namespaced;
    if !namespaced && !sent.namespace.is_empty() {
        return Err(VerbError::BadRequest(format!(
            "{} have no namespace",
            sent.resource
        )));
    }
    if namespaced && sent.namespace.is_empty() && !sent.name.is_empty() {
        return Err(VerbError::BadRequest(format!(
            "an object of {} needs a namespace",
            sent.resource
        )));
    }
    let known = |part: &str| {
        kind.descriptor()
            .subresources
            .iter()
            .any(|found| found.name == part)
    };
    if !sent.subresource.is_empty() && !known(&sent.subresource) {
        return Err(VerbError::NoSuchResource);
    }
    let mut target = Target::new(kind, &sent.namespace, &sent.name);
    target.subresource = sent.subresource;
    Ok(target)
}

fn default_version(sent: &wire::Target) -> Result<String, VerbError> {
    kinds::all()
        .iter()
        .map(|kind| kind.descriptor())
        .find(|found| found.group == sent.group && found.plural == sent.resource)
        .map(|found| found.version.to_owned())
        .ok_or(VerbError::NoSuchResource)
}

/// As [`target`], for one object.
pub(super) fn named(sent: Option<wire::Target>) -> Result<Target, VerbError> {
    let target = target(sent)?;
    if target.name.is_empty() {
        return Err(VerbError::BadRequest(
            "the request needs the name of an object".into(),
        ));
    }
    Ok(target)
}

/// Options of a write; fields are checked strictly unless it says otherwise.
pub(super) fn options(sent: Option<wire::WriteOptions>) -> Result<WriteOptions, VerbError> {
    let sent = sent.unwrap_or_default();
    let validation = match sent.field_validation.as_str() {
        "" | "Strict" => FieldValidation::Strict,
        "Warn" => FieldValidation::Warn,
        "Ignore" => FieldValidation::Ignore,
        other => {
            return Err(VerbError::BadRequest(format!(
                "field_validation {other:?} is none of \"Strict\", \"Warn\", \"Ignore\""
            )));
        }
    };
    Ok(WriteOptions {
        dry_run: sent.dry_run,
        validation,
    })
}

/// An object that was sent.
///
/// # Errors
/// 413, 400.
pub(super) fn document(json: &[u8]) -> Result<Document, VerbError> {
    if json.len() > BODY_BYTES {
        return Err(VerbError::TooLarge(format!(
            "Request entity too large: limit is {BODY_BYTES}"
        )));
    }
    decode::json(json)
        .map_err(|error| VerbError::BadRequest(format!("the object cannot be read: {error}")))
}

/// A stored object as a message.
pub(super) fn object(descriptor: &Descriptor, object: &Object) -> wire::Object {
    wire::Object {
        api_version: descriptor.api_version(),
        kind: descriptor.kind.to_owned(),
        namespace: object.key.namespace.to_string(),
        name: object.key.name.to_string(),
        uid: object.meta.uid.to_string(),
        revision: object.revision.0,
        json: object.json.clone(),
    }
}

/// JSON of an object as a message; what routing needs is read from it.
pub(super) fn from_json(json: Bytes) -> wire::Object {
    let value: Value = serde_json::from_slice(&json).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let metadata = &value["metadata"];
    wire::Object {
        api_version: text(&value["apiVersion"]),
        kind: text(&value["kind"]),
        namespace: text(&metadata["namespace"]),
        name: text(&metadata["name"]),
        uid: text(&metadata["uid"]),
        revision: text(&metadata["resourceVersion"]).parse().unwrap_or(0),
        json,
    }
}
