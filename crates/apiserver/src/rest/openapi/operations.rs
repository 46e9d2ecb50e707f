//! Paths and operations of a kind, as an OpenAPI 3.0 document lists them.

use super::root;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Patch, Status};
use pontoon_api::kind::Subresource;
use pontoon_api::schema::{Definitions, REFERENCE};
use pontoon_api::{Descriptor, Scope, Verb};
use serde_json::{Map, Value, json};

/// The names of the types that every kind's operations share.
pub(super) struct Shared {
    status: String,
    patch: String,
    delete: String,
}

impl Shared {
    pub(super) fn define(definitions: &mut Definitions) -> Self {
        let shared = Self {
            status: definitions.add::<Status>(),
            patch: definitions.add::<Patch>(),
            delete: definitions.add::<DeleteOptions>(),
        };
        definitions.of_kind(&shared.status, "", "v1", "Status");
        definitions.of_kind(&shared.delete, "", "v1", "DeleteOptions");
        shared
    }
}

/// What one operation is about.
struct Subject<'a> {
    descriptor: &'a Descriptor,
    /// The subresource, if it is one's.
    part: Option<&'a Subresource>,
    /// The type of its bodies; `None` where it answers text or takes the connection over.
    body: Option<&'a str>,
}

/// Patches that are computed from a kind's schema and those that need none. Server-side apply's is not among them.
const PATCHES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

const BODIES: [&str; 2] = ["application/json", "application/yaml"];

/// Adds the paths of a kind whose objects have the type `object`.
pub(super) fn of_kind(
    paths: &mut Map<String, Value>,
    descriptor: &Descriptor,
    object: &str,
    shared: &Shared,
    definitions: &mut Definitions,
) {
    let root = root(descriptor.group, descriptor.version);
    let namespaced = descriptor.scope == Scope::Namespaced;
    let place = if namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    let collection = format!("/{root}/{place}{}", descriptor.plural);
    let one = format!("{collection}/{{name}}");
    let subject = Subject {
        descriptor,
        part: None,
        body: Some(object),
    };
    for verb in descriptor.verbs {
        let path = match verb {
            Verb::List | Verb::Create | Verb::DeleteCollection => &collection,
            _ => &one,
        };
        subject.add(paths, path, *verb, shared);
    }
    if namespaced {
        let everywhere = format!("/{root}/{}", descriptor.plural);
        subject.add(paths, &everywhere, Verb::List, shared);
    }
    for part in descriptor.subresources {
        let other = definitions.body(
            part.group.unwrap_or(descriptor.group),
            part.version.unwrap_or(descriptor.version),
            part.kind,
        );
        let own = (part.kind == descriptor.kind && part.name != "log").then_some(object);
        let subject = Subject {
            descriptor,
            part: Some(part),
            body: other.as_deref().or(own),
        };
        for verb in part.verbs {
            subject.add(paths, &format!("{one}/{}", part.name), *verb, shared);
        }
    }
}

impl Subject<'_> {
    fn add(&self, paths: &mut Map<String, Value>, path: &str, verb: Verb, shared: &Shared) {
        let Some((method, action)) = method(verb) else {
            return;
        };
        let item = paths.entry(path).or_insert_with(|| {
            let names = ["name", "namespace"];
            let named = names
                .iter()
                .filter(|name| path.contains(&format!("{{{name}}}")));
            json!({"parameters": named.map(|name| json!({
                "name": name, "in": "path", "required": true,
                "schema": {"type": "string", "uniqueItems": true},
            })).collect::<Value>()})
        });
        item[method] = self.operation(path, verb, action, shared);
    }

    fn operation(&self, path: &str, verb: Verb, action: &str, shared: &Shared) -> Value {
        let Descriptor {
            group,
            version,
            kind,
            ..
        } = *self.descriptor;
        let part = self.part.map_or("", |part| part.name);
        let everywhere = verb == Verb::List
            && self.descriptor.scope == Scope::Namespaced
            && !path.contains("{namespace}");
        let text = self.body.is_none();
        let about = self.part.map_or((group, version, kind), |part| {
            (
                part.group.unwrap_or(group),
                part.version.unwrap_or(version),
                part.kind,
            )
        });
        let mut operation = json!({
            "description": format!("{action} {part}{}{kind}", if part.is_empty() { "" } else { " of " }),
            "operationId": format!(
                "{action}{}{version}{kind}{part}{}", group.replace('.', ""),
                if everywhere { "ForAllNamespaces" } else { "" }
            ),
            "parameters": parameters(verb),
            "x-kubernetes-action": if text && part != "log" { "connect" } else { action },
            "x-kubernetes-group-version-kind": {"group": about.0, "version": about.1, "kind": about.2},
            "responses": self.responses(verb, shared),
        });
        if let Some(type_) = self.request(verb, shared) {
            let media: &[&str] = if type_ == shared.patch {
                &PATCHES
            } else {
                &BODIES
            };
            operation["requestBody"] =
                json!({"required": verb != Verb::Delete, "content": content(media, type_)});
        }
        operation
    }

    /// The type of the body that is sent.
    fn request<'a>(&'a self, verb: Verb, shared: &'a Shared) -> Option<&'a str> {
        match verb {
            Verb::Create | Verb::Update => self.body,
            Verb::Patch => Some(&shared.patch),
            Verb::Delete | Verb::DeleteCollection => Some(&shared.delete),
            _ => None,
        }
    }

    fn responses(&self, verb: Verb, shared: &Shared) -> Value {
        let Some(body) = self.body else {
            let text = json!({"text/plain": {"schema": {"type": "string"}}});
            return json!({"200": {"description": "OK", "content": text}});
        };
        let list = format!("{body}List");
        let type_ = match verb {
            Verb::List => &list,
            Verb::Delete | Verb::DeleteCollection => &shared.status,
            _ => body,
        };
        let mut responses =
            json!({"200": {"description": "OK", "content": content(&BODIES, type_)}});
        if matches!(verb, Verb::Create | Verb::Update) {
            responses["201"] =
                json!({"description": "Created", "content": content(&BODIES, type_)});
        }
        responses
    }
}

fn content(media: &[&str], type_: &str) -> Value {
    let schema = json!({"schema": {"$ref": format!("{REFERENCE}{type_}")}});
    media
        .iter()
        .map(|media| ((*media).to_owned(), schema.clone()))
        .collect::<Map<String, Value>>()
        .into()
}

/// The HTTP method of a verb of discovery, and Kubernetes' word for the action.
const fn method(verb: Verb) -> Option<(&'static str, &'static str)> {
    Some(match verb {
        Verb::Get => ("get", "get"),
        Verb::Update => ("put", "put"),
        Verb::Patch => ("patch", "patch"),
        Verb::Delete => ("delete", "delete"),
        Verb::List => ("get", "list"),
        Verb::Create => ("post", "post"),
        Verb::DeleteCollection => ("delete", "deletecollection"),
        Verb::Watch => return None,
    })
}

fn parameters(verb: Verb) -> Value {
    let names: &[(&str, &str)] = match verb {
        Verb::Create | Verb::Update | Verb::Patch => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("pretty", "string"),
        ],
        Verb::Delete => &[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("pretty", "string"),
            ("propagationPolicy", "string"),
        ],
        Verb::List | Verb::DeleteCollection => &[
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ],
        _ => &[("pretty", "string"), ("resourceVersion", "string")],
    };
    let parameter = |(name, type_): &(&str, &str)| {
        json!({
            "name": name, "in": "query", "schema": {"type": type_, "uniqueItems": true},
        })
    };
    names.iter().map(parameter).collect()
}
