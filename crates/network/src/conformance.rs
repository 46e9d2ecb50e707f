//! What every [`Dataplane`] must do, for the tests of each implementation.

use std::net::SocketAddr;
use std::slice::from_ref;

use pontoon_api::name::PodUid;

use crate::dataplane::{
    Dataplane, DataplaneError, Endpoint, HostPort, InternalTraffic, PodAttachment, Protocol,
    ServiceDelta, ServiceKey, ServicePort, ServiceRule,
};
use crate::limits::{ENDPOINTS_PER_PORT_COUNT, PORTS_PER_OBJECT_COUNT};

/// Whether each pod has an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// It has.
    Own,
    /// All share the node's.
    Shared,
}

/// Runs the suite on an empty data plane and leaves it torn down.
///
/// # Panics
/// When the data plane does not conform, saying in what.
pub async fn conforms(plane: &dyn Dataplane, addresses: Addresses) {
    pods(plane, addresses).await;
    services(plane).await;
    limits(plane).await;
    let description = plane.describe();
    assert!(
        !description.kind.is_empty() && !description.gives.is_empty(),
        "it describes itself: {description:?}"
    );
    let last = plane.attach(&pod("last")).await.expect("a pod is attached");
    plane.teardown().await.expect("it is torn down");
    assert!(
        plane.attached().is_empty(),
        "nothing is attached after teardown, {} least",
        last.uid
    );
    plane
        .teardown()
        .await
        .expect("what is torn down may be torn down again");
}

async fn pods(plane: &dyn Dataplane, addresses: Addresses) {
    assert!(
        plane.attached().is_empty(),
        "the suite begins with an empty data plane"
    );
    let a = plane.attach(&pod("a")).await.expect("a pod is attached");
    let b = plane
        .attach(&pod("b"))
        .await
        .expect("another pod is attached");
    assert_eq!(
        addresses == Addresses::Own,
        a.ip != b.ip,
        "addresses are {addresses:?}: {} and {}",
        a.ip,
        b.ip
    );
    let again = plane
        .attach(&pod("a"))
        .await
        .expect("an attached pod may be attached again");
    assert_eq!(again, a, "attaching again changes nothing");
    assert_eq!(
        plane.attached(),
        [a.clone(), b.clone()],
        "attached pods are listed in order of uid"
    );
    plane.detach(&a.uid).await.expect("a pod is detached");
    plane
        .detach(&a.uid)
        .await
        .expect("a detached pod may be detached again");
    plane
        .detach(&PodUid::new("never seen"))
        .await
        .expect("a pod that was never attached may be detached");
    assert_eq!(
        plane.attached(),
        from_ref(&b),
        "a detached pod is not listed"
    );
    plane.detach(&b.uid).await.expect("a pod is detached");
}

async fn services(plane: &dyn Dataplane) {
    let endpoint = SocketAddr::new(plane.node_address(), 8_080);
    let delta = |upsert: &[ServiceRule], remove: &[ServiceKey]| ServiceDelta {
        upsert: upsert.to_vec(),
        remove: remove.to_vec(),
    };
    let web = service(1, &[endpoint]);
    plane
        .replace_services(Vec::new())
        .await
        .expect("the first set may be empty");
    plane
        .apply_services(delta(from_ref(&web), &[]))
        .await
        .expect("a service is added");
    plane
        .apply_services(delta(from_ref(&web), &[]))
        .await
        .expect("the same again is no error");
    plane
        .apply_services(delta(&[service(1, &[])], &[]))
        .await
        .expect("endpoints may go");
    plane
        .apply_services(delta(&[], from_ref(&web.key)))
        .await
        .expect("a service is removed");
    plane
        .apply_services(delta(&[], from_ref(&web.key)))
        .await
        .expect("a service that is gone may be removed");
    let set = vec![service(1, &[endpoint]), service(2, &[endpoint])];
    plane
        .replace_services(set)
        .await
        .expect("all services are replaced");
    plane
        .replace_services(Vec::new())
        .await
        .expect("all services are removed");
}

async fn limits(plane: &dyn Dataplane) {
    let too_many = |result: Result<(), DataplaneError>| {
        assert!(
            matches!(result, Err(DataplaneError::TooMany { .. })),
            "more than the limit is refused: {result:?}"
        );
    };
    let endpoint = SocketAddr::new(plane.node_address(), 8_080);
    let wide = service(1, &vec![endpoint; ENDPOINTS_PER_PORT_COUNT + 1]);
    too_many(plane.replace_services(vec![wide.clone()]).await);
    too_many(
        plane
            .apply_services(ServiceDelta {
                upsert: vec![wide],
                remove: Vec::new(),
            })
            .await,
    );
    let mut hosted = pod("hosted");
    let port = HostPort {
        protocol: Protocol::Tcp,
        host_port: 1,
        container_port: 1,
    };
    hosted.host_ports = vec![port; PORTS_PER_OBJECT_COUNT + 1];
    too_many(plane.attach(&hosted).await.map(drop));
    assert!(
        plane.attached().is_empty(),
        "what was refused changed nothing"
    );
}

fn pod(name: &str) -> PodAttachment {
    PodAttachment {
        uid: PodUid::new(name),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        hostname: name.to_owned(),
        host_ports: Vec::new(),
    }
}

fn service(number: u8, endpoints: &[SocketAddr]) -> ServiceRule {
    let endpoints = endpoints
        .iter()
        .map(|address| Endpoint {
            address: *address,
            local: true,
        })
        .collect();
    ServiceRule {
        key: ServiceKey {
            namespace: "default".to_owned(),
            name: format!("service-{number}"),
        },
        cluster_ips: vec![[10, 96, 1, number].into()],
        ports: vec![ServicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
            endpoints,
        }],
        affinity: None,
        internal_traffic: InternalTraffic::Cluster,
    }
}
