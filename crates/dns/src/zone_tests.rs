#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn zone() -> Zone {
    Zone::new(&Origin {
        domain: "cluster.local".to_owned(),
        server: "10.96.0.10".parse().unwrap(),
        networks: vec![
            ("10.96.0.0".parse().unwrap(), 16),
            ("10.244.0.0".parse().unwrap(), 16),
        ],
    })
    .unwrap()
}

fn port(name: &str, protocol: &str, number: u16) -> Port {
    Port {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        number,
    }
}

fn cluster(name: &str, ip: &str) -> Entry {
    Entry {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        address: Address::Cluster(vec![ip.parse().unwrap()]),
        ports: vec![port("http", "tcp", 80), port("dns", "udp", 53)],
        endpoints: Vec::new(),
    }
}

fn headless(endpoints: &[(&str, Option<&str>)]) -> Entry {
    let endpoint = |(ip, hostname): &(&str, Option<&str>)| Endpoint {
        addresses: vec![ip.parse().unwrap()],
        hostname: hostname.map(str::to_owned),
        ports: vec![port("http", "tcp", 8_080)],
    };
    Entry {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        address: Address::Headless,
        ports: vec![port("http", "tcp", 80)],
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

/// What is found, in the words of a zone file without owner, class and TTL.
fn find(zone: &Zone, name: &str, kind: RecordType) -> String {
    let name = LowerName::new(&Name::from_ascii(name).unwrap());
    match zone.find(&name, kind) {
        Found::Records(set) => {
            assert!(set.records.iter().all(|record| record.ttl == TTL_SECONDS));
            assert!(
                set.records
                    .iter()
                    .all(|record| LowerName::new(&record.name) == name)
            );
            let mut texts: Vec<_> = set
                .records
                .iter()
                .map(|record| record.data.to_string())
                .collect();
            texts.sort();
            texts.join(" | ")
        }
        Found::Alias(_, target) => format!("alias {target}"),
        Found::NoData => "no data".to_owned(),
        Found::NoName => "no name".to_owned(),
        Found::Elsewhere => "elsewhere".to_owned(),
    }
}

#[test]
fn a_service_with_an_address_has_a_srv_and_ptr_records() {
    let mut zone = zone();
    zone.upsert(&cluster("web", "10.96.0.20")).unwrap();
    let name = "web.shop.svc.cluster.local.";
    assert_eq!(find(&zone, name, RecordType::A), "10.96.0.20");
    assert_eq!(find(&zone, name, RecordType::AAAA), "no data");
    assert_eq!(
        find(&zone, &format!("_http._tcp.{name}"), RecordType::SRV),
        format!("0 100 80 {name}")
    );
    assert_eq!(
        find(&zone, &format!("_dns._udp.{name}"), RecordType::SRV),
        format!("0 100 53 {name}")
    );
    assert_eq!(
        find(&zone, &format!("_http._udp.{name}"), RecordType::SRV),
        "no name"
    );
    assert_eq!(
        find(&zone, &format!("_tcp.{name}"), RecordType::SRV),
        "no data"
    );
    assert_eq!(
        find(&zone, "20.0.96.10.in-addr.arpa.", RecordType::PTR),
        name
    );
    assert_eq!(
        find(&zone, "20.0.96.10.in-addr.arpa.", RecordType::A),
        "no data"
    );
}

#[test]
fn names_are_compared_without_regard_to_case() {
    let mut zone = zone();
    zone.upsert(&cluster("web", "10.96.0.20")).unwrap();
    assert_eq!(
        find(&zone, "WEB.Shop.SVC.cluster.LOCAL.", RecordType::A),
        "10.96.0.20"
    );
}

#[test]
fn a_headless_service_stands_for_its_ready_endpoints() {
    let mut zone = zone();
    zone.upsert(&headless(&[
        ("10.244.0.2", Some("db-0")),
        ("10.244.0.3", None),
    ]))
    .unwrap();
    let name = "db.shop.svc.cluster.local.";
    assert_eq!(find(&zone, name, RecordType::A), "10.244.0.2 | 10.244.0.3");
    assert_eq!(
        find(&zone, &format!("db-0.{name}"), RecordType::A),
        "10.244.0.2"
    );
    assert_eq!(
        find(&zone, &format!("10-244-0-3.{name}"), RecordType::A),
        "10.244.0.3"
    );
    assert_eq!(
        find(&zone, &format!("db-1.{name}"), RecordType::A),
        "no name"
    );
    assert_eq!(
        find(&zone, &format!("_http._tcp.{name}"), RecordType::SRV),
        format!("0 100 8080 10-244-0-3.{name} | 0 100 8080 db-0.{name}")
    );
    assert_eq!(
        find(&zone, "2.0.244.10.in-addr.arpa.", RecordType::PTR),
        format!("db-0.{name}")
    );
}

#[test]
fn srv_answers_carry_their_targets_addresses() {
    let mut zone = zone();
    zone.upsert(&headless(&[("10.244.0.2", Some("db-0"))]))
        .unwrap();
    let name = Name::from_ascii("_http._tcp.db.shop.svc.cluster.local.").unwrap();
    let Found::Records(set) = zone.find(&LowerName::new(&name), RecordType::SRV) else {
        panic!("no records")
    };
    assert_eq!(
        set.additionals[0].name.to_string(),
        "db-0.db.shop.svc.cluster.local."
    );
    assert_eq!(set.additionals[0].data.to_string(), "10.244.0.2");
}

#[test]
fn a_headless_service_without_ready_endpoints_does_not_exist() {
    let mut zone = zone();
    zone.upsert(&headless(&[("10.244.0.2", None)])).unwrap();
    zone.upsert(&headless(&[])).unwrap();
    assert_eq!(
        find(&zone, "db.shop.svc.cluster.local.", RecordType::A),
        "no name"
    );
    assert_eq!(
        find(&zone, "2.0.244.10.in-addr.arpa.", RecordType::PTR),
        "no name"
    );
    assert_eq!(
        find(&zone, "shop.svc.cluster.local.", RecordType::A),
        "no name"
    );
}

#[test]
fn two_endpoints_of_one_host_name_share_it() {
    let mut zone = zone();
    zone.upsert(&headless(&[
        ("10.244.0.2", Some("db")),
        ("10.244.0.3", Some("db")),
    ]))
    .unwrap();
    assert_eq!(
        find(&zone, "db.db.shop.svc.cluster.local.", RecordType::A),
        "10.244.0.2 | 10.244.0.3"
    );
}

#[test]
fn an_external_name_is_an_alias_for_every_type() {
    let mut zone = zone();
    let mut entry = cluster("out", "10.96.0.20");
    entry.address = Address::External("Www.Example.com".to_owned());
    zone.upsert(&entry).unwrap();
    let name = "out.shop.svc.cluster.local.";
    assert_eq!(find(&zone, name, RecordType::A), "alias Www.Example.com.");
    assert_eq!(find(&zone, name, RecordType::SRV), "alias Www.Example.com.");
    assert_eq!(find(&zone, name, RecordType::CNAME), "Www.Example.com.");
    entry.address = Address::External("not a..name".to_owned());
    assert!(zone.upsert(&entry).is_err());
    assert_eq!(find(&zone, name, RecordType::A), "no name");
}

#[test]
fn names_between_existing_ones_exist() {
    let mut zone = zone();
    zone.upsert(&cluster("web", "10.96.0.20")).unwrap();
    for name in [
        "cluster.local.",
        "svc.cluster.local.",
        "shop.svc.cluster.local.",
        "pod.cluster.local.",
    ] {
        assert_eq!(find(&zone, name, RecordType::A), "no data", "{name}");
    }
    for name in [
        "x.cluster.local.",
        "x.svc.cluster.local.",
        "x.shop.svc.cluster.local.",
        "a.b.c.d.svc.cluster.local.",
    ] {
        assert_eq!(find(&zone, name, RecordType::A), "no name", "{name}");
    }
    zone.remove("shop", "web");
    assert_eq!(
        find(&zone, "shop.svc.cluster.local.", RecordType::A),
        "no name"
    );
}

#[test]
fn the_zone_says_which_schema_it_follows_and_who_serves_it() {
    let zone = zone();
    assert_eq!(
        find(&zone, "dns-version.cluster.local.", RecordType::TXT),
        "1.1.0"
    );
    assert_eq!(
        find(&zone, "cluster.local.", RecordType::NS),
        "ns.dns.cluster.local."
    );
    assert_eq!(
        find(&zone, "ns.dns.cluster.local.", RecordType::A),
        "10.96.0.10"
    );
    assert!(
        find(&zone, "cluster.local.", RecordType::SOA)
            .starts_with("ns.dns.cluster.local. hostmaster.")
    );
}

#[test]
fn a_pods_name_spells_its_address() {
    let zone = zone();
    assert_eq!(
        find(&zone, "10-244-0-7.shop.pod.cluster.local.", RecordType::A),
        "10.244.0.7"
    );
    assert_eq!(
        find(
            &zone,
            "10-244-0-7.shop.pod.cluster.local.",
            RecordType::AAAA
        ),
        "no data"
    );
    assert_eq!(
        find(&zone, "fd00--7.shop.pod.cluster.local.", RecordType::AAAA),
        "fd00::7"
    );
    assert_eq!(
        find(&zone, "shop.pod.cluster.local.", RecordType::A),
        "no data"
    );
    assert_eq!(
        find(&zone, "10-244-0-700.shop.pod.cluster.local.", RecordType::A),
        "no name"
    );
    assert_eq!(
        find(&zone, "x.10-244-0-7.shop.pod.cluster.local.", RecordType::A),
        "no name"
    );
}

#[test]
fn names_of_others_are_elsewhere_and_our_own_addresses_are_not() {
    let zone = zone();
    assert_eq!(find(&zone, "example.com.", RecordType::A), "elsewhere");
    assert_eq!(find(&zone, "notcluster.local.", RecordType::A), "elsewhere");
    assert_eq!(
        find(&zone, "8.8.8.8.in-addr.arpa.", RecordType::PTR),
        "elsewhere"
    );
    assert_eq!(
        find(&zone, "9.9.96.10.in-addr.arpa.", RecordType::PTR),
        "no name"
    );
}

#[test]
fn a_bad_domain_is_refused() {
    for domain in ["", ".", "a..b", &"x".repeat(64)] {
        let origin = Origin {
            domain: domain.to_owned(),
            server: "10.96.0.10".parse().unwrap(),
            networks: vec![],
        };
        assert!(Zone::new(&origin).is_err(), "{domain:?}");
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let ip = (0u8..4).prop_map(|last| IpAddr::from([10, 244, 0, last]));
    let endpoint = (ip.clone(), proptest::option::of("[ab]")).prop_map(|(ip, hostname)| Endpoint {
        addresses: vec![ip],
        hostname,
        ports: vec![port("p", "tcp", 1)],
    });
    let address = prop_oneof![
        Just(Address::Headless),
        ip.prop_map(|ip| Address::Cluster(vec![ip])),
        Just(Address::External("x.example".to_owned())),
    ];
    (
        "[mn]",
        "[st]",
        address,
        proptest::collection::vec(endpoint, 0..3),
    )
        .prop_map(|(namespace, name, address, endpoints)| Entry {
            namespace,
            name,
            address,
            ports: vec![port("p", "udp", 2)],
            endpoints,
        })
}

proptest! {
    /// Whatever came before, a zone is what its present services make it.
    #[test]
    fn the_order_of_changes_leaves_no_trace(entries in proptest::collection::vec((any_entry(), any::<bool>()), 0..12)) {
        let mut changed = zone();
        let mut last = BTreeMap::new();
        for (entry, keep) in &entries {
            let key = (entry.namespace.clone(), entry.name.clone());
            if *keep {
                changed.upsert(entry).unwrap();
                last.insert(key, entry.clone());
            } else {
                changed.remove(&entry.namespace, &entry.name);
                last.remove(&key);
            }
        }
        let mut fresh = zone();
        for entry in last.values() {
            fresh.upsert(entry).unwrap();
        }
        prop_assert_eq!(changed.nodes.len(), fresh.nodes.len());
        prop_assert_eq!(&changed.namespaces, &fresh.namespaces);
        prop_assert_eq!(&changed.reverse, &fresh.reverse);
        for (name, node) in &fresh.nodes {
            prop_assert_eq!(&changed.nodes[name].sets, &node.sets);
        }
    }
}
