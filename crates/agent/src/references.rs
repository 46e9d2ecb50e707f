//! What a pod refers to, as it travels with its assignment.

use bytes::Bytes;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use serde::Deserialize;
use std::collections::BTreeMap;

/// ConfigMaps, Secrets and RuntimeClasses by name. What is not here does not exist, as far as the pod is concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    /// ConfigMaps of the pod's namespace.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Secrets of the pod's namespace.
    pub secrets: BTreeMap<String, Secret>,
    /// The handler of each RuntimeClass.
    pub handlers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// A reference could not be read: the server and the agent do not fit.
#[derive(Debug, thiserror::Error)]
#[error("a reference of the pod is not a Kubernetes object")]
pub struct BadReference(#[source] serde_json::Error);

impl References {
    /// Reads objects as JSON; kinds that a node has no use for are passed over.
    ///
    /// # Errors
    /// [`BadReference`].
    pub fn parse(objects: &[Bytes]) -> Result<Self, BadReference> {
        let mut references = Self::default();
        for object in objects {
            references.add(object).map_err(BadReference)?;
        }
        Ok(references)
    }

    fn add(&mut self, json: &[u8]) -> Result<(), serde_json::Error> {
        let kind: Kind = serde_json::from_slice(json)?;
        match kind.kind.as_str() {
            "ConfigMap" => {
                let map: ConfigMap = serde_json::from_slice(json)?;
                let name = map.metadata.name.clone().unwrap_or_default();
                self.config_maps.insert(name, map);
            }
            "Secret" => {
                let secret: Secret = serde_json::from_slice(json)?;
                let name = secret.metadata.name.clone().unwrap_or_default();
                self.secrets.insert(name, secret);
            }
            "RuntimeClass" => {
                let class: RuntimeClass = serde_json::from_slice(json)?;
                let name = class.metadata.name.clone().unwrap_or_default();
                self.handlers.insert(name, class.handler);
            }
            _ => {}
        }
        Ok(())
    }

    /// Every key of a ConfigMap with its bytes; `binaryData` included.
    #[must_use]
    pub fn config_map_data(map: &ConfigMap) -> BTreeMap<&str, &[u8]> {
        let text = map.data.iter().flatten();
        let binary = map.binary_data.iter().flatten();
        text.map(|(key, value)| (key.as_str(), value.as_bytes()))
            .chain(binary.map(|(key, value)| (key.as_str(), value.0.as_slice())))
            .collect()
    }

    /// Every key of a Secret with its bytes.
    #[must_use]
    pub fn secret_data(secret: &Secret) -> BTreeMap<&str, &[u8]> {
        let plain = secret.string_data.iter().flatten();
        let data = secret.data.iter().flatten();
        data.map(|(key, value)| (key.as_str(), value.0.as_slice()))
            .chain(plain.map(|(key, value)| (key.as_str(), value.as_bytes())))
            .collect()
    }
}
