//! The controllers and the scheduler at work on a store in memory, with nodes that start every pod at once.
//! What must hold at every revision is checked over the whole history, not only at the end.
#![allow(clippy::unwrap_used, missing_docs)]

use jiff::Timestamp;
use pontoon_api::kind::Part;
use pontoon_api::{Revision, deletion, kinds};
use pontoon_controllers::{Liveness, catalog};
use pontoon_reconcile::Reconciler;
use pontoon_state::{
    Change, Key, Object, Precondition, Replica, Solo, Transaction, View, encode, invariant,
};
use pontoon_world::World;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

struct Heard;

impl Liveness for Heard {
    fn last_heard(&self, _node: &str) -> Option<Timestamp> {
        Some(Timestamp::now())
    }

    fn leading_since(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

struct Cluster {
    replica: Arc<Solo>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// What was wrong at some revision.
    violations: Arc<Mutex<Vec<String>>>,
}

type Rule = Box<dyn Fn(&View) -> Option<String> + Send>;

impl Cluster {
    async fn start(rule: Rule) -> Self {
        let replica = Solo::new();
        let (stop, stopped) = watch::channel(false);
        let violations = Arc::new(Mutex::new(Vec::new()));
        let cluster = Self {
            replica: replica.clone(),
            stop,
            violations: violations.clone(),
            tasks: Vec::new(),
        };
        cluster
            .create(
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}),
            )
            .await;
        let reconciler = Reconciler::new(
            replica.clone(),
            catalog::all(),
            Arc::new(Heard),
            World::real(),
        );
        let tasks = vec![
            tokio::spawn(reconciler.run(stopped)),
            tokio::spawn(nodes(replica.clone())),
            tokio::spawn(observe(replica, rule, violations)),
        ];
        let cluster = Self { tasks, ..cluster };
        for name in ["n1", "n2"] {
            let amounts = json!({"cpu": "8", "memory": "8Gi", "pods": "100"});
            let node = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {},
                "status": {"allocatable": amounts, "capacity": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
            });
            cluster.put(Key::new("nodes", "", name), &node).await;
        }
        cluster
    }

    async fn put(&self, key: Key, object: &Value) -> Revision {
        let transaction = Transaction::default().put(key, encode(object).unwrap());
        self.replica
            .propose(transaction)
            .await
            .unwrap()
            .committed()
            .unwrap()
            .0
    }

    /// Creates an object as the API would.
    async fn create(&self, mut object: Value) -> Key {
        let kind = kinds::by_kind(
            object["apiVersion"].as_str().unwrap(),
            object["kind"].as_str().unwrap(),
        )
        .unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        object["metadata"]["uid"] = json!(World::real().entropy().uuid().to_string());
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        let object = kind
            .create(object)
            .unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"))
            .object;
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let key = Key::new(&kind.descriptor().resource(), &namespace, &name);
        self.put(key.clone(), &object).await;
        key
    }

    /// Changes an object as the API would, again if it was overtaken.
    async fn change(&self, key: &Key, change: impl Fn(&mut Value)) {
        loop {
            let base = self.replica.view().get(key).unwrap().clone();
            let current = base.value().unwrap();
            let kind = kinds::by_kind(
                current["apiVersion"].as_str().unwrap(),
                current["kind"].as_str().unwrap(),
            )
            .unwrap();
            let mut body = current.clone();
            change(&mut body);
            let object = kind.update(body, &current, Part::Main).unwrap().object;
            let transaction = Transaction::default()
                .require(Precondition::Revision(key.clone(), base.revision))
                .put(key.clone(), encode(&object).unwrap());
            if self
                .replica
                .propose(transaction)
                .await
                .unwrap()
                .committed()
                .is_ok()
            {
                return;
            }
        }
    }

    async fn delete(&self, key: &Key, propagation: deletion::Propagation) {
        loop {
            let base = self.replica.view().get(key).unwrap().clone();
            let object = base.value().unwrap();
            let options = deletion::Options {
                grace_seconds: None,
                propagation: Some(propagation),
            };
            let transaction =
                Transaction::default().require(Precondition::Revision(key.clone(), base.revision));
            let transaction = match deletion::decide(
                object["kind"].as_str().unwrap(),
                &object,
                options,
                Timestamp::now(),
            ) {
                deletion::Deletion::Remove => transaction.delete(key.clone()),
                deletion::Deletion::Mark(marked) => {
                    transaction.put(key.clone(), encode(&marked).unwrap())
                }
                deletion::Deletion::Unchanged => return,
            };
            if self
                .replica
                .propose(transaction)
                .await
                .unwrap()
                .committed()
                .is_ok()
            {
                return;
            }
        }
    }

    async fn until(&self, what: &str, found: impl Fn(&View) -> bool) {
        let wait = async {
            loop {
                let view = self.replica.view();
                if found(&view) {
                    return;
                }
                self.replica.reached(view.revision().next()).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .is_err()
        {
            let view = self.replica.view();
            let objects: Vec<String> = view
                .iter()
                .filter(|object| &*object.key.resource != "events")
                .map(|object| format!("{} {}", object.key, String::from_utf8_lossy(&object.json)))
                .collect();
            panic!("never came: {what}\n{}", objects.join("\n"));
        }
    }

    /// Waits until nothing is written any more: a world as it should be is left alone.
    async fn settled(&self) {
        let mut revision = self.replica.view().revision();
        while tokio::time::timeout(
            Duration::from_millis(300),
            self.replica.reached(revision.next()),
        )
        .await
        .is_ok()
        {
            revision = self.replica.view().revision();
        }
    }

    async fn finish(self) {
        self.settled().await;
        assert_eq!(self.violations.lock().unwrap().as_slice(), &[] as &[String]);
        assert_eq!(
            invariant::violations(&self.replica.view()),
            Vec::<String>::new()
        );
        self.stop.send(true).unwrap();
        self.tasks.into_iter().for_each(|task| task.abort());
    }
}

/// Looks at every revision in turn.
async fn observe(replica: Arc<Solo>, rule: Rule, violations: Arc<Mutex<Vec<String>>>) {
    let mut revision = replica.view().revision();
    while let Some(view) = replica.reached(revision.next()).await {
        // A batch may jump over revisions; each jump is a state that was visible.
        revision = view.revision();
        if let Some(violation) = rule(&view) {
            violations
                .lock()
                .unwrap()
                .push(format!("at {revision}: {violation}"));
        }
    }
}

/// Agents that start a bound pod at once and end a deleted one at once.
async fn nodes(replica: Arc<Solo>) {
    let mut watch = replica.watch(Revision(0)).unwrap();
    let mut next_address = 1;
    while let Ok(sets) = watch.next().await {
        for change in sets.iter().flat_map(|set| &set.changes) {
            act(&replica, change, &mut next_address).await;
        }
    }
}

async fn act(replica: &Solo, change: &Change, next_address: &mut u32) {
    let Some(object) = change
        .after
        .as_ref()
        .filter(|object| &*object.key.resource == "pods" && object.meta.node.is_some())
    else {
        return;
    };
    let Some(present) = replica.view().get(&object.key).cloned() else {
        return;
    };
    let transaction = Transaction::default().require(Precondition::Revision(
        present.key.clone(),
        present.revision,
    ));
    let mut pod = present.value().unwrap();
    let transaction = if present.meta.deleting {
        transaction.delete(present.key.clone())
    } else if pod["status"]["phase"] == "Pending" {
        let image = pod["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap()
            .to_owned();
        pod["status"]["phase"] = json!("Running");
        pod["status"]["podIP"] = json!(format!("10.244.0.{next_address}"));
        pod["status"]["podIPs"] = json!([{"ip": format!("10.244.0.{next_address}")}]);
        *next_address += 1;
        if image != "never-ready" {
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            match pod["status"]["conditions"].as_array_mut() {
                Some(conditions) => conditions.push(ready),
                None => pod["status"]["conditions"] = json!([ready]),
            }
        }
        transaction.put(present.key.clone(), encode(&pod).unwrap())
    } else {
        return;
    };
    replica.propose(transaction).await.unwrap();
}

fn deployment(replicas: i64, strategy: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "strategy": strategy, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "v1", "ports": [{"name": "http", "containerPort": 80}]}]},
            },
        },
    })
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn pods(view: &View) -> Vec<Value> {
    view.list("pods", Some("default"))
        .map(|pod| pod.value().unwrap())
        .collect()
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }) && pod["metadata"]["deletionTimestamp"].is_null()
}

fn ready_with(view: &View, wanted: &str) -> usize {
    pods(view)
        .iter()
        .filter(|pod| image(pod) == wanted && is_ready(pod))
        .count()
}

fn web(view: &View) -> Value {
    view.get(&Key::new("deployments.apps", "default", "web"))
        .unwrap()
        .value()
        .unwrap()
}

fn rolled_out(view: &View, image: &str, replicas: usize) -> bool {
    let status = &web(view)["status"];
    ready_with(view, image) == replicas
        && pods(view).len() == replicas
        && status["updatedReplicas"].as_u64().unwrap_or(0) == replicas as u64
        && status["availableReplicas"].as_u64().unwrap_or(0) == replicas as u64
        && status["observedGeneration"] == web(view)["metadata"]["generation"]
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}

fn nothing() -> Rule {
    Box::new(|_| None)
}

fn set_image(object: &mut Value, image: &str) {
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
}

#[tokio::test]
async fn a_rolling_update_keeps_its_bounds_at_every_revision() {
    for (surge, unavailable, most, least) in [
        (json!(1), json!(0), 5, 4),
        (json!(0), json!(1), 4, 3),
        (json!("50%"), json!("50%"), 6, 2),
    ] {
        let begun = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = begun.clone();
        let rule: Rule = Box::new(move |view| {
            if !seen.load(std::sync::atomic::Ordering::SeqCst) {
                return None;
            }
            let pods = pods(view);
            let live = pods
                .iter()
                .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
                .count();
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            (live > most || ready < least).then(|| format!("{live} pods, {ready} ready"))
        });
        let cluster = Cluster::start(rule).await;
        let key = cluster
            .create(deployment(4, rolling(surge, unavailable)))
            .await;
        cluster
            .until("the first version", |view| rolled_out(view, "v1", 4))
            .await;
        begun.store(true, std::sync::atomic::Ordering::SeqCst);
        cluster.change(&key, |object| set_image(object, "v2")).await;
        cluster
            .until("the second version", |view| rolled_out(view, "v2", 4))
            .await;
        cluster
            .until("its condition", |view| {
                condition(&web(view), "Progressing")
                    .is_some_and(|found| found["reason"] == "NewReplicaSetAvailable")
            })
            .await;
        cluster.finish().await;
    }
}

#[tokio::test]
async fn a_rollback_brings_the_old_replica_set_back_at_a_new_revision() {
    let cluster = Cluster::start(nothing()).await;
    let key = cluster
        .create(deployment(2, rolling(json!(1), json!(0))))
        .await;
    cluster.until("v1", |view| rolled_out(view, "v1", 2)).await;
    cluster.settled().await;
    assert_eq!(
        web(&cluster.replica.view())["metadata"]["generation"],
        1,
        "what the controller writes is no new wish"
    );
    cluster.change(&key, |object| set_image(object, "v2")).await;
    cluster.until("v2", |view| rolled_out(view, "v2", 2)).await;
    cluster.settled().await;
    assert_eq!(
        web(&cluster.replica.view())["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    cluster.change(&key, |object| set_image(object, "v1")).await;
    cluster
        .until("v1 again", |view| rolled_out(view, "v1", 2))
        .await;
    cluster.settled().await;
    let view = cluster.replica.view();
    assert_eq!(
        web(&view)["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    assert_eq!(view.count("replicasets.apps", Some("default")), 2);
    cluster.finish().await;
}

#[tokio::test]
async fn recreate_never_runs_two_versions_at_once() {
    let rule: Rule = Box::new(|view| {
        let pods = pods(view);
        let (one, other) = (
            pods.iter().any(|pod| image(pod) == "v1"),
            pods.iter().any(|pod| image(pod) == "v2"),
        );
        (one && other).then(|| "both versions".to_owned())
    });
    let cluster = Cluster::start(rule).await;
    let key = cluster
        .create(deployment(3, json!({"type": "Recreate"})))
        .await;
    cluster.until("v1", |view| rolled_out(view, "v1", 3)).await;
    cluster.change(&key, |object| set_image(object, "v2")).await;
    cluster.until("v2", |view| rolled_out(view, "v2", 3)).await;
    cluster.finish().await;
}

#[tokio::test]
async fn a_deployment_scales_pauses_and_resumes() {
    let cluster = Cluster::start(nothing()).await;
    let key = cluster
        .create(deployment(2, rolling(json!(1), json!(0))))
        .await;
    cluster.until("2", |view| rolled_out(view, "v1", 2)).await;
    cluster
        .change(&key, |object| object["spec"]["replicas"] = json!(7))
        .await;
    cluster.until("7", |view| rolled_out(view, "v1", 7)).await;
    cluster
        .change(&key, |object| object["spec"]["replicas"] = json!(1))
        .await;
    cluster.until("1", |view| rolled_out(view, "v1", 1)).await;
    cluster
        .change(&key, |object| object["spec"]["paused"] = json!(true))
        .await;
    cluster.change(&key, |object| set_image(object, "v2")).await;
    cluster
        .until("paused", |view| {
            condition(&web(view), "Progressing")
                .is_some_and(|found| found["reason"] == "DeploymentPaused")
        })
        .await;
    cluster.settled().await;
    assert_eq!(ready_with(&cluster.replica.view(), "v2"), 0);
    cluster
        .change(&key, |object| object["spec"]["paused"] = json!(false))
        .await;
    cluster.until("v2", |view| rolled_out(view, "v2", 1)).await;
    cluster
        .change(&key, |object| object["spec"]["replicas"] = json!(0))
        .await;
    cluster.until("0", |view| pods(view).is_empty()).await;
    cluster.finish().await;
}

#[tokio::test]
async fn scaling_in_the_middle_of_a_stuck_rollout_is_shared_in_proportion() {
    let cluster = Cluster::start(nothing()).await;
    let key = cluster
        .create(deployment(10, rolling(json!(3), json!(2))))
        .await;
    cluster.until("10", |view| rolled_out(view, "v1", 10)).await;
    cluster
        .change(&key, |object| set_image(object, "never-ready"))
        .await;
    let sizes = |view: &View| -> Vec<u64> {
        let mut sizes: Vec<u64> = view
            .list("replicasets.apps", None)
            .map(|set| set.value().unwrap()["spec"]["replicas"].as_u64().unwrap())
            .collect();
        sizes.sort_unstable();
        sizes
    };
    // The example of Kubernetes' documentation ("Proportional scaling"): 8 + 5, scaled from 10 to 15, is 11 + 7.
    cluster.until("8 + 5", |view| sizes(view) == [5, 8]).await;
    cluster.settled().await;
    cluster
        .change(&key, |object| object["spec"]["replicas"] = json!(15))
        .await;
    cluster.until("11 + 7", |view| sizes(view) == [7, 11]).await;
    cluster.finish().await;
}

#[tokio::test]
async fn a_rollout_that_does_not_move_is_told_after_its_deadline() {
    let cluster = Cluster::start(nothing()).await;
    let key = cluster
        .create(deployment(1, rolling(json!(1), json!(0))))
        .await;
    cluster.until("v1", |view| rolled_out(view, "v1", 1)).await;
    cluster
        .change(&key, |object| {
            set_image(object, "never-ready");
            object["spec"]["progressDeadlineSeconds"] = json!(1);
        })
        .await;
    cluster
        .until("the deadline", |view| {
            condition(&web(view), "Progressing")
                .is_some_and(|found| found["reason"] == "ProgressDeadlineExceeded")
        })
        .await;
    assert_eq!(ready_with(&cluster.replica.view(), "v1"), 1);
    cluster.finish().await;
}

#[tokio::test]
async fn pods_are_adopted_and_released_by_their_labels() {
    let cluster = Cluster::start(nothing()).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "namespace": "default", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "v1"}]},
    });
    let stray = cluster.create(pod).await;
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "x", "namespace": "default"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
        },
    });
    cluster.create(set).await;
    cluster
        .until("one adopted, one made", |view| {
            view.count("pods", Some("default")) == 2
                && view
                    .get(&stray)
                    .is_some_and(|pod| pod.controller().is_some())
        })
        .await;
    cluster
        .change(&stray, |pod| pod["metadata"]["labels"]["app"] = json!("y"))
        .await;
    cluster
        .until("released and replaced", |view| {
            view.count("pods", Some("default")) == 3
                && view
                    .get(&stray)
                    .is_some_and(|pod| pod.controller().is_none())
        })
        .await;
    cluster.finish().await;
}

#[tokio::test]
async fn endpoints_follow_the_pods_and_go_with_their_service() {
    let cluster = Cluster::start(nothing()).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "selector": {"app": "web"}, "ports": [{"name": "h", "port": 80, "targetPort": "http"}]},
    });
    let service = cluster.create(service).await;
    let slices = |view: &View| -> Vec<Value> {
        view.list("endpointslices.discovery.k8s.io", Some("default"))
            .map(|slice| slice.value().unwrap())
            .collect()
    };
    cluster
        .until("an empty slice", |view| slices(view).len() == 1)
        .await;
    let key = cluster
        .create(deployment(3, rolling(json!(1), json!(0))))
        .await;
    let ready = |slice: &Value| {
        slice["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|endpoint| endpoint["conditions"]["ready"] == true)
            .count()
    };
    cluster
        .until("3 endpoints", |view| {
            slices(view).iter().map(ready).sum::<usize>() == 3
        })
        .await;
    let endpoints = Key::new("endpoints", "default", "web");
    cluster
        .until("3 addresses", |view| {
            view.get(&endpoints).is_some_and(|found| {
                found.value().unwrap()["subsets"][0]["addresses"]
                    .as_array()
                    .is_some_and(|list| list.len() == 3)
            })
        })
        .await;
    cluster.settled().await;
    let all = slices(&cluster.replica.view());
    let named = all.iter().find(|slice| ready(slice) == 3).unwrap();
    assert_eq!(
        named["ports"],
        json!([{"name": "h", "port": 80, "protocol": "TCP"}])
    );
    cluster
        .change(&key, |object| object["spec"]["replicas"] = json!(0))
        .await;
    cluster
        .until("none", |view| {
            slices(view).iter().all(|slice| ready(slice) == 0)
        })
        .await;
    cluster
        .delete(&service, deletion::Propagation::Background)
        .await;
    cluster
        .until("gone", |view| {
            slices(view).is_empty() && view.get(&endpoints).is_none()
        })
        .await;
    cluster.finish().await;
}

fn owned(view: &View) -> usize {
    view.count("pods", Some("default")) + view.count("replicasets.apps", Some("default"))
}

#[tokio::test]
async fn what_a_deployment_owned_goes_with_it_or_stays_as_asked() {
    for propagation in [
        deletion::Propagation::Background,
        deletion::Propagation::Foreground,
        deletion::Propagation::Orphan,
    ] {
        let foreground = propagation == deletion::Propagation::Foreground;
        let rule: Rule = Box::new(move |view| {
            let gone = view.count("deployments.apps", None) == 0
                && view.count("replicasets.apps", None) > 0;
            (foreground && gone && view.count("nodes", None) > 1)
                .then(|| "the owner went before its dependents".to_owned())
        });
        let cluster = Cluster::start(rule).await;
        let key = cluster
            .create(deployment(2, rolling(json!(1), json!(0))))
            .await;
        cluster
            .until("running", |view| rolled_out(view, "v1", 2))
            .await;
        cluster.delete(&key, propagation).await;
        cluster
            .until("the deployment gone", |view| view.get(&key).is_none())
            .await;
        if propagation == deletion::Propagation::Orphan {
            cluster.settled().await;
            let view = cluster.replica.view();
            assert_eq!(owned(&view), 3);
            assert!(
                view.list("replicasets.apps", None)
                    .all(|set| set.meta.owners.is_empty())
            );
        } else {
            cluster
                .until("everything gone", |view| owned(view) == 0)
                .await;
        }
        cluster.finish().await;
    }
}

#[tokio::test]
async fn a_namespace_takes_everything_in_it_and_nothing_else() {
    let cluster = Cluster::start(nothing()).await;
    let namespace = cluster
        .create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}))
        .await;
    let mut other = deployment(2, rolling(json!(1), json!(0)));
    other["metadata"]["namespace"] = json!("other");
    cluster.create(other).await;
    cluster
        .create(deployment(1, rolling(json!(1), json!(0))))
        .await;
    cluster
        .until("both run", |view| {
            let running = |namespace| {
                view.list("pods", Some(namespace))
                    .filter(|pod| is_ready(&pod.value().unwrap()))
                    .count()
            };
            running("other") == 2 && running("default") == 1
        })
        .await;
    cluster
        .until("its service account", |view| {
            view.get(&Key::new("serviceaccounts", "other", "default"))
                .is_some()
        })
        .await;
    cluster
        .delete(&namespace, deletion::Propagation::Background)
        .await;
    cluster
        .until("gone", |view| view.get(&namespace).is_none())
        .await;
    let view = cluster.replica.view();
    assert_eq!(view.resources_in("other").len(), 0);
    assert_eq!(view.count("pods", Some("default")), 1);
    cluster.finish().await;
}

#[tokio::test]
async fn a_pod_whose_owner_was_made_again_under_its_name_is_collected() {
    let cluster = Cluster::start(nothing()).await;
    let owner = cluster.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": "default"}})).await;
    let uid = cluster
        .replica
        .view()
        .get(&owner)
        .unwrap()
        .meta
        .uid
        .to_string();
    let dependent = |uid: &str, name: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]},
        })
    };
    let kept = cluster.create(dependent(&uid, "kept")).await;
    let stale = cluster.create(dependent("another-uid", "stale")).await;
    cluster
        .until("the stale one gone", |view| view.get(&stale).is_none())
        .await;
    let unknown = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "unknown", "namespace": "default", "ownerReferences": [{"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u"}]},
    });
    let unknown = cluster.create(unknown).await;
    cluster.settled().await;
    let view = cluster.replica.view();
    let there = |key: &Key| view.get(key).map(|object: &Arc<Object>| object.key.clone());
    assert!(there(&kept).is_some() && there(&unknown).is_some());
    cluster.finish().await;
}
