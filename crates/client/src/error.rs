//! What can go wrong with a call, as the caller needs to tell it apart.

use crate::transport::ConnectError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tonic::Code;

/// The trailer in which a server sends the Kubernetes Status as JSON.
pub const STATUS_TRAILER: &str = "pontoon-status-bin";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server said no, and why.
    #[error("{}", .0.message.as_deref().unwrap_or("the server refused without saying why"))]
    Status(Box<Status>),
    /// No server could be reached: the call was not made.
    #[error("{0}")]
    Unreachable(String),
    /// The server went away before it took the call: it was not made.
    #[error("{0}")]
    Unsent(String),
    /// The connection broke before the answer came: nothing is known of the call, except that a read had no effect.
    #[error("{0}")]
    Lost(String),
    /// No answer came in time: nothing is known of the call.
    #[error("no answer within {0:?}")]
    Deadline(std::time::Duration),
    /// The server's answer makes no sense to this client.
    #[error("the server's answer is not understood: {0}")]
    Malformed(String),
    /// The sent object cannot be written as JSON.
    #[error("the object cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
}

impl ClientError {
    /// The Status' `reason`, such as `NotFound`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Status(status) => status.reason.as_deref(),
            _ => None,
        }
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.reason() == Some("NotFound")
    }

    /// Whether the object was changed since it was read: read it again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.reason() == Some("Conflict")
    }

    /// Whether the name is taken.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some("AlreadyExists")
    }

    /// Whether the history asked for is gone (410): list again.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        match self {
            Self::Status(status) => status.code == Some(410),
            _ => false,
        }
    }

    /// Whether the same call may succeed a little later, without anyone changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status.code, Some(429 | 500 | 503 | 504)),
            Self::Unreachable(_) | Self::Unsent(_) | Self::Lost(_) | Self::Deadline(_) => true,
            Self::Malformed(_) | Self::Encode(_) => false,
        }
    }
}

impl ClientError {
    /// Whether the server cannot take the call at present (503).
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::Status(status) => status.code == Some(503),
            _ => false,
        }
    }

    /// Whether the server itself says that the call did nothing: with "unavailable" it says when to come back, which nobody else does
    /// in its name.
    pub(crate) fn did_nothing(&self) -> bool {
        match self {
            Self::Status(status) => {
                let details = status.details.as_ref();
                details.is_some_and(|details| details.retry_after_seconds.is_some())
            }
            _ => false,
        }
    }
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        if let Some(sent) = status.metadata().get_bin(STATUS_TRAILER) {
            let bytes = sent.to_bytes().unwrap_or_default();
            return match serde_json::from_slice(&bytes) {
                Ok(status) => Self::Status(Box::new(status)),
                Err(error) => Self::Malformed(format!("{STATUS_TRAILER}: {error}")),
            };
        }
        broken(&status)
            .unwrap_or_else(|| Self::Status(Box::new(from_code(status.code(), status.message()))))
    }
}

/// What became of the connection, if that is what the status says: tonic makes a status of its own of it, with the failure as
/// its source.
fn broken(status: &tonic::Status) -> Option<ClientError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    let mut last = None;
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<ConnectError>() {
            return Some(ClientError::Unreachable(failure.to_string()));
        }
        if error.downcast_ref().is_some_and(untouched) {
            return Some(ClientError::Unsent(format!(
                "the server is going away: {error}"
            )));
        }
        last = Some(error.to_string());
        cause = error.source();
    }
    last.map(|why| ClientError::Lost(format!("the connection to the server was lost: {why}")))
}

/// Whether HTTP/2 promises that the request was not looked at: it was refused, or came after the last one that a
/// server takes before it closes (RFC 9113, 8.7 and 6.8).
fn untouched(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let late = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    error.is_remote() && (refused || late)
}

/// What a bare gRPC code means in Kubernetes' words: the server's own errors carry a Status, so
/// this is what tonic itself or a proxy says.
fn from_code(code: Code, message: &str) -> Status {
    let (number, reason) = match code {
        Code::InvalidArgument | Code::OutOfRange => (400, "BadRequest"),
        Code::Unauthenticated => (401, "Unauthorized"),
        Code::PermissionDenied => (403, "Forbidden"),
        Code::NotFound => (404, "NotFound"),
        Code::Unimplemented => (405, "MethodNotAllowed"),
        Code::AlreadyExists => (409, "AlreadyExists"),
        Code::Aborted | Code::FailedPrecondition => (409, "Conflict"),
        Code::ResourceExhausted => (429, "TooManyRequests"),
        Code::Unavailable => (503, "ServiceUnavailable"),
        Code::DeadlineExceeded | Code::Cancelled => (504, "Timeout"),
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => (500, "InternalError"),
    };
    Status {
        status: Some("Failure".to_owned()),
        code: Some(number),
        reason: Some(reason.to_owned()),
        message: Some(if message.is_empty() {
            code.description().to_owned()
        } else {
            message.to_owned()
        }),
        ..Status::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tonic::metadata::MetadataValue;

    #[test]
    fn the_status_in_the_trailer_is_taken_as_it_is() {
        let sent = Status {
            code: Some(409),
            reason: Some("Conflict".to_owned()),
            message: Some("the object has been modified".to_owned()),
            ..Status::default()
        };
        let mut answer = tonic::Status::aborted("something else");
        let value = MetadataValue::from_bytes(&serde_json::to_vec(&sent).unwrap());
        answer.metadata_mut().insert_bin(STATUS_TRAILER, value);
        let error = ClientError::from(answer);
        assert!(error.is_conflict());
        assert_eq!(error.to_string(), "the object has been modified");
    }

    #[test]
    fn a_trailer_that_is_no_status_is_not_believed() {
        let mut answer = tonic::Status::not_found("x");
        answer
            .metadata_mut()
            .insert_bin(STATUS_TRAILER, MetadataValue::from_bytes(b"{"));
        assert!(matches!(
            ClientError::from(answer),
            ClientError::Malformed(_)
        ));
    }

    #[test]
    fn a_bare_code_is_put_in_kubernetes_words() {
        let cases = [
            (Code::NotFound, 404, false),
            (Code::PermissionDenied, 403, false),
            (Code::ResourceExhausted, 429, true),
            (Code::Unavailable, 503, true),
            (Code::Internal, 500, true),
        ];
        for (code, number, transient) in cases {
            let error = ClientError::from(tonic::Status::new(code, "why"));
            let ClientError::Status(status) = &error else {
                panic!("{error:?}")
            };
            assert_eq!(status.code, Some(number), "{code:?}");
            assert_eq!(error.is_transient(), transient, "{code:?}");
            assert_eq!(error.to_string(), "why");
        }
    }
}
