//! OpenAPI documents, as much of them as kubectl asks for: which operations take `fieldValidation`, and which
//! types there are. Schemas keep unknown fields: the server validates, no client has to.
//!
//! PATCH does not list the strategic media type in v3: kubectl would then compute its patches from these
//! schemas, which have no merge keys, instead of from the types it has built in.

use super::discovery::{group_version, of_version, versions};
use pontoon_api::{Descriptor, Scope, Verb, kinds};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Every OpenAPI document with its ETag.
#[derive(Debug)]
pub struct OpenApi {
    v2: (String, String),
    index: (String, String),
    v3: BTreeMap<String, (String, String)>,
}

/// An ETag, and a hash in URLs: SHA-256 in upper-case hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
}

fn with_digest(document: &Value) -> (String, String) {
    let text = document.to_string();
    let digest = digest(text.as_bytes());
    (text, digest)
}

impl OpenApi {
    /// Of the registered kinds.
    #[must_use]
    pub fn new() -> Self {
        let mut v3 = BTreeMap::new();
        for (group, version) in versions() {
            v3.insert(
                root(&group, &version),
                with_digest(&v3_document(&group, &version)),
            );
        }
        let mut index = json!({"paths": {}});
        for (path, (_, digest)) in &v3 {
            index["paths"][path] =
                json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={digest}")});
        }
        Self {
            v2: with_digest(&v2_document()),
            index: with_digest(&index),
            v3,
        }
    }

    pub(super) fn v2(&self) -> (&str, &str) {
        (&self.v2.0, &self.v2.1)
    }

    pub(super) fn v3_index(&self) -> (&str, &str) {
        (&self.index.0, &self.index.1)
    }

    /// The document of `api/v1` or `apis/GROUP/VERSION`.
    pub(super) fn v3(&self, path: &str) -> Option<(&str, &str)> {
        self.v3
            .get(path)
            .map(|(text, digest)| (text.as_str(), digest.as_str()))
    }
}

impl Default for OpenApi {
    fn default() -> Self {
        Self::new()
    }
}

/// `api/v1` or `apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    format!(
        "{}/{}",
        if group.is_empty() { "api" } else { "apis" },
        group_version(group, version)
    )
}

/// `io.k8s.api.apps.v1.Deployment`: the names of Kubernetes' definitions.
fn definition(descriptor: &Descriptor) -> String {
    let group = if descriptor.group.is_empty() {
        "core"
    } else {
        descriptor.group
    };
    let group = group.split('.').next().unwrap_or(group);
    format!(
        "io.k8s.api.{group}.{}.{}",
        descriptor.version, descriptor.kind
    )
}

fn kind_extension(descriptor: &Descriptor) -> Value {
    json!({"group": descriptor.group, "version": descriptor.version, "kind": descriptor.kind})
}

fn schema(descriptor: &Descriptor) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let free = |description: &str| json!({"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": true});
    let mut properties = json!({
        "apiVersion": text("APIVersion defines the versioned schema of this representation of an object."),
        "kind": text("Kind is the REST resource this object represents."),
        "metadata": free("Standard object's metadata: name, namespace, labels, annotations, ownerReferences, finalizers."),
    });
    if !matches!(
        descriptor.kind,
        "ConfigMap"
            | "Secret"
            | "Event"
            | "Endpoints"
            | "EndpointSlice"
            | "ServiceAccount"
            | "RuntimeClass"
    ) {
        properties["spec"] = free("What is wanted.");
    }
    if descriptor
        .subresources
        .iter()
        .any(|part| part.name == "status")
    {
        properties["status"] = free("What is.");
    }
    json!({
        "type": "object", "description": format!("{} of {}.", descriptor.kind, descriptor.api_version()),
        "properties": properties, "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-group-version-kind": [kind_extension(descriptor)],
    })
}

/// The paths of a kind: its collection and its objects.
fn paths(descriptor: &Descriptor) -> (String, String) {
    let root = root(descriptor.group, descriptor.version);
    let place = if descriptor.scope == Scope::Namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    let collection = format!("/{root}/{place}{}", descriptor.plural);
    let object = format!("{collection}/{{name}}");
    (collection, object)
}

/// Which HTTP method a verb of discovery is, and whether it works on an object.
fn method(verb: Verb) -> Option<(&'static str, bool, &'static str)> {
    Some(match verb {
        Verb::Get => ("get", true, "get"),
        Verb::Update => ("put", true, "put"),
        Verb::Patch => ("patch", true, "patch"),
        Verb::Delete => ("delete", true, "delete"),
        Verb::List => ("get", false, "list"),
        Verb::Create => ("post", false, "post"),
        Verb::DeleteCollection => ("delete", false, "deletecollection"),
        Verb::Watch => return None,
    })
}

fn parameters(verb: Verb, v3: bool) -> Value {
    let names: &[&str] = match verb {
        Verb::Create | Verb::Update | Verb::Patch => {
            &["dryRun", "fieldManager", "fieldValidation", "pretty"]
        }
        Verb::Delete => &[
            "dryRun",
            "gracePeriodSeconds",
            "propagationPolicy",
            "pretty",
        ],
        Verb::List | Verb::DeleteCollection => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "watch",
        ],
        _ => &["pretty", "resourceVersion"],
    };
    let parameter = |name: &&str| {
        let mut parameter = json!({"name": name, "in": "query", "uniqueItems": true});
        if v3 {
            parameter["schema"] = json!({"type": "string", "uniqueItems": true});
            parameter
                .as_object_mut()
                .map(|parameter| parameter.remove("uniqueItems"));
        } else {
            parameter["type"] = json!("string");
        }
        parameter
    };
    names.iter().map(parameter).collect()
}

fn operation(descriptor: &Descriptor, verb: Verb, action: &str, v3: bool) -> Value {
    let reference = if v3 {
        "#/components/schemas/"
    } else {
        "#/definitions/"
    };
    let reference = json!({"$ref": format!("{reference}{}", definition(descriptor))});
    let content = |media: &[&str]| -> Value {
        let entry = |media: &&str| ((*media).to_owned(), json!({"schema": reference}));
        Value::Object(media.iter().map(entry).collect::<Map<String, Value>>())
    };
    let mut operation = json!({
        "description": format!("{action} {}", descriptor.kind),
        "operationId": format!("{action}{}{}{}", descriptor.group.replace('.', ""), descriptor.version, descriptor.kind),
        "parameters": parameters(verb, v3),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind_extension(descriptor),
        "responses": {"200": {"description": "OK"}},
    });
    if v3 {
        operation["responses"]["200"]["content"] =
            content(&["application/json", "application/yaml"]);
        match verb {
            Verb::Patch => {
                let media = [
                    "application/json-patch+json",
                    "application/merge-patch+json",
                ];
                operation["requestBody"] = json!({"required": true, "content": content(&media)});
            }
            Verb::Create | Verb::Update => {
                operation["requestBody"] =
                    json!({"required": true, "content": content(&["application/json"])});
            }
            _ => {}
        }
    } else {
        operation["responses"]["200"]["schema"] = reference;
        operation["produces"] = json!(["application/json", "application/yaml"]);
    }
    operation
}

fn path_items(descriptor: &Descriptor, v3: bool) -> Map<String, Value> {
    let (collection, object) = paths(descriptor);
    let mut items = Map::new();
    for verb in descriptor.verbs {
        let Some((method, single, action)) = method(*verb) else {
            continue;
        };
        let path = if single { &object } else { &collection };
        let item = items.entry(path.clone()).or_insert_with(|| json!({}));
        item[method] = operation(descriptor, *verb, action, v3);
    }
    items
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": super::documents::KUBERNETES})
}

fn v3_document(group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for descriptor in of_version(group, version) {
        paths.extend(path_items(descriptor, true));
        schemas.insert(definition(descriptor), schema(descriptor));
    }
    json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas}})
}

fn v2_document() -> Value {
    let mut paths = Map::new();
    let mut definitions = Map::new();
    for kind in kinds::all() {
        paths.extend(path_items(kind.descriptor(), false));
        definitions.insert(definition(kind.descriptor()), schema(kind.descriptor()));
    }
    json!({"swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions})
}
