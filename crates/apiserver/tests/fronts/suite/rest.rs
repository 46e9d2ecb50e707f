//! A client that calls the REST front in process.

use super::front::{Change, Failure, Front, Place, Query, Seen, Shown, Watching};
use axum::body::Body;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use pontoon_apiserver::{ApiServer, rest};
use pontoon_identity::Identity;
use serde_json::{Value, json};
use std::sync::Arc;

pub struct Rest {
    server: Arc<ApiServer>,
    identity: Option<Identity>,
}

#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub text: String,
    map: HeaderMap,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.map
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    }

    pub fn header(&self, name: &str) -> String {
        self.headers(name)
            .first()
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.map))
            .to_string()
    }
}

impl Rest {
    pub fn new(server: Arc<ApiServer>, identity: Identity) -> Self {
        Self {
            server,
            identity: Some(identity),
        }
    }

    pub fn nobody(server: Arc<ApiServer>) -> Self {
        Self {
            server,
            identity: None,
        }
    }

    /// Sends a request and leaves the body to be read.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.as_ref().to_vec())).unwrap();
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        rest::handle(self.server.clone(), request).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            code: parts.status.as_u16(),
            text: String::from_utf8(bytes.to_vec()).unwrap(),
            map: parts.headers,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn accepting(&self, path: &str, accept: &str) -> Answer {
        self.send(Method::GET, path, &[("accept", accept)], "")
            .await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(
            Method::PUT,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub async fn patch(&self, path: &str, media: &str, body: &Value) -> Answer {
        self.send(
            Method::PATCH,
            path,
            &[("content-type", media)],
            &body.to_string(),
        )
        .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }
}

impl Answer {
    fn result(self) -> Result<Value, Failure> {
        if self.code < 300 {
            return Ok(self.json());
        }
        let status = self.json();
        assert_eq!(status["code"], self.code);
        Err(Failure { status })
    }
}

fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn parameters(query: &Query) -> String {
    let mut text = format!(
        "labelSelector={}&fieldSelector={}",
        escape(query.labels),
        escape(query.fields)
    );
    if query.limit > 0 {
        text += &format!("&limit={}", query.limit);
    }
    if !query.token.is_empty() {
        text += &format!("&continue={}", query.token);
    }
    if query.at > 0 {
        text += &format!("&resourceVersion={}&resourceVersionMatch=Exact", query.at);
    }
    text
}

fn path(place: &Place, name: &str, part: &str) -> String {
    let root = if place.group.is_empty() {
        format!("/api/{}", place.version)
    } else {
        format!("/apis/{}/{}", place.group, place.version)
    };
    let within = if place.namespace.is_empty() {
        String::new()
    } else {
        format!("/namespaces/{}", place.namespace)
    };
    let mut path = format!("{root}{within}/{}", place.resource);
    for segment in [name, part]
        .into_iter()
        .filter(|segment| !segment.is_empty())
    {
        path = format!("{path}/{segment}");
    }
    path
}

#[async_trait::async_trait]
impl Front for Rest {
    async fn create(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        body: &Value,
        dry_run: bool,
    ) -> Result<Value, Failure> {
        let dry = if dry_run { "&dryRun=All" } else { "" };
        self.post(
            &format!("{}?fieldValidation=Strict{dry}", path(place, name, part)),
            body,
        )
        .await
        .result()
    }

    async fn get(&self, place: &Place, name: &str, part: &str) -> Result<Value, Failure> {
        Rest::get(self, &path(place, name, part)).await.result()
    }

    async fn list(&self, place: &Place, query: &Query) -> Result<Shown, Failure> {
        let list = Rest::get(
            self,
            &format!("{}?{}", path(place, "", ""), parameters(query)),
        )
        .await
        .result()?;
        Ok(Shown {
            items: list["items"].as_array().unwrap().clone(),
            revision: list["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap(),
            token: list["metadata"]["continue"]
                .as_str()
                .unwrap_or("")
                .to_owned(),
            remaining: list["metadata"]["remainingItemCount"].as_u64(),
        })
    }

    async fn update(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        self.put(&path(place, name, part), body).await.result()
    }

    async fn patch(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        change: &Change,
    ) -> Result<Value, Failure> {
        let (media, body) = match change {
            Change::Json(body) => ("application/json-patch+json", body),
            Change::Merge(body) => ("application/merge-patch+json", body),
            Change::Strategic(body) => ("application/strategic-merge-patch+json", body),
        };
        Rest::patch(self, &path(place, name, part), media, body)
            .await
            .result()
    }

    async fn delete(&self, place: &Place, name: &str, options: &Value) -> Result<(), Failure> {
        let headers = [("content-type", "application/json")];
        self.send(
            Method::DELETE,
            &path(place, name, ""),
            &headers,
            &options.to_string(),
        )
        .await
        .result()
        .map(|_| ())
    }

    async fn delete_all(&self, place: &Place, labels: &str) -> Result<usize, Failure> {
        let path = format!("{}?labelSelector={}", path(place, "", ""), escape(labels));
        let list = Rest::delete(self, &path).await.result()?;
        Ok(list["items"].as_array().unwrap().len())
    }

    async fn watch(&self, place: &Place, query: &Query, from: u64) -> Watching {
        let start = if from == 0 {
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                .to_owned()
        } else {
            format!("resourceVersion={from}")
        };
        let query = format!(
            "labelSelector={}&fieldSelector={}",
            escape(query.labels),
            escape(query.fields)
        );
        let path = format!("{}?watch=1&{start}&{query}", path(place, "", ""));
        let response = self.open(Method::GET, &path, &[], "").await;
        let ok = response.status().is_success();
        let mut body = response.into_body().into_data_stream();
        Box::pin(async_stream::stream! {
            let mut rest = Vec::new();
            while let Some(chunk) = body.next().await {
                rest.extend_from_slice(&chunk.unwrap());
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line).unwrap();
                    let object = event["object"].clone();
                    let kind = event["type"].as_str().unwrap().to_owned();
                    if kind == "ERROR" {
                        yield Err(Failure { status: object });
                        continue;
                    }
                    let revision = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                    yield Ok(Seen { kind, object, revision });
                }
            }
            if !ok {
                yield Err(Failure { status: serde_json::from_slice(&rest).unwrap_or(json!({})) });
            }
        })
    }
}
