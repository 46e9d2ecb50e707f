//! ConfigMaps as registers, through one server each, and what an error means for whoever asked.

use crate::limits::CALL_DEADLINE;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use pontoon_client::messages::{Object, Target, WriteOptions};
use pontoon_client::transport::Config;
use pontoon_client::{Client, ClientError, Transport};
use pontoon_history::Outcome;
use pontoon_identity::{Kubeconfig, tls};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells clients when to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says so.
    pub fn now(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was said.
    #[must_use]
    pub fn said(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The servers of a cluster and who clients are there.
#[derive(Debug, Clone)]
pub struct Servers {
    kubeconfig: Kubeconfig,
    urls: Vec<String>,
}

impl Servers {
    /// `urls` as the administrator of `kubeconfig`.
    #[must_use]
    pub fn new(kubeconfig: Kubeconfig, urls: Vec<String>) -> Self {
        Self { kubeconfig, urls }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.urls.len()
    }

    /// A connection to one server and no other.
    ///
    /// # Errors
    /// When its URL or the kubeconfig's certificates do not fit.
    pub fn transport(&self, number: usize) -> Result<Transport> {
        let config = Config {
            servers: vec![self.urls[number % self.urls.len()].clone()],
            server_name: self.kubeconfig.server_name.clone(),
            tls: self.kubeconfig.client_config(tls::GRPC_PROTOCOLS)?,
            user_agent: "pontoon-chaos".to_owned(),
        };
        Transport::new(&config).context("a transport")
    }

    /// A client of one server and no other.
    ///
    /// # Errors
    /// As [`transport`](Self::transport).
    pub fn client(&self, number: usize) -> Result<Client> {
        Ok(Client::new(&self.transport(number)?).with_deadline(CALL_DEADLINE))
    }
}

/// A ConfigMap of a namespace, or all of them when `name` is empty.
#[must_use]
pub fn target(namespace: &str, name: &str) -> Target {
    Target {
        version: "v1".to_owned(),
        resource: "configmaps".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Target::default()
    }
}

/// A ConfigMap that holds `text`. With a revision it must be at that one.
#[must_use]
pub fn body(namespace: &str, name: &str, label: &str, text: &str, revision: Option<u64>) -> Bytes {
    let mut object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"chaos": label}},
        "data": {"text": text}
    });
    if let Some(revision) = revision {
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
    }
    Bytes::from(object.to_string())
}

/// What a ConfigMap holds.
#[must_use]
pub fn text(object: &Object) -> String {
    let value: Value = serde_json::from_slice(&object.json).unwrap_or_default();
    value["data"]["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// What a ConfigMap holds, as a number; zero when it is none, which nobody writes.
#[must_use]
pub fn number(object: &Object) -> u64 {
    text(object).parse().unwrap_or(0)
}

/// Options of every write.
#[must_use]
pub fn options() -> WriteOptions {
    WriteOptions {
        field_manager: "chaos".to_owned(),
        ..WriteOptions::default()
    }
}

/// What an error means: certainly not done, or nobody knows.
#[must_use]
pub fn outcome<A>(error: &ClientError) -> Outcome<A> {
    let text: String = error.to_string().chars().take(160).collect();
    match error {
        // Refused for what was asked, or by a full queue: nothing was proposed.
        ClientError::Status(status) if matches!(status.code, Some(400..=499)) => {
            Outcome::Failed(text)
        }
        ClientError::Unreachable(_) | ClientError::Unsent(_) | ClientError::Encode(_) => {
            Outcome::Failed(text)
        }
        _ => Outcome::Indeterminate(text),
    }
}
