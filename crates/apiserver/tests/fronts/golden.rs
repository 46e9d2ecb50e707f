//! What Kubernetes answers to bad and good bodies, through the whole REST front.
//!
//! The recording is the kinds' own test data; here the code, the reason and the causes' fields of each case are
//! compared for the kinds that are served.

use crate::suite::rest::Rest;
use crate::suite::{admin, server};
use http::Method;
use pontoon_api::kinds;
use serde_json::Value;
use std::path::Path;

/// Kubernetes answers 500 to a watch whose revision is not a number; we say 400, as its lists do.
const OTHERWISE: [&str; 1] = ["GET /api/v1/pods?watch=1&resourceVersion=abc"];

fn served(case: &Value) -> bool {
    let Some(body) = case["body"].as_object() else {
        return true;
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("");
    kinds::by_kind(text("apiVersion"), text("kind")).is_some()
}

fn request(case: &Value) -> (Method, String, String) {
    let name = case["case"].as_str().unwrap();
    let body = match &case["body"] {
        Value::String(text) => text.clone(),
        // The recording leaves out the bodies of these.
        Value::Null if name.starts_with("PUT") => {
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}"#.into()
        }
        Value::Null if name.starts_with("PATCH") => "{}".into(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if let Some((method, path)) = name.split_once(" /") {
        return (method.parse().unwrap(), format!("/{path}"), body);
    }
    let path = case["path"]
        .as_str()
        .unwrap_or("/api/v1/namespaces/default/configmaps");
    (
        Method::POST,
        format!("{path}?dryRun=All&fieldValidation=Strict"),
        body,
    )
}

/// The recording cuts long bodies short; these are made again.
fn whole(name: &str, body: String) -> String {
    match name {
        "raw: 4 MiB" => format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"x\"}},\"data\":{{\"a\":\"{}\"}}}}",
            "x".repeat(4 << 20)
        ),
        "raw: deep nesting" => format!(
            "{{\"data\":{}1{}}}",
            "{\"a\":".repeat(20_000),
            "}".repeat(20_000)
        ),
        _ => body,
    }
}

#[tokio::test]
async fn the_recorded_answers_of_kubernetes_hold() {
    let rest = Rest::new(server().await, admin());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/testdata/golden-api.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap();
        if !served(&case) || OTHERWISE.contains(&name) {
            continue;
        }
        checked += 1;
        let (method, path, body) = request(&case);
        let media = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let answer = rest
            .send(
                method,
                &path,
                &[("content-type", media)],
                &whole(name, body),
            )
            .await;
        let fields = |causes: &Value| -> Vec<Value> {
            let mut fields: Vec<Value> = causes
                .as_array()
                .into_iter()
                .flatten()
                .map(|cause| cause["field"].clone())
                .collect();
            fields.sort_by_key(Value::to_string);
            fields
        };
        let got = serde_json::from_str::<Value>(&answer.text).unwrap_or(Value::Null);
        let reason = case["reason"].as_str().unwrap_or("");
        let same = u64::from(answer.code) == case["code"].as_u64().unwrap()
            && (reason.is_empty() || got["reason"] == reason)
            && (case["causes"].is_null()
                || fields(&got["details"]["causes"]) == fields(&case["causes"]));
        if !same {
            wrong.push(format!(
                "{name}: wanted {} {reason} {}, got {} {}",
                case["code"], case["causes"], answer.code, answer.text
            ));
        }
    }
    assert!(
        checked > 80,
        "only {checked} cases are about kinds that are served"
    );
    assert!(
        wrong.is_empty(),
        "{} of {checked}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
