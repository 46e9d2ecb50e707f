//! Accept rules for pods in the chains of other programs that drop what is forwarded: Docker's, a firewall's.
//!
//! A base chain of ours cannot overrule another one: a packet has to be accepted by each. So the rules go where the
//! dropping is done, first in the chain; with Docker into `DOCKER-USER`, which Docker keeps for others' rules, jumps to before its own, and never
//! empties (docs.docker.com, "Packet filtering and firewalls").
//!
//! Nothing is remembered: a rule of ours is known by its comment, which names the instance and the network. So a process that was killed
//! leaves rules that the next one finds and keeps, or takes away at its end.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::names::TABLE_PREFIX;
use super::programs::Nft;
use crate::cidr::Cidr;
use crate::dataplane::DataplaneError;

/// The chain that Docker leaves to others, and where it jumps to it from.
const DOCKER_USER: &str = "ip filter DOCKER-USER";
const DOCKER_FORWARD: &str = "ip filter FORWARD";

/// The chains where rules of ours are or belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gate {
    /// Family, table and name.
    chain: String,
    /// Whether it drops what no rule of it accepts.
    drops: bool,
    /// Whether it hands on to Docker's chain for others.
    asks_docker_user: bool,
    /// Handles and comments of its rules that have one.
    commented: Vec<(u64, String)>,
}

/// What pods need opened.
#[derive(Debug)]
pub(super) struct Openings {
    /// What begins the comment of each rule.
    instance: String,
    pods: Cidr,
}

impl Openings {
    /// For the pods of all nodes; `instance` is the name of our table.
    pub(super) const fn new(instance: String, pods: Cidr) -> Self {
        Self { instance, pods }
    }

    /// Sees to it that every chain which drops forwarded packets accepts those of pods. Does nothing where that is so. Returns the chains
    /// that had to be opened.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn ensure(&self, nft: &Nft) -> Result<BTreeSet<String>, DataplaneError> {
        let gates = gates(nft).await?;
        let targets = targets(&gates);
        self.change(nft, &gates, &targets).await?;
        Ok(targets)
    }

    /// Takes every rule of ours away.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn close(&self, nft: &Nft) -> Result<(), DataplaneError> {
        let gates = gates(nft).await?;
        self.change(nft, &gates, &BTreeSet::new()).await
    }

    async fn change(
        &self,
        nft: &Nft,
        gates: &[Gate],
        targets: &BTreeSet<String>,
    ) -> Result<(), DataplaneError> {
        let script = self.script(gates, targets);
        if script.is_empty() {
            return Ok(());
        }
        nft.run(&script).await
    }

    /// The rules that every opened chain has, by comment.
    fn rules(&self) -> [(String, String); 2] {
        ["saddr", "daddr"].map(|side| {
            (
                format!("{} {side} {}", self.instance, self.pods),
                format!("ip {side} {} counter accept", self.pods),
            )
        })
    }

    /// What takes the chains from where they are to where `targets`, and no others, have each rule once.
    fn script(&self, gates: &[Gate], targets: &BTreeSet<String>) -> String {
        let mut script = String::new();
        let own = format!("{} ", self.instance);
        for gate in gates {
            let chain = &gate.chain;
            let mut missing: Vec<_> = if targets.contains(chain) {
                self.rules().into()
            } else {
                Vec::new()
            };
            for (handle, comment) in gate
                .commented
                .iter()
                .filter(|(_, comment)| comment.starts_with(&own))
            {
                let wanted = missing.iter().position(|(wanted, _)| wanted == comment);
                match wanted {
                    Some(index) => drop(missing.remove(index)),
                    None => writeln!(script, "delete rule {chain} handle {handle}")
                        .expect("text takes text"),
                }
            }
            for (comment, rule) in missing {
                writeln!(script, "insert rule {chain} {rule} comment \"{comment}\"")
                    .expect("text takes text");
            }
        }
        script
    }
}

/// Every base chain of others on the way of forwarded packets, and Docker's chain for others.
async fn gates(nft: &Nft) -> Result<Vec<Gate>, DataplaneError> {
    let listed = nft.list(&["list", "chains"]).await?;
    let mut gates = Vec::new();
    for (chain, drops) in listed.iter().filter_map(candidate) {
        let words: Vec<&str> = ["-a", "list", "chain"]
            .into_iter()
            .chain(chain.split(' '))
            .collect();
        let items = nft.list(&words).await?;
        gates.push(gate(chain, drops, &items));
    }
    Ok(gates)
}

/// A listed chain's full name and whether it drops, if rules of ours may be in it.
fn candidate(item: &Value) -> Option<(String, bool)> {
    let chain = item.get("chain")?;
    let text = |field: &str| chain.get(field).and_then(Value::as_str);
    let (family, table, name) = (text("family")?, text("table")?, text("name")?);
    let full = format!("{family} {table} {name}");
    let forwards = text("hook") == Some("forward") && matches!(family, "ip" | "inet");
    let others = !table.starts_with(TABLE_PREFIX);
    // Names with spaces cannot be made by nft or iptables.
    (others && (forwards || full == DOCKER_USER))
        .then(|| (full, forwards && text("policy") == Some("drop")))
}

fn gate(chain: String, drops: bool, items: &[Value]) -> Gate {
    let rules = || items.iter().filter_map(|item| item.get("rule"));
    let commented = |rule: &Value| {
        let comment = rule.get("comment")?.as_str()?.to_owned();
        Some((rule.get("handle")?.as_u64()?, comment))
    };
    let asks = |rule: &Value| {
        let steps = rule.get("expr").and_then(Value::as_array);
        steps.is_some_and(|steps| {
            steps.iter().any(|step| {
                step.pointer("/jump/target").and_then(Value::as_str) == Some("DOCKER-USER")
            })
        })
    };
    Gate {
        asks_docker_user: rules().any(asks),
        commented: rules().filter_map(commented).collect(),
        chain,
        drops,
    }
}

/// Where rules of ours belong.
fn targets(gates: &[Gate]) -> BTreeSet<String> {
    let docker_user = gates.iter().any(|gate| gate.chain == DOCKER_USER);
    let target = |gate: &Gate| {
        if gate.chain == DOCKER_FORWARD && gate.asks_docker_user && docker_user {
            DOCKER_USER.to_owned()
        } else {
            gate.chain.clone()
        }
    };
    gates.iter().filter(|gate| gate.drops).map(target).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn openings() -> Openings {
        Openings::new("pontoon_test".into(), "10.244.0.0/16".parse().unwrap())
    }

    fn drops(chain: &str, asks_docker_user: bool, commented: &[(u64, &str)]) -> Gate {
        Gate {
            chain: chain.into(),
            drops: true,
            asks_docker_user,
            commented: commented
                .iter()
                .map(|(handle, comment)| (*handle, (*comment).to_owned()))
                .collect(),
        }
    }

    fn docker_user(commented: &[(u64, &str)]) -> Gate {
        Gate {
            drops: false,
            ..drops(DOCKER_USER, false, commented)
        }
    }

    #[test]
    fn chains_that_drop_are_opened_and_docker_is_asked_by_its_own_chain() {
        let gates = [
            drops(DOCKER_FORWARD, true, &[]),
            docker_user(&[]),
            drops("inet firewalld filter_FORWARD", false, &[]),
            Gate {
                drops: false,
                ..drops("ip mangle FORWARD", false, &[])
            },
        ];
        let targets = targets(&gates);
        assert_eq!(
            openings().script(&gates, &targets),
            "insert rule ip filter DOCKER-USER ip saddr 10.244.0.0/16 counter accept comment \"pontoon_test saddr 10.244.0.0/16\"\n\
             insert rule ip filter DOCKER-USER ip daddr 10.244.0.0/16 counter accept comment \"pontoon_test daddr 10.244.0.0/16\"\n\
             insert rule inet firewalld filter_FORWARD ip saddr 10.244.0.0/16 counter accept comment \"pontoon_test saddr 10.244.0.0/16\"\n\
             insert rule inet firewalld filter_FORWARD ip daddr 10.244.0.0/16 counter accept comment \"pontoon_test daddr 10.244.0.0/16\"\n"
        );
    }

    #[test]
    fn a_docker_user_chain_that_nobody_jumps_to_is_not_relied_on() {
        let gates = [drops(DOCKER_FORWARD, false, &[]), docker_user(&[])];
        assert_eq!(targets(&gates), BTreeSet::from([DOCKER_FORWARD.to_owned()]));
    }

    #[test]
    fn rules_that_are_there_stay_and_strays_of_this_instance_alone_go() {
        let gates = [
            drops(
                DOCKER_FORWARD,
                true,
                &[(5, "pontoon_test saddr 10.244.0.0/16")],
            ),
            docker_user(&[
                (7, "pontoon_test saddr 10.244.0.0/16"),
                (8, "pontoon_test daddr 10.244.0.0/16"),
                (9, "pontoon_test daddr 10.244.0.0/16"),
                (10, "pontoon_test saddr 10.9.0.0/16"),
                (11, "pontoon_test2 saddr 10.244.0.0/16"),
                (12, "somebody's own"),
            ]),
        ];
        assert_eq!(
            openings().script(&gates, &targets(&gates)),
            "delete rule ip filter FORWARD handle 5\n\
             delete rule ip filter DOCKER-USER handle 9\n\
             delete rule ip filter DOCKER-USER handle 10\n"
        );
        assert_eq!(
            openings().script(&gates, &BTreeSet::new()),
            "delete rule ip filter FORWARD handle 5\n\
             delete rule ip filter DOCKER-USER handle 7\n\
             delete rule ip filter DOCKER-USER handle 8\n\
             delete rule ip filter DOCKER-USER handle 9\n\
             delete rule ip filter DOCKER-USER handle 10\n"
        );
    }

    #[test]
    fn a_listing_is_read_for_what_matters() {
        let chain = |family: &str, table: &str, name: &str, hook: Option<&str>, policy: &str| {
            let mut chain = json!({"family": family, "table": table, "name": name});
            if let Some(hook) = hook {
                chain["hook"] = json!(hook);
                chain["policy"] = json!(policy);
            }
            json!({"chain": chain})
        };
        let listed = [
            chain("ip", "filter", "FORWARD", Some("forward"), "drop"),
            chain("ip", "filter", "INPUT", Some("input"), "drop"),
            chain("ip", "filter", "DOCKER-USER", None, ""),
            chain("ip", "pontoon_other", "forward", Some("forward"), "drop"),
            chain("inet", "fw", "fwd", Some("forward"), "accept"),
            chain("ip6", "filter", "FORWARD", Some("forward"), "drop"),
        ];
        let found: Vec<_> = listed.iter().filter_map(candidate).collect();
        assert_eq!(
            found,
            [
                (DOCKER_FORWARD.to_owned(), true),
                (DOCKER_USER.to_owned(), false),
                ("inet fw fwd".to_owned(), false),
            ]
        );
        let items = [
            json!({"rule": {"handle": 3, "expr": [{"counter": null}, {"jump": {"target": "DOCKER-USER"}}]}}),
            json!({"rule": {"handle": 4, "comment": "c", "expr": []}}),
        ];
        let gate = gate(DOCKER_FORWARD.into(), true, &items);
        assert_eq!(gate, drops(DOCKER_FORWARD, true, &[(4, "c")]));
    }
}
