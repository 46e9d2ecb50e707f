#![allow(clippy::unwrap_used)]
use super::*;

fn layout() -> Layout {
    Layout {
        table: "pontoon_t".to_owned(),
        pods: "10.244.0.0/24".parse().unwrap(),
        cluster: "10.244.0.0/16".parse().unwrap(),
        services: "10.96.0.0/16".parse().unwrap(),
        dns_address: "10.96.0.10".parse().unwrap(),
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn service(name: &str, ip: &str, endpoints: &[&str]) -> ServiceRule {
    let endpoint = |text: &&str| Endpoint {
        address: text.parse().unwrap(),
        local: true,
    };
    ServiceRule {
        key: key(name),
        cluster_ips: vec![ip.parse().unwrap()],
        ports: vec![ServicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
            endpoints: endpoints.iter().map(endpoint).collect(),
        }],
        affinity: None,
        internal_traffic: InternalTraffic::Cluster,
    }
}

fn upsert(book: &mut Book, service: &ServiceRule) -> String {
    let fragment = Fragment::of_service(&layout(), service);
    apply(
        book,
        vec![(Owner::Service(service.key.clone()), Some(fragment))],
    )
}

fn remove(book: &mut Book, name: &str) -> String {
    apply(book, vec![(Owner::Service(key(name)), None)])
}

fn apply(book: &mut Book, wanted: Vec<(Owner, Option<Fragment>)>) -> String {
    let change = book.plan(&layout(), &wanted.into_iter().collect());
    let script = change.script.clone();
    book.commit(change);
    script
}

#[test]
fn a_change_of_endpoints_touches_one_chain_and_no_element_of_the_service_map() {
    let mut book = Book::default();
    upsert(
        &mut book,
        &service("web", "10.96.0.20", &["10.244.0.2:80", "10.244.0.3:80"]),
    );
    upsert(
        &mut book,
        &service("other", "10.96.0.21", &["10.244.0.3:80"]),
    );
    let script = upsert(&mut book, &service("web", "10.96.0.20", &["10.244.0.3:80"]));
    let lines: Vec<_> = script.lines().collect();
    assert_eq!(lines.len(), 3, "{script}");
    assert!(
        lines[0].starts_with("flush chain ip pontoon_t s_"),
        "{script}"
    );
    assert!(lines[1].contains("dnat to 10.244.0.3:80"), "{script}");
    assert_eq!(
        lines[2],
        "delete element ip pontoon_t hairpin { 10.244.0.2 . 10.244.0.2 }"
    );
}

#[test]
fn a_service_that_loses_its_last_endpoint_has_no_rule_left() {
    let mut book = Book::default();
    upsert(&mut book, &service("web", "10.96.0.20", &["10.244.0.2:80"]));
    let script = upsert(&mut book, &service("web", "10.96.0.20", &[]));
    assert!(
        script.contains("delete element ip pontoon_t services { 10.96.0.20 . tcp . 80 }"),
        "{script}"
    );
    assert!(script.contains("delete chain ip pontoon_t s_"), "{script}");
    assert!(!script.contains("add "), "{script}");
}

#[test]
fn the_same_again_is_an_empty_change() {
    let mut book = Book::default();
    let mut web = service("web", "10.96.0.20", &["10.244.0.2:80", "10.244.0.3:80"]);
    web.affinity = Some(Duration::from_secs(60));
    web.ports[0].node_port = Some(30_080);
    assert!(!upsert(&mut book, &web).is_empty());
    web.ports[0].endpoints.reverse();
    assert_eq!(upsert(&mut book, &web), "");
}

#[test]
fn an_address_that_moves_between_services_in_one_change_is_not_lost() {
    let mut book = Book::default();
    upsert(&mut book, &service("old", "10.96.0.20", &["10.244.0.2:80"]));
    let fresh = service("new", "10.96.0.20", &["10.244.0.3:80"]);
    let script = apply(
        &mut book,
        vec![
            (Owner::Service(key("old")), None),
            (
                Owner::Service(key("new")),
                Some(Fragment::of_service(&layout(), &fresh)),
            ),
        ],
    );
    let deleted = script.find("delete element ip pontoon_t services").unwrap();
    let added = script.find("add element ip pontoon_t services").unwrap();
    assert!(deleted < added, "{script}");
}

#[test]
fn a_second_claim_to_an_address_is_passed_over_and_does_not_remove_the_first() {
    let mut book = Book::default();
    upsert(
        &mut book,
        &service("first", "10.96.0.20", &["10.244.0.2:80"]),
    );
    let script = upsert(
        &mut book,
        &service("second", "10.96.0.20", &["10.244.0.3:80"]),
    );
    assert!(!script.contains("services {"), "{script}");
    let script = remove(&mut book, "second");
    assert!(!script.contains("services {"), "{script}");
}

#[test]
fn affinity_keeps_the_memory_of_endpoints_that_stay() {
    let mut book = Book::default();
    let mut web = service("web", "10.96.0.20", &["10.244.0.2:80", "10.244.0.3:80"]);
    web.affinity = Some(Duration::from_secs(10_800));
    upsert(&mut book, &web);
    web.ports[0].endpoints.remove(0);
    let script = upsert(&mut book, &web);
    assert_eq!(script.matches("delete set").count(), 1, "{script}");
    assert!(!script.contains("add set"), "{script}");
    assert!(
        !script.contains("flush chain ip pontoon_t e_")
            || script.contains("delete chain ip pontoon_t e_")
    );
}

#[test]
fn local_traffic_policy_sees_only_endpoints_of_this_node() {
    let mut web = service("web", "10.96.0.20", &["10.244.0.2:80", "10.244.1.3:80"]);
    web.ports[0].endpoints[1].local = false;
    web.internal_traffic = InternalTraffic::Local;
    let script = upsert(&mut Book::default(), &web);
    assert!(script.contains("dnat to 10.244.0.2:80"), "{script}");
    assert!(!script.contains("10.244.1.3"), "{script}");
}

#[test]
fn a_udp_endpoint_that_goes_ends_its_flows() {
    let mut book = Book::default();
    let mut web = service("web", "10.96.0.20", &["10.244.0.2:80", "10.244.0.3:80"]);
    web.ports[0].protocol = Protocol::Udp;
    upsert(&mut book, &web);
    web.ports[0].endpoints.remove(0);
    let fragment = Fragment::of_service(&layout(), &web);
    let change = book.plan(
        &layout(),
        &Wanted::from([(Owner::Service(web.key.clone()), Some(fragment))]),
    );
    let endpoint = "10.244.0.2".parse().unwrap();
    assert_eq!(
        change.ended_flows,
        [Flow {
            address: Some("10.96.0.20".parse().unwrap()),
            port: 80,
            endpoint
        }]
    );
}

#[test]
fn the_dns_address_is_left_to_the_node() {
    let mut dns = service("kube-dns", "10.96.0.10", &["10.244.0.2:53"]);
    dns.ports[0].port = 53;
    let script = upsert(&mut Book::default(), &dns);
    assert!(!script.contains("services {"), "{script}");
}

#[test]
fn a_resync_deletes_what_nobody_owns() {
    let mut book = Book::default();
    upsert(&mut book, &service("web", "10.96.0.20", &["10.244.0.2:80"]));
    let present = Present {
        chains: ["refuse", "s_0123456789abcdef"].map(str::to_owned).into(),
        sets: ["services", "a_0123456789abcdef_0af40002_60"]
            .map(str::to_owned)
            .into(),
    };
    let script = book.resync(&layout(), &present);
    assert!(
        script.contains("delete chain ip pontoon_t s_0123456789abcdef"),
        "{script}"
    );
    assert!(
        script.contains("delete set ip pontoon_t a_0123456789abcdef_0af40002_60"),
        "{script}"
    );
    assert!(
        !script.contains("delete chain ip pontoon_t refuse"),
        "{script}"
    );
    assert!(
        script.contains("add element ip pontoon_t services { 10.96.0.20 . tcp . 80 : goto s_"),
        "{script}"
    );
}

#[test]
fn a_name_cannot_end_the_comment() {
    let mut web = service("web", "10.96.0.20", &["10.244.0.2:80"]);
    web.ports[0].name = "x\"; flush ruleset".to_owned();
    let script = upsert(&mut Book::default(), &web);
    assert!(
        script.contains("comment \"default/web:xflushruleset\""),
        "{script}"
    );
}
