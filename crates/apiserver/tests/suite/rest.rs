//! A client that calls the REST front in process.

use axum::body::Body;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use pontoon_apiserver::authenticate::administrator;
use pontoon_apiserver::authorize::BuiltIn;
use pontoon_apiserver::{ApiServer, Parts, bootstrap, rest};
use pontoon_identity::Identity;
use pontoon_state::Solo;
use pontoon_telemetry::{Health, Metrics};
use pontoon_world::World;
use serde_json::Value;
use std::sync::Arc;

pub async fn server() -> Arc<ApiServer> {
    let server = ApiServer::new(Parts {
        replica: Solo::new(),
        world: World::real(),
        authorizer: Arc::new(BuiltIn),
        plugins: Vec::new(),
        service_cidr: "10.96.0.0/16".into(),
        pod_cidr: "10.244.0.0/16".into(),
        cluster_domain: "cluster.local".into(),
        advertise: Some("192.0.2.1:6443".parse().unwrap()),
        health: Health::with_ping(),
        metrics: Metrics::install(),
        cluster_id: "test".into(),
        version: "0.0.0".into(),
    })
    .unwrap();
    bootstrap(&server).await.unwrap();
    server
}

pub fn admin() -> Identity {
    administrator("admin")
}

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
        self.map.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub fn header(&self, name: &str) -> String {
        self.headers(name).first().unwrap_or_else(|| panic!("no {name} in {:?}", self.map)).to_string()
    }
}

impl Rest {
    pub fn new(server: Arc<ApiServer>, identity: Identity) -> Self {
        Self { server, identity: Some(identity) }
    }

    pub fn nobody(server: Arc<ApiServer>) -> Self {
        Self { server, identity: None }
    }

    /// Sends a request and leaves the body to be read.
    pub async fn open(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        rest::handle(self.server.clone(), request).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { code: parts.status.as_u16(), text: String::from_utf8(bytes.to_vec()).unwrap(), map: parts.headers }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn accepting(&self, path: &str, accept: &str) -> Answer {
        self.send(Method::GET, path, &[("accept", accept)], "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], &body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &[("content-type", "application/json")], &body.to_string()).await
    }

    pub async fn patch(&self, path: &str, media: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, &[("content-type", media)], &body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }
}
