//! The verbs, typed at a fake cluster.
#![allow(clippy::unwrap_used)]

use crate::harness::{Captured, Harness};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: host, command: [web]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: b}
";

fn pod(name: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"},
            "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"nodeName": "one", "containers": [{"name": "web", "image": "host", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if phase == "Running" { "True" } else { "False" }}],
            "containerStatuses": [{"name": "web", "ready": phase == "Running", "restartCount": 0, "image": "host", "imageID": "",
                "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}]},
    })
}

#[tokio::test]
async fn a_file_is_applied_as_a_whole_and_told_object_by_object() {
    let at = Harness::new().await;
    let told = at.run_with("apply -f -", WEB).await.fine();
    assert_eq!(
        told,
        "deployment.apps/web created\nconfigmap/settings created\n"
    );
    let told = at
        .run_with("apply -f -", &WEB.replace("{a: b}", "{a: c}"))
        .await
        .fine();
    assert_eq!(
        told,
        "deployment.apps/web unchanged\nconfigmap/settings configured\n"
    );
    let bad = WEB
        .replace("replicas: 3", "replicas: -3")
        .replace("{a: b}", "{a: d}");
    let told = at.run_with("apply -f -", &bad).await.failed();
    assert!(
        told.starts_with("The Deployment \"web\" is invalid: spec.replicas: Invalid value: -3"),
        "{told}"
    );
    let kept = at
        .run("get cm settings -o 'jsonpath={.data.a}'")
        .await
        .fine();
    assert_eq!(kept, "c", "a refused transaction changes nothing");
}

#[tokio::test]
async fn a_dry_run_says_so_and_changes_nothing() {
    let at = Harness::new().await;
    let told = at.run_with("apply -f - --dry-run=server", WEB).await.fine();
    assert_eq!(
        told,
        "deployment.apps/web created (server dry run)\nconfigmap/settings created (server dry run)\n"
    );
    let told = at
        .run("create cm x --from-literal=a=b --dry-run=client -o yaml")
        .await
        .fine();
    assert_eq!(
        told,
        "apiVersion: v1\ndata:\n  a: b\nkind: ConfigMap\nmetadata:\n  name: x\n  namespace: default\n"
    );
    let told = at.run("get cm").await;
    assert_eq!(
        (told.code, told.errors.as_str()),
        (0, "No resources found in default namespace.\n")
    );
}

#[tokio::test]
async fn objects_are_listed_as_kubectl_lists_them() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Running"));
    at.fake.put(pod("web-2", "Pending"));
    let table = at.run("get pods").await.fine();
    assert_eq!(
        table,
        "NAME    READY   STATUS    RESTARTS   AGE\n\
         web-1   1/1     Running   0          10m\n\
         web-2   0/1     Pending   0          10m\n"
    );
    let table = at
        .run(
            "get po -A --no-headers -l app=web --field-selector status.phase=Running --show-labels",
        )
        .await
        .fine();
    assert_eq!(
        table,
        "default   web-1   1/1   Running   0     10m   app=web\n"
    );
    assert_eq!(
        at.run("get po -o name").await.fine(),
        "pod/web-1\npod/web-2\n"
    );
    let names = at
        .run("get pods -o 'jsonpath={.items[*].metadata.name}'")
        .await
        .fine();
    assert_eq!(names, "web-1 web-2");
    let columns = at
        .run("get pods -o custom-columns=N:.metadata.name,P:.status.phase --sort-by=.status.phase")
        .await
        .fine();
    assert_eq!(columns, "N       P\nweb-2   Pending\nweb-1   Running\n");
    at.fake.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}}));
    let both = at.run("get pods,cm").await.fine();
    assert!(
        both.contains("pod/web-1") && both.contains("\n\nNAME") && both.contains("configmap/x"),
        "{both}"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_told_as_kubectl_tells_it() {
    let at = Harness::new().await;
    let told = at.run("get pod x").await.failed();
    assert_eq!(told, "Error from server (NotFound): pods \"x\" not found\n");
    let told = at.run("get deploy/x").await.failed();
    assert_eq!(
        told,
        "Error from server (NotFound): deployments.apps \"x\" not found\n"
    );
    let told = at.run("get pood").await.failed();
    assert_eq!(
        told,
        "error: the server doesn't have a resource type \"pood\"\nhint: did you mean \"pod\"?\n"
    );
    assert_eq!(at.run("get pod x --ignore-not-found").await.fine(), "");
}

#[tokio::test]
async fn a_list_is_printed_as_one_document() {
    let at = Harness::new().await;
    at.fake.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}, "data": {"a": "1"}}));
    let list: Value = serde_json::from_str(&at.run("get cm -o json").await.fine()).unwrap();
    assert_eq!(
        (
            list["kind"].as_str(),
            list["items"][0]["data"]["a"].as_str()
        ),
        (Some("List"), Some("1"))
    );
    let one = at.run("get cm x -o yaml").await.fine();
    assert!(
        one.starts_with(
            "apiVersion: v1\ndata:\n  a: \"1\"\nkind: ConfigMap\nmetadata:\n  name: x\n"
        ),
        "{one}"
    );
}

#[tokio::test]
async fn a_watch_prints_each_change() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Pending"));
    let output = Captured::new();
    let watching = at.start("get pods -w", "", output.clone(), Captured::new());
    let happening = async {
        output.until("Pending").await;
        at.fake.put(pod("web-1", "Running"));
        output.until("Running").await;
    };
    tokio::select! {
        code = watching => panic!("it ended with {code}"),
        () = happening => {}
    }
    assert_eq!(
        output.text(),
        "NAME    READY   STATUS    RESTARTS   AGE\n\
         web-1   0/1     Pending   0          10m\n\
         web-1   1/1     Running   0          10m\n"
    );
}

#[tokio::test]
async fn objects_are_created_from_flags_and_refused_twice() {
    let at = Harness::new().await;
    assert_eq!(
        at.run("create deployment web --image=host --replicas=2")
            .await
            .fine(),
        "deployment.apps/web created\n"
    );
    assert_eq!(
        at.run("create ns other").await.fine(),
        "namespace/other created\n"
    );
    assert_eq!(
        at.run("create secret generic s --from-literal=p=hunter2")
            .await
            .fine(),
        "secret/s created\n"
    );
    assert_eq!(
        at.run("get secret s -o 'jsonpath={.data.p}'").await.fine(),
        "aHVudGVyMg=="
    );
    assert_eq!(
        at.run("create svc clusterip web --tcp=80:8080")
            .await
            .fine(),
        "service/web created\n"
    );
    let told = at.run("create ns other").await.failed();
    assert_eq!(
        told,
        "Error from server (AlreadyExists): namespaces \"other\" already exists\n"
    );
    let told = at
        .run_with(
            "create -f -",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n",
        )
        .await
        .failed();
    assert_eq!(
        told,
        "Error from server (AlreadyExists): error when creating \"STDIN\": namespaces \"other\" already exists\n"
    );
}

#[tokio::test]
async fn bad_manifests_are_refused_before_anything_is_sent() {
    let at = Harness::new().await;
    for (text, told) in [
        ("a: [", "error: error parsing STDIN: "),
        (
            "a: b",
            "error: error validating \"STDIN\": error validating data: [apiVersion not set, kind not set]",
        ),
        (
            "apiVersion: v1\nkind: Pood\nmetadata: {name: x}",
            "error: resource mapping not found for name: \"x\"",
        ),
        ("", "error: the files hold no objects"),
    ] {
        let failed = at.run_with("apply -f -", text).await.failed();
        assert!(failed.starts_with(told), "{failed}");
    }
    let elsewhere = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: a}";
    let failed = at.run_with("apply -n b -f -", elsewhere).await.failed();
    assert!(
        failed.contains("does not match the namespace \"b\""),
        "{failed}"
    );
    let failed = at.run("apply -f /none/web.yaml").await.failed();
    assert_eq!(
        failed,
        "error: the path \"/none/web.yaml\" does not exist\n"
    );
}

#[tokio::test]
async fn deletion_is_told_and_waited_for() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Running"));
    at.fake.store.lock().graceful = true;
    let output = Captured::new();
    let deleting = at.start("delete pod web-1", "", output.clone(), Captured::new());
    let happening = async {
        output.until("deleted").await;
        at.fake.remove("pods", "default", "web-1");
    };
    let (code, ()) = tokio::join!(deleting, happening);
    assert_eq!(
        (code, output.text().as_str()),
        (0, "pod \"web-1\" deleted from default namespace\n")
    );
    at.fake.store.lock().graceful = false;
    let told = at.run("delete pod web-1").await.failed();
    assert_eq!(
        told,
        "Error from server (NotFound): pods \"web-1\" not found\n"
    );
    assert_eq!(
        at.run("delete pod web-1 --ignore-not-found").await.fine(),
        ""
    );
    at.fake
        .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}));
    assert_eq!(
        at.run("delete ns other").await.fine(),
        "namespace \"other\" deleted\n"
    );
    at.fake.put(pod("web-2", "Running"));
    at.fake.put(pod("web-3", "Running"));
    let told = at.run("delete pods --all -o name").await.fine();
    assert_eq!(told, "pod/web-2\npod/web-3\n");
    let told = at.run("delete pods").await.failed();
    assert!(
        told.starts_with("error: resource(s) were provided, but no name was specified"),
        "{told}"
    );
}

#[tokio::test]
async fn forced_deletion_warns() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Running"));
    let done = at.run("delete pod web-1 --force --grace-period=0").await;
    assert_eq!(
        done.output,
        "pod \"web-1\" force deleted from default namespace\n"
    );
    assert!(
        done.errors
            .starts_with("Warning: Immediate deletion does not wait"),
        "{}",
        done.errors
    );
}

#[tokio::test]
async fn replicas_are_scaled_unless_they_are_not_what_was_expected() {
    let at = Harness::new().await;
    at.run_with("apply -f -", WEB).await.fine();
    assert_eq!(
        at.run("scale deploy/web --replicas=5").await.fine(),
        "deployment.apps/web scaled\n"
    );
    assert_eq!(
        at.run("get deploy web -o 'jsonpath={.spec.replicas}'")
            .await
            .fine(),
        "5"
    );
    let told = at
        .run("scale deploy web --replicas=1 --current-replicas=3")
        .await
        .failed();
    assert_eq!(told, "error: Expected replicas to be 3, was 5\n");
}

#[tokio::test]
async fn labels_and_annotations_are_set_and_removed() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Running"));
    assert_eq!(
        at.run("label pod web-1 tier=front").await.fine(),
        "pod/web-1 labeled\n"
    );
    assert_eq!(
        at.run("label pod web-1 tier=front").await.fine(),
        "pod/web-1 not labeled\n"
    );
    let told = at.run("label pod web-1 tier=back").await.failed();
    assert_eq!(
        told,
        "error: 'tier' already has a value (front), and --overwrite is false\n"
    );
    assert_eq!(
        at.run("label pod web-1 tier=back --overwrite").await.fine(),
        "pod/web-1 labeled\n"
    );
    assert_eq!(
        at.run("label pod web-1 --list").await.fine(),
        "app=web\ntier=back\n"
    );
    assert_eq!(
        at.run("label pods -l app=web tier-").await.fine(),
        "pod/web-1 unlabeled\n"
    );
    assert_eq!(
        at.run("annotate pods --all note='a b'").await.fine(),
        "pod/web-1 annotated\n"
    );
}

#[tokio::test]
async fn patches_of_each_language_are_sent() {
    let at = Harness::new().await;
    at.run_with("apply -f -", WEB).await.fine();
    let merge = r#"patch cm settings --type=merge -p '{"data":{"a":null,"c":"d"}}'"#;
    assert_eq!(at.run(merge).await.fine(), "configmap/settings patched\n");
    assert_eq!(
        at.run(merge).await.fine(),
        "configmap/settings patched (no change)\n"
    );
    let json =
        r#"patch cm settings --type=json -p '[{"op":"replace","path":"/data/c","value":"e"}]'"#;
    assert_eq!(at.run(json).await.fine(), "configmap/settings patched\n");
    let strategic = r#"patch deploy web -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"two"}]}}}}' -o 'jsonpath={.spec.template.spec.containers[*].image}'"#;
    assert_eq!(at.run(strategic).await.fine(), "two");
    assert_eq!(
        at.run("set image deploy/web web=three").await.fine(),
        "deployment.apps/web image updated\n"
    );
}

#[tokio::test]
async fn an_edit_sends_what_was_changed() {
    let at = Harness::new().await;
    at.run_with("apply -f -", WEB).await.fine();
    assert_eq!(
        at.run("edit deploy web").await.fine(),
        "deployment.apps/web edited\n"
    );
    assert_eq!(
        at.run("get deploy web -o 'jsonpath={.spec.replicas}'")
            .await
            .fine(),
        "5"
    );
    let done = at.run("edit deploy web").await;
    assert_eq!(
        (done.code, done.errors.as_str()),
        (0, "Edit cancelled, no changes made.\n")
    );
}

#[tokio::test]
async fn a_plan_shows_what_would_change_and_changes_nothing() {
    let at = Harness::new().await;
    let done = at.run_with("plan -f -", WEB).await;
    assert_eq!(done.code, 1);
    assert!(
        done.output
            .contains("configmap/settings would be created\n"),
        "{}",
        done.output
    );
    assert!(
        done.output.ends_with(
            "Plan: 2 to create, 0 to change, 0 unchanged.\n\
             POD     COUNT   CHANGE   NODE\n\
             web-*   1       new      node-1\n\
             Pods: 1 new, 0 removed.\n"
        ),
        "{}",
        done.output
    );
    at.run_with("apply -f -", WEB).await.fine();
    let done = at.run_with("plan -f -", WEB).await;
    assert_eq!(
        (done.code, done.errors.as_str()),
        (0, ""),
        "{}",
        done.output
    );
    let done = at
        .run_with("plan -f -", &WEB.replace("replicas: 3", "replicas: 4"))
        .await;
    assert!(
        done.output.contains("-  replicas: 3\n  +  replicas: 4\n"),
        "{}",
        done.output
    );
    assert_eq!(done.errors, "");
    assert_eq!(
        at.run("get deploy web -o 'jsonpath={.spec.replicas}'")
            .await
            .fine(),
        "3"
    );
}

#[tokio::test]
async fn a_wait_ends_when_the_wish_comes_true() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Pending"));
    let output = Captured::new();
    let waiting = at.start(
        "wait --for=condition=Ready pod/web-1",
        "",
        output.clone(),
        Captured::new(),
    );
    let happening = async {
        at.fake.put(pod("web-1", "Running"));
    };
    let (code, ()) = tokio::join!(waiting, happening);
    assert_eq!(
        (code, output.text().as_str()),
        (0, "pod/web-1 condition met\n")
    );
    let told = at
        .run("wait --for=delete pod/web-1 --timeout=100ms")
        .await
        .failed();
    assert_eq!(
        told,
        "error: timed out waiting for the condition on pods/web-1\n"
    );
    let met = at
        .run("wait pods -l app=web --for=jsonpath='{.status.phase}'=Running")
        .await;
    assert_eq!(
        (met.code, met.output.as_str()),
        (0, "pod/web-1 condition met\n"),
        "{}",
        met.errors
    );
    let told = at.run("wait --for=condition=Ready pod/none").await.failed();
    assert_eq!(
        told,
        "Error from server (NotFound): pods \"none\" not found\n"
    );
    assert_eq!(
        at.run("wait --for=delete pod/none").await.fine(),
        "pod/none condition met\n"
    );
}

fn deployment(updated: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "generation": 1, "uid": "u"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "two"}]}}},
        "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": updated, "availableReplicas": 2}})
}

fn replica_set(revision: u32, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("web-{revision}"), "namespace": "default", "labels": {"app": "web"},
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": true}]},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": "h"}}, "spec": {"containers": [{"name": "web", "image": image}]}}}})
}

#[tokio::test]
async fn a_rollout_is_followed_to_its_end() {
    let at = Harness::new().await;
    at.fake.put(deployment(1));
    let output = Captured::new();
    let following = at.start(
        "rollout status deploy/web",
        "",
        output.clone(),
        Captured::new(),
    );
    let happening = async {
        output.until("1 out of 2").await;
        at.fake.put(deployment(2));
    };
    let (code, ()) = tokio::join!(following, happening);
    assert_eq!(code, 0);
    assert_eq!(
        output.text(),
        "Waiting for deployment \"web\" rollout to finish: 1 out of 2 new replicas have been updated...\n\
         deployment \"web\" successfully rolled out\n"
    );
}

#[tokio::test]
async fn a_rollout_has_a_history_and_can_be_undone() {
    let at = Harness::new().await;
    at.fake.put(deployment(2));
    at.fake.put(replica_set(1, "one"));
    at.fake.put(replica_set(2, "two"));
    assert_eq!(
        at.run("rollout history deploy/web").await.fine(),
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n\n"
    );
    let told = at
        .run("rollout history deploy/web --revision=1")
        .await
        .fine();
    assert!(
        told.contains("with revision #1\nPod Template:\n  Labels:")
            && told.contains("Image:         one"),
        "{told}"
    );
    assert_eq!(
        at.run("rollout undo deploy/web").await.fine(),
        "deployment.apps/web rolled back\n"
    );
    let image = "get deploy web -o 'jsonpath={.spec.template.spec.containers[0].image}'";
    assert_eq!(at.run(image).await.fine(), "one");
    let told = at
        .run("rollout undo deploy/web --to-revision=9")
        .await
        .failed();
    assert_eq!(
        told,
        "error: unable to find specified revision 9 in history\n"
    );
    assert_eq!(
        at.run("rollout restart deploy web").await.fine(),
        "deployment.apps/web restarted\n"
    );
    assert_eq!(
        at.run("rollout pause deploy/web").await.fine(),
        "deployment.apps/web paused\n"
    );
    let told = at.run("rollout pause deploy/web").await.failed();
    assert_eq!(told, "error: deployments.apps \"web\" is already paused\n");
    assert_eq!(
        at.run("rollout resume deploy/web").await.fine(),
        "deployment.apps/web resumed\n"
    );
}

#[tokio::test]
async fn logs_come_from_the_pods_behind_an_object() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Running"));
    assert_eq!(
        at.run("logs web-1").await.fine(),
        "web-1/web one\nweb-1/web two\n"
    );
    at.fake.put(pod("web-2", "Running"));
    at.fake.put(deployment(2));
    let done = at.run("logs deploy/web -f").await;
    assert_eq!(done.errors, "Found 2 pods, using pod/web-1\n");
    let both = at.run("logs -l app=web --prefix -f").await.fine();
    assert!(both.contains("[pod/web-2/web] web-2/web two\n"), "{both}");
    let told = at.run("logs web-1 -c none").await.failed();
    assert_eq!(
        told,
        "error: container none is not valid for pod web-1\nhint: its containers are web\n"
    );
}

#[tokio::test]
async fn a_command_gets_input_and_gives_its_exit_code() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Running"));
    let done = at.run_with("exec -i web-1 -- cat 3", "hello").await;
    assert_eq!((done.code, done.output.as_str()), (3, "hello"));
    assert_eq!(done.errors, "webcommand terminated with exit code 3\n");
    let done = at.run("exec pod/web-1 -- true").await;
    assert_eq!((done.code, done.errors.as_str()), (0, "web"));
}

#[tokio::test]
async fn a_local_port_leads_to_the_pod() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Running"));
    let output = Captured::new();
    let forwarding = at.start(
        "port-forward web-1 :http --address 127.0.0.1",
        "",
        output.clone(),
        Captured::new(),
    );
    let calling = async {
        output.until(" -> 8080\n").await;
        let text = output.text();
        let address = text
            .strip_prefix("Forwarding from ")
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
    };
    tokio::select! {
        code = forwarding => panic!("it ended with {code}"),
        () = calling => {}
    }
    assert!(output.text().contains("Handling connection for "));
    at.fake.put(pod("web-1", "Pending"));
    let told = at.run("port-forward web-1 80").await.failed();
    assert!(told.starts_with(
        "error: unable to forward port because pod is not running. Current status=Pending"
    ));
}

#[tokio::test]
async fn events_are_told_in_order_and_with_the_object() {
    let at = Harness::new().await;
    at.fake.put(pod("web-1", "Running"));
    for (name, time, reason) in [("b", "03:13:05", "Started"), ("a", "03:12:05", "Pulled")] {
        at.fake.put(json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "web-1", "uid": "uid-web-1"}, "type": "Normal", "reason": reason,
            "message": "said", "lastTimestamp": format!("2026-01-02T{time}Z")}));
    }
    assert_eq!(
        at.run("events --for pod/web-1").await.fine(),
        "LAST SEEN   TYPE     REASON    OBJECT      MESSAGE\n\
         2m          Normal   Pulled    pod/web-1   said\n\
         60s         Normal   Started   pod/web-1   said\n"
    );
    let told = at.run("describe pod web").await.fine();
    assert!(told.contains("Name:         web-1\n"), "{told}");
    assert!(told.contains("  Normal  Started  60s"), "{told}");
}

#[tokio::test]
async fn events_are_followed_and_chosen_by_type() {
    let at = Harness::new().await;
    let output = Captured::new();
    let following = at.start(
        "events -w --types=Warning --no-headers",
        "",
        output.clone(),
        Captured::new(),
    );
    let event = |name: &str, kind: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "web-1"}, "type": kind, "reason": name,
            "message": "said", "lastTimestamp": "2026-01-02T03:14:05Z"})
    };
    let happening = async {
        at.fake.put(event("one", "Normal"));
        at.fake.put(event("two", "Warning"));
        output.until("two").await;
    };
    tokio::select! {
        code = following => panic!("it ended with {code}"),
        () = happening => {}
    }
    assert_eq!(output.text(), "0s    Warning   two   pod/web-1   said\n");
}

#[tokio::test]
async fn why_follows_the_owners_and_the_node() {
    let at = Harness::new().await;
    let mut waiting = pod("web-1", "Pending");
    waiting["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "uid-web-1", "controller": true}]);
    at.fake.put(replica_set(1, "one"));
    at.fake.put(deployment(1));
    at.fake.put(waiting);
    let told = at.run("why pod/web-1").await.fine();
    assert!(told.starts_with("Pod default/web-1 is starting"), "{told}");
    assert!(
        told.contains("It belongs to ReplicaSet web-1 of Deployment web."),
        "{told}"
    );
    let told = at.run("why deploy/web").await.fine();
    assert!(
        told.starts_with("Deployment default/web is rolling out: 1 out of 2"),
        "{told}"
    );
}

#[tokio::test]
async fn what_the_server_has_is_listed() {
    let at = Harness::new().await;
    let table = at.run("api-resources --api-group=apps").await.fine();
    assert_eq!(
        table,
        "NAME          SHORTNAMES   APIVERSION   NAMESPACED   KIND\n\
         deployments   deploy       apps/v1      true         Deployment\n\
         replicasets   rs           apps/v1      true         ReplicaSet\n"
    );
    assert_eq!(
        at.run("version").await.fine(),
        "Client Version: v0.1.0\nServer Version: v1.36.0 (pontoon 0.1.0)\n"
    );
    assert!(at.run("completion bash").await.fine().contains("complete"));
}

#[test]
fn the_command_line_is_consistent() {
    <crate::harness::Line as clap::CommandFactory>::command().debug_assert();
}
