//! What a client can do, whichever front it speaks to: the behavioural tests are written over this.

use futures::Stream;
use serde_json::Value;
use std::pin::Pin;

/// A collection.
#[derive(Debug, Clone)]
pub struct Place {
    pub group: &'static str,
    pub version: &'static str,
    pub resource: &'static str,
    pub namespace: String,
}

impl Place {
    pub fn core(resource: &'static str, namespace: &str) -> Self {
        Self {
            group: "",
            version: "v1",
            resource,
            namespace: namespace.into(),
        }
    }

    pub fn apps(resource: &'static str, namespace: &str) -> Self {
        Self {
            group: "apps",
            version: "v1",
            resource,
            namespace: namespace.into(),
        }
    }
}

/// Which objects.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub labels: &'static str,
    pub fields: &'static str,
    pub limit: u32,
    pub token: String,
    /// Exactly this revision.
    pub at: u64,
}

/// A page.
#[derive(Debug)]
pub struct Shown {
    pub items: Vec<Value>,
    pub revision: u64,
    pub token: String,
    pub remaining: Option<u64>,
}

impl Shown {
    pub fn names(&self) -> Vec<String> {
        self.items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// An error, as its Status.
#[derive(Debug)]
pub struct Failure {
    pub status: Value,
}

impl Failure {
    pub fn code(&self) -> u64 {
        self.status["code"]
            .as_u64()
            .unwrap_or_else(|| panic!("no code in {}", self.status))
    }

    pub fn reason(&self) -> &str {
        self.status["reason"].as_str().unwrap_or("")
    }

    pub fn message(&self) -> &str {
        self.status["message"].as_str().unwrap_or("")
    }
}

/// One event of a watch.
#[derive(Debug)]
pub struct Seen {
    pub kind: String,
    pub object: Value,
    pub revision: u64,
}

pub type Watching = Pin<Box<dyn Stream<Item = Result<Seen, Failure>> + Send>>;

/// A patch.
#[derive(Debug, Clone)]
pub enum Change {
    Json(Value),
    Merge(Value),
    Strategic(Value),
}

/// A front, as its clients see it.
#[async_trait::async_trait]
pub trait Front: Send + Sync {
    async fn create(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        body: &Value,
        dry_run: bool,
    ) -> Result<Value, Failure>;
    async fn get(&self, place: &Place, name: &str, part: &str) -> Result<Value, Failure>;
    async fn list(&self, place: &Place, query: &Query) -> Result<Shown, Failure>;
    async fn update(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        body: &Value,
    ) -> Result<Value, Failure>;
    async fn patch(
        &self,
        place: &Place,
        name: &str,
        part: &str,
        change: &Change,
    ) -> Result<Value, Failure>;
    /// `options` are DeleteOptions.
    async fn delete(&self, place: &Place, name: &str, options: &Value) -> Result<(), Failure>;
    async fn delete_all(&self, place: &Place, labels: &str) -> Result<usize, Failure>;
    /// From the present (0) with its end marked by a bookmark, or after a revision.
    async fn watch(&self, place: &Place, query: &Query, from: u64) -> Watching;
}
