//! Addresses and ports of services.

use crate::suite::front::{Change, Place};
use crate::suite::stage::{Stage, service};
use serde_json::json;

pub async fn services_get_addresses_and_ports_that_nobody_has(stage: Stage) {
    let services = Place::core("services", "default");
    let kubernetes = stage.front.get(&services, "kubernetes", "").await.unwrap();
    assert_eq!(kubernetes["spec"]["clusterIP"], "10.96.0.1");
    let one = stage.made(&services, service("one", json!({}))).await;
    let other = stage.made(&services, service("other", json!({}))).await;
    let address = one["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.96."), "{address}");
    assert_ne!(one["spec"]["clusterIP"], other["spec"]["clusterIP"]);
    assert_eq!(one["spec"]["clusterIPs"], json!([address]));
    let clash = stage
        .front
        .create(
            &services,
            "",
            "",
            &service("clash", json!({"clusterIP": address})),
            false,
        )
        .await
        .unwrap_err();
    assert_eq!(clash.code(), 422);
    assert!(
        clash.message().contains("provided IP is already allocated"),
        "{}",
        clash.message()
    );
    let outside = service("outside", json!({"clusterIP": "192.0.2.7"}));
    assert_eq!(
        stage
            .front
            .create(&services, "", "", &outside, false)
            .await
            .unwrap_err()
            .code(),
        422
    );
    stage
        .front
        .delete(&services, "one", &json!({}))
        .await
        .unwrap();
    stage
        .made(&services, service("clash", json!({"clusterIP": address})))
        .await;
    let headless = stage
        .made(&services, service("headless", json!({"clusterIP": "None"})))
        .await;
    assert_eq!(headless["spec"]["clusterIP"], "None");

    let ports = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    let taken = stage
        .made(&services, service("ported", ports.clone()))
        .await;
    assert_eq!(taken["spec"]["ports"][0]["nodePort"], 30080);
    let clash = stage
        .front
        .create(&services, "", "", &service("ported2", ports), false)
        .await
        .unwrap_err();
    assert_eq!(clash.code(), 422);
    assert_eq!(
        clash.status["details"]["causes"][0]["field"],
        "spec.ports[0].nodePort"
    );
    let back = Change::Merge(json!({"spec": {"type": "ClusterIP"}}));
    let back = stage
        .front
        .patch(&services, "ported", "", &back)
        .await
        .unwrap();
    assert_eq!(back["spec"]["ports"][0].get("nodePort"), None, "{back}");
    assert_eq!(back["spec"]["clusterIP"], taken["spec"]["clusterIP"]);
    let again = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    stage.made(&services, service("ported3", again)).await;
    let mut blind = service("ported", json!({}));
    blind["spec"]["ports"] = json!([{"port": 81}]);
    let kept = stage
        .front
        .update(&services, "ported", "", &blind)
        .await
        .unwrap();
    assert_eq!(
        kept["spec"]["clusterIP"], taken["spec"]["clusterIP"],
        "what was allocated is kept"
    );
}

pub async fn racing_services_never_share_a_port(stage: Stage) {
    let services = Place::core("services", "default");
    let racing = (0..8).map(|index| {
        let front = &stage.front;
        let services = services.clone();
        async move {
            let body = service(
                &format!("s{index}"),
                json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30500}]}),
            );
            front.create(&services, "", "", &body, false).await.is_ok()
        }
    });
    let won = futures::future::join_all(racing)
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
}
