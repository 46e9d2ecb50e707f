//! Bad input through the REST API and through the CLI: a precise answer, and nothing changed.

use crate::kube_rs::client;
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use pontoon_tests::{Cluster, eventually};
use serde_json::{Value, json};

/// What is sent and what comes back: its name, method, path, media type and body, then the HTTP code, the Status' reason and words of its message.
type Case = (
    &'static str,
    Method,
    &'static str,
    &'static str,
    String,
    u16,
    &'static str,
    &'static str,
);

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const THERE: &str = "/api/v1/namespaces/default/configmaps/there";

fn alias_bomb() -> String {
    (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        format!(
            "{text}a{level}: &a{level} [{}]\n",
            vec![format!("*a{}", level - 1); 9].join(",")
        )
    })
}

fn deep(levels: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
}

/// A pod, because ConfigMaps and Secrets have a smaller limit of their own.
fn big() -> String {
    pod(&json!({"name": "c", "image": "host", "args": ["x".repeat(1_600 << 10)]}))
}

fn pod(container: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}).to_string()
}

fn deployment() -> String {
    let template = json!({"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}})
    .to_string()
}

fn service(more: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": more})
        .to_string()
}

fn malformed() -> Vec<Case> {
    let post = Method::POST;
    let text = str::to_owned;
    vec![
        (
            "malformed JSON",
            post.clone(),
            MAPS,
            JSON,
            text("{\"a\":"),
            400,
            "BadRequest",
            "",
        ),
        (
            "malformed YAML",
            post.clone(),
            MAPS,
            YAML,
            text("a: ["),
            400,
            "BadRequest",
            "",
        ),
        (
            "wrong type",
            post.clone(),
            MAPS,
            JSON,
            text(r#"{"metadata":{"name":"x"},"data":[1]}"#),
            400,
            "BadRequest",
            "data",
        ),
        (
            "wrong type of a number",
            post.clone(),
            DEPLOYMENTS,
            JSON,
            text(r#"{"metadata":{"name":"x"},"spec":{"replicas":"two"}}"#),
            400,
            "BadRequest",
            "replicas",
        ),
        (
            "unknown kind",
            post.clone(),
            "/api/v1/namespaces/default/bananas",
            JSON,
            text("{}"),
            404,
            "NotFound",
            "could not find the requested resource",
        ),
        (
            "another kind",
            post.clone(),
            MAPS,
            JSON,
            text(r#"{"apiVersion":"v1","kind":"Banana","metadata":{"name":"x"}}"#),
            400,
            "BadRequest",
            "Banana",
        ),
        (
            "oversized object",
            post.clone(),
            PODS,
            JSON,
            big(),
            413,
            "RequestEntityTooLarge",
            "1572864",
        ),
        (
            "alias bomb",
            post.clone(),
            MAPS,
            YAML,
            alias_bomb(),
            400,
            "BadRequest",
            "",
        ),
        (
            "deep nesting",
            post.clone(),
            MAPS,
            JSON,
            deep(20_000),
            400,
            "BadRequest",
            "",
        ),
        (
            "deep YAML",
            post.clone(),
            MAPS,
            YAML,
            deep(20_000),
            400,
            "BadRequest",
            "",
        ),
        (
            "unknown field",
            post,
            "/api/v1/namespaces/default/configmaps?fieldValidation=Strict",
            JSON,
            text(r#"{"metadata":{"name":"x"},"date":{}}"#),
            400,
            "BadRequest",
            "unknown field \"date\"",
        ),
    ]
}

fn invalid() -> Vec<Case> {
    let post = Method::POST;
    let container = |more: Value| {
        let mut container = json!({"name": "c", "image": "host"});
        container
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        pod(&container)
    };
    let ports = json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]});
    let host_ports = json!({"ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]});
    vec![
        (
            "illegal name",
            post.clone(),
            MAPS,
            JSON,
            r#"{"metadata":{"name":"A b"}}"#.into(),
            422,
            "Invalid",
            "metadata.name: Invalid value: \"A b\"",
        ),
        (
            "long name",
            post.clone(),
            MAPS,
            JSON,
            json!({"metadata": {"name": "x".repeat(254)}}).to_string(),
            422,
            "Invalid",
            "no more than 253",
        ),
        (
            "negative quantity",
            post.clone(),
            PODS,
            JSON,
            container(json!({"resources": {"requests": {"cpu": "-1"}}})),
            422,
            "Invalid",
            "must be greater than or equal to 0",
        ),
        (
            "request above limit",
            post.clone(),
            PODS,
            JSON,
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            422,
            "Invalid",
            "cpu limit",
        ),
        (
            "no quantity",
            post.clone(),
            PODS,
            JSON,
            container(json!({"resources": {"requests": {"cpu": "much"}}})),
            400,
            "BadRequest",
            "quantit",
        ),
        (
            "selector that misses its template",
            post.clone(),
            DEPLOYMENTS,
            JSON,
            deployment(),
            422,
            "Invalid",
            "`selector` does not match template `labels`",
        ),
        (
            "service ports that clash",
            post.clone(),
            SERVICES,
            JSON,
            service(&ports),
            422,
            "Invalid",
            "Duplicate value",
        ),
        (
            "host ports that clash",
            post.clone(),
            PODS,
            JSON,
            container(host_ports),
            422,
            "Invalid",
            "Duplicate value",
        ),
        (
            "address that is taken",
            post.clone(),
            SERVICES,
            JSON,
            service(&json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]})),
            422,
            "Invalid",
            "provided IP is already allocated",
        ),
        (
            "missing namespace",
            post,
            "/api/v1/namespaces/nowhere/configmaps",
            JSON,
            r#"{"metadata":{"name":"x"}}"#.into(),
            404,
            "NotFound",
            "namespaces \"nowhere\" not found",
        ),
        (
            "stale resourceVersion",
            Method::PUT,
            THERE,
            JSON,
            r#"{"metadata":{"name":"there","resourceVersion":"1"}}"#.into(),
            409,
            "Conflict",
            "the object has been modified",
        ),
        (
            "10,001 operations",
            Method::PATCH,
            THERE,
            "application/json-patch+json",
            Value::from(vec![json!({"op": "remove", "path": "/data"}); 10_001]).to_string(),
            413,
            "RequestEntityTooLarge",
            "10000",
        ),
        (
            "patch of nothing known",
            Method::PATCH,
            THERE,
            "text/plain",
            "x".into(),
            415,
            "UnsupportedMediaType",
            "",
        ),
        (
            "unknown verb",
            Method::POST,
            THERE,
            JSON,
            "{}".into(),
            405,
            "MethodNotAllowed",
            "",
        ),
        (
            "bad selector",
            Method::GET,
            "/api/v1/pods?labelSelector=a%3D%3D%3Db",
            JSON,
            String::new(),
            400,
            "BadRequest",
            "",
        ),
        (
            "bad continue",
            Method::GET,
            "/api/v1/pods?continue=nonsense",
            JSON,
            String::new(),
            400,
            "BadRequest",
            "continue",
        ),
    ]
}

async fn send(
    client: &Client,
    method: &Method,
    path: &str,
    media: &str,
    body: String,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method.clone())
        .uri(path)
        .header("content-type", media)
        .header("accept", JSON);
    let answer = client
        .send(request.body(Body::from(body.into_bytes())).unwrap())
        .await
        .unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// Every object that the cases could have changed.
async fn objects(client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [MAPS, PODS, SERVICES, DEPLOYMENTS] {
        all.push(
            send(client, &Method::GET, path, JSON, String::new())
                .await
                .1["items"]
                .clone(),
        );
    }
    all
}

#[test]
fn rest_answers_bad_input_precisely_and_changes_nothing() {
    let cluster = Cluster::start();
    let _ = cluster
        .kubectl(["create", "configmap", "there", "--from-literal=a=b"])
        .ok();
    let kubeconfig = cluster.kubeconfig();
    let wrong = cluster.namespace().inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = client(&kubeconfig).await;
            let before = objects(&client).await;
            let mut wrong = Vec::new();
            for (name, method, path, media, body, code, reason, words) in
                malformed().into_iter().chain(invalid())
            {
                let answer = send(&client, &method, path, media, body).await;
                let message = answer.1["message"].as_str().unwrap_or_default();
                let status = answer.1["kind"] == "Status" && answer.1["code"] == answer.0;
                if answer.0 != code
                    || answer.1["reason"] != reason
                    || !status
                    || !message.contains(words)
                {
                    wrong.push(format!(
                        "{name}: wanted {code} {reason} {words:?}, got {} {}",
                        answer.0, answer.1
                    ));
                }
            }
            assert_eq!(objects(&client).await, before, "something was changed");
            wrong
        })
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Manifests that `pontoon apply` refuses, and words of what it says.
fn manifests() -> Vec<(&'static str, String, &'static str)> {
    let text = str::to_owned;
    vec![
        ("malformed YAML", text("a: ["), "line 5"),
        ("not an object", text("- a\n"), "kind not set"),
        (
            "no kind",
            text("apiVersion: v1\nmetadata: {name: x}\n"),
            "kind",
        ),
        (
            "unknown kind",
            text("apiVersion: v1\nkind: Banana\nmetadata: {name: x}\n"),
            "Banana",
        ),
        (
            "unknown field",
            text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndate: {a: b}\n"),
            "date",
        ),
        (
            "field given twice",
            text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b, a: c}\n"),
            "data.a",
        ),
        (
            "wrong type",
            text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: [1]\n"),
            "data",
        ),
        (
            "illegal name",
            text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A b}\n"),
            "A b",
        ),
        (
            "missing namespace",
            text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: nowhere}\n"),
            "nowhere",
        ),
        (
            "selector that misses its template",
            deployment(),
            "selector",
        ),
        ("oversized object", big(), "metadata.annotations: Too long"),
        ("alias bomb", alias_bomb(), ""),
        ("deep nesting", deep(20_000), ""),
    ]
}

#[test]
fn the_cli_answers_bad_input_precisely_with_exit_codes_and_applies_all_or_nothing() {
    let cluster = Cluster::start();
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\n";
    let mut wrong = Vec::new();
    for (name, manifest, words) in manifests() {
        let answer = cluster.call(
            pontoon_tests::binary(),
            ["apply", "-f", "-"],
            &format!("{good}{manifest}"),
        );
        if answer.code != 1 || !answer.stderr.contains(words) || answer.stderr.len() > 4_000 {
            wrong.push(format!(
                "{name}: wanted exit 1 and {words:?}, got {} {} {}",
                answer.code, answer.stdout, answer.stderr
            ));
        }
    }
    let large = cluster.home().join("large.json");
    std::fs::write(&large, big()).unwrap();
    let large = large.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 11] = [
        (&["create", "-f", large], 1, "at most 1572864 are allowed"),
        (&["get", "bananas"], 1, "bananas"),
        (&["get", "pod", "nobody"], 1, "pods \"nobody\" not found"),
        (
            &["get", "pods", "-l", "a===b"],
            1,
            "unable to parse requirement",
        ),
        (&["get", "pods", "-o", "bananas"], 2, "bananas"),
        (
            &["apply", "-f", "/nonexistent/file.yaml"],
            1,
            "/nonexistent/file.yaml",
        ),
        (
            &["scale", "deployment/nobody", "--replicas", "2"],
            1,
            "nobody",
        ),
        (&["logs", "nobody"], 1, "nobody"),
        (&["delete", "configmap", "nobody"], 1, "nobody"),
        (&["frobnicate"], 2, "frobnicate"),
        (
            &["get", "pods", "--kubeconfig", "/nonexistent/config"],
            1,
            "/nonexistent/config",
        ),
    ];
    for (arguments, code, words) in cases {
        let answer = cluster.pontoon(arguments);
        if answer.code != code || !answer.stderr.contains(words) {
            wrong.push(format!(
                "{arguments:?}: wanted exit {code} and {words:?}, got {} {} {}",
                answer.code, answer.stdout, answer.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let _ = cluster.kubectl(["get", "configmap", "good"]).failed();
}

#[test]
fn a_pod_that_cannot_run_says_why() {
    let cluster = Cluster::start();
    let manifest = |name: &str, image: &str, command: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: main, image: '{image}', command: [{command}]}}]}}\n---\n"
        )
    };
    cluster.apply(
        &[
            manifest("image", "docker.io/library/nginx:1", "nginx"),
            manifest("command", "host", "no-such-program-anywhere"),
        ]
        .concat(),
    );
    let state = |pod: &str, path: &str| {
        cluster
            .kubectl([
                "get",
                "pod",
                pod,
                "-o",
                &format!("jsonpath={{.status.containerStatuses[0].{path}}}"),
            ])
            .ok()
    };
    eventually("the image is refused", || {
        let waiting = state("image", "state.waiting");
        let named = [
            "ErrImagePull",
            "ImagePullBackOff",
            "InvalidImageName",
            "ErrImageNeverPull",
        ]
        .iter()
        .any(|reason| waiting.contains(reason));
        if named && waiting.contains("nginx") {
            Ok(())
        } else {
            Err(waiting)
        }
    });
    eventually("the command is missed", || {
        let all = state("command", "state") + &state("command", "lastState");
        if all.contains("no-such-program-anywhere") {
            Ok(())
        } else {
            Err(all)
        }
    });
    for (pod, words) in [("image", "nginx"), ("command", "no-such-program-anywhere")] {
        eventually("`pontoon why` tells", || {
            let why = cluster.pontoon(["why", &format!("pod/{pod}")]);
            if why.stdout.contains(words) {
                Ok(())
            } else {
                Err(format!("{why:?}"))
            }
        });
    }
}
