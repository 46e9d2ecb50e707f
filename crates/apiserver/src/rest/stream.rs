//! Answers that go on: watches and logs. (exec, attach and port-forward over WebSocket take their place here.)

use super::answer::{Answer, JSON};
use super::negotiate::{Encoding, Form, Shape};
use super::options;
use super::query::Query;
use super::table::{Maker, partial};
use crate::error::VerbError;
use crate::fanout::line_of_text;
use crate::node_service::LogOptions;
use crate::request::{Caller, Freshness, Target};
use crate::respond;
use crate::server::ApiServer;
use crate::verbs::Event;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;

/// The annotation of the bookmark that ends a streaming list (KEP-3157).
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// Serves a watch: one JSON event a line, for as long as it lives.
pub(super) async fn watch(
    server: &Arc<ApiServer>,
    caller: &Caller,
    mut target: Target,
    query: &Query,
    form: Form,
    mut maker: Maker,
) -> Result<Answer, VerbError> {
    if form.encoding == Encoding::Yaml {
        return Err(VerbError::NotAcceptable("application/json"));
    }
    let options = options::watch(query, &target)?;
    target.name.clear();
    let permit = server.gates.watch()?;
    let mut events = server.verbs.watch(caller, &target, options).await?;
    let stopping = server.stopping.clone();
    let world = server.verbs.world.clone();
    let mut first = true;
    let lines = async_stream::stream! {
        let _permit = permit;
        loop {
            let next = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                next = events.next() => next,
            };
            let Some(event) = next else { return };
            maker.now = world.now();
            let (line, last) = match event {
                Ok(event) => (render(&event, form, &maker, first), false),
                Err(error) => (line_of_text("ERROR", &respond::status(&error).to_string()), true),
            };
            first = false;
            yield Ok::<Bytes, Infallible>(line);
            if last {
                return;
            }
        }
    };
    Ok(Answer::new(JSON, Body::from_stream(lines)))
}

fn render(event: &Event, form: Form, maker: &Maker, first: bool) -> Bytes {
    match event {
        Event::Change { line, .. } if form.shape == Shape::Object => line.clone(),
        Event::Change { kind, object, .. } => {
            let value = object.value().unwrap_or(Value::Null);
            let shaped = match form.shape {
                Shape::Partial(version) => partial(&value, version),
                _ => {
                    let metadata = json!({"resourceVersion": object.revision.to_string()});
                    maker.table([&value].into_iter(), metadata, first)
                }
            };
            line_of_text(kind.as_str(), &shaped.to_string())
        }
        Event::Bookmark {
            revision,
            initial_end,
        } => line_of_text(
            "BOOKMARK",
            &bookmark(&revision.to_string(), *initial_end, form, maker).to_string(),
        ),
    }
}

fn bookmark(revision: &str, initial_end: bool, form: Form, maker: &Maker) -> Value {
    let mut metadata = json!({"resourceVersion": revision, "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({INITIAL_END: "true"});
    }
    let descriptor = maker.kind.descriptor();
    match form.shape {
        Shape::Object => {
            json!({"kind": descriptor.kind, "apiVersion": descriptor.api_version(), "metadata": metadata})
        }
        Shape::Partial(version) => partial(&json!({"metadata": metadata}), version),
        Shape::Table(_) => maker.table(std::iter::empty(), metadata, false),
    }
}

/// Streams a container's log from its node.
pub(super) async fn logs(
    server: &Arc<ApiServer>,
    caller: &Caller,
    target: &Target,
    query: &Query,
) -> Result<Answer, VerbError> {
    let permit = server.gates.watch()?;
    let pod = server.verbs.get(caller, target, Freshness::Newest).await?;
    let options = LogOptions {
        container: query.get("container").unwrap_or("").to_owned(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines: query.number("tailLines")?,
        limit_bytes: query.number("limitBytes")?,
        since_seconds: query.number("sinceSeconds")?,
        since_time: query.get("sinceTime").map(str::to_owned),
        timestamps: query.flag("timestamps"),
    };
    let mut chunks = server.nodes.logs(&pod, options).await?;
    let stopping = server.stopping.clone();
    // What was sent cannot be taken back: an error in the middle ends the text with a line about it, as kubelets do.
    let body = async_stream::stream! {
        let _permit = permit;
        loop {
            let next = tokio::select! {
                () = stopping.cancelled() => return,
                next = chunks.next() => next,
            };
            match next {
                None => return,
                Some(Ok(bytes)) => yield Ok::<Bytes, Infallible>(bytes),
                Some(Err(error)) => {
                    yield Ok(Bytes::from(format!("{error}\n")));
                    return;
                }
            }
        }
    };
    Ok(Answer::new(
        "text/plain; charset=utf-8",
        Body::from_stream(body),
    ))
}

/// The refusal of kubectl's streaming verbs, with a way out.
pub(super) fn not_yet(target: &Target) -> VerbError {
    VerbError::NotImplemented(format!(
        "{} over WebSocket is not served yet; use `pontoon {}` instead, which goes over gRPC",
        target.subresource,
        if target.subresource == "portforward" {
            "port-forward"
        } else {
            "exec"
        },
    ))
}
