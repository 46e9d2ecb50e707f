//! What can go wrong in the verb layer. How it looks on the wire is [`crate::respond`]'s alone.

use crate::request::ResourceName;
use pontoon_api::FieldError;
use pontoon_api::kind::Refusal;
use pontoon_state::{DecodeError, ProposeError, ReadError};
use std::time::Duration;

/// A request failed. Each variant is one reason of Kubernetes' `Status`.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs, reason = "fields repeat the words of the messages")]
pub enum VerbError {
    /// 404: no such object.
    #[error("{resource} \"{name}\" not found")]
    NotFound {
        resource: ResourceName,
        name: String,
    },
    /// 404: no such path, kind or subresource.
    #[error("the server could not find the requested resource")]
    NoSuchResource,
    /// 409: the name is taken.
    #[error("{resource} \"{name}\" already exists")]
    AlreadyExists {
        resource: ResourceName,
        name: String,
    },
    /// 409: the name is taken by an object that is going.
    #[error("object is being deleted: {resource} \"{name}\" already exists")]
    Deleting {
        resource: ResourceName,
        name: String,
    },
    /// 409: a revision or uid is not what the client expected.
    #[error("Operation cannot be fulfilled on {resource} \"{name}\": {detail}")]
    Conflict {
        resource: ResourceName,
        name: String,
        detail: String,
    },
    /// 422: the content is wrong; every error at once.
    #[error(
        "{} \"{name}\" is invalid: {}",
        qualified(kind, group),
        summarize(errors)
    )]
    Invalid {
        group: String,
        kind: String,
        name: String,
        errors: Vec<FieldError>,
    },
    /// 400: the request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// 401: nobody is known to ask.
    #[error("Unauthorized")]
    Unauthorized,
    /// 403: whoever asks may not, or the state forbids it. `cause` is reason, field, message.
    #[error("{resource} \"{name}\" is forbidden: {detail}")]
    Forbidden {
        resource: ResourceName,
        name: String,
        detail: String,
        cause: Option<(String, String, String)>,
    },
    /// 405: the resource does not know the verb.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// 406: none of the media types asked for can be made.
    #[error("only the following media types are accepted: {0}")]
    NotAcceptable(&'static str),
    /// 415: the body's media type is not known.
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(String),
    /// 413: too many bytes.
    #[error("{0}")]
    TooLarge(String),
    /// 410: what was asked for is forgotten. A list may go on with `token`.
    #[error("{message}")]
    Expired {
        message: String,
        token: Option<String>,
    },
    /// 429: come back later.
    #[error("{message}")]
    TooManyRequests {
        message: String,
        retry_after: Duration,
    },
    /// 503: certainly not done; trying again is safe.
    #[error("{0}")]
    Unavailable(String),
    /// 504: may or may not have been done.
    #[error("{0}")]
    Timeout(String),
    /// 504: this replica has not come as far as the client has seen.
    #[error("Too large resource version: {wanted}, current: {current}")]
    FutureRevision { wanted: u64, current: u64 },
    /// 501: has a place and no code.
    #[error("{0}")]
    NotImplemented(String),
    /// 500: a fault of ours.
    #[error("Internal error occurred: {0}")]
    Internal(String),
}

/// `Deployment.apps`, and `Pod` for the core group.
fn qualified(kind: &str, group: &str) -> String {
    if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    }
}

fn summarize(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if texts.len() == 1 {
        texts.remove(0)
    } else {
        format!("[{}]", texts.join(", "))
    }
}

impl VerbError {
    /// The text of a lost race, as Kubernetes words it.
    pub const MODIFIED: &'static str = "the object has been modified; please apply your changes to the latest version and try again";

    /// A refusal of the kind's strategy for the object `name`.
    #[must_use]
    pub fn refused(refusal: Refusal, resource: &ResourceName, name: &str) -> Self {
        match refusal {
            Refusal::Malformed(detail) => Self::BadRequest(format!(
                "{} in version \"{}\" cannot be handled as a {}: {detail}",
                resource.kind, resource.version, resource.kind
            )),
            Refusal::Invalid(errors) => Self::Invalid {
                group: resource.group.clone(),
                kind: resource.kind.clone(),
                name: name.to_owned(),
                errors,
            },
        }
    }

    /// 404 for an object.
    #[must_use]
    pub fn not_found(resource: &ResourceName, name: &str) -> Self {
        Self::NotFound {
            resource: resource.clone(),
            name: name.to_owned(),
        }
    }

    /// 409 for an object.
    #[must_use]
    pub fn conflict(resource: &ResourceName, name: &str, detail: impl Into<String>) -> Self {
        Self::Conflict {
            resource: resource.clone(),
            name: name.to_owned(),
            detail: detail.into(),
        }
    }
}

impl From<ReadError> for VerbError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<DecodeError> for VerbError {
    fn from(error: DecodeError) -> Self {
        tracing::error!(%error, "a stored object cannot be read");
        Self::Internal(error.to_string())
    }
}

impl From<ProposeError> for VerbError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Unavailable(_) => Self::Unavailable(error.to_string()),
            ProposeError::Indeterminate(_) => Self::Timeout(error.to_string()),
            ProposeError::TooLarge { .. } => Self::TooLarge(error.to_string()),
        }
    }
}
