//! `/livez`, `/readyz` and `/healthz`: open to everybody, so that load balancers and probes need no certificate.

use super::query::Query;
use axum::body::Body;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use pontoon_telemetry::Health;
use pontoon_telemetry::health::{Probe, Report};

/// The answer, when the path is one of health.
pub(super) fn answer(
    health: &Health,
    method: &Method,
    path: &str,
    query: &str,
) -> Option<Response<Body>> {
    let inner = path.strip_prefix('/')?;
    let (probe, check) = inner
        .split_once('/')
        .map_or((inner, ""), |(probe, check)| (probe, check));
    let probe = match probe {
        "livez" => Probe::Live,
        // healthz is what readyz was called before the two were told apart.
        "readyz" | "healthz" => Probe::Ready,
        _ => return None,
    };
    if *method != Method::GET {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(response);
    }
    let query = Query::parse(query).unwrap_or_default();
    let report = if check.is_empty() {
        let excluded: Vec<&str> = query
            .all("exclude")
            .filter(|name| !name.is_empty())
            .collect();
        Some(health.report(probe, &excluded, query.all("verbose").next().is_some()))
    } else {
        health.report_one(probe, check)
    };
    Some(response(report))
}

fn response(report: Option<Report>) -> Response<Body> {
    let (code, text) = match report {
        Some(Report {
            healthy: true,
            text,
        }) => (StatusCode::OK, text),
        Some(Report { text, .. }) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        None => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
