//! A client that speaks gRPC to the server through a pipe.

use super::front::{Change, Failure, Front, Place, Query, Seen, Shown, Watching};
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use pontoon_apiserver::ApiServer;
use pontoon_apiserver::respond::STATUS_TRAILER;
use pontoon_apiserver::serve::{Service, serve_stream};
use pontoon_identity::Identity;
use pontoon_wire::pontoon::v1 as wire;
use serde_json::{Value, json};
use std::sync::Arc;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use wire::objects_client::ObjectsClient;

/// A channel whose every request is `identity`'s.
pub fn channel(server: Arc<ApiServer>, identity: Option<Identity>) -> Channel {
    let service = Service::new(server);
    Endpoint::from_static("http://pipe").connect_with_connector_lazy(tower::service_fn(
        move |_: http::Uri| {
            let (service, identity) = (service.clone(), identity.clone());
            async move {
                let (ours, theirs) = tokio::io::duplex(1 << 20);
                tokio::spawn(serve_stream(service, theirs, identity));
                Ok::<_, std::io::Error>(TokioIo::new(ours))
            }
        },
    ))
}

pub struct Grpc {
    pub objects: ObjectsClient<Channel>,
}

impl Grpc {
    pub fn new(server: Arc<ApiServer>, identity: Identity) -> Self {
        let objects = ObjectsClient::new(channel(server, Some(identity)));
        Self {
            objects: objects.max_decoding_message_size(pontoon_wire::MAX_MESSAGE_BYTES),
        }
    }
}

pub fn failure(status: &Status) -> Failure {
    let trailer = status
        .metadata()
        .get_bin(STATUS_TRAILER)
        .unwrap_or_else(|| panic!("no trailer: {status:?}"));
    Failure {
        status: serde_json::from_slice(&trailer.to_bytes().unwrap()).unwrap(),
    }
}

fn target(place: &Place, name: &str, part: &str) -> Option<wire::Target> {
    Some(wire::Target {
        group: place.group.into(),
        version: place.version.into(),
        resource: place.resource.into(),
        namespace: place.namespace.clone(),
        name: name.into(),
        subresource: part.into(),
    })
}

fn value(object: &wire::Object) -> Value {
    serde_json::from_slice(&object.json).unwrap()
}

fn written(answer: Result<tonic::Response<wire::WriteResponse>, Status>) -> Result<Value, Failure> {
    let answer = answer.map_err(|status| failure(&status))?.into_inner();
    Ok(answer.object.map_or(Value::Null, |object| value(&object)))
}

fn bytes(value: &Value) -> bytes::Bytes {
    value.to_string().into()
}

#[async_trait::async_trait]
impl Front for Grpc {
    async fn create(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        body: &Value,
        dry_run: bool,
    ) -> Result<Value, Failure> {
        let options = Some(wire::WriteOptions {
            dry_run,
            ..Default::default()
        });
        let request = wire::CreateRequest {
            target: target(place, name, part),
            json: bytes(body),
            options,
        };
        written(self.objects.clone().create(request).await)
    }

    async fn get(&self, place: &Place, name: &str, part: &str) -> Result<Value, Failure> {
        let request = wire::GetRequest {
            target: target(place, name, part),
            at_revision: 0,
        };
        let object = self
            .objects
            .clone()
            .get(request)
            .await
            .map_err(|status| failure(&status))?
            .into_inner();
        Ok(value(&object))
    }

    async fn list(&self, place: &Place, query: &Query) -> Result<Shown, Failure> {
        let request = wire::ListRequest {
            target: target(place, "", ""),
            label_selector: query.labels.into(),
            field_selector: query.fields.into(),
            limit: query.limit,
            continue_token: query.token.clone(),
            at_revision: query.at,
        };
        let list = self
            .objects
            .clone()
            .list(request)
            .await
            .map_err(|status| failure(&status))?
            .into_inner();
        Ok(Shown {
            items: list.items.iter().map(value).collect(),
            revision: list.revision,
            token: list.continue_token,
            remaining: list.remaining,
        })
    }

    async fn update(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let request = wire::UpdateRequest {
            target: target(place, name, part),
            json: bytes(body),
            options: None,
        };
        written(self.objects.clone().update(request).await)
    }

    async fn patch(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        change: &Change,
    ) -> Result<Value, Failure> {
        use wire::patch_request::Type;
        let (how, body) = match change {
            Change::Json(body) => (Type::Json, body),
            Change::Merge(body) => (Type::Merge, body),
            Change::Strategic(body) => (Type::Strategic, body),
        };
        let request = wire::PatchRequest {
            target: target(place, name, part),
            r#type: how.into(),
            patch: bytes(body),
            options: None,
        };
        written(self.objects.clone().patch(request).await)
    }

    async fn delete(&self, place: &Place, name: &str, options: &Value) -> Result<(), Failure> {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let request = wire::DeleteRequest {
            target: target(place, name, ""),
            grace_period_seconds: options["gracePeriodSeconds"].as_i64(),
            propagation_policy: text(&options["propagationPolicy"]),
            uid: text(&options["preconditions"]["uid"]),
            revision: text(&options["preconditions"]["resourceVersion"])
                .parse()
                .unwrap_or(0),
            dry_run: !options["dryRun"].is_null(),
            ..Default::default()
        };
        self.objects
            .clone()
            .delete(request)
            .await
            .map(|_| ())
            .map_err(|status| failure(&status))
    }

    async fn delete_all(&self, place: &Place, labels: &str) -> Result<usize, Failure> {
        let request = wire::DeleteRequest {
            target: target(place, "", ""),
            label_selector: labels.into(),
            ..Default::default()
        };
        let answer = self
            .objects
            .clone()
            .delete(request)
            .await
            .map_err(|status| failure(&status))?;
        Ok(answer.into_inner().objects.len())
    }

    async fn watch(&self, place: &Place, query: &Query, from: u64) -> Watching {
        let request = wire::WatchRequest {
            target: target(place, "", ""),
            label_selector: query.labels.into(),
            field_selector: query.fields.into(),
            from_revision: from,
            bookmarks: false,
        };
        let stream = match self.objects.clone().watch(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return Box::pin(futures::stream::iter([Err(failure(&status))])),
        };
        Box::pin(stream.map(|event| {
            let event = event.map_err(|status| failure(&status))?;
            let kind = match event.r#type() {
                wire::watch_event::Type::Added => "ADDED",
                wire::watch_event::Type::Modified => "MODIFIED",
                wire::watch_event::Type::Deleted => "DELETED",
                wire::watch_event::Type::Bookmark => "BOOKMARK",
                wire::watch_event::Type::Unspecified => "?",
            };
            let object = event.object.as_ref().map_or(json!({}), value);
            Ok(Seen {
                kind: kind.into(),
                object,
                revision: event.revision,
            })
        }))
    }
}
