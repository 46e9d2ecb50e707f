//! What a pod refers to: the objects its node needs beside it.

use pontoon_state::Key;
use serde_json::Value;
use std::collections::BTreeSet;

/// ConfigMaps, Secrets, the ServiceAccount and the RuntimeClass that a pod names.
pub(super) fn of(pod: &Value) -> BTreeSet<Key> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("");
    let mut found = Found {
        namespace,
        keys: BTreeSet::new(),
    };
    let spec = &pod["spec"];
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(&spec[list]) {
            for source in items(&container["envFrom"]) {
                found.add("configmaps", &source["configMapRef"]["name"]);
                found.add("secrets", &source["secretRef"]["name"]);
            }
            for variable in items(&container["env"]) {
                found.add(
                    "configmaps",
                    &variable["valueFrom"]["configMapKeyRef"]["name"],
                );
                found.add("secrets", &variable["valueFrom"]["secretKeyRef"]["name"]);
            }
        }
    }
    for volume in items(&spec["volumes"]) {
        found.add("configmaps", &volume["configMap"]["name"]);
        found.add("secrets", &volume["secret"]["secretName"]);
        for source in items(&volume["projected"]["sources"]) {
            found.add("configmaps", &source["configMap"]["name"]);
            found.add("secrets", &source["secret"]["name"]);
        }
    }
    for secret in items(&spec["imagePullSecrets"]) {
        found.add("secrets", &secret["name"]);
    }
    found.add("serviceaccounts", &spec["serviceAccountName"]);
    if let Some(class) = spec["runtimeClassName"].as_str() {
        found
            .keys
            .insert(Key::new("runtimeclasses.node.k8s.io", "", class));
    }
    found.keys
}

struct Found<'a> {
    namespace: &'a str,
    keys: BTreeSet<Key>,
}

impl Found<'_> {
    fn add(&mut self, resource: &str, name: &Value) {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            self.keys.insert(Key::new(resource, self.namespace, name));
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_place_a_pod_can_name_an_object_is_looked_at() {
        let pod = json!({
            "metadata": {"namespace": "n"},
            "spec": {
                "serviceAccountName": "sa", "runtimeClassName": "rc", "imagePullSecrets": [{"name": "s1"}],
                "containers": [{
                    "envFrom": [{"configMapRef": {"name": "c1"}}, {"secretRef": {"name": "s2"}}],
                    "env": [{"valueFrom": {"configMapKeyRef": {"name": "c2"}}}, {"valueFrom": {"secretKeyRef": {"name": "s3"}}}],
                }],
                "initContainers": [{"envFrom": [{"configMapRef": {"name": "c3"}}]}],
                "volumes": [
                    {"configMap": {"name": "c4"}}, {"secret": {"secretName": "s4"}},
                    {"projected": {"sources": [{"configMap": {"name": "c5"}}, {"secret": {"name": "s5"}}]}},
                ],
            },
        });
        let names: Vec<String> = of(&pod).iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "configmaps/n/c1",
                "configmaps/n/c2",
                "configmaps/n/c3",
                "configmaps/n/c4",
                "configmaps/n/c5",
                "runtimeclasses.node.k8s.io/rc",
                "secrets/n/s1",
                "secrets/n/s2",
                "secrets/n/s3",
                "secrets/n/s4",
                "secrets/n/s5",
                "serviceaccounts/n/sa",
            ]
        );
    }
}
