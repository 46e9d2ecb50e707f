#![allow(clippy::unwrap_used)]
use super::*;
use pontoon_api::Revision;
use pontoon_controllers::{Intent, PlanError};
use pontoon_state::{Change, Key, Leadership, Precondition, Solo, encode};
use serde_json::{Value, json};

/// Wants a Secret beside every ConfigMap; cannot bear one named `poison`.
struct Copier;

impl Controller for Copier {
    fn name(&self) -> &'static str {
        "copier"
    }

    fn wakes(&self, change: &Change, _view: &View, wake: &mut dyn FnMut(Key)) {
        let key = &change.object().key;
        if matches!(&*key.resource, "configmaps" | "secrets") {
            wake(Key::new("configmaps", &key.namespace, &key.name));
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.list("configmaps", None)
            .map(|object| object.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, _context: &Context<'_>) -> Result<Plan, PlanError> {
        assert_ne!(&*key.name, "poison", "a controller's own mistake");
        let secret = Key::new("secrets", &key.namespace, &key.name);
        let mut plan = Plan::default();
        if view.get(key).is_some() && view.get(&secret).is_none() {
            plan.writes.push(Intent::Create(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": &*key.name, "namespace": &*key.namespace},
            })));
        }
        Ok(plan)
    }
}

struct Always;

impl Liveness for Always {
    fn last_heard(&self, _node: &str) -> Option<jiff::Timestamp> {
        Some(jiff::Timestamp::UNIX_EPOCH)
    }

    fn leading_since(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

struct Fixture {
    replica: Arc<Solo>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Fixture {
    async fn start() -> Self {
        let replica = Solo::new();
        let (stop, stopped) = watch::channel(false);
        let controllers: Vec<Box<dyn Controller>> = vec![Box::new(Copier)];
        let reconciler = Reconciler::new(
            replica.clone(),
            controllers,
            Arc::new(Always),
            World::real(),
        );
        let fixture = Self {
            replica,
            stop,
            task: tokio::spawn(reconciler.run(stopped)),
        };
        fixture
            .put(
                "namespaces",
                "",
                "default",
                json!({"apiVersion": "v1", "kind": "Namespace"}),
            )
            .await;
        fixture
    }

    async fn put(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        mut object: Value,
    ) -> Revision {
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(format!("{resource}-{name}"));
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let transaction = Transaction::default().put(
            Key::new(resource, namespace, name),
            encode(&object).unwrap(),
        );
        self.replica
            .propose(transaction)
            .await
            .unwrap()
            .committed()
            .unwrap()
            .0
    }

    async fn config_map(&self, name: &str) -> Revision {
        self.put(
            "configmaps",
            "default",
            name,
            json!({"apiVersion": "v1", "kind": "ConfigMap"}),
        )
        .await
    }

    /// Waits until `found` holds of some view; the test's own deadline ends a wait in vain.
    async fn until(&self, found: impl Fn(&View) -> bool) {
        let wait = async {
            loop {
                let view = self.replica.view();
                if found(&view) {
                    return;
                }
                self.replica.reached(view.revision().next()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("the view never came");
    }

    async fn finish(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
        assert_eq!(
            pontoon_state::invariant::violations(&self.replica.view()),
            Vec::<String>::new()
        );
    }
}

fn secret(name: &str) -> Key {
    Key::new("secrets", "default", name)
}

fn node(name: &str, pods: &str) -> Value {
    let amounts = json!({"cpu": "4", "memory": "4Gi", "pods": pods});
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {},
        "status": {"allocatable": amounts, "capacity": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"}})
}

#[tokio::test]
async fn a_change_is_planned_and_written_and_a_removed_result_is_made_again() {
    let fixture = Fixture::start().await;
    fixture.config_map("a").await;
    fixture.until(|view| view.get(&secret("a")).is_some()).await;
    fixture
        .replica
        .propose(Transaction::default().delete(secret("a")))
        .await
        .unwrap();
    let removed = fixture.replica.view().revision();
    fixture
        .until(|view| {
            view.get(&secret("a"))
                .is_some_and(|found| found.revision > removed)
        })
        .await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_panicking_key_is_parked_and_the_others_go_on() {
    let fixture = Fixture::start().await;
    fixture.config_map("poison").await;
    fixture.config_map("b").await;
    fixture.until(|view| view.get(&secret("b")).is_some()).await;
    assert!(fixture.replica.view().get(&secret("poison")).is_none());
    fixture.finish().await;
}

#[tokio::test]
async fn nothing_is_planned_while_another_leads_and_all_is_made_good_after() {
    let fixture = Fixture::start().await;
    let away = Leadership {
        term: Term(2),
        leader: Some(2),
        ready: false,
    };
    fixture.replica.set_leadership(away);
    // The loop has seen it once it no longer answers in term 1; a write planned in term 1 would be fenced anyway.
    let fenced = Transaction::default()
        .fenced(Term(1))
        .require(Precondition::Absent(secret("x")));
    assert!(matches!(
        fixture.replica.propose(fenced).await.unwrap(),
        Outcome::Refused(Refusal::Fenced { .. })
    ));
    fixture.config_map("c").await;
    assert!(fixture.replica.view().get(&secret("c")).is_none());
    fixture.replica.set_leadership(Leadership {
        term: Term(3),
        leader: Some(1),
        ready: true,
    });
    fixture.until(|view| view.get(&secret("c")).is_some()).await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_pod_is_bound_or_told_why_not_and_bound_when_a_node_comes() {
    let fixture = Fixture::start().await;
    let key = Key::new("pods", "default", "p");
    fixture.put("pods", "default", "p", pod()).await;
    let says_why = |view: &View| {
        view.get(&key)
            .is_some_and(|pod| String::from_utf8_lossy(&pod.json).contains("Unschedulable"))
    };
    fixture.until(says_why).await;
    fixture.put("nodes", "", "n1", node("n1", "1")).await;
    fixture
        .until(|view| {
            view.get(&key)
                .is_some_and(|pod| pod.meta.node.as_deref() == Some("n1"))
        })
        .await;
    fixture.put("pods", "default", "q", pod()).await;
    let second = Key::new("pods", "default", "q");
    fixture
        .until(|view| {
            view.get(&second)
                .is_some_and(|pod| String::from_utf8_lossy(&pod.json).contains("Too many pods"))
        })
        .await;
    fixture
        .replica
        .propose(Transaction::default().delete(key))
        .await
        .unwrap();
    fixture
        .until(|view| view.get(&second).is_some_and(|pod| pod.meta.node.is_some()))
        .await;
    let told = |view: &View, reason: &str| {
        view.list("events", Some("default"))
            .any(|event| String::from_utf8_lossy(&event.json).contains(reason))
    };
    fixture
        .until(|view| told(view, "Scheduled") && told(view, "FailedScheduling"))
        .await;
    fixture.finish().await;
}

/// A store with a node and these pods waiting, made before anything looks at it.
async fn waiting_pods(count: usize) -> Fixture {
    let fixture = Fixture::start().await;
    fixture.stop.send(true).unwrap();
    for index in 0..count {
        fixture
            .put("pods", "default", &format!("p{index}"), pod())
            .await;
    }
    fixture.put("nodes", "", "n", node("n", "1000")).await;
    fixture
}

fn bound(view: &View) -> Vec<Revision> {
    let pods = view.list("pods", None);
    pods.filter(|pod| pod.meta.node.is_some())
        .map(|pod| pod.revision)
        .collect()
}

#[tokio::test]
async fn pods_that_wait_together_are_bound_in_one_transaction() {
    let fixture = waiting_pods(100).await;
    let reconciler = Reconciler::new(
        fixture.replica.clone(),
        Vec::new(),
        Arc::new(Always),
        World::real(),
    );
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(reconciler.run(stopped));
    fixture.until(|view| bound(view).len() == 100).await;
    let mut revisions = bound(&fixture.replica.view());
    revisions.dedup();
    assert_eq!(revisions.len(), 1, "{revisions:?}");
    stop.send(true).unwrap();
    task.await.unwrap();
    fixture.finish().await;
}

#[tokio::test]
async fn a_pod_that_changed_meanwhile_does_not_keep_the_others_from_their_node() {
    let fixture = waiting_pods(3).await;
    let reconciler = Reconciler::new(
        fixture.replica.clone(),
        Vec::new(),
        Arc::new(Always),
        World::real(),
    );
    let events = Events::start(fixture.replica.clone(), World::real());
    let mut leading = Leading::new(&reconciler, &events, Term(1));
    let seen = fixture.replica.view();
    let mut watch = fixture.replica.watch(seen.revision()).unwrap();
    leading.place(&seen);
    let mut changed = pod();
    changed["metadata"] = json!({"annotations": {"since": "then"}});
    fixture.put("pods", "default", "p1", changed).await;
    leading.propose_placements(&seen);
    let refused = leading.proposals.join_next().await.unwrap();
    leading.ended(refused);
    assert_eq!(bound(&fixture.replica.view()), []);
    leading.absorb(&mut watch).unwrap();
    while bound(&fixture.replica.view()).len() < 3 {
        leading.work();
        let proposed = leading.proposals.join_next().await.unwrap();
        leading.ended(proposed);
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_leader_without_timers_sleeps_however_long_it_leads() {
    let replica = Solo::new();
    let reconciler = Reconciler::new(replica.clone(), Vec::new(), Arc::new(Always), World::real());
    let events = Events::start(replica, World::real());
    let leading = Leading::new(&reconciler, &events, Term(1));
    let much_later = Instant::now() + FULL_PASS * 10;
    assert!(leading.due(much_later) > much_later);
}
