#![allow(clippy::unwrap_used)]
use super::*;
use pontoon_network::cidr::Cidr;
use pontoon_network::fake::FakeDataplane;
use serde_json::json;
use std::net::Ipv4Addr;

fn service(affinity: &str) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.9", "sessionAffinity": affinity,
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}))
    .unwrap()
}

fn slices(ready: bool) -> Vec<EndpointSlice> {
    let endpoint = |uid: &str, ip: &str, node: &str| {
        json!({"addresses": [ip], "nodeName": node, "conditions": {"ready": ready},
            "targetRef": {"kind": "Pod", "uid": uid}})
    };
    let slice = json!({"metadata": {"name": "web-1"}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [endpoint("u1", "10.1.0.5", "n1"), endpoint("u2", "10.1.1.5", "n2")]});
    vec![serde_json::from_value(slice).unwrap()]
}

struct Stage {
    services: Arc<Services>,
    dataplane: Arc<FakeDataplane>,
}

impl Stage {
    fn new() -> Self {
        let pods = Cidr::new(Ipv4Addr::new(10, 1, 0, 0), 24).unwrap();
        Self {
            services: Arc::new(Services::new(NodeName::new("n1"), Arc::new(NoNames))),
            dataplane: Arc::new(FakeDataplane::new(pods, Ipv4Addr::new(10, 96, 0, 10))),
        }
    }

    async fn settle(&self) -> Vec<String> {
        while let Some((all, keys)) = self.services.take() {
            self.services
                .apply(&*self.dataplane, all, &keys)
                .await
                .unwrap();
        }
        let rules = self.dataplane.services();
        let ports = rules.iter().flat_map(|rule| &rule.ports);
        ports
            .flat_map(|port| &port.endpoints)
            .map(|e| format!("{}{}", e.address, if e.local { " local" } else { "" }))
            .collect()
    }
}

#[tokio::test]
async fn a_service_has_a_rule_over_its_ready_endpoints() {
    let stage = Stage::new();
    stage.services.upsert(service("ClientIP"), slices(true));
    assert_eq!(
        stage.settle().await,
        ["10.1.0.5:8080 local", "10.1.1.5:8080"]
    );
    let rule = stage.dataplane.services().remove(0);
    assert_eq!(rule.affinity, Some(Duration::from_secs(10_800)));
    stage.services.remove("shop", "web");
    stage.settle().await;
    assert!(stage.dataplane.services().is_empty());
}

#[tokio::test]
async fn a_local_pod_leaves_and_joins_before_the_cluster_agrees() {
    let stage = Stage::new();
    stage.services.upsert(service("None"), slices(true));
    stage.services.set_ready("u1", false);
    assert_eq!(stage.settle().await, ["10.1.1.5:8080"]);
    stage.services.set_ready("u1", true);
    assert_eq!(stage.settle().await.len(), 2);
    stage.services.pod_removed("u1");
    assert_eq!(stage.settle().await, ["10.1.1.5:8080"]);
    stage.services.upsert(service("None"), slices(true));
    assert_eq!(stage.settle().await, ["10.1.1.5:8080"]);
}

#[tokio::test]
async fn what_a_session_does_not_name_is_gone_when_it_is_synced() {
    let stage = Stage::new();
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = Ledger::open(directory.path()).unwrap();
    stage.services.upsert(service("None"), slices(true));
    stage.services.begin_session();
    stage.services.synced(&ledger);
    assert!(stage.settle().await.is_empty());
    assert!(stage.dataplane.services().is_empty());
}

#[tokio::test]
async fn headless_services_have_no_rule() {
    let stage = Stage::new();
    let mut headless = service("None");
    headless.spec.as_mut().unwrap().cluster_ip = Some("None".to_owned());
    stage.services.upsert(headless, slices(true));
    stage.settle().await;
    assert!(stage.dataplane.services().is_empty());
}

use std::time::Duration;
