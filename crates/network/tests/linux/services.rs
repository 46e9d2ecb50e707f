//! Service addresses: spread, refusal, affinity, hairpin, UDP, node ports, DNS.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use pontoon_network::dataplane::{Dataplane, Protocol, ServiceDelta, ServiceRule};
use pontoon_network::linux::LinuxDataplane;

use super::isolation::{
    ask, attach, call, inside, isolated, key, output_of, serve_tcp, serve_udp, service, start,
    test_name, udp_to,
};

/// What "at once" means: far below any retransmission (one second), far above a loaded machine's delays.
const PROMPT: Duration = Duration::from_millis(900);

async fn upsert(plane: &LinuxDataplane, services: &[ServiceRule]) {
    plane
        .apply_services(ServiceDelta {
            upsert: services.to_vec(),
            remove: Vec::new(),
        })
        .await
        .unwrap();
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_service_spreads_over_its_endpoints_from_pods_and_from_the_node() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let (a, b, c) = (
            attach(&plane, "a").await,
            attach(&plane, "b").await,
            attach(&plane, "c").await,
        );
        let endpoints = [serve_tcp(&a), serve_tcp(&b), serve_tcp(&c)];
        upsert(
            &plane,
            &[service("web", "10.96.0.20:80", Protocol::Tcp, &endpoints)],
        )
        .await;
        let all = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
        // Three endpoints, each as likely: that one is missed by 60 calls has a chance under 10^-10.
        let from_node: BTreeSet<_> = (0..60)
            .map(|_| call(at("10.96.0.20:80")).unwrap().0)
            .collect();
        assert_eq!(from_node, all);
        let from_pod: BTreeSet<_> = inside(&a, || {
            (0..60)
                .map(|_| call(at("10.96.0.20:80")).unwrap().0)
                .collect()
        });
        assert_eq!(from_pod, all);
    });
}

#[test]
fn a_pod_reaches_itself_through_its_service_and_others_see_its_own_address() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let (a, b) = (attach(&plane, "a").await, attach(&plane, "b").await);
        upsert(
            &plane,
            &[service(
                "web",
                "10.96.0.20:80",
                Protocol::Tcp,
                &[serve_tcp(&a)],
            )],
        )
        .await;
        let (name, seen) = inside(&a, || call(at("10.96.0.20:80"))).unwrap();
        assert_eq!((name.as_str(), seen), ("a", plane.node_address()));
        assert_eq!(
            inside(&b, || call(at("10.96.0.20:80"))).unwrap(),
            ("a".to_owned(), b.ip)
        );
    });
}

#[test]
fn a_service_may_stand_for_something_on_the_node_itself() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let pod = attach(&plane, "a").await;
        let listener = std::net::TcpListener::bind((plane.node_address(), 0)).unwrap();
        let server = listener.local_addr().unwrap();
        upsert(
            &plane,
            &[service(
                "kubernetes",
                "10.96.0.1:443",
                Protocol::Tcp,
                &[server],
            )],
        )
        .await;
        let connect =
            || std::net::TcpStream::connect_timeout(&at("10.96.0.1:443"), PROMPT).unwrap();
        let _held = inside(&pod, connect);
        assert_eq!(listener.accept().unwrap().1.ip(), pod.ip);
        let _held = connect();
        assert_eq!(listener.accept().unwrap().1.ip(), plane.node_address());
    });
}

#[test]
fn a_service_without_endpoints_refuses_at_once_on_tcp_and_udp() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let pod = attach(&plane, "a").await;
        let web = at("10.96.0.20:80");
        upsert(
            &plane,
            &[service(
                "web",
                "10.96.0.20:80",
                Protocol::Tcp,
                &[serve_tcp(&pod)],
            )],
        )
        .await;
        // A hairpin first: an ICMP redirect would use up the budget of refusals.
        inside(&pod, || call(web)).unwrap();
        upsert(
            &plane,
            &[service("web", "10.96.0.20:80", Protocol::Tcp, &[])],
        )
        .await;
        // A listener on all of the node's addresses must not be taken for the service.
        let _bystander = std::net::TcpListener::bind("0.0.0.0:80");
        let refused = || {
            let started = Instant::now();
            let tcp = call(web).map_err(|error| error.kind());
            let udp = ask(&udp_to(at("10.96.0.30:99"))).map_err(|error| error.kind());
            (tcp, udp, started.elapsed() < PROMPT)
        };
        let expected = (
            Err(ErrorKind::ConnectionRefused),
            Err(ErrorKind::ConnectionRefused),
            true,
        );
        assert_eq!(inside(&pod, refused), expected);
        assert_eq!(refused(), expected);
    });
}

#[test]
fn a_client_with_affinity_stays_with_its_endpoint_while_others_come_and_go() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let pods = [
            attach(&plane, "a").await,
            attach(&plane, "b").await,
            attach(&plane, "c").await,
        ];
        let endpoints = pods.each_ref().map(serve_tcp);
        let mut web = service("web", "10.96.0.20:80", Protocol::Tcp, &endpoints);
        web.affinity = Some(Duration::from_secs(10_800));
        upsert(&plane, &[web.clone()]).await;
        let address = at("10.96.0.20:80");
        let (mine, _) = call(address).unwrap();
        for _ in 0..20 {
            assert_eq!(call(address).unwrap().0, mine);
        }
        let other = pods.iter().position(|pod| pod.name != mine).unwrap();
        web.ports[0].endpoints.remove(other);
        upsert(&plane, &[web.clone()]).await;
        for _ in 0..20 {
            assert_eq!(call(address).unwrap().0, mine);
        }
        let place = endpoints[pods.iter().position(|pod| pod.name == mine).unwrap()];
        web.ports[0]
            .endpoints
            .retain(|endpoint| endpoint.address != place);
        upsert(&plane, &[web]).await;
        assert_ne!(call(address).unwrap().0, mine);
    });
}

#[test]
fn affinity_ends_after_its_timeout() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let pods = [attach(&plane, "a").await, attach(&plane, "b").await];
        let mut web = service(
            "web",
            "10.96.0.20:80",
            Protocol::Tcp,
            &pods.each_ref().map(serve_tcp),
        );
        web.affinity = Some(Duration::from_secs(1));
        upsert(&plane, &[web]).await;
        let (first, _) = call(at("10.96.0.20:80")).unwrap();
        // Each call waits until the kernel has forgotten the client; with two endpoints, 20 in a row are the same once in 10^6.
        let forgotten = || !output_of("nft", &["list", "ruleset"]).contains("expires");
        let moved = (0..20).any(|_| {
            let started = Instant::now();
            while !forgotten() {
                assert!(
                    started.elapsed() < Duration::from_secs(20),
                    "the kernel forgets after its timeout"
                );
            }
            call(at("10.96.0.20:80")).unwrap().0 != first
        });
        assert!(moved);
    });
}

#[test]
fn a_udp_client_moves_on_when_its_endpoint_goes() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let (a, b, client) = (
            attach(&plane, "a").await,
            attach(&plane, "b").await,
            attach(&plane, "client").await,
        );
        let (at_a, at_b) = (serve_udp(&a), serve_udp(&b));
        upsert(
            &plane,
            &[service("dns", "10.96.0.30:53", Protocol::Udp, &[at_a])],
        )
        .await;
        let from_pod = inside(&client, || udp_to(at("10.96.0.30:53")));
        let from_node = udp_to(at("10.96.0.30:53"));
        assert_eq!(
            (ask(&from_pod).unwrap(), ask(&from_node).unwrap()),
            ("a".to_owned(), "a".to_owned())
        );
        upsert(
            &plane,
            &[service("dns", "10.96.0.30:53", Protocol::Udp, &[at_b])],
        )
        .await;
        assert_eq!(
            (ask(&from_pod).unwrap(), ask(&from_node).unwrap()),
            ("b".to_owned(), "b".to_owned())
        );
    });
}

#[test]
fn the_dns_address_belongs_to_the_node_whatever_the_services_say() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let pod = attach(&plane, "a").await;
        let dns = (plane.dns_address(), 53).into();
        upsert(
            &plane,
            &[service(
                "kube-dns",
                "10.96.0.10:53",
                Protocol::Udp,
                &[serve_udp(&pod)],
            )],
        )
        .await;
        let server = UdpSocket::bind(dns).unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 16];
            while let Ok((_, peer)) = server.recv_from(&mut bytes) {
                let _ = server.send_to(b"node", peer);
            }
        });
        assert_eq!(inside(&pod, || ask(&udp_to(dns))).unwrap(), "node");
        assert_eq!(ask(&udp_to(dns)).unwrap(), "node");
    });
}

#[test]
fn a_node_port_is_reached_from_a_pod_by_the_nodes_address() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let (a, b) = (attach(&plane, "a").await, attach(&plane, "b").await);
        let mut web = service("web", "10.96.0.20:80", Protocol::Tcp, &[serve_tcp(&a)]);
        web.ports[0].node_port = Some(30_080);
        upsert(&plane, &[web]).await;
        let front = (plane.node_address(), 30_080).into();
        assert_eq!(
            inside(&b, || call(front)).unwrap(),
            ("a".to_owned(), plane.node_address())
        );
        assert_eq!(call(front).unwrap().0, "a");
    });
}

#[test]
fn rules_that_somebody_flushed_are_written_anew_by_the_next_change() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let pod = attach(&plane, "a").await;
        let server = serve_tcp(&pod);
        upsert(
            &plane,
            &[service("web", "10.96.0.20:80", Protocol::Tcp, &[server])],
        )
        .await;
        output_of("nft", &["flush", "ruleset"]);
        upsert(
            &plane,
            &[service("more", "10.96.0.21:80", Protocol::Tcp, &[server])],
        )
        .await;
        call(at("10.96.0.20:80")).unwrap();
        call(at("10.96.0.21:80")).unwrap();
    });
}

#[test]
fn an_endpoint_leaves_one_of_a_thousand_services_within_100_ms() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let pods = [attach(&plane, "a").await, attach(&plane, "b").await];
        let endpoints = pods.each_ref().map(serve_tcp);
        let many: Vec<_> = (0..1_000)
            .map(|index| {
                let address = format!("10.96.{}.{}:80", 1 + index / 250, 1 + index % 250);
                service(&format!("web-{index}"), &address, Protocol::Tcp, &endpoints)
            })
            .collect();
        let started = Instant::now();
        plane.replace_services(many.clone()).await.unwrap();
        eprintln!("1,000 services loaded in {:?}", started.elapsed());
        let mut took = Vec::new();
        for round in 0..5 {
            let mut one = many[500].clone();
            one.ports[0].endpoints.remove(round % 2);
            let started = Instant::now();
            upsert(&plane, &[one]).await;
            took.push(started.elapsed());
            upsert(&plane, &[many[500].clone()]).await;
        }
        took.sort();
        eprintln!("one endpoint removed in {took:?}");
        // The best of five: the others may have waited for the machine.
        assert!(took[0] < Duration::from_millis(100), "{took:?}");
        plane
            .apply_services(ServiceDelta {
                upsert: Vec::new(),
                remove: vec![key("web-500")],
            })
            .await
            .unwrap();
        assert!(call(at("10.96.3.1:80")).is_err());
    });
}
