//! Answers to HTTP responses.

use super::negotiate::Encoding;
use crate::error::VerbError;
use crate::respond;
use axum::body::Body;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER, VARY, WARNING,
};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

/// What is sent back.
pub(super) struct Answer {
    code: StatusCode,
    content_type: &'static str,
    body: Body,
    warnings: Vec<String>,
    etag: Option<String>,
    vary: bool,
    gzip: bool,
    immutable: bool,
    location: Option<String>,
    retry_after: Option<u64>,
}

pub(super) const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

impl Answer {
    /// 200 with a body.
    pub(super) fn new(content_type: &'static str, body: impl Into<Body>) -> Self {
        Self {
            code: StatusCode::OK,
            content_type,
            body: body.into(),
            warnings: Vec::new(),
            etag: None,
            vary: false,
            gzip: false,
            immutable: false,
            location: None,
            retry_after: None,
        }
    }

    /// An error's Status, always as JSON.
    pub(super) fn error(error: &VerbError) -> Self {
        let code = StatusCode::from_u16(respond::http_code(error))
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = Self::new(JSON, respond::status(error).to_string()).code(code);
        answer.retry_after = respond::retry_after(error);
        answer
    }

    /// JSON bytes in the encoding asked for.
    ///
    /// # Errors
    /// 500 when what is stored is not JSON.
    pub(super) fn encoded(json: Bytes, encoding: Encoding) -> Result<Self, VerbError> {
        match encoding {
            Encoding::Json => Ok(Self::new(JSON, json)),
            Encoding::Yaml => {
                let value: Value = serde_json::from_slice(&json)
                    .map_err(|error| VerbError::Internal(error.to_string()))?;
                Self::value(&value, encoding)
            }
        }
    }

    /// A value in the encoding asked for.
    ///
    /// # Errors
    /// 500 when it cannot be written as YAML.
    pub(super) fn value(value: &Value, encoding: Encoding) -> Result<Self, VerbError> {
        match encoding {
            Encoding::Json => Ok(Self::new(JSON, value.to_string())),
            Encoding::Yaml => serde_saphyr::to_string(value)
                .map(|text| Self::new(YAML, text))
                .map_err(|error| VerbError::Internal(error.to_string())),
        }
    }

    pub(super) fn code(mut self, code: StatusCode) -> Self {
        self.code = code;
        self
    }

    pub(super) fn warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }

    /// Adds what every request for a deprecated kind is told.
    pub(super) fn deprecated(mut self, text: &str) -> Self {
        if !self.warnings.iter().any(|known| known == text) {
            self.warnings.insert(0, text.to_owned());
        }
        self
    }

    /// Marks a document that clients may keep and ask for again.
    pub(super) fn etag(mut self, etag: &str) -> Self {
        self.etag = Some(etag.to_owned());
        self
    }

    /// Says that the body is compressed.
    pub(super) const fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// Says that the answer never changes.
    pub(super) const fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// Where it is to be asked for instead.
    pub(super) fn location(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    /// Says that the answer depends on the Accept headers.
    pub(super) const fn varies(mut self) -> Self {
        self.vary = true;
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        let cache = if self.immutable {
            "public, immutable, max-age=31536000"
        } else {
            "no-cache, private"
        };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(location) = self
            .location
            .and_then(|location| HeaderValue::from_str(&location).ok())
        {
            headers.insert(LOCATION, location);
        }
        for warning in self.warnings.iter().filter_map(|text| warning(text)) {
            headers.append(WARNING, warning);
        }
        if let Some(etag) = self
            .etag
            .and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok())
        {
            headers.insert(ETAG, etag);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.vary {
            headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        }
        response
    }
}

/// `299 - "text"` (RFC 7234, section 5.5), with quotes escaped and control characters left out.
fn warning(text: &str) -> Option<HeaderValue> {
    let mut quoted = String::from("299 - \"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    HeaderValue::from_str(&quoted).ok()
}

/// The response to an error.
pub(super) fn error(error: &VerbError) -> Response<Body> {
    Answer::error(error).into_response()
}
