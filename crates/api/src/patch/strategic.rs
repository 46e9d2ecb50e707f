//! Kubernetes' strategic merge patch: lists of named things merge by their key, and directives (`$patch`,
//! `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) say the rest.
//!
//! Merge keys are those Kubernetes 1.36 publishes in its OpenAPI (`x-kubernetes-patch-merge-key`). The semantics follow
//! the Kubernetes design note "strategic-merge-patch" and its `apimachinery` tests.

use super::PatchError;
use serde_json::{Map, Value};

/// A type of object in the tree that patches walk. What is not listed merges maps and replaces lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Object(&'static str),
    Metadata,
    PodTemplateHolder,
    PodTemplate,
    PodSpec,
    Container,
    Status,
    ServiceSpec,
    NodeSpec,
}

/// How a field merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merge {
    /// Maps merge, anything else is replaced.
    Default(Shape),
    /// A list of maps merges by this key.
    Keyed(&'static str, Shape),
    /// A list of primitives is united.
    Set,
}

impl Shape {
    fn field(self, name: &str) -> Merge {
        use Merge::{Default, Keyed, Set};
        match (self, name) {
            (Self::Object(_) | Self::PodTemplate, "metadata") => Default(Self::Metadata),
            (Self::Object("Pod") | Self::PodTemplate, "spec") => Default(Self::PodSpec),
            (
                Self::Object(
                    "Deployment"
                    | "ReplicaSet"
                    | "DaemonSet"
                    | "StatefulSet"
                    | "Job"
                    | "ReplicationController",
                ),
                "spec",
            ) => Default(Self::PodTemplateHolder),
            (Self::Object("Service"), "spec") => Default(Self::ServiceSpec),
            (Self::Object("Node"), "spec") => Default(Self::NodeSpec),
            (Self::Object("ServiceAccount"), "secrets" | "imagePullSecrets") => {
                Keyed("name", Self::Plain)
            }
            (Self::Object(_), "status") => Default(Self::Status),
            (Self::PodTemplateHolder, "template") => Default(Self::PodTemplate),
            (Self::Metadata, "finalizers") | (Self::NodeSpec, "podCIDRs") => Set,
            (Self::Metadata, "ownerReferences") => Keyed("uid", Self::Plain),
            (Self::PodSpec, "containers" | "initContainers" | "ephemeralContainers") => {
                Keyed("name", Self::Container)
            }
            (
                Self::PodSpec,
                "volumes" | "imagePullSecrets" | "resourceClaims" | "schedulingGates",
            ) => Keyed("name", Self::Plain),
            (Self::PodSpec, "hostAliases") => Keyed("ip", Self::Plain),
            (Self::PodSpec, "topologySpreadConstraints") => Keyed("topologyKey", Self::Plain),
            (Self::Container, "env") => Keyed("name", Self::Plain),
            (Self::Container, "ports") => Keyed("containerPort", Self::Plain),
            (Self::Container, "volumeMounts") => Keyed("mountPath", Self::Plain),
            (Self::Container, "volumeDevices") => Keyed("devicePath", Self::Plain),
            (Self::ServiceSpec, "ports") => Keyed("port", Self::Plain),
            (Self::Status, "conditions" | "addresses") => Keyed("type", Self::Plain),
            (Self::Status, "podIPs" | "hostIPs") => Keyed("ip", Self::Plain),
            _ => Default(Self::Plain),
        }
    }
}

fn shape_of(kind: &str) -> Shape {
    const KNOWN: [&str; 10] = [
        "Pod",
        "Deployment",
        "ReplicaSet",
        "DaemonSet",
        "StatefulSet",
        "Job",
        "ReplicationController",
        "Service",
        "Node",
        "ServiceAccount",
    ];
    KNOWN
        .iter()
        .find(|known| **known == kind)
        .map_or(Shape::Object(""), |known| Shape::Object(known))
}

pub(super) fn apply(kind: &str, object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (Some(object), Some(patch)) = (object.as_object(), patch.as_object()) else {
        return Err(PatchError::Malformed(
            "a strategic merge patch of an object is an object".into(),
        ));
    };
    merge_map(object.clone(), patch, shape_of(kind)).map(Value::Object)
}

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

fn merge_map(
    mut current: Map<String, Value>,
    patch: &Map<String, Value>,
    shape: Shape,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(PATCH) {
        None => {}
        Some(Value::String(directive)) if directive == "replace" => {
            return merge_map(Map::new(), &without(patch, PATCH), shape);
        }
        Some(Value::String(directive)) if directive == "delete" => return Ok(Map::new()),
        Some(Value::String(directive)) if directive == "merge" => {}
        Some(other) => return Err(PatchError::Malformed(format!("{PATCH} cannot be {other}"))),
    }
    if let Some(keys) = patch.get(RETAIN_KEYS) {
        let keys = keys.as_array().ok_or_else(|| {
            PatchError::Malformed(format!("{RETAIN_KEYS} is a list of field names"))
        })?;
        current.retain(|name, _| keys.iter().any(|key| key.as_str() == Some(name)));
    }
    delete_primitives(&mut current, patch)?;
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let order = patch.get(&format!("{ORDER}{name}"));
        merge_field(&mut current, name, value, order, shape.field(name))?;
    }
    // An order without a patch of the list itself only reorders.
    for (directive, order) in patch {
        if let Some(name) = directive.strip_prefix(ORDER)
            && !patch.contains_key(name)
            && current.get(name).is_some_and(Value::is_array)
        {
            merge_field(
                &mut current,
                name,
                &Value::Array(Vec::new()),
                Some(order),
                shape.field(name),
            )?;
        }
    }
    Ok(current)
}

fn without(map: &Map<String, Value>, name: &str) -> Map<String, Value> {
    map.iter()
        .filter(|(found, _)| *found != name)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn delete_primitives(
    current: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), PatchError> {
    for (directive, values) in patch {
        let Some(name) = directive.strip_prefix(DELETE_PRIMITIVES) else {
            continue;
        };
        let values = values
            .as_array()
            .ok_or_else(|| PatchError::Malformed(format!("{directive} is a list")))?;
        if let Some(Value::Array(list)) = current.get_mut(name) {
            list.retain(|value| !values.contains(value));
        }
    }
    Ok(())
}

fn merge_field(
    current: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    order: Option<&Value>,
    merge: Merge,
) -> Result<(), PatchError> {
    let merged = match (value, merge) {
        (Value::Null, _) => {
            current.remove(name);
            return Ok(());
        }
        (Value::Object(patch), Merge::Default(shape)) => {
            let before = match current.remove(name) {
                Some(Value::Object(before)) => before,
                _ => Map::new(),
            };
            Value::Object(merge_map(before, patch, shape)?)
        }
        (Value::Array(patch), Merge::Keyed(key, shape)) => {
            let list = merge_list(take_list(current, name), patch, key, shape)?;
            Value::Array(ordered(list, order, |value| value.get(key).cloned())?)
        }
        (Value::Array(patch), Merge::Set) => {
            let mut list = take_list(current, name);
            for value in patch {
                if !list.contains(value) {
                    list.push(value.clone());
                }
            }
            Value::Array(ordered(list, order, |value| Some(value.clone()))?)
        }
        (value, _) => value.clone(),
    };
    current.insert(name.to_owned(), merged);
    Ok(())
}

fn take_list(current: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match current.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn merge_list(
    mut list: Vec<Value>,
    patch: &[Value],
    key: &str,
    shape: Shape,
) -> Result<Vec<Value>, PatchError> {
    let directive = |item: &Value| item.get(PATCH).and_then(Value::as_str).map(str::to_owned);
    if patch
        .iter()
        .any(|item| directive(item).as_deref() == Some("replace"))
    {
        list.clear();
    }
    for item in patch {
        let Some(map) = item.as_object() else {
            return Err(PatchError::Malformed(format!(
                "items of a list that merges by {key} are objects"
            )));
        };
        let directive = directive(item);
        if directive.as_deref() == Some("replace") && map.len() == 1 {
            continue;
        }
        let id = map.get(key).ok_or_else(|| {
            PatchError::Malformed(format!(
                "map: {item} does not contain declared merge key: {key}"
            ))
        })?;
        let at = list.iter().position(|found| found.get(key) == Some(id));
        match (directive.as_deref(), at) {
            (Some("delete"), Some(at)) => {
                list.remove(at);
            }
            (Some("delete"), None) => {}
            (_, Some(at)) => {
                let before = list[at].as_object().cloned().unwrap_or_default();
                list[at] = Value::Object(merge_map(before, &without(map, PATCH), shape)?);
            }
            (_, None) => list.push(Value::Object(merge_map(
                Map::new(),
                &without(map, PATCH),
                shape,
            )?)),
        }
    }
    Ok(list)
}

/// Puts the items that `order` names in its order; the others keep their place relative to what stood behind them.
fn ordered(
    list: Vec<Value>,
    order: Option<&Value>,
    id: impl Fn(&Value) -> Option<Value>,
) -> Result<Vec<Value>, PatchError> {
    let Some(order) = order else { return Ok(list) };
    let order = order
        .as_array()
        .ok_or_else(|| PatchError::Malformed("an element order is a list".into()))?;
    let order: Vec<Value> = order.iter().filter_map(&id).collect();
    let place = |item: &Value| id(item).and_then(|id| order.iter().position(|found| *found == id));
    let mut named: Vec<(usize, usize)> = Vec::new();
    let mut others: Vec<usize> = Vec::new();
    for (at, item) in list.iter().enumerate() {
        match place(item) {
            Some(rank) => named.push((rank, at)),
            None => others.push(at),
        }
    }
    named.sort_unstable();
    let mut others = others.into_iter().peekable();
    let mut sorted = Vec::with_capacity(list.len());
    for (_, at) in named {
        while let Some(other) = others.next_if(|other| *other < at) {
            sorted.push(list[other].clone());
        }
        sorted.push(list[at].clone());
    }
    sorted.extend(others.map(|other| list[other].clone()));
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(containers: Value) -> Value {
        json!({"metadata": {"name": "p", "finalizers": ["a"]}, "spec": {"containers": containers}})
    }

    fn patched(object: &Value, patch: &Value) -> Value {
        apply("Pod", object, patch).unwrap()
    }

    #[test]
    fn containers_merge_by_name_and_their_env_too() {
        let object = pod(
            json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"}]),
        );
        let patch = json!({"spec": {"containers": [{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}]}});
        let env = json!([{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]);
        assert_eq!(
            patched(&object, &patch)["spec"]["containers"],
            json!([{"name": "a", "image": "2", "env": env}, {"name": "b", "image": "1"}])
        );
    }

    #[test]
    fn the_template_of_a_deployment_merges_like_a_pod() {
        let object =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "1"}]}}}});
        let patch =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "1"}]}}}});
        let merged = apply("Deployment", &object, &patch).unwrap();
        assert_eq!(
            merged["spec"]["template"]["spec"]["containers"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn directives_delete_replace_retain_and_order() {
        let object = pod(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]));
        let delete = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
        assert_eq!(
            patched(&object, &delete)["spec"]["containers"],
            json!([{"name": "b"}, {"name": "c"}])
        );
        let replace = json!({"spec": {"containers": [{"name": "z"}, {"$patch": "replace"}]}});
        assert_eq!(
            patched(&object, &replace)["spec"]["containers"],
            json!([{"name": "z"}])
        );
        let order =
            json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}});
        assert_eq!(
            patched(&object, &order)["spec"]["containers"],
            json!([{"name": "b"}, {"name": "c"}, {"name": "a"}])
        );
        let retain = json!({"spec": {"$retainKeys": ["nodeName"], "nodeName": "n"}});
        assert_eq!(patched(&object, &retain)["spec"], json!({"nodeName": "n"}));
        let whole = json!({"spec": {"$patch": "replace", "nodeName": "n"}});
        assert_eq!(patched(&object, &whole)["spec"], json!({"nodeName": "n"}));
    }

    #[test]
    fn primitive_lists_with_a_merge_strategy_are_united() {
        let object = pod(json!([]));
        let patch = json!({"metadata": {"finalizers": ["b", "a"]}});
        assert_eq!(
            patched(&object, &patch)["metadata"]["finalizers"],
            json!(["a", "b"])
        );
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
        assert_eq!(
            patched(&object, &patch)["metadata"]["finalizers"],
            json!([])
        );
    }

    #[test]
    fn null_removes_and_other_lists_are_replaced() {
        let object = json!({"spec": {"tolerations": [{"key": "a"}], "nodeName": "n"}});
        let patch = json!({"spec": {"tolerations": [{"key": "b"}], "nodeName": null}});
        assert_eq!(
            patched(&object, &patch),
            json!({"spec": {"tolerations": [{"key": "b"}]}})
        );
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let patch = json!({"spec": {"containers": [{"image": "x"}]}});
        assert!(matches!(
            apply("Pod", &pod(json!([])), &patch),
            Err(PatchError::Malformed(_))
        ));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            "[a-c]{0,2}".prop_map(Value::String)
        ];
        let name = prop_oneof![
            Just("$patch"),
            Just("$retainKeys"),
            Just("spec"),
            Just("metadata"),
            Just("containers"),
            Just("name"),
            Just("env"),
            Just("finalizers"),
            Just("$setElementOrder/containers"),
            Just("$deleteFromPrimitiveList/finalizers")
        ];
        leaf.prop_recursive(5, 40, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                proptest::collection::vec((name.clone().prop_map(String::from), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_patch_panics(object in any_json(), patch in any_json()) {
            let _ = apply("Pod", &object, &patch);
        }

        #[test]
        fn a_patch_without_directives_applied_twice_is_applied_once(patch in any_json()) {
            let text = patch.to_string();
            prop_assume!(!text.contains('$'));
            if let Ok(once) = apply("Pod", &json!({}), &patch) {
                prop_assert_eq!(apply("Pod", &once, &patch).unwrap(), once);
            }
        }
    }
}
