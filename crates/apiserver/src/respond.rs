//! Errors to `Status` objects, HTTP codes and gRPC codes: the only place that knows all three.

use crate::error::VerbError;
use crate::limits::STATUS_TRAILER_BYTES;
use crate::registrar::RegistrarError;
use pontoon_api::status::Reason;
use serde_json::{Map, Value, json};
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

/// The gRPC trailer that carries the `Status` as JSON.
pub const STATUS_TRAILER: &str = "pontoon-status-bin";

/// 501 has no reason of its own in Kubernetes.
const NOT_IMPLEMENTED: &str = "NotImplemented";

fn reason(error: &VerbError) -> Option<Reason> {
    Some(match error {
        VerbError::NotFound { .. } | VerbError::NoSuchResource => Reason::NotFound,
        VerbError::AlreadyExists { .. } | VerbError::Deleting { .. } => Reason::AlreadyExists,
        VerbError::Conflict { .. } => Reason::Conflict,
        VerbError::Invalid { .. } => Reason::Invalid,
        VerbError::BadRequest(_) => Reason::BadRequest,
        VerbError::Unauthorized => Reason::Unauthorized,
        VerbError::Forbidden { .. } => Reason::Forbidden,
        VerbError::MethodNotAllowed => Reason::MethodNotAllowed,
        VerbError::NotAcceptable(_) => Reason::NotAcceptable,
        VerbError::UnsupportedMediaType(_) => Reason::UnsupportedMediaType,
        VerbError::TooLarge(_) => Reason::RequestEntityTooLarge,
        VerbError::Expired { .. } => Reason::Expired,
        VerbError::TooManyRequests { .. } => Reason::TooManyRequests,
        VerbError::Unavailable(_) => Reason::ServiceUnavailable,
        VerbError::Timeout(_) | VerbError::FutureRevision { .. } => Reason::Timeout,
        VerbError::Internal(_) => Reason::InternalError,
        VerbError::NotImplemented(_) => return None,
    })
}

/// The HTTP status code of an error.
#[must_use]
pub fn http_code(error: &VerbError) -> u16 {
    reason(error).map_or(501, Reason::code)
}

/// Seconds a client should wait before it tries again, if that may help.
#[must_use]
pub fn retry_after(error: &VerbError) -> Option<u64> {
    match error {
        VerbError::TooManyRequests { retry_after, .. } => Some(retry_after.as_secs().max(1)),
        VerbError::Unavailable(_) | VerbError::FutureRevision { .. } => Some(1),
        _ => None,
    }
}

/// The `Status` object of an error.
#[must_use]
pub fn status(error: &VerbError) -> Value {
    let mut metadata = json!({});
    if let VerbError::Expired {
        token: Some(token), ..
    } = error
    {
        metadata["continue"] = json!(token);
    }
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": metadata,
        "status": "Failure",
        "message": error.to_string(),
        "reason": reason(error).map_or(NOT_IMPLEMENTED, Reason::as_str),
        "code": http_code(error),
    });
    let details = details(error);
    // kubectl debug takes it for granted that this refusal has details.
    if !details.is_empty() || matches!(error, VerbError::NoSuchResource) {
        status["details"] = Value::Object(details);
    }
    status
}

fn details(error: &VerbError) -> Map<String, Value> {
    let mut details = Map::new();
    match error {
        VerbError::NotFound { resource, name }
        | VerbError::AlreadyExists { resource, name }
        | VerbError::Deleting { resource, name }
        | VerbError::Conflict { resource, name, .. }
        | VerbError::Forbidden { resource, name, .. } => {
            name_and_kind(&mut details, name, &resource.group, &resource.plural);
        }
        VerbError::Invalid {
            group,
            kind,
            name,
            errors,
        } => {
            name_and_kind(&mut details, name, group, kind);
            let cause = |error: &pontoon_api::FieldError| json!({"reason": error.kind.as_str(), "message": error.message, "field": error.field});
            details.insert("causes".into(), errors.iter().map(cause).collect());
        }
        VerbError::FutureRevision { .. } => {
            details.insert(
                "causes".into(),
                json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]),
            );
        }
        _ => {}
    }
    if let VerbError::Forbidden {
        cause: Some((reason, field, message)),
        ..
    } = error
    {
        details.insert(
            "causes".into(),
            json!([{"reason": reason, "message": message, "field": field}]),
        );
    }
    if let Some(seconds) = retry_after(error) {
        details.insert("retryAfterSeconds".into(), json!(seconds));
    }
    details
}

fn name_and_kind(details: &mut Map<String, Value>, name: &str, group: &str, kind: &str) {
    if !name.is_empty() {
        details.insert("name".into(), json!(name));
    }
    if !group.is_empty() {
        details.insert("group".into(), json!(group));
    }
    details.insert("kind".into(), json!(kind));
}

/// The `Status` of success that Kubernetes gives where it gives no object.
#[must_use]
pub fn success(name: &str, group: &str, plural: &str, uid: &str) -> Value {
    let mut details = Map::new();
    name_and_kind(&mut details, name, group, plural);
    details.insert("uid".into(), json!(uid));
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// The gRPC code of an error.
#[must_use]
pub fn grpc_code(error: &VerbError) -> tonic::Code {
    use tonic::Code;
    match error {
        VerbError::NotFound { .. } | VerbError::NoSuchResource => Code::NotFound,
        VerbError::AlreadyExists { .. } | VerbError::Deleting { .. } => Code::AlreadyExists,
        VerbError::Conflict { .. } => Code::Aborted,
        VerbError::Invalid { .. }
        | VerbError::BadRequest(_)
        | VerbError::NotAcceptable(_)
        | VerbError::UnsupportedMediaType(_) => Code::InvalidArgument,
        VerbError::Unauthorized => Code::Unauthenticated,
        VerbError::Forbidden { .. } => Code::PermissionDenied,
        VerbError::MethodNotAllowed | VerbError::NotImplemented(_) => Code::Unimplemented,
        VerbError::Expired { .. } => Code::OutOfRange,
        VerbError::TooLarge(_) | VerbError::TooManyRequests { .. } => Code::ResourceExhausted,
        VerbError::Unavailable(_) => Code::Unavailable,
        VerbError::Timeout(_) | VerbError::FutureRevision { .. } => Code::DeadlineExceeded,
        VerbError::Internal(_) => Code::Internal,
    }
}

/// The gRPC status of an error, with the `Status` object in its trailer.
#[must_use]
pub fn grpc(error: &VerbError) -> tonic::Status {
    let mut object = status(error);
    // Trailers are headers, and peers limit those: what does not fit loses its causes, then its text.
    if object.to_string().len() > STATUS_TRAILER_BYTES
        && let Some(details) = object.get_mut("details").and_then(Value::as_object_mut)
    {
        details.remove("causes");
    }
    let mut message = error.to_string();
    if message.len() > STATUS_TRAILER_BYTES / 2 {
        let end = message.floor_char_boundary(STATUS_TRAILER_BYTES / 2);
        message.truncate(end);
        message.push('…');
        object["message"] = json!(message);
    }
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(
        STATUS_TRAILER,
        BinaryMetadataValue::from_bytes(object.to_string().as_bytes()),
    );
    tonic::Status::with_metadata(grpc_code(error), message, metadata)
}

/// The gRPC status of a refusal of the administration.
#[must_use]
pub fn registrar(error: &RegistrarError) -> tonic::Status {
    use tonic::Code;
    let code = match error {
        RegistrarError::Store(error) => return grpc(error),
        RegistrarError::Invalid(_) => Code::InvalidArgument,
        RegistrarError::Denied(_) => Code::PermissionDenied,
        RegistrarError::NotFound(_) => Code::NotFound,
        RegistrarError::Refused(_) => Code::FailedPrecondition,
        RegistrarError::Pending(_) => Code::DeadlineExceeded,
    };
    tonic::Status::new(code, error.to_string())
}

impl From<RegistrarError> for tonic::Status {
    fn from(error: RegistrarError) -> Self {
        registrar(&error)
    }
}

impl From<VerbError> for tonic::Status {
    fn from(error: VerbError) -> Self {
        grpc(&error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::ResourceName;
    use pontoon_api::{FieldError, FieldErrorKind};

    fn pods() -> ResourceName {
        ResourceName {
            group: String::new(),
            version: "v1".into(),
            plural: "pods".into(),
            kind: "Pod".into(),
        }
    }

    #[test]
    fn a_missing_object_reads_as_in_kubernetes() {
        let error = VerbError::not_found(&pods(), "x");
        assert_eq!(
            status(&error),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "pods \"x\" not found", "reason": "NotFound",
                "details": {"name": "x", "kind": "pods"}, "code": 404})
        );
    }

    #[test]
    fn every_field_error_is_a_cause() {
        let error = |field: &str| FieldError {
            field: field.into(),
            kind: FieldErrorKind::Required,
            message: "Required value".into(),
        };
        let invalid = VerbError::Invalid {
            group: "apps".into(),
            kind: "Deployment".into(),
            name: "x".into(),
            errors: vec![error("spec.a"), error("spec.b")],
        };
        let status = status(&invalid);
        assert_eq!(
            status["message"],
            "Deployment.apps \"x\" is invalid: [spec.a: Required value, spec.b: Required value]"
        );
        assert_eq!(status["details"]["causes"][1]["field"], "spec.b");
        assert_eq!(status["details"]["group"], "apps");
        assert_eq!(status["code"], 422);
    }

    #[test]
    fn a_grpc_error_carries_the_status_and_stays_small() {
        let error = VerbError::BadRequest("é".repeat(100_000));
        let grpc = grpc(&error);
        assert_eq!(grpc.code(), tonic::Code::InvalidArgument);
        let bytes = grpc
            .metadata()
            .get_bin(STATUS_TRAILER)
            .unwrap()
            .to_bytes()
            .unwrap();
        let status: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(status["reason"], "BadRequest");
        assert!(bytes.len() <= STATUS_TRAILER_BYTES);
    }
}
