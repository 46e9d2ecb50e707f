//! Documents the server makes: discovery, OpenAPI, version, metrics.

use super::answer::{Answer, JSON};
use super::negotiate::{OPENAPI_V2_PROTOBUF, Openapi};
use super::openapi::Document;
use super::query::Query;
use super::{Asked, negotiate};
use crate::error::VerbError;
use crate::server::ApiServer;
use http::header::IF_NONE_MATCH;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

/// The level of Kubernetes' API that is served.
pub(crate) const KUBERNETES: &str = "v1.36.0";

/// Answers a path that names no object.
///
/// # Errors
/// 404, 405, 406.
pub(super) fn answer(
    server: &ApiServer,
    asked: &Asked,
    segments: &[String],
) -> Result<Answer, VerbError> {
    if asked.method != Method::GET {
        return Err(VerbError::MethodNotAllowed);
    }
    let headers = &asked.parts.headers;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        [] => Ok(Answer::new(JSON, server.discovery.paths())),
        ["version"] => Ok(Answer::new(JSON, version(&server.version).to_string())),
        ["metrics"] => Ok(Answer::new(
            pontoon_telemetry::metrics::CONTENT_TYPE,
            server.metrics.render(),
        )),
        ["api"] => groups(server, headers, "api"),
        ["apis"] => groups(server, headers, "apis"),
        ["api", version] => known(server.discovery.resources("", version)),
        ["apis", group] => known(server.discovery.group(group)),
        ["apis", group, version] => known(server.discovery.resources(group, version)),
        ["openapi", "v2"] if negotiate::openapi_v2(headers) == Some(Openapi::Protobuf) => Ok(
            described(headers, OPENAPI_V2_PROTOBUF, server.openapi.v2_protobuf()),
        ),
        ["openapi", "v2"] => openapi(headers, server.openapi.v2()),
        ["openapi", "v3"] => openapi(headers, server.openapi.v3_index()),
        ["openapi", "v3", path @ ..] => openapi_v3(server, asked, &path.join("/")),
        _ => Err(VerbError::NoSuchResource),
    }
}

fn known(document: Option<&str>) -> Result<Answer, VerbError> {
    document
        .map(|text| Answer::new(JSON, text.to_owned()))
        .ok_or(VerbError::NoSuchResource)
}

fn groups(
    server: &ApiServer,
    headers: &HeaderMap,
    root: &'static str,
) -> Result<Answer, VerbError> {
    let Some(version) = negotiate::aggregated(headers) else {
        return if negotiate::takes_json(headers) {
            Ok(Answer::new(JSON, server.discovery.legacy(root).to_owned()).varies())
        } else {
            Err(VerbError::NotAcceptable("application/json"))
        };
    };
    let (text, etag) = server.discovery.aggregated(root, version);
    let content_type = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    if has_already(headers, etag) {
        return Ok(Answer::new(content_type, "")
            .code(StatusCode::NOT_MODIFIED)
            .etag(etag)
            .varies());
    }
    Ok(Answer::new(content_type, text.to_owned())
        .etag(etag)
        .varies())
}

/// A document of one group and version. Asked for by its hash, it can be kept for ever; asked for by another's, it has moved.
fn openapi_v3(server: &ApiServer, asked: &Asked, path: &str) -> Result<Answer, VerbError> {
    let document = server.openapi.v3(path).ok_or(VerbError::NoSuchResource)?;
    let query = Query::parse(asked.parts.uri.query().unwrap_or(""))?;
    let answer = openapi(&asked.parts.headers, document)?;
    Ok(match query.get("hash") {
        None => answer,
        Some(hash) if hash == document.digest => answer.immutable(),
        Some(_) => Answer::new(JSON, "")
            .code(StatusCode::MOVED_PERMANENTLY)
            .location(format!("/openapi/v3/{path}?hash={}", document.digest)),
    })
}

fn openapi(headers: &HeaderMap, document: &Document) -> Result<Answer, VerbError> {
    if !negotiate::takes_json(headers) {
        return Err(VerbError::NotAcceptable("application/json"));
    }
    Ok(described(headers, JSON, document))
}

fn described(headers: &HeaderMap, content_type: &'static str, document: &Document) -> Answer {
    let answer = if has_already(headers, &document.digest) {
        Answer::new(content_type, "").code(StatusCode::NOT_MODIFIED)
    } else if negotiate::takes_gzip(headers) {
        Answer::new(content_type, document.gzip()).gzip()
    } else {
        Answer::new(content_type, document.plain())
    };
    answer.etag(&document.digest).varies()
}

fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    known
        .split(',')
        .any(|text| text.trim().trim_matches('"') == etag)
}

/// `/version`: the level of Kubernetes' API, with Pontoon's own version behind it.
fn version(own: &str) -> Value {
    json!({
        "major": "1", "minor": "36",
        "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
        "gitVersion": format!("{KUBERNETES}+pontoon-{own}"),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}
