//! The REST front: Kubernetes' API over HTTP.
//!
//! It parses requests strictly, negotiates what the answer looks like, and leaves everything else to the verb
//! layer. The one entrance is [`handle`].

mod answer;
mod body;
mod discovery;
mod documents;
mod health;
mod negotiate;
mod openapi;
mod options;
mod query;
mod read;
mod route;
mod stream;
mod table;
mod write;

use crate::authenticate::Identity;
use crate::error::VerbError;
use crate::metrics::Finished;
use crate::request::Caller;
use crate::server::ApiServer;
use answer::Answer;
use axum::body::Body;
use futures::FutureExt as _;
use http::{Method, Request, Response};
use route::Route;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

pub use discovery::Discovery;
pub(crate) use documents::KUBERNETES;
pub use openapi::OpenApi;

/// Serves one request, whatever it is. A panic in it is an internal error of it alone.
pub async fn handle(server: Arc<ApiServer>, request: Request<Body>) -> Response<Body> {
    let finished = Finished::start("rest");
    let served = AssertUnwindSafe(serve(server, request))
        .catch_unwind()
        .await;
    let response = served.unwrap_or_else(|_| {
        tracing::error!("a request panicked");
        answer::error(&VerbError::Internal(
            "the request met a fault of the server; its log says more".into(),
        ))
    });
    finished.with(response.status().as_u16());
    response
}

async fn serve(server: Arc<ApiServer>, request: Request<Body>) -> Response<Body> {
    let head = *request.method() == Method::HEAD;
    let method = if head {
        Method::GET
    } else {
        request.method().clone()
    };
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if let Some(response) = health::answer(
        &server.health,
        &method,
        &path,
        parts.uri.query().unwrap_or(""),
    ) {
        return finish(response, head);
    }
    let Some(identity) = parts.extensions.get::<Identity>().cloned() else {
        return finish(answer::error(&VerbError::Unauthorized), head);
    };
    let asked = Asked {
        caller: Caller { identity },
        method,
        path,
        parts,
        body,
    };
    let response = match dispatch(&server, asked).await {
        Ok(answer) => answer.into_response(),
        Err(error) => answer::error(&error),
    };
    finish(response, head)
}

/// One authenticated request.
struct Asked {
    caller: Caller,
    method: Method,
    path: String,
    parts: http::request::Parts,
    body: Body,
}

async fn dispatch(server: &Arc<ApiServer>, asked: Asked) -> Result<Answer, VerbError> {
    match route::parse(&asked.path)? {
        Route::Document(document) => documents::answer(server, &asked, &document),
        Route::Resource(target) => {
            let deprecation = target.kind.deprecation();
            let answer = if read::is_read(&asked) {
                read::answer(server, asked, target).await
            } else {
                write::answer(server, asked, target).await
            };
            match deprecation {
                // Refusals carry it too.
                Some(text) => Ok(answer
                    .unwrap_or_else(|error| Answer::error(&error))
                    .deprecated(text)),
                None => answer,
            }
        }
    }
}

/// The answer to HEAD is that to GET without its body.
fn finish(response: Response<Body>, head: bool) -> Response<Body> {
    if head {
        response.map(|_| Body::empty())
    } else {
        response
    }
}
