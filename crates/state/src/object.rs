//! An object as stored: its JSON once, and the few facts that indexes need.

use crate::key::Key;
use bytes::Bytes;
use pontoon_api::Revision;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One version of an object. `json` is the whole object as clients see it, encoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it is stored.
    pub key: Key,
    /// The revision that wrote this version; `metadata.resourceVersion` in `json`.
    pub revision: Revision,
    /// What the indexes and plans need of the metadata.
    pub meta: Meta,
    /// The object as JSON.
    pub json: Bytes,
}

/// Facts of an object's metadata, read once when a version is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.generation`; 0 when absent.
    pub generation: i64,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `metadata.labels`, sorted.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `metadata.ownerReferences`.
    pub owners: Vec<Owner>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<Arc<str>>,
    /// `spec.nodeName` of a pod; `None` elsewhere and while unbound.
    pub node: Option<Arc<str>>,
}

/// One `metadata.ownerReferences` entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The owner's `apiVersion`.
    #[serde(default)]
    pub api_version: Arc<str>,
    /// The owner's kind.
    #[serde(default)]
    pub kind: Arc<str>,
    /// The owner's name.
    #[serde(default)]
    pub name: Arc<str>,
    /// The owner's uid: what tells it from another of its name.
    #[serde(default)]
    pub uid: Arc<str>,
    /// Whether it is the managing controller.
    #[serde(default)]
    pub controller: bool,
    /// Whether a foreground deletion of the owner waits for this object.
    #[serde(default)]
    pub block_owner_deletion: bool,
}

/// The JSON of an object does not have the shape asked for.
#[derive(Debug, thiserror::Error)]
#[error("object {key} cannot be read as {shape}")]
pub struct DecodeError {
    /// Which object.
    pub key: Key,
    /// The Rust type that was asked for.
    pub shape: &'static str,
    /// What serde says.
    #[source]
    pub source: serde_json::Error,
}

impl Object {
    /// Reads the object as a typed kind, such as k8s-openapi's `Pod`. Costs a parse of the JSON.
    ///
    /// # Errors
    /// [`DecodeError`] when the JSON does not fit the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        serde_json::from_slice(&self.json).map_err(|source| DecodeError {
            key: self.key.clone(),
            shape: std::any::type_name::<T>(),
            source,
        })
    }

    /// Reads the object as a JSON value. Costs a parse.
    ///
    /// # Errors
    /// [`DecodeError`] when the stored bytes are not JSON.
    pub fn value(&self) -> Result<serde_json::Value, DecodeError> {
        self.decode()
    }

    /// The owner that manages this object, if any.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner> {
        self.meta.owners.iter().find(|owner| owner.controller)
    }

    /// Bytes it holds in memory, roughly: what limits are counted in.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.json.len() + 512
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    uid: Arc<str>,
    generation: i64,
    deletion_timestamp: Option<serde::de::IgnoredAny>,
    labels: Option<BTreeMap<Arc<str>, Arc<str>>>,
    owner_references: Option<Vec<Owner>>,
    finalizers: Option<Vec<Arc<str>>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct MetadataOnly {
    #[serde(default)]
    metadata: Metadata,
}

/// The one resource whose `spec.nodeName` is an index.
pub(crate) const PODS: &str = "pods";

impl Meta {
    /// Reads the facts from an object's JSON.
    ///
    /// # Errors
    /// What serde says when `json` is not an object with Kubernetes' metadata.
    pub fn read(resource: &str, json: &[u8]) -> Result<Self, serde_json::Error> {
        let (metadata, node) = if resource == PODS {
            let envelope: Envelope = serde_json::from_slice(json)?;
            (
                envelope.metadata,
                envelope.spec.node_name.filter(|node| !node.is_empty()),
            )
        } else {
            (serde_json::from_slice::<MetadataOnly>(json)?.metadata, None)
        };
        Ok(Self {
            uid: metadata.uid,
            generation: metadata.generation,
            deleting: metadata.deletion_timestamp.is_some(),
            labels: metadata.labels.unwrap_or_default(),
            owners: metadata.owner_references.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            node,
        })
    }
}
