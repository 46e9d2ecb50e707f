//! A small controller with a reflector, written with the `kube` crate as it is: what Rust operators are made of.
//!
//! The controller keeps a Secret for every ConfigMap labelled `site`, owns it, puts it back when somebody deletes it, and holds the
//! ConfigMap by a finalizer until it has cleaned up.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use pontoon_tests::{Cluster, PATIENCE};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What holds a site until its controller has cleaned up.
const FINALIZER: &str = "tests.pontoon.dev/site";

/// A client of the kube crate that uses the cluster's kubeconfig as it is.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let config = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
            .await
            .unwrap();
    Client::try_from(config).unwrap()
}

async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn keep_secret(site: Arc<ConfigMap>, client: Client) -> Result<Action, Failure> {
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    let wanted = Secret {
        metadata: ObjectMeta {
            name: Some(site.name_any()),
            owner_references: Some(vec![
                site.controller_owner_ref(&())
                    .ok_or("a stored object has a uid")?,
            ]),
            ..ObjectMeta::default()
        },
        string_data: Some(BTreeMap::from([(
            "greeting".to_owned(),
            site.data.clone().unwrap_or_default()["greeting"].clone(),
        )])),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &wanted).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let patch = json!({"stringData": wanted.string_data});
            secrets
                .patch(
                    &site.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(patch),
                )
                .await?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Action::await_change())
}

async fn reconcile(
    site: Arc<ConfigMap>,
    client: Arc<Client>,
) -> Result<Action, kube::runtime::finalizer::Error<FailureOf>> {
    let sites: Api<ConfigMap> = Api::namespaced((*client).clone(), "default");
    finalizer(&sites, FINALIZER, site, |event| async {
        match event {
            Event::Apply(site) => keep_secret(site, (*client).clone())
                .await
                .map_err(FailureOf),
            Event::Cleanup(site) => {
                let note = json!({"metadata": {"annotations": {"cleaned-up": site.name_any()}}});
                let namespaces: Api<k8s_openapi::api::core::v1::Namespace> =
                    Api::all((*client).clone());
                let noted = namespaces
                    .patch("default", &PatchParams::default(), &Patch::Merge(note))
                    .await;
                noted.map_err(|error| FailureOf(error.into()))?;
                Ok(Action::await_change())
            }
        }
    })
    .await
}

#[derive(Debug)]
struct FailureOf(Failure);

impl std::fmt::Display for FailureOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for FailureOf {}

fn site(name: &str, greeting: &str) -> ConfigMap {
    let labels = BTreeMap::from([("site".to_owned(), "yes".to_owned())]);
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            "greeting".to_owned(),
            greeting.to_owned(),
        )])),
        ..ConfigMap::default()
    }
}

fn greeting(secret: &Secret) -> Option<String> {
    let data = secret.data.as_ref()?.get("greeting")?;
    String::from_utf8(data.0.clone()).ok()
}

async fn controller_story(client: Client) {
    let sites: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let selected = watcher::Config::default().labels("site=yes");
    let controller = Controller::new(sites.clone(), selected)
        .owns(secrets.clone(), watcher::Config::default())
        .run(
            reconcile,
            |_, error, _| {
                eprintln!("{error}");
                Action::requeue(Duration::from_millis(100))
            },
            Arc::new(client.clone()),
        )
        .for_each(|_| async {});
    let controller = tokio::spawn(controller);

    sites
        .create(&PostParams::default(), &site("kube-rs", "hello"))
        .await
        .unwrap();
    let read = async || secrets.get_opt("kube-rs").await.unwrap();
    let made = eventually("the secret is made", read).await;
    assert_eq!(greeting(&made).as_deref(), Some("hello"));
    assert_eq!(made.owner_references()[0].kind, "ConfigMap");

    let change = Patch::Merge(json!({"data": {"greeting": "good day"}}));
    sites
        .patch("kube-rs", &PatchParams::default(), &change)
        .await
        .unwrap();
    eventually("the secret follows", async || {
        read()
            .await
            .filter(|secret| greeting(secret).as_deref() == Some("good day"))
    })
    .await;

    secrets
        .delete("kube-rs", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the secret comes back", async || {
        read().await.filter(|secret| secret.uid() != made.uid())
    })
    .await;

    sites
        .delete("kube-rs", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the site goes after clean-up", async || {
        sites
            .get_opt("kube-rs")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    eventually("what it owned goes", async || {
        read().await.is_none().then_some(())
    })
    .await;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
    assert_eq!(
        namespaces.get("default").await.unwrap().annotations()["cleaned-up"],
        "kube-rs"
    );
    controller.abort();
}

async fn reflector_story(client: Client) {
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let (store, writer) = reflector::store();
    let selected = watcher::Config::default().labels("run=reflected");
    let stream = reflector(writer, watcher(pods.clone(), selected))
        .default_backoff()
        .applied_objects()
        .for_each(|_| async {});
    let reflecting = tokio::spawn(stream);
    store.wait_until_ready().await.unwrap();
    assert!(store.state().is_empty());
    let pod = json!({
        "metadata": {"name": "reflected", "labels": {"run": "reflected"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "host", "command": ["sleep", "infinity"]}]},
    });
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(pod).unwrap(),
    )
    .await
    .unwrap();
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    eventually("the store sees it run", async || {
        store.find(|pod| phase(pod).as_deref() == Some("Running"))
    })
    .await;
    pods.delete("reflected", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the store sees it go", async || {
        store.state().is_empty().then_some(())
    })
    .await;
    reflecting.abort();
}

async fn paging_story(client: Client) {
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    for number in 0..7 {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("page-{number}")),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let mut names = Vec::new();
    let mut parameters = ListParams::default().limit(3);
    loop {
        let page = maps.list(&parameters).await.unwrap();
        names.extend(
            page.items
                .iter()
                .map(ResourceExt::name_any)
                .filter(|name| name.starts_with("page-")),
        );
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(
        names,
        (0..7)
            .map(|number| format!("page-{number}"))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_controller_and_a_reflector_of_the_kube_crate_do_their_work() {
    let cluster = Cluster::start();
    let kubeconfig = cluster.kubeconfig();
    cluster.namespace().inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = client(&kubeconfig).await;
            let version = client.apiserver_version().await.unwrap();
            assert_eq!(
                (version.major.as_str(), version.minor.as_str()),
                ("1", "36")
            );
            controller_story(client.clone()).await;
            reflector_story(client.clone()).await;
            paging_story(client).await;
        });
    });
}
