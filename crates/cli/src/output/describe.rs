//! Objects in detail, in kubectl's layout. Pure: what is shown was fetched before.

mod config;
mod container;
mod generic;
mod node;
mod pod;
mod service;
mod workload;

use super::sheet::Sheet;
use crate::{
    fields,
    verbs::events::{first_seen, last_seen},
};
use jiff::Timestamp;
use pontoon_api::kinds::duration::since;
use serde_json::Value;

pub(crate) use workload::template;

/// What stands around an object and is told with it. What a kind does not need is left empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Related {
    /// Events about it.
    pub events: Vec<Value>,
    /// Pods behind or on it.
    pub pods: Vec<Value>,
    /// ReplicaSets that it controls.
    pub replica_sets: Vec<Value>,
    /// EndpointSlices of a Service.
    pub slices: Vec<Value>,
}

/// Everything about an object.
#[must_use]
pub(crate) fn object(object: &Value, related: &Related, now: Timestamp) -> String {
    let mut sheet = Sheet::default();
    match fields::text(object, "/kind") {
        "Pod" => pod::describe(&mut sheet, object),
        "Deployment" => workload::deployment(&mut sheet, object, related),
        "ReplicaSet" => workload::replica_set(&mut sheet, object, related),
        "Service" => service::describe(&mut sheet, object, related),
        "Node" => node::describe(&mut sheet, object, related, now),
        "Namespace" => config::namespace(&mut sheet, object),
        "ConfigMap" => config::config_map(&mut sheet, object),
        "Secret" => config::secret(&mut sheet, object),
        _ => generic::describe(&mut sheet, object),
    }
    if !matches!(fields::text(object, "/kind"), "Namespace" | "Secret") {
        events(&mut sheet, &related.events, now);
    }
    sheet.finish()
}

/// Name, and the namespace where there is one.
fn identity(sheet: &mut Sheet, object: &Value) {
    sheet.field(0, "Name", fields::name(object));
    if !fields::namespace(object).is_empty() {
        sheet.field(0, "Namespace", fields::namespace(object));
    }
}

/// Name, namespace, labels and annotations.
fn header(sheet: &mut Sheet, object: &Value) {
    identity(sheet, object);
    map(sheet, 0, "Labels", object, "/metadata/labels", "=");
    annotations(sheet, object);
}

/// Annotations, but for the copy of the whole object.
fn annotations(sheet: &mut Sheet, object: &Value) {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let shown: Vec<String> = fields::entries(object, "/metadata/annotations")
        .into_iter()
        .filter(|(key, _)| *key != LAST_APPLIED)
        .map(|(key, value)| format!("{key}: {}", fields::plain(value)))
        .collect();
    lines(sheet, 0, "Annotations", &shown);
}

/// A map, one entry a line.
fn map(sheet: &mut Sheet, level: usize, label: &str, object: &Value, pointer: &str, between: &str) {
    let shown: Vec<String> = fields::entries(object, pointer)
        .into_iter()
        .map(|(key, value)| format!("{key}{between}{}", fields::plain(value)))
        .collect();
    lines(sheet, level, label, &shown);
}

/// A label and lines beside it.
fn lines(sheet: &mut Sheet, level: usize, label: &str, values: &[String]) {
    match values.split_first() {
        None => sheet.field(level, label, "<none>"),
        Some((first, rest)) => {
            sheet.field(level, label, first);
            for value in rest {
                sheet.line(level, &format!("\t{value}"));
            }
        }
    }
}

/// `text`, or what stands for nothing.
fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// A time as RFC 1123 with a zone in numbers, as kubectl prints it.
fn moment(object: &Value, pointer: &str) -> String {
    fields::time(object, pointer)
        .map(|time| time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
        .unwrap_or_default()
}

/// `ReplicaSet/web-abc`, of the owner that controls it.
fn controlled_by(sheet: &mut Sheet, object: &Value) {
    if let Some(owner) = fields::controller(object) {
        let kind = fields::text(owner, "/kind");
        sheet.field(
            0,
            "Controlled By",
            &format!("{kind}/{}", fields::text(owner, "/name")),
        );
    }
}

/// The words of a label selector.
fn selector(object: &Value) -> String {
    let typed = object
        .pointer("/spec/selector")
        .and_then(|selector| serde_json::from_value(selector.clone()).ok());
    typed
        .and_then(|typed| pontoon_api::selector::LabelSelector::from_typed(&typed).ok())
        .map(|selector| selector.to_string())
        .unwrap_or_default()
}

/// What happened, the oldest first.
fn events(sheet: &mut Sheet, events: &[Value], now: Timestamp) {
    if events.is_empty() {
        sheet.field(0, "Events", "<none>");
        return;
    }
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| last_seen(event));
    sheet.line(0, "Events:");
    sheet.line(1, "Type\tReason\tAge\tFrom\tMessage");
    sheet.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let source = [
            fields::text(event, "/source/component"),
            fields::text(event, "/reportingComponent"),
        ];
        let source = source
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or("");
        let message = fields::text(event, "/message").trim().replace('\n', " ");
        sheet.line(
            1,
            &format!(
                "{}\t{}\t{}\t{source}\t{message}",
                fields::text(event, "/type"),
                fields::text(event, "/reason"),
                age(event, now)
            ),
        );
    }
}

/// `5m`, or `5m (x3 over 10m)`.
pub(crate) fn age(event: &Value, now: Timestamp) -> String {
    let last = since(last_seen(event), now);
    match first_seen(event) {
        (first, count) if count > 1 => format!("{last} (x{count} over {})", since(first, now)),
        _ => last,
    }
}

#[cfg(test)]
mod tests;
