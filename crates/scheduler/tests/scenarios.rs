//! Scripted scenarios: `testdata/*.txt`, text in, text out. `UPDATE=1` rewrites what is expected.
//!
//! A block is commands, then `----`, then what they print, then an empty line. Commands:
//! `node NAME key=value...`, `class NAME json`, `service NAME key=value`, `pod NAME key=value...`
//! (waits), `bound NAME NODE key=value...` (is assigned), `remove-pod NAME`, `remove-node NAME`,
//! `schedule`. Values: `cpu= memory= pods= EXTENDED=` amounts; `labels=k:v,k:v`;
//! `taints=k=v:EFFECT,...`; `spec={json}` and `status={json}` are merged in and end the line.
#![allow(clippy::unwrap_used, missing_docs)]

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use pontoon_scheduler::{Cluster, Decision, Wake, invariant, schedule, unsupported};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

struct Script {
    cluster: Cluster,
    waiting: Vec<Pod>,
}

/// Splits `key=value` words; `spec=` and `status=` take the rest of the line.
fn options(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (key, after) = rest
            .split_once('=')
            .unwrap_or_else(|| panic!("not key=value: {rest}"));
        let end = match key {
            "spec" | "status" => after.len(),
            _ => after.find(' ').unwrap_or(after.len()),
        };
        found.push((key.to_owned(), after[..end].to_owned()));
        rest = after[end..].trim();
    }
    found
}

fn pairs(text: &str) -> Value {
    let pairs = text.split(',').map(|pair| pair.split_once(':').unwrap());
    Value::Object(
        pairs
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect(),
    )
}

fn merge(into: &mut Value, text: &str) {
    let more: Map<String, Value> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    into.as_object_mut().unwrap().extend(more);
}

fn node(name: &str, line: &str) -> Node {
    let mut allocatable = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let mut labels = json!({});
    let mut spec = json!({});
    let mut status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    for (key, value) in options(line) {
        match key.as_str() {
            "labels" => labels = pairs(&value),
            "taints" => {
                let taint = |text: &str| {
                    let (key, rest) = text.split_once('=').unwrap();
                    let (value, effect) = rest.split_once(':').unwrap();
                    json!({"key": key, "value": value, "effect": effect})
                };
                spec["taints"] = value.split(',').map(taint).collect();
            }
            "handlers" => {
                status["runtimeHandlers"] =
                    value.split(',').map(|name| json!({"name": name})).collect();
            }
            "spec" => merge(&mut spec, &value),
            "status" => merge(&mut status, &value),
            _ => allocatable[key] = json!(value),
        }
    }
    labels["kubernetes.io/hostname"] = json!(name);
    status["allocatable"] = allocatable;
    let node =
        json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status});
    serde_json::from_value(node).unwrap()
}

fn pod(name: &str, line: &str) -> Pod {
    let mut requests = json!({});
    let mut metadata = json!({"namespace": "default", "name": name, "uid": format!("uid-{name}")});
    let mut spec = json!({});
    for (key, value) in options(line) {
        match key.as_str() {
            "labels" => metadata["labels"] = pairs(&value),
            "owner" => {
                let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": value, "uid": value, "controller": true});
                metadata["ownerReferences"] = json!([owner]);
            }
            "priority" => spec["priority"] = json!(value.parse::<i32>().unwrap()),
            "class" => spec["runtimeClassName"] = json!(value),
            "selector" => spec["nodeSelector"] = pairs(&value),
            "port" => {
                spec["containers"] = json!([{"name": "c", "ports": [{"containerPort": 80, "hostPort": value.parse::<i32>().unwrap()}]}]);
            }
            "spec" => merge(&mut spec, &value),
            _ => requests[key] = json!(value),
        }
    }
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    if requests != json!({}) {
        spec["containers"][0]["resources"] = json!({"requests": requests});
    }
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn woke(wake: Wake) -> String {
    if wake.is_empty() {
        String::new()
    } else {
        format!("{wake}\n")
    }
}

impl Script {
    fn run(&mut self, line: &str) -> String {
        let mut words = line.splitn(3, ' ');
        let (verb, name, rest) = (
            words.next().unwrap(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        match verb {
            "node" => woke(self.cluster.set_node(&node(name, rest))),
            "remove-node" => woke(self.cluster.remove_node(name)),
            "class" => {
                let mut class = json!({"metadata": {"name": name}});
                merge(&mut class, rest);
                let class: RuntimeClass = serde_json::from_value(class).unwrap();
                woke(self.cluster.set_runtime_class(&class))
            }
            "service" => {
                let service = json!({"metadata": {"namespace": "default", "name": name}, "spec": {"selector": pairs(rest)}});
                let service: Service = serde_json::from_value(service).unwrap();
                woke(self.cluster.set_service(&service))
            }
            "pod" => {
                let pod = pod(name, rest);
                let warnings = unsupported(&pod)
                    .into_iter()
                    .fold(String::new(), |text, one| text + &one + "\n");
                self.waiting.push(pod);
                warnings
            }
            "bound" => {
                let (node, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let mut pod = pod(name, rest);
                pod.spec.as_mut().unwrap().node_name = Some(node.to_owned());
                woke(self.cluster.set_pod(&pod))
            }
            "remove-pod" => {
                self.waiting
                    .retain(|pod| pod.metadata.name.as_deref() != Some(name));
                woke(self.cluster.remove_pod(&format!("default/{name}")))
            }
            "schedule" => self.schedule(),
            other => panic!("no such command: {other}"),
        }
    }

    fn schedule(&mut self) -> String {
        let pending: Vec<_> = self
            .waiting
            .iter()
            .map(|pod| self.cluster.pending(pod).unwrap())
            .collect();
        let mut text = String::new();
        for decision in schedule(&mut self.cluster, &pending) {
            match decision {
                Decision::Bind { pod, node, .. } => {
                    writeln!(text, "{pod} -> {node}").unwrap();
                    self.waiting.retain(|one| {
                        format!("default/{}", one.metadata.name.as_ref().unwrap()) != *pod
                    });
                }
                Decision::AlreadyPlaced { pod, node, .. } => {
                    writeln!(text, "{pod} is on {node}").unwrap()
                }
                Decision::Unschedulable { pod, why, .. } => {
                    writeln!(
                        text,
                        "{pod}: {why}\n  {:?} wakes: {}",
                        why.by_rule(),
                        why.wake()
                    )
                    .unwrap();
                }
            }
        }
        invariant::check(&self.cluster).unwrap();
        text
    }
}

/// Runs a script and returns it with its real output.
fn play(script: &str) -> String {
    let mut state = Script {
        cluster: Cluster::new(1),
        waiting: Vec::new(),
    };
    let mut played = String::new();
    let mut printed = None;
    for line in script.lines() {
        if let Some(output) = printed.take() {
            // Inside the old output: it is dropped up to the empty line.
            printed = if line.is_empty() {
                played.push('\n');
                None
            } else {
                Some(output)
            };
            continue;
        }
        if line == "----" {
            played.push_str("----\n");
            let block: Vec<_> = played
                .rsplit("\n\n")
                .next()
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect();
            for command in block
                .iter()
                .filter(|line| !line.starts_with('#') && *line != "----" && !line.is_empty())
            {
                played.push_str(&state.run(command));
            }
            printed = Some(());
            continue;
        }
        played.push_str(line);
        played.push('\n');
    }
    played
}

#[test]
fn every_script_prints_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut wrong = BTreeMap::new();
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let expected = std::fs::read_to_string(&path).unwrap();
        let actual = play(&expected);
        count += 1;
        if actual != expected {
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &actual).unwrap();
            } else {
                wrong.insert(path, actual);
            }
        }
    }
    assert!(count > 0, "no scripts in {}", folder.display());
    let mut text = String::new();
    for (path, actual) in wrong {
        writeln!(text, "{} (UPDATE=1 rewrites it):\n{actual}", path.display()).unwrap();
    }
    assert!(text.is_empty(), "{text}");
}
