//! POST, PUT, PATCH and DELETE.

use super::answer::Answer;
use super::negotiate::{self, Form};
use super::query::Query;
use super::read::written;
use super::stream::not_yet;
use super::table::{Include, Maker};
use super::{Asked, body, options};
use crate::error::VerbError;
use crate::request::{PatchBody, Target, Written};
use crate::respond;
use crate::server::ApiServer;
use crate::verbs::Deleted;
use http::{Method, StatusCode};
use pontoon_api::decode::{self, Document};
use serde_json::{Value, json};
use std::sync::Arc;

/// Kinds whose deletion answers with the object, as Kubernetes' `ReturnDeletedObject` says; others answer with a
/// Status.
const RETURNED: [&str; 3] = ["Pod", "Service", "ServiceAccount"];

/// Serves a write.
///
/// # Errors
/// What the verb says; 405 for a method that the path does not have.
pub(super) async fn answer(
    server: &Arc<ApiServer>,
    asked: Asked,
    target: Target,
) -> Result<Answer, VerbError> {
    let _permit = server.gates.request()?;
    let query = Query::parse(asked.parts.uri.query().unwrap_or(""))?;
    let form = negotiate::form(&asked.parts.headers)?;
    let maker = Maker {
        kind: target.kind,
        version: "v1",
        include: Include::parse(query.get("includeObject"))?,
        now: server.verbs.world.now(),
    };
    let work = Work {
        server,
        asked,
        target,
        query,
        form,
        maker,
    };
    match work.asked.method {
        Method::POST => work.post().await,
        Method::PUT => work.put().await,
        Method::PATCH => work.patch().await,
        Method::DELETE => work.delete().await,
        _ => Err(VerbError::MethodNotAllowed),
    }
}

struct Work<'a> {
    server: &'a Arc<ApiServer>,
    asked: Asked,
    target: Target,
    query: Query,
    form: Form,
    maker: Maker,
}

impl Work<'_> {
    async fn post(mut self) -> Result<Answer, VerbError> {
        match (
            self.target.name.is_empty(),
            self.target.subresource.as_str(),
        ) {
            (true, _) => {}
            (false, "binding") => return self.bind().await,
            (false, "eviction") => return self.evict().await,
            (false, "exec" | "attach" | "portforward") => return Err(not_yet(&self.target)),
            (false, _) => return Err(VerbError::MethodNotAllowed),
        }
        if self.target.is_namespaced() && self.target.namespace.is_empty() {
            return Err(VerbError::MethodNotAllowed);
        }
        let options = options::write(&self.query, "CreateOptions")?;
        let document = body::document(&mut self.asked).await?;
        let written = self
            .server
            .verbs
            .create(&self.asked.caller, &self.target, document, &options)
            .await?;
        self.done(written)
    }

    async fn put(mut self) -> Result<Answer, VerbError> {
        if self.target.name.is_empty() {
            return Err(VerbError::MethodNotAllowed);
        }
        let options = options::write(&self.query, "UpdateOptions")?;
        let document = body::document(&mut self.asked).await?;
        let written = self
            .server
            .verbs
            .update(&self.asked.caller, &self.target, document, &options)
            .await?;
        self.done(written)
    }

    async fn patch(mut self) -> Result<Answer, VerbError> {
        if self.target.name.is_empty() {
            return Err(VerbError::MethodNotAllowed);
        }
        let options = options::write(&self.query, "PatchOptions")?;
        let media = body::media_type(&self.asked.parts.headers);
        let make: fn(Value) -> PatchBody = match media.as_str() {
            "application/json-patch+json" => PatchBody::Json,
            "application/merge-patch+json" => PatchBody::Merge,
            "application/strategic-merge-patch+json" => PatchBody::Strategic,
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
                return Err(VerbError::UnsupportedMediaType(format!(
                    "{PATCHES}. Server-side apply is not served yet: use client-side apply (kubectl apply without \
                     --server-side), or `pontoon apply`, which is atomic"
                )));
            }
            _ => return Err(VerbError::UnsupportedMediaType(PATCHES.into())),
        };
        let bytes = body::read(std::mem::take(&mut self.asked.body)).await?;
        let Document { value, duplicates } = decode::json(&bytes)
            .map_err(|error| VerbError::BadRequest(format!("the patch cannot be read: {error}")))?;
        let caller = &self.asked.caller;
        let written = self
            .server
            .verbs
            .patch(caller, &self.target, make(value), duplicates, &options)
            .await?;
        self.done(written)
    }

    async fn delete(mut self) -> Result<Answer, VerbError> {
        if !self.target.subresource.is_empty() {
            return Err(VerbError::MethodNotAllowed);
        }
        let sent = body::optional(&mut self.asked)
            .await?
            .map(|document| document.value);
        let options = options::delete(&self.query, sent.as_ref())?;
        let caller = &self.asked.caller;
        if self.target.name.is_empty() {
            let verbs = self.target.descriptor().verbs;
            if !verbs.contains(&pontoon_api::Verb::DeleteCollection)
                || (self.target.is_namespaced() && self.target.namespace.is_empty())
            {
                return Err(VerbError::MethodNotAllowed);
            }
            let selected = options::list(&self.query, &self.target)?;
            let deleted = self
                .server
                .verbs
                .delete_collection(caller, &self.target, &selected, &options)
                .await?;
            return self.collection(&deleted);
        }
        let deleted = self
            .server
            .verbs
            .delete(caller, &self.target, &options)
            .await?;
        self.deleted(deleted)
    }

    async fn bind(mut self) -> Result<Answer, VerbError> {
        let options = options::write(&self.query, "CreateOptions")?;
        let document = body::document(&mut self.asked).await?;
        self.server
            .verbs
            .bind(&self.asked.caller, &self.target, &document.value, &options)
            .await?;
        self.success()
    }

    async fn evict(mut self) -> Result<Answer, VerbError> {
        let document = body::document(&mut self.asked).await?;
        let options = options::delete(&self.query, Some(&document.value["deleteOptions"]))?;
        self.server
            .verbs
            .evict(&self.asked.caller, &self.target, &document.value, options)
            .await?;
        self.success()
    }

    fn success(&self) -> Result<Answer, VerbError> {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(Answer::value(&status, self.form.encoding)?.code(StatusCode::CREATED))
    }

    fn done(self, result: Written) -> Result<Answer, VerbError> {
        let code = if result.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok(written(result.json, self.form, &self.maker)?
            .code(code)
            .warnings(result.warnings))
    }

    fn deleted(self, deleted: Deleted) -> Result<Answer, VerbError> {
        let descriptor = self.target.descriptor();
        if deleted.gone && !RETURNED.contains(&descriptor.kind) {
            let status = respond::success(
                &self.target.name,
                descriptor.group,
                descriptor.plural,
                &deleted.uid,
            );
            return Answer::value(&status, self.form.encoding);
        }
        written(deleted.json, self.form, &self.maker)
    }

    fn collection(&self, deleted: &[Deleted]) -> Result<Answer, VerbError> {
        let descriptor = self.target.descriptor();
        let items: Vec<Value> = deleted
            .iter()
            .filter_map(|deleted| serde_json::from_slice(&deleted.json).ok())
            .collect();
        let revision = self.server.verbs.replica.view().revision();
        let list = json!({
            "kind": format!("{}List", descriptor.kind), "apiVersion": descriptor.api_version(),
            "metadata": {"resourceVersion": revision.to_string()}, "items": items,
        });
        Answer::value(&list, self.form.encoding)
    }
}

/// The media types of patches.
const PATCHES: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";
