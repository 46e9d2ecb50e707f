//! GET: get, list and watch, in the shape asked for.

use super::Asked;
use super::answer::{Answer, JSON};
use super::negotiate::{self, Encoding, Form, Shape};
use super::options;
use super::query::Query;
use super::stream;
use super::table::{Include, Maker, partial, partial_list};
use crate::error::VerbError;
use crate::limits::LIST_CHUNK_BYTES;
use crate::request::Target;
use crate::server::ApiServer;
use crate::verbs::Listed;
use axum::body::Body;
use bytes::Bytes;
use http::Method;
use pontoon_api::Descriptor;
use pontoon_state::Object;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;

/// Whether a request only reads.
pub(super) fn is_read(asked: &Asked) -> bool {
    asked.method == Method::GET
}

/// Serves a GET of a resource.
///
/// # Errors
/// What the verb says.
pub(super) async fn answer(
    server: &Arc<ApiServer>,
    asked: Asked,
    target: Target,
) -> Result<Answer, VerbError> {
    let query = Query::parse(asked.parts.uri.query().unwrap_or(""))?;
    match target.subresource.as_str() {
        "log" => return stream::logs(server, &asked.caller, &target, &query).await,
        "exec" | "attach" | "portforward" => return Err(stream::not_yet(&target)),
        "" | "status" | "scale" => {}
        _ => return Err(VerbError::MethodNotAllowed),
    }
    let form = negotiate::form(&asked.parts.headers)?;
    let maker = Maker {
        kind: target.kind,
        version: match form.shape {
            Shape::Object => "v1",
            Shape::Table(version) | Shape::Partial(version) => version,
        },
        include: Include::parse(query.get("includeObject"))?,
        now: server.verbs.world.now(),
    };
    if query.flag("watch") && target.subresource.is_empty() {
        return stream::watch(server, &asked.caller, target, &query, form, maker).await;
    }
    let _permit = server.gates.request()?;
    if target.name.is_empty() {
        let options = options::list(&query, &target)?;
        let listed = server.verbs.list(&asked.caller, &target, &options).await?;
        return list(target.descriptor(), listed, form, &maker).await;
    }
    let freshness = options::get(&query)?;
    if target.subresource == "scale" {
        let json = server
            .verbs
            .get_scale(&asked.caller, &target, freshness)
            .await?;
        return Answer::encoded(json, form.encoding);
    }
    let object = server.verbs.get(&asked.caller, &target, freshness).await?;
    one(&object, form, &maker)
}

fn one(object: &Object, form: Form, maker: &Maker) -> Result<Answer, VerbError> {
    match form.shape {
        Shape::Object => Answer::encoded(object.json.clone(), form.encoding),
        Shape::Table(_) => {
            let metadata = json!({"resourceVersion": object.revision.to_string()});
            Answer::value(
                &maker.table([&object.value()?].into_iter(), metadata, true),
                form.encoding,
            )
        }
        Shape::Partial(version) => {
            Answer::value(&partial(&object.value()?, version), form.encoding)
        }
    }
}

fn list_metadata(listed: &Listed) -> Value {
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(token) = &listed.token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = listed.remaining.filter(|remaining| *remaining > 0) {
        metadata["remainingItemCount"] = json!(remaining);
    }
    metadata
}

async fn list(
    descriptor: &'static Descriptor,
    listed: Listed,
    form: Form,
    maker: &Maker,
) -> Result<Answer, VerbError> {
    let metadata = list_metadata(&listed);
    if form == Form::JSON {
        return Ok(Answer::new(
            JSON,
            streamed(descriptor, &metadata, listed.objects),
        ));
    }
    // Parsing and rendering thousands of objects takes long enough to hold up everybody else on this thread.
    let maker = *maker;
    let api_version = descriptor.api_version();
    let render = move || -> Result<Answer, VerbError> {
        let values: Vec<Value> = listed
            .objects
            .iter()
            .map(|object| object.value())
            .collect::<Result<_, _>>()?;
        let document = match form.shape {
            Shape::Object => json!({
                "kind": format!("{}List", descriptor.kind), "apiVersion": api_version, "metadata": metadata,
                "items": values,
            }),
            Shape::Table(_) => maker.table(values.iter(), metadata, true),
            Shape::Partial(version) => partial_list(values.iter(), metadata, version),
        };
        Answer::value(&document, form.encoding)
    };
    tokio::task::spawn_blocking(render)
        .await
        .map_err(|error| VerbError::Internal(error.to_string()))?
}

/// A list as JSON, put together in chunks as the client takes them: never whole in memory a second time.
fn streamed(descriptor: &Descriptor, metadata: &Value, objects: Vec<Arc<Object>>) -> Body {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        descriptor.kind,
        descriptor.api_version()
    );
    let size: usize = head.len()
        + 2
        + objects
            .iter()
            .map(|object| object.json.len() + 1)
            .sum::<usize>();
    if size <= LIST_CHUNK_BYTES {
        let mut whole = Vec::with_capacity(size);
        whole.extend_from_slice(head.as_bytes());
        for (index, object) in objects.iter().enumerate() {
            if index > 0 {
                whole.push(b',');
            }
            whole.extend_from_slice(&object.json);
        }
        whole.extend_from_slice(b"]}");
        return Body::from(whole);
    }
    Body::from_stream(futures::stream::iter(
        Chunks {
            head: Some(head),
            objects,
            next: 0,
        }
        .map(Ok::<_, Infallible>),
    ))
}

struct Chunks {
    head: Option<String>,
    objects: Vec<Arc<Object>>,
    next: usize,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.next > self.objects.len() {
            return None;
        }
        let mut chunk = Vec::with_capacity(LIST_CHUNK_BYTES + 4_096);
        chunk.extend_from_slice(self.head.take().unwrap_or_default().as_bytes());
        while chunk.len() < LIST_CHUNK_BYTES {
            let Some(object) = self.objects.get(self.next) else {
                chunk.extend_from_slice(b"]}");
                self.next = self.objects.len() + 1;
                break;
            };
            if self.next > 0 {
                chunk.push(b',');
            }
            chunk.extend_from_slice(&object.json);
            self.next += 1;
        }
        Some(chunk.into())
    }
}

/// What an object looks like in an answer to a write.
pub(super) fn written(json: Bytes, form: Form, maker: &Maker) -> Result<Answer, VerbError> {
    if form.shape == Shape::Object {
        return Answer::encoded(json, form.encoding);
    }
    let value: Value =
        serde_json::from_slice(&json).map_err(|error| VerbError::Internal(error.to_string()))?;
    let document = match form.shape {
        Shape::Partial(version) => partial(&value, version),
        _ => {
            let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
            maker.table([&value].into_iter(), metadata, true)
        }
    };
    Answer::value(&document, Encoding::Json)
}
