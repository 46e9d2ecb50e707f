//! Addresses, restarts, and what is left at the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use pontoon_network::conformance::{Addresses, conforms};
use pontoon_network::dataplane::{Dataplane, DataplaneError, HostPort, Protocol, ServiceDelta};

use super::isolation::{
    attach, attachment, call, config, greeting, inside, isolated, output_of, serve_tcp, service,
    start, test_name,
};

/// Everything of the kernel's that a data plane could leave behind.
fn traces(state_dir: &Path) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let state_dir = state_dir.to_str().unwrap();
    vec![
        output_of("ip", &["-o", "link"]),
        output_of("ip", &["-4", "-o", "address"]),
        output_of("ip", &["-4", "route", "show", "table", "all"]),
        output_of("ip", &["-4", "neighbour"]),
        output_of("nft", &["list", "ruleset"]),
        mounts
            .lines()
            .filter(|line| line.contains(state_dir))
            .collect(),
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
    ]
}

#[test]
fn it_conforms() {
    isolated(test_name!(), |dir| async move {
        conforms(&start(&dir).await, Addresses::Own).await;
    });
}

#[test]
fn pods_reach_each_other_and_the_node_and_keep_their_addresses() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let (a, b) = (attach(&plane, "a").await, attach(&plane, "b").await);
        assert_ne!(a.ip, b.ip);
        assert_eq!(attach(&plane, "a").await, a);
        let (at_a, at_b) = (serve_tcp(&a), serve_tcp(&b));
        assert_eq!(inside(&a, || call(at_b)).unwrap(), ("b".to_owned(), a.ip));
        assert_eq!(inside(&b, || call(at_a)).unwrap(), ("a".to_owned(), b.ip));
        assert_eq!(call(at_a).unwrap(), ("a".to_owned(), plane.node_address()));
        let on_node = std::net::TcpListener::bind((plane.node_address(), 0)).unwrap();
        let address = on_node.local_addr().unwrap();
        inside(&a, || {
            TcpStream::connect_timeout(&address, Duration::from_secs(5))
        })
        .unwrap();
        assert_eq!(on_node.accept().unwrap().1.ip(), a.ip);
    });
}

#[test]
fn a_pod_may_listen_on_port_80_and_its_loopback_is_its_own() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let (a, b) = (attach(&plane, "a").await, attach(&plane, "b").await);
        let _a = inside(&a, || std::net::TcpListener::bind("127.0.0.1:80")).unwrap();
        let _b = inside(&b, || std::net::TcpListener::bind("127.0.0.1:80")).unwrap();
    });
}

#[test]
fn a_new_start_finds_pods_and_their_connections_and_rules_as_they_were() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let pod = attach(&plane, "a").await;
        let at_pod = serve_tcp(&pod);
        let delta = ServiceDelta {
            upsert: vec![
                service("web", "10.96.0.20:80", Protocol::Tcp, &[at_pod]),
                service("old", "10.96.0.21:80", Protocol::Tcp, &[at_pod]),
            ],
            remove: Vec::new(),
        };
        plane.apply_services(delta).await.unwrap();
        let mut open = TcpStream::connect("10.96.0.20:80").unwrap();
        greeting(&mut open).unwrap();
        let inode = std::fs::metadata(pod.netns_path.as_ref().unwrap())
            .unwrap()
            .ino();
        drop(plane);

        let plane = start(&dir).await;
        assert_eq!(plane.attached(), vec![pod.clone()]);
        assert_eq!(attach(&plane, "a").await, pod);
        assert_eq!(
            std::fs::metadata(pod.netns_path.as_ref().unwrap())
                .unwrap()
                .ino(),
            inode
        );
        // The rules of the earlier process serve until the first full set is known.
        call("10.96.0.21:80".parse().unwrap()).unwrap();
        let wanted = vec![service("web", "10.96.0.20:80", Protocol::Tcp, &[at_pod])];
        plane.replace_services(wanted).await.unwrap();
        call("10.96.0.20:80".parse().unwrap()).unwrap();
        assert!(call("10.96.0.21:80".parse().unwrap()).is_err());
        assert!(!output_of("nft", &["list", "ruleset"]).contains("default/old"));
        open.write_all(b"alive").unwrap();
        let mut bytes = [0; 5];
        open.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"alive");
    });
}

#[test]
fn what_no_lease_explains_is_swept_at_the_start() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let before = traces(&dir);
        let lost = attach(&plane, "lost").await;
        drop(plane);
        std::fs::remove_file(dir.join("addresses.json")).unwrap();
        let plane = start(&dir).await;
        assert_eq!(traces(&dir), before);
        assert!(!lost.netns_path.unwrap().exists());
        assert!(plane.attached().is_empty());
    });
}

#[test]
fn after_teardown_nothing_is_left() {
    isolated(test_name!(), |dir| async move {
        output_of("ip", &["link", "set", "lo", "up"]);
        let before = traces(&dir);
        let plane = start(&dir).await;
        let pod = attach(&plane, "a").await;
        let mut hosted = attachment("hosted");
        hosted.host_ports = vec![HostPort {
            protocol: Protocol::Tcp,
            host_port: 8_080,
            container_port: 80,
        }];
        plane.attach(&hosted).await.unwrap();
        let mut web = service("web", "10.96.0.20:80", Protocol::Tcp, &[serve_tcp(&pod)]);
        web.affinity = Some(Duration::from_secs(60));
        plane
            .apply_services(ServiceDelta {
                upsert: vec![web],
                remove: Vec::new(),
            })
            .await
            .unwrap();
        assert_ne!(traces(&dir), before);
        plane.teardown().await.unwrap();
        assert_eq!(traces(&dir), before);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        plane.teardown().await.unwrap();
    });
}

#[test]
fn a_detached_pod_leaves_no_trace_and_its_address_is_given_to_another_at_once() {
    isolated(test_name!(), |dir| async move {
        let mut small = config(&dir);
        small.pods = "10.244.0.0/30".parse().unwrap();
        let plane = pontoon_network::linux::LinuxDataplane::start(small)
            .await
            .unwrap();
        let before = traces(&dir);
        let a = attach(&plane, "a").await;
        let full = plane.attach(&attachment("b")).await;
        assert!(
            matches!(
                full,
                Err(DataplaneError::AddressesExhausted { capacity: 1, .. })
            ),
            "{full:?}"
        );
        call(serve_tcp(&a)).unwrap();
        plane.detach(&a.uid).await.unwrap();
        assert_eq!(traces(&dir), before);
        let b = attach(&plane, "b").await;
        assert_eq!(b.ip, a.ip);
        // Nobody remembers the hardware address of the pod that had this address before.
        let started = Instant::now();
        assert_eq!(call(serve_tcp(&b)).unwrap().0, "b");
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "{:?}",
            started.elapsed()
        );
    });
}

#[test]
fn a_port_of_the_node_leads_to_the_pod_that_asked_for_it() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let other = attach(&plane, "other").await;
        let pod = attach(&plane, "pod").await;
        let port = serve_tcp(&pod).port();
        plane.detach(&pod.uid).await.unwrap();
        let mut wish = attachment("pod");
        wish.host_ports = vec![HostPort {
            protocol: Protocol::Tcp,
            host_port: 9_090,
            container_port: port,
        }];
        let pod = plane.attach(&wish).await.unwrap();
        let server = inside(&pod, || {
            std::net::TcpListener::bind(("0.0.0.0", port)).unwrap()
        });
        let front = (plane.node_address(), 9_090).into();
        inside(&other, || {
            TcpStream::connect_timeout(&front, Duration::from_secs(5))
        })
        .unwrap();
        assert_eq!(server.accept().unwrap().1.ip(), other.ip);
        TcpStream::connect_timeout(&front, Duration::from_secs(5)).unwrap();
    });
}

#[test]
fn two_instances_in_one_network_do_not_meet() {
    isolated(test_name!(), |dir| async move {
        output_of("ip", &["link", "set", "lo", "up"]);
        let before = traces(&dir);
        let other_dir = dir.join("other");
        std::fs::create_dir(&other_dir).unwrap();
        let mut second = config(&other_dir);
        second.instance = "second".to_owned();
        second.pods = "10.245.0.0/24".parse().unwrap();
        second.cluster = "10.245.0.0/16".parse().unwrap();
        second.services = "10.97.0.0/16".parse().unwrap();
        second.dns_address = "10.97.0.10".parse().unwrap();
        let first = start(&dir.join("first")).await;
        let second = pontoon_network::linux::LinuxDataplane::start(second)
            .await
            .unwrap();
        let (a, b) = (attach(&first, "pod").await, attach(&second, "pod").await);
        let upsert = |name, address, pod| ServiceDelta {
            upsert: vec![service(name, address, Protocol::Tcp, &[serve_tcp(pod)])],
            remove: Vec::new(),
        };
        first
            .apply_services(upsert("web", "10.96.0.20:80", &a))
            .await
            .unwrap();
        second
            .apply_services(upsert("web", "10.97.0.20:80", &b))
            .await
            .unwrap();
        first.teardown().await.unwrap();
        // The second instance relies on forwarding, which the first had turned on.
        let address = "10.97.0.20:80".parse().unwrap();
        assert_eq!(
            inside(&b, || call(address)).unwrap().1,
            second.node_address()
        );
        assert_eq!(call(address).unwrap().0, "pod");
        let forwards = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        assert_eq!(forwards.trim(), "1");
        second.teardown().await.unwrap();
        let after = traces(&dir);
        assert_eq!(after[1..6], before[1..6]);
    });
}

#[test]
fn attaching_a_pod_takes_milliseconds() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let mut took = Vec::new();
        for index in 0..30 {
            let started = Instant::now();
            attach(&plane, &format!("pod-{index}")).await;
            took.push(started.elapsed());
        }
        let mut left = Vec::new();
        let half: Vec<_> = plane.attached().into_iter().skip(15).collect();
        for pod in half {
            let started = Instant::now();
            plane.detach(&pod.uid).await.unwrap();
            left.push(started.elapsed());
        }
        took.sort();
        left.sort();
        eprintln!(
            "attach: p50 {:?}, p97 {:?}; detach: p50 {:?}, p97 {:?}",
            took[15], took[28], left[7], left[14]
        );
        let started = Instant::now();
        let many: Vec<_> = (0..30)
            .map(|index| attachment(&format!("many-{index}")))
            .collect();
        let results = futures::future::join_all(many.iter().map(|pod| plane.attach(pod))).await;
        eprintln!("30 pods attached side by side: {:?}", started.elapsed());
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let started = Instant::now();
        let results =
            futures::future::join_all(many.iter().map(|pod| plane.detach(&pod.uid))).await;
        eprintln!("30 pods detached side by side: {:?}", started.elapsed());
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let started = Instant::now();
        plane.teardown().await.unwrap();
        eprintln!("teardown of 15 pods: {:?}", started.elapsed());
        assert!(took[15] < Duration::from_millis(200), "{took:?}");
    });
}
