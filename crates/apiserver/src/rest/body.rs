//! Request bodies: bounded in size, time and depth before anything looks at them.

use super::Asked;
use crate::error::VerbError;
use crate::limits::BODY_TIMEOUT;
use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use pontoon_api::decode::{self, Document};
use pontoon_api::limits::BODY_BYTES;

/// Reads a body whole.
///
/// # Errors
/// 413 when it is too large, 400 when it breaks off, 504 when it does not come.
pub(super) async fn read(body: Body) -> Result<Bytes, VerbError> {
    let limited = Limited::new(body, BODY_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(
            VerbError::TooLarge(format!("Request entity too large: limit is {BODY_BYTES}")),
        ),
        Ok(Err(error)) => Err(VerbError::BadRequest(format!(
            "the body broke off: {error}"
        ))),
        Err(_) => Err(VerbError::Timeout("the body did not arrive in time".into())),
    }
}

/// The media type of a body without its parameters; JSON when it is not said.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let media = text
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    if media.is_empty() {
        "application/json".to_owned()
    } else {
        media
    }
}

/// The media types of objects in bodies.
const READ: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Reads the object in a body: JSON, YAML or Kubernetes' protobuf, by its media type.
///
/// # Errors
/// 400 when there is none or it cannot be read, 413, 415 for another media type.
pub(super) async fn document(asked: &mut Asked) -> Result<Document, VerbError> {
    let found = optional(asked).await?;
    found.ok_or_else(|| VerbError::BadRequest("the body of the request is empty".into()))
}

/// As [`document`], `None` when the body is empty.
///
/// # Errors
/// 400 when it cannot be read, 413, 415 for another media type.
pub(super) async fn optional(asked: &mut Asked) -> Result<Option<Document>, VerbError> {
    let media = media_type(&asked.parts.headers);
    let bytes = read(std::mem::take(&mut asked.body)).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let parsed = match media.as_str() {
        "application/json" => decode::json(&bytes),
        "application/yaml" => decode::yaml(&bytes),
        decode::PROTOBUF => decode::protobuf(&bytes),
        other => {
            return Err(VerbError::UnsupportedMediaType(format!(
                "{READ} (not {other})"
            )));
        }
    };
    parsed.map(Some).map_err(|error| {
        VerbError::BadRequest(format!("the body of the request cannot be read: {error}"))
    })
}
