//! Discovery: which resources there are, in the legacy and the aggregated form. Made once: kinds are static.

use super::openapi::digest;
use pontoon_api::{Descriptor, Scope, Verb, kinds};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Every discovery document as text.
#[derive(Debug)]
pub struct Discovery {
    paths: String,
    legacy: BTreeMap<&'static str, String>,
    groups: BTreeMap<String, String>,
    resources: BTreeMap<(String, String), String>,
    aggregated: BTreeMap<(&'static str, &'static str), (String, String)>,
}

impl Discovery {
    /// Of the registered kinds.
    #[must_use]
    pub fn new() -> Self {
        let versions = versions();
        let mut resources = BTreeMap::new();
        for (group, version) in &versions {
            let text = resource_list(group, version).to_string();
            resources.insert((group.clone(), version.clone()), text);
        }
        let groups: Vec<Value> = versions
            .iter()
            .filter(|(group, _)| !group.is_empty())
            .map(group_of)
            .collect();
        let legacy = BTreeMap::from([
            ("api", json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}).to_string()),
            ("apis", json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}).to_string()),
        ]);
        let mut aggregated = BTreeMap::new();
        for root in ["api", "apis"] {
            for version in ["v2", "v2beta1"] {
                let text = aggregated_list(root, version, &versions).to_string();
                let etag = digest(text.as_bytes());
                aggregated.insert((root, version), (text, etag));
            }
        }
        let named = |group: &Value| {
            let mut document = json!({"kind": "APIGroup", "apiVersion": "v1"});
            for (name, value) in group.as_object().into_iter().flatten() {
                document[name] = value.clone();
            }
            (
                group["name"].as_str().unwrap_or("").to_owned(),
                document.to_string(),
            )
        };
        Self {
            paths: paths(&versions),
            legacy,
            groups: groups.iter().map(named).collect(),
            resources,
            aggregated,
        }
    }

    /// `/`: the paths there are.
    pub(super) fn paths(&self) -> String {
        self.paths.clone()
    }

    /// `/api` or `/apis`.
    pub(super) fn legacy(&self, root: &str) -> &str {
        self.legacy.get(root).map_or("{}", String::as_str)
    }

    /// `/apis/GROUP`.
    pub(super) fn group(&self, group: &str) -> Option<&str> {
        self.groups.get(group).map(String::as_str)
    }

    /// `/apis/GROUP/VERSION`.
    pub(super) fn resources(&self, group: &str, version: &str) -> Option<&str> {
        self.resources
            .get(&(group.to_owned(), version.to_owned()))
            .map(String::as_str)
    }

    /// `/api` or `/apis`, aggregated, with its ETag.
    pub(super) fn aggregated(&self, root: &'static str, version: &'static str) -> (&str, &str) {
        self.aggregated
            .get(&(root, version))
            .map_or(("{}", ""), |(text, etag)| (text, etag))
    }
}

impl Default for Discovery {
    fn default() -> Self {
        Self::new()
    }
}

/// Groups and versions in the order of the registry, the core group first.
pub(super) fn versions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for kind in kinds::all() {
        let descriptor = kind.descriptor();
        let entry = (descriptor.group.to_owned(), descriptor.version.to_owned());
        if !found.contains(&entry) {
            found.push(entry);
        }
    }
    found
}

/// The kinds of one group and version.
pub(super) fn of_version<'a>(
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'static Descriptor> + 'a {
    kinds::all()
        .iter()
        .map(|kind| kind.descriptor())
        .filter(move |descriptor| descriptor.group == group && descriptor.version == version)
}

/// `v1` or `apps/v1`.
pub(super) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn paths(versions: &[(String, String)]) -> String {
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for (group, version) in versions.iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    for path in [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    json!({"paths": paths}).to_string()
}

fn group_of((group, version): &(String, String)) -> Value {
    let version = json!({"groupVersion": group_version(group, version), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn words(verbs: &[Verb]) -> Vec<&'static str> {
    let mut words: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
    words.sort_unstable();
    words
}

fn resource_list(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for descriptor in of_version(group, version) {
        let namespaced = descriptor.scope == Scope::Namespaced;
        let mut resource = json!({
            "name": descriptor.plural, "singularName": descriptor.singular, "namespaced": namespaced,
            "kind": descriptor.kind, "verbs": words(descriptor.verbs),
        });
        names(&mut resource, descriptor);
        resources.push(resource);
        for part in descriptor.subresources {
            let mut resource = json!({
                "name": format!("{}/{}", descriptor.plural, part.name), "singularName": "", "namespaced": namespaced,
                "kind": part.kind, "verbs": words(part.verbs),
            });
            if let (Some(group), Some(version)) = (part.group, part.version) {
                resource["group"] = group.into();
                resource["version"] = version.into();
            }
            resources.push(resource);
        }
    }
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group, version),
        "resources": resources,
    })
}

fn names(resource: &mut Value, descriptor: &Descriptor) {
    if !descriptor.short_names.is_empty() {
        resource["shortNames"] = json!(descriptor.short_names);
    }
    if !descriptor.categories.is_empty() {
        resource["categories"] = json!(descriptor.categories);
    }
}

fn aggregated_list(root: &str, discovery: &str, versions: &[(String, String)]) -> Value {
    let inside = versions
        .iter()
        .filter(|(group, _)| group.is_empty() == (root == "api"));
    let items: Vec<Value> = inside
        .map(|(group, version)| {
            let resources: Vec<Value> = of_version(group, version)
                .map(aggregated_resource)
                .collect();
            let mut metadata = Map::new();
            if !group.is_empty() {
                metadata.insert("name".into(), json!(group));
            }
            metadata.insert("creationTimestamp".into(), Value::Null);
            json!({
                "metadata": metadata,
                "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{discovery}"),
        "metadata": {}, "items": items,
    })
}

fn aggregated_resource(descriptor: &'static Descriptor) -> Value {
    let scope = if descriptor.scope == Scope::Namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let response = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut resource = json!({
        "resource": descriptor.plural, "scope": scope, "singularResource": descriptor.singular,
        "responseKind": response(descriptor.group, descriptor.version, descriptor.kind),
        "verbs": words(descriptor.verbs),
    });
    names(&mut resource, descriptor);
    let parts: Vec<Value> = descriptor
        .subresources
        .iter()
        .map(|part| {
            let (group, version) = (
                part.group.unwrap_or(descriptor.group),
                part.version.unwrap_or(descriptor.version),
            );
            json!({
                "subresource": part.name, "responseKind": response(group, version, part.kind),
                "verbs": words(part.verbs),
            })
        })
        .collect();
    if !parts.is_empty() {
        resource["subresources"] = parts.into();
    }
    resource
}
