//! Schemas of the kinds' types, as an OpenAPI 3.0 document holds them: named as Kubernetes names them, with descriptions,
//! required fields, how lists and maps merge, and which kind a type is.
//!
//! Names, descriptions and types are k8s-openapi's. How things merge is in `merge.tsv`: facts of the OpenAPI that Kubernetes
//! 1.36 publishes. Default values and enumerations are not given: the server fills in and checks by itself.

use crate::kind::Descriptor;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use k8s_openapi::schemars::JsonSchema;
use k8s_openapi::schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// What a reference to a definition begins with.
pub const REFERENCE: &str = "#/components/schemas/";

/// Types whose `name` k8s-openapi requires and Kubernetes does not.
const NAME_IS_OPTIONAL: [&str; 8] = [
    "ConfigMapEnvSource",
    "ConfigMapKeySelector",
    "ConfigMapProjection",
    "ConfigMapVolumeSource",
    "LocalObjectReference",
    "SecretEnvSource",
    "SecretKeySelector",
    "SecretProjection",
];

/// A set of types under definition, with everything they refer to.
#[derive(Debug)]
pub struct Definitions {
    generator: SchemaGenerator,
    kinds: Vec<(String, Value)>,
    lists: Map<String, Value>,
}

impl Definitions {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            generator: SchemaSettings::openapi3().into_generator(),
            kinds: Vec::new(),
            lists: Map::new(),
        }
    }

    /// Adds a type. Gives its name, such as `io.k8s.apimachinery.pkg.apis.meta.v1.Status`.
    pub fn add<T: JsonSchema>(&mut self) -> String {
        self.generator.subschema_for::<T>();
        T::schema_name().into_owned()
    }

    /// Adds the type of a kind's objects and that of their lists. Gives the name of the first; the second ends in `List`.
    pub fn kind<T: JsonSchema>(&mut self, descriptor: &Descriptor) -> String {
        let name = self.add::<T>();
        let Descriptor {
            group,
            version,
            kind,
            ..
        } = *descriptor;
        self.of_kind(&name, group, version, kind);
        let metadata = self.add::<ListMeta>();
        let list = format!("{name}List");
        let description = format!("{kind}List is a list of {kind} objects.");
        self.lists.insert(
            list.clone(),
            json!({
                "type": "object", "description": description, "required": ["items"],
                "properties": {
                    "apiVersion": {"type": "string", "description": "The versioned schema of this list."},
                    "items": {"type": "array", "description": "The objects.", "items": {"$ref": format!("{REFERENCE}{name}")}},
                    "kind": {"type": "string", "description": "The kind of this list."},
                    "metadata": {
                        "allOf": [{"$ref": format!("{REFERENCE}{metadata}")}],
                        "description": "Standard list metadata.",
                    },
                },
            }),
        );
        self.of_kind(&list, group, version, &format!("{kind}List"));
        name
    }

    /// Adds the type of a subresource's bodies, where that is another than its object's. Gives its name; `None` for kinds
    /// without a body.
    pub fn body(&mut self, group: &str, version: &str, kind: &str) -> Option<String> {
        let name = match (group, version, kind) {
            ("autoscaling", "v1", "Scale") => self.add::<Scale>(),
            ("policy", "v1", "Eviction") => self.add::<Eviction>(),
            ("", "v1", "Binding") => self.add::<Binding>(),
            _ => return None,
        };
        self.of_kind(&name, group, version, kind);
        Some(name)
    }

    /// Notes that a type is that of a kind.
    pub fn of_kind(&mut self, name: &str, group: &str, version: &str, kind: &str) {
        let kind = json!({"group": group, "version": version, "kind": kind});
        let entry = (name.to_owned(), kind);
        if !self.kinds.contains(&entry) {
            self.kinds.push(entry);
        }
    }

    /// Every definition by its name, annotated.
    #[must_use]
    pub fn finish(mut self) -> Map<String, Value> {
        let mut definitions = self.generator.take_definitions(true);
        definitions.append(&mut self.lists);
        for (name, schema) in &mut definitions {
            optional_names(name, schema);
            wide_types(name, schema);
        }
        for (name, kind) in self.kinds {
            let Some(schema) = definitions.get_mut(&name) else {
                continue;
            };
            // k8s-openapi requires every object's metadata; Kubernetes only where a manifest cannot do without.
            if name != "io.k8s.api.core.v1.Event" {
                without_required(schema, "metadata");
            }
            match &mut schema["x-kubernetes-group-version-kind"] {
                Value::Array(kinds) => kinds.push(kind),
                none => *none = json!([kind]),
            }
        }
        merge_facts(&mut definitions);
        definitions
    }
}

impl Default for Definitions {
    fn default() -> Self {
        Self::new()
    }
}

fn without_required(schema: &mut Value, field: &str) {
    let Some(required) = schema["required"].as_array_mut() else {
        if let Some(schema) = schema.as_object_mut() {
            schema.retain(|name, value| name != "required" || !value.is_null());
        }
        return;
    };
    required.retain(|name| name != field);
    if required.is_empty()
        && let Some(schema) = schema.as_object_mut()
    {
        schema.remove("required");
    }
}

fn optional_names(name: &str, schema: &mut Value) {
    let optional = name
        .strip_prefix("io.k8s.api.core.v1.")
        .is_some_and(|name| NAME_IS_OPTIONAL.contains(&name));
    if optional {
        without_required(schema, "name");
    }
}

/// Types that JSON writes in two ways: Kubernetes says so by `oneOf`.
fn wide_types(name: &str, schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    if schema.remove("x-kubernetes-int-or-string").is_none() {
        return;
    }
    if name.ends_with(".IntOrString") {
        schema.insert("format".into(), "int-or-string".into());
        schema.insert(
            "oneOf".into(),
            json!([{"type": "integer"}, {"type": "string"}]),
        );
    } else {
        schema.insert(
            "oneOf".into(),
            json!([{"type": "string"}, {"type": "number"}]),
        );
    }
}

/// `meta.v1.ObjectMeta` of `io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`: how `merge.tsv` names types.
fn short(name: &str) -> &str {
    name.rmatch_indices('.')
        .nth(2)
        .map_or(name, |(at, _)| &name[at + 1..])
}

fn merge_facts(definitions: &mut Map<String, Value>) {
    let names: std::collections::BTreeMap<String, String> = definitions
        .keys()
        .map(|name| (short(name).to_owned(), name.clone()))
        .collect();
    for line in facts() {
        let [of, field, facts] = line[..] else {
            continue;
        };
        let Some(schema) = names.get(of).and_then(|name| definitions.get_mut(name)) else {
            continue;
        };
        let place = if field == "(type)" {
            Some(schema)
        } else {
            schema
                .get_mut("properties")
                .and_then(|fields| fields.get_mut(field))
        };
        if let Some(Value::Object(place)) = place {
            annotate(place, facts);
        }
    }
}

fn annotate(place: &mut Map<String, Value>, facts: &str) {
    for (name, value) in facts.split(';').filter_map(|fact| fact.split_once('=')) {
        let value = if name == "list-map-keys" {
            value.split(',').collect()
        } else {
            Value::from(value)
        };
        place.insert(format!("x-kubernetes-{name}"), value);
    }
}

/// The lines of `merge.tsv`: type, field, facts.
fn facts() -> impl Iterator<Item = Vec<&'static str>> {
    include_str!("schema/merge.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kinds;

    fn all() -> Map<String, Value> {
        let mut definitions = Definitions::new();
        for kind in kinds::all() {
            kind.define(&mut definitions);
            for part in kind.descriptor().subresources {
                let group = part.group.unwrap_or(kind.descriptor().group);
                let version = part.version.unwrap_or(kind.descriptor().version);
                definitions.body(group, version, part.kind);
            }
        }
        definitions.finish()
    }

    #[test]
    fn fields_have_types_descriptions_and_merge_keys() {
        let all = all();
        let containers = &all["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["type"], "array");
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(
            containers["items"]["$ref"],
            "#/components/schemas/io.k8s.api.core.v1.Container"
        );
        let strategy = &all["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
        assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
        assert!(strategy["description"].as_str().unwrap().len() > 20);
        assert_eq!(
            all["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
            json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
        );
        assert_eq!(
            all["io.k8s.api.core.v1.LocalObjectReference"]["x-kubernetes-map-type"],
            "atomic"
        );
    }

    #[test]
    fn what_kubernetes_does_not_require_is_not_required() {
        let all = all();
        assert_eq!(all["io.k8s.api.core.v1.Pod"].get("required"), None);
        assert_eq!(
            all["io.k8s.api.core.v1.SecretKeySelector"]["required"],
            json!(["key"])
        );
        assert_eq!(
            all["io.k8s.api.core.v1.Event"]["required"],
            json!(["involvedObject", "metadata"])
        );
    }

    #[test]
    fn every_reference_is_defined_and_every_list_says_how_it_merges() {
        let all = all();
        let text = Value::Object(all.clone()).to_string();
        for reference in text.split(REFERENCE).skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(all.contains_key(name), "{name}");
        }
        for (name, schema) in all.iter().filter(|(name, _)| !name.ends_with("List")) {
            let fields = schema["properties"].as_object().into_iter().flatten();
            for (field, schema) in fields.filter(|(_, schema)| schema["type"] == "array") {
                let known = schema.get("x-kubernetes-list-type").is_some();
                assert!(known, "{name} {field}");
            }
        }
    }

    #[test]
    fn quantities_and_ports_are_texts_or_numbers() {
        let all = all();
        let wide = |name: &str| all[name]["oneOf"].as_array().unwrap().len();
        assert_eq!(wide("io.k8s.apimachinery.pkg.api.resource.Quantity"), 2);
        assert_eq!(wide("io.k8s.apimachinery.pkg.util.intstr.IntOrString"), 2);
    }
}
