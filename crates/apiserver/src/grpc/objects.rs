//! `pontoon.v1.Objects`.

use super::convert::{caller, document, from_json, named, object, options, target};
use crate::error::VerbError;
use crate::metrics::Finished;
use crate::planner::{Fate, PodForecast};
use crate::request::{
    Caller, DeleteOptions, Freshness, ListOptions, PatchBody, Propagation, Target, WatchOptions,
    WatchStart, Written,
};
use crate::respond;
use crate::selection::Selection;
use crate::server::ApiServer;
use crate::verbs::{Action, Applied, Event, EventKind};
use futures::{Stream, StreamExt as _};
use pontoon_api::decode::Document;
use pontoon_api::{Revision, Scope, kinds};
use pontoon_wire::MAX_MESSAGE_BYTES;
use pontoon_wire::pontoon::v1 as wire;
use pontoon_wire::pontoon::v1::objects_server::Objects;
use std::pin::Pin;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use wire::watch_event::Type;

/// Bytes of one list's answer: the rest is on the next page, whatever limit was asked for.
const LIST_BYTES: usize = MAX_MESSAGE_BYTES / 2;

pub(super) struct ObjectsFront {
    server: Arc<ApiServer>,
}

type Answer<T> = Result<Response<T>, Status>;

impl ObjectsFront {
    pub(super) const fn new(server: Arc<ApiServer>) -> Self {
        Self { server }
    }

    /// Runs one request within the limits, and counts it.
    async fn run<T, F>(&self, work: F) -> Answer<T>
    where
        F: Future<Output = Result<T, VerbError>> + Send,
    {
        let finished = Finished::start("grpc");
        let _permit = self.server.gates.request().map_err(Status::from)?;
        let result = work.await;
        finished.with(result.as_ref().map_or_else(respond::http_code, |_| 200));
        result.map(Response::new).map_err(Status::from)
    }

    async fn read_one(
        &self,
        caller: &Caller,
        request: wire::GetRequest,
    ) -> Result<wire::Object, VerbError> {
        let target = named(request.target)?;
        let freshness = match request.at_revision {
            0 => Freshness::Newest,
            revision => Freshness::Exact(Revision(revision)),
        };
        if target.subresource == "scale" {
            return self
                .server
                .verbs
                .get_scale(caller, &target, freshness)
                .await
                .map(from_json);
        }
        let found = self.server.verbs.get(caller, &target, freshness).await?;
        Ok(object(target.descriptor(), &found))
    }

    async fn read_list(
        &self,
        caller: &Caller,
        request: wire::ListRequest,
    ) -> Result<wire::ListResponse, VerbError> {
        let target = target(request.target)?;
        let options = ListOptions {
            freshness: match request.at_revision {
                0 => Freshness::Newest,
                revision => Freshness::Exact(Revision(revision)),
            },
            selection: selection(&target, &request.label_selector, &request.field_selector)?,
            limit: (request.limit > 0)
                .then(|| usize::try_from(request.limit).unwrap_or(usize::MAX)),
            token: Some(request.continue_token).filter(|token| !token.is_empty()),
            bytes: LIST_BYTES,
        };
        let listed = self.server.verbs.list(caller, &target, &options).await?;
        Ok(wire::ListResponse {
            items: listed
                .objects
                .iter()
                .map(|found| object(target.descriptor(), found))
                .collect(),
            revision: listed.revision.0,
            continue_token: listed.token.unwrap_or_default(),
            remaining: listed.remaining,
        })
    }

    async fn write_patch(
        &self,
        caller: &Caller,
        request: wire::PatchRequest,
    ) -> Result<Written, VerbError> {
        let target = named(request.target)?;
        let options = options(request.options)?;
        let sent = document(&request.patch)?;
        let patch = match wire::patch_request::Type::try_from(request.r#type) {
            Ok(wire::patch_request::Type::Json) => PatchBody::Json(sent.value),
            Ok(wire::patch_request::Type::Merge) => PatchBody::Merge(sent.value),
            Ok(wire::patch_request::Type::Strategic) => PatchBody::Strategic(sent.value),
            _ => {
                return Err(VerbError::UnsupportedMediaType(
                    "JSON, MERGE, STRATEGIC".into(),
                ));
            }
        };
        self.server
            .verbs
            .patch(caller, &target, patch, sent.duplicates, &options)
            .await
    }

    async fn write_new(
        &self,
        caller: &Caller,
        request: wire::CreateRequest,
    ) -> Result<wire::WriteResponse, VerbError> {
        let target = target(request.target)?;
        let options = options(request.options)?;
        let body = document(&request.json)?;
        match target.subresource.as_str() {
            "binding" => {
                self.server
                    .verbs
                    .bind(caller, &target, &body.value, &options)
                    .await?;
                return Ok(wire::WriteResponse::default());
            }
            "eviction" => {
                let delete = DeleteOptions {
                    dry_run: options.dry_run,
                    ..DeleteOptions::default()
                };
                let evicted = self
                    .server
                    .verbs
                    .evict(caller, &target, &body.value, delete)
                    .await?;
                return Ok(wire::WriteResponse {
                    object: Some(from_json(evicted.json)),
                    warnings: Vec::new(),
                });
            }
            "" => {}
            _ => return Err(VerbError::MethodNotAllowed),
        }
        if target.is_namespaced() && target.namespace.is_empty() {
            return Err(VerbError::BadRequest(format!(
                "an object of {} needs a namespace",
                target.resource()
            )));
        }
        let mut collection = target;
        collection.name.clear();
        self.server
            .verbs
            .create(caller, &collection, body, &options)
            .await
            .map(written)
    }

    async fn remove(
        &self,
        caller: &Caller,
        request: wire::DeleteRequest,
    ) -> Result<wire::DeleteResponse, VerbError> {
        let target = target(request.target)?;
        let options = DeleteOptions {
            grace: request.grace_period_seconds,
            propagation: match request.propagation_policy.as_str() {
                "" => None,
                "Background" => Some(Propagation::Background),
                "Foreground" => Some(Propagation::Foreground),
                "Orphan" => Some(Propagation::Orphan),
                other => {
                    return Err(VerbError::BadRequest(format!(
                        "propagation_policy {other:?} is none of \"Background\", \"Foreground\", \"Orphan\""
                    )));
                }
            },
            uid: Some(request.uid).filter(|uid| !uid.is_empty()),
            revision: (request.revision > 0).then(|| request.revision.to_string()),
            dry_run: request.dry_run,
        };
        if !target.name.is_empty() {
            let deleted = self.server.verbs.delete(caller, &target, &options).await?;
            return Ok(wire::DeleteResponse {
                objects: vec![from_json(deleted.json)],
            });
        }
        if target.is_namespaced() && target.namespace.is_empty() {
            return Err(VerbError::BadRequest(
                "a collection is deleted in one namespace".into(),
            ));
        }
        let selected = ListOptions {
            freshness: Freshness::Newest,
            selection: selection(&target, &request.label_selector, &request.field_selector)?,
            limit: None,
            token: None,
            bytes: usize::MAX,
        };
        let deleted = self
            .server
            .verbs
            .delete_collection(caller, &target, &selected, &options)
            .await?;
        Ok(wire::DeleteResponse {
            objects: deleted
                .into_iter()
                .map(|deleted| from_json(deleted.json))
                .collect(),
        })
    }

    async fn plan_all(
        &self,
        caller: &Caller,
        request: wire::ApplyRequest,
    ) -> Result<wire::PlanResponse, VerbError> {
        let options = options(request.options)?;
        let documents = documents(&request.objects)?;
        let verbs = &self.server.verbs;
        let planned = verbs
            .plan(caller, documents, &request.default_namespace, &options)
            .await?;
        Ok(wire::PlanResponse {
            results: planned.applied.into_iter().map(result).collect(),
            revision: planned.revision.0,
            pods: planned.forecast.pods.into_iter().map(foretold).collect(),
            warnings: planned.forecast.warnings,
            complete: planned.forecast.complete,
        })
    }

    async fn write_all(
        &self,
        caller: &Caller,
        request: wire::ApplyRequest,
    ) -> Result<wire::ApplyResponse, VerbError> {
        let options = options(request.options)?;
        let documents = documents(&request.objects)?;
        let verbs = &self.server.verbs;
        let (applied, revision) = verbs
            .apply(caller, documents, &request.default_namespace, &options)
            .await?;
        Ok(wire::ApplyResponse {
            results: applied.into_iter().map(result).collect(),
            revision: revision.0,
        })
    }
}

fn documents(objects: &[bytes::Bytes]) -> Result<Vec<Document>, VerbError> {
    objects.iter().map(|json| document(json)).collect()
}

fn selection(target: &Target, labels: &str, fields: &str) -> Result<Selection, VerbError> {
    if target.name.is_empty() {
        return Selection::parse(target.kind, labels, fields);
    }
    let separator = if fields.is_empty() { "" } else { "," };
    Selection::parse(
        target.kind,
        labels,
        &format!("metadata.name={}{separator}{fields}", target.name),
    )
}

fn written(written: Written) -> wire::WriteResponse {
    wire::WriteResponse {
        object: Some(from_json(written.json)),
        warnings: written.warnings,
    }
}

fn result(applied: Applied) -> wire::Applied {
    use wire::applied::Action as Sent;
    let action = match applied.action {
        Action::Created => Sent::Created,
        Action::Configured => Sent::Configured,
        Action::Unchanged => Sent::Unchanged,
    };
    wire::Applied {
        action: action.into(),
        object: Some(from_json(applied.json)),
        warnings: applied.warnings,
    }
}

fn foretold(pod: PodForecast) -> wire::PlannedPod {
    use wire::planned_pod::Change;
    let (change, node, reason) = match pod.fate {
        Fate::Made(Ok(node)) => (Change::Made, node, String::new()),
        Fate::Made(Err(reason)) => (Change::Made, String::new(), reason),
        Fate::Placed(node) => (Change::Placed, node, String::new()),
        Fate::Removed(node) => (Change::Removed, node.unwrap_or_default(), String::new()),
    };
    wire::PlannedPod {
        change: change.into(),
        namespace: pod.namespace,
        name: pod.name,
        node,
        reason,
    }
}

fn event(target: &Target, event: Event) -> wire::WatchEvent {
    match event {
        Event::Change {
            kind,
            object: changed,
            ..
        } => {
            let kind = match kind {
                EventKind::Added => Type::Added,
                EventKind::Modified => Type::Modified,
                EventKind::Deleted => Type::Deleted,
            };
            let revision = changed.revision.0;
            wire::WatchEvent {
                r#type: kind.into(),
                object: Some(object(target.descriptor(), &changed)),
                revision,
            }
        }
        Event::Bookmark { revision, .. } => wire::WatchEvent {
            r#type: Type::Bookmark.into(),
            object: None,
            revision: revision.0,
        },
    }
}

#[tonic::async_trait]
impl Objects for ObjectsFront {
    async fn get(&self, request: Request<wire::GetRequest>) -> Answer<wire::Object> {
        let caller = caller(&request)?;
        self.run(self.read_one(&caller, request.into_inner())).await
    }

    async fn list(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListResponse> {
        let caller = caller(&request)?;
        self.run(self.read_list(&caller, request.into_inner()))
            .await
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::WatchEvent, Status>> + Send>>;

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Answer<Self::WatchStream> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut target = target(request.target)?;
        let present = request.from_revision == 0;
        let options = WatchOptions {
            start: match request.from_revision {
                0 => WatchStart::Present(Freshness::Newest),
                revision => WatchStart::After(Revision(revision)),
            },
            selection: selection(&target, &request.label_selector, &request.field_selector)?,
            bookmarks: request.bookmarks || present,
            mark_initial: present,
            timeout: None,
        };
        target.name.clear();
        let permit = self.server.gates.watch()?;
        let mut events = self.server.verbs.watch(&caller, &target, options).await?;
        let stopping = self.server.stopping.clone();
        let stream = async_stream::stream! {
            let _permit = permit;
            loop {
                let next = tokio::select! {
                    biased;
                    () = stopping.cancelled() => {
                        yield Err(Status::unavailable("the server is stopping"));
                        return;
                    }
                    next = events.next() => next,
                };
                match next {
                    Some(Ok(found)) => yield Ok(event(&target, found)),
                    Some(Err(error)) => {
                        yield Err(error.into());
                        return;
                    }
                    None => return,
                }
            }
        };
        Ok(Response::new(Box::pin(stream)))
    }

    async fn create(&self, request: Request<wire::CreateRequest>) -> Answer<wire::WriteResponse> {
        let caller = caller(&request)?;
        self.run(self.write_new(&caller, request.into_inner()))
            .await
    }

    async fn update(&self, request: Request<wire::UpdateRequest>) -> Answer<wire::WriteResponse> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        self.run(async {
            let target = named(request.target)?;
            let options = options(request.options)?;
            let body = document(&request.json)?;
            self.server
                .verbs
                .update(&caller, &target, body, &options)
                .await
                .map(written)
        })
        .await
    }

    async fn patch(&self, request: Request<wire::PatchRequest>) -> Answer<wire::WriteResponse> {
        let caller = caller(&request)?;
        let work = async {
            self.write_patch(&caller, request.into_inner())
                .await
                .map(written)
        };
        self.run(work).await
    }

    async fn apply(&self, request: Request<wire::ApplyRequest>) -> Answer<wire::ApplyResponse> {
        let caller = caller(&request)?;
        self.run(self.write_all(&caller, request.into_inner()))
            .await
    }

    async fn plan(&self, request: Request<wire::ApplyRequest>) -> Answer<wire::PlanResponse> {
        let caller = caller(&request)?;
        self.run(self.plan_all(&caller, request.into_inner())).await
    }

    async fn delete(&self, request: Request<wire::DeleteRequest>) -> Answer<wire::DeleteResponse> {
        let caller = caller(&request)?;
        self.run(self.remove(&caller, request.into_inner())).await
    }

    async fn kinds(&self, request: Request<wire::KindsRequest>) -> Answer<wire::KindsResponse> {
        caller(&request)?;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let info = |descriptor: &pontoon_api::Descriptor| wire::KindInfo {
            group: descriptor.group.to_owned(),
            version: descriptor.version.to_owned(),
            kind: descriptor.kind.to_owned(),
            resource: descriptor.plural.to_owned(),
            singular: descriptor.singular.to_owned(),
            short_names: words(descriptor.short_names),
            categories: words(descriptor.categories),
            namespaced: descriptor.scope == Scope::Namespaced,
            columns: descriptor
                .columns
                .iter()
                .map(|column| wire::Column {
                    name: column.name.to_owned(),
                    priority: column.priority,
                })
                .collect(),
        };
        let kinds = kinds::all()
            .iter()
            .map(|kind| info(kind.descriptor()))
            .collect();
        Ok(Response::new(wire::KindsResponse { kinds }))
    }
}
