#![allow(clippy::unwrap_used)]
//! A model of the kernel's table that takes our scripts, and strictly: what `nft` would refuse, it refuses.

use super::*;
use crate::dataplane::ServicePort;
use proptest::prelude::*;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Model {
    chains: BTreeMap<String, Vec<String>>,
    sets: BTreeSet<String>,
    elements: BTreeMap<(String, String), String>,
}

impl Model {
    fn take(&mut self, script: &str) {
        for line in script.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            // add|flush|delete table|chain|set|map|rule|element ip TABLE [NAME [REST]]
            let name = words.get(4).copied().unwrap_or_default().to_owned();
            let rest = words.get(5..).unwrap_or_default().join(" ");
            match (words[0], words[1]) {
                ("add", "table") => {}
                ("flush", "table") => self.chains.values_mut().for_each(Vec::clear),
                ("add", "chain") => drop(self.chains.entry(name).or_default()),
                ("add", "set" | "map") => drop(self.sets.insert(name)),
                ("flush", "set" | "map") => self.elements.retain(|(set, _), _| *set != name),
                ("flush", "chain") => self.chains.get_mut(&name).unwrap().clear(),
                ("add", "rule") => self.chains.get_mut(&name).unwrap().push(rest),
                ("delete", "chain") => {
                    assert_eq!(
                        self.chains.remove(&name),
                        Some(Vec::new()),
                        "{name} is empty when it is deleted"
                    );
                    assert!(
                        !self.mentions(&name),
                        "{name} is deleted while something leads to it"
                    );
                }
                ("delete", "set") => {
                    assert!(
                        self.sets.remove(&name) && !self.mentions(&format!("@{name}")),
                        "{name} is deleted in use"
                    );
                }
                ("add", "element") => {
                    let (key, value) = element(&rest);
                    let before = self.elements.insert((name, key), value.clone());
                    assert!(before.is_none(), "an element is added twice: {line}");
                    if let Some(chain) = value.strip_prefix("goto ") {
                        assert!(self.chains.contains_key(chain), "{line} leads nowhere");
                    }
                }
                ("delete", "element") => {
                    assert!(
                        self.elements.remove(&(name, element(&rest).0)).is_some(),
                        "nothing to delete: {line}"
                    );
                }
                other => panic!("{other:?}: {line}"),
            }
        }
        for rule in self.chains.values().flatten() {
            for word in rule
                .split_whitespace()
                .filter_map(|word| word.strip_prefix('@'))
            {
                assert!(
                    self.sets.contains(word),
                    "{rule} asks a set that is not there"
                );
            }
        }
    }

    fn mentions(&self, name: &str) -> bool {
        let has = |text: &str| text.split([' ', ',']).any(|word| word == name);
        self.chains.values().flatten().any(|rule| has(rule))
            || self.elements.values().any(|value| has(value))
    }
}

/// `{ KEY : VALUE }` or `{ KEY }`
fn element(text: &str) -> (String, String) {
    let inner = text.trim_start_matches("{ ").trim_end_matches(" }");
    let (key, value) = inner.split_once(" : ").unwrap_or((inner, ""));
    (key.to_owned(), value.to_owned())
}

fn layout() -> Layout {
    Layout {
        table: "pontoon_t".to_owned(),
        pods: "10.244.0.0/24".parse().unwrap(),
        cluster: "10.244.0.0/16".parse().unwrap(),
        services: "10.96.0.0/16".parse().unwrap(),
        dns_address: "10.96.0.10".parse().unwrap(),
    }
}

prop_compose! {
    fn any_service()(
        name in "[ab]", address in 0u8..3, udp: bool, sticky in proptest::option::of(1u64..3), node_port: bool,
        local_only: bool, endpoints in proptest::collection::vec((0u8..4, any::<bool>()), 0..4),
    ) -> ServiceRule {
        let endpoint = |(last, local)| Endpoint { address: ([10, 244, 0, last], 80).into(), local };
        ServiceRule {
            key: ServiceKey { namespace: "n".to_owned(), name },
            cluster_ips: vec![[10, 96, 0, 20 + address].into()],
            ports: vec![ServicePort {
                name: "p".to_owned(),
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                port: 80,
                node_port: node_port.then_some(30_080),
                endpoints: endpoints.into_iter().map(endpoint).collect(),
            }],
            affinity: sticky.map(Duration::from_secs),
            internal_traffic: if local_only { InternalTraffic::Local } else { InternalTraffic::Cluster },
        }
    }
}

fn any_change() -> impl Strategy<Value = Wanted> {
    let service = any_service().prop_map(|service| {
        let fragment = Fragment::of_service(&layout(), &service);
        (Owner::Service(service.key), Some(fragment))
    });
    let removal = "[ab]".prop_map(|name| {
        (
            Owner::Service(ServiceKey {
                namespace: "n".to_owned(),
                name,
            }),
            None,
        )
    });
    let pod = (0u8..3, 0u16..2, any::<bool>()).prop_map(|(last, port, there)| {
        let port = HostPort {
            protocol: Protocol::Tcp,
            host_port: 8_000 + port,
            container_port: 80,
        };
        let fragment = Fragment::of_host_ports([10, 244, 0, last].into(), &[port]);
        (Owner::Pod(last.to_string()), there.then_some(fragment))
    });
    let one = prop_oneof![3 => service, 1 => removal, 1 => pod];
    proptest::collection::vec(one, 1..4).prop_map(|changes| changes.into_iter().collect())
}

proptest! {
    /// Step by step or all at once, from any table that was there before: the kernel ends with the same rules.
    #[test]
    fn changes_lead_where_a_fresh_start_leads(changes in proptest::collection::vec(any_change(), 1..12), stale in any_change()) {
        let mut book = Book::default();
        let mut kernel = Model::default();
        kernel.take(&book.resync(&layout(), &Present::default()));
        for wanted in changes {
            let change = book.plan(&layout(), &wanted);
            kernel.take(&change.script);
            book.commit(change);
            let again = book.plan(&layout(), &wanted);
            let owned = wanted.iter().all(|(owner, fragment)| book.fragments.get(owner) == fragment.as_ref());
            prop_assert!(!owned || again.script.is_empty(), "the same again changes: {}", again.script);
        }
        let mut fresh = Model::default();
        fresh.take(&book.resync(&layout(), &Present::default()));
        prop_assert_eq!(&kernel, &fresh);

        // What an earlier process left behind is gone after a resync.
        let mut earlier = Book::default();
        let mut kernel = Model::default();
        let change = earlier.plan(&layout(), &stale);
        earlier.commit(change);
        kernel.take(&earlier.resync(&layout(), &Present::default()));
        let present = Present { chains: kernel.chains.keys().cloned().collect(), sets: kernel.sets.clone() };
        kernel.take(&book.resync(&layout(), &present));
        prop_assert_eq!(&kernel, &fresh);
    }
}
