//! Cluster addresses and node ports of services: given in the transaction that writes the service, freed in
//! the one that deletes it.
//!
//! What is given is a claim: a hidden object whose key is the address or port itself, written under the
//! precondition that nobody has it. So two services never share one, whoever writes them and on whichever server.
//! A claim whose service is gone (deleted by something that knows no claims) counts as free and is taken over.

use crate::error::VerbError;
use crate::request::Target;
use crate::verbs::encoded;
use pontoon_api::claim::{self, address_claim, port_claim};
use pontoon_api::{FieldError, FieldErrorKind};
use pontoon_state::{Key, Object, Precondition, Transaction, View};
use pontoon_world::Entropy;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Ports of nodes that services may have: Kubernetes' `--service-node-port-range`.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// The address within the range where pods find their resolver, as in kubeadm's clusters.
const DNS_OFFSET: u32 = 10;

/// The range services get their addresses from.
#[derive(Debug, Clone, Copy)]
pub struct ServiceAddresses {
    first: u32,
    /// How many addresses the range has, network and broadcast address included.
    size: u32,
    prefix: u8,
}

/// The service range cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service range {0:?} must be an IPv4 network of /8 to /28, such as 10.96.0.0/16")]
pub struct RangeError(pub String);

impl ServiceAddresses {
    /// Reads `ADDRESS/PREFIX`.
    ///
    /// # Errors
    /// [`RangeError`].
    pub fn parse(cidr: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError(cidr.to_owned());
        let (address, prefix) = cidr.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=28).contains(&prefix) {
            return Err(wrong());
        }
        let size = 1_u32 << (32 - prefix);
        Ok(Self {
            first: u32::from(address) & !(size - 1),
            size,
            prefix,
        })
    }

    /// The range in text.
    #[must_use]
    pub fn cidr(&self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }

    /// First address and number of addresses.
    pub(crate) const fn bounds(&self) -> (u32, u32) {
        (self.first, self.size)
    }

    /// The address of the `kubernetes` service: the first.
    #[must_use]
    pub fn api_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.first + 1)
    }

    /// The address of the resolver.
    #[must_use]
    pub fn dns_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.first + DNS_OFFSET)
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(self.first);
        (1..self.size - 1).contains(&offset)
    }

    /// Gives a service what it needs and adds claims (and the release of what it no longer needs) to the
    /// transaction. Does nothing for other kinds.
    ///
    /// # Errors
    /// 422 when an address or port asked for is outside the range or another's.
    pub(crate) fn allocate(
        &self,
        view: &View,
        target: &Target,
        service: &mut Value,
        old: Option<&Value>,
        transaction: &mut Transaction,
        entropy: &dyn Entropy,
    ) -> Result<(), VerbError> {
        if target.descriptor().resource() != "services" || target.subresource == "status" {
            return Ok(());
        }
        let before = old.map(claims_of).unwrap_or_default();
        let desk = Desk {
            range: *self,
            view,
            target,
            before: &before,
        };
        desk.address(service, transaction, entropy)?;
        desk.node_ports(service, transaction, entropy)?;
        let after = claims_of(service);
        for name in after.difference(&before) {
            desk.claim(name, service, transaction)?;
        }
        for name in before.difference(&after) {
            let key = claim_key(name);
            if view.get(&key).is_some() {
                transaction.writes.push(pontoon_state::Write::Delete(key));
            }
        }
        Ok(())
    }

    /// Frees what a service has, with its deletion.
    #[allow(clippy::unused_self, reason = "reads as the counterpart of allocate")]
    pub(crate) fn release(&self, view: &View, service: &Object, transaction: &mut Transaction) {
        if &*service.key.resource != "services" {
            return;
        }
        let Ok(value) = service.value() else { return };
        for name in claims_of(&value) {
            let key = claim_key(&name);
            let owned = view.get(&key).and_then(|claim| claim.value().ok());
            if owned.is_some_and(|claim| claim["service"]["uid"] == *service.meta.uid) {
                transaction.writes.push(pontoon_state::Write::Delete(key));
            }
        }
    }
}

/// One allocation: what is known while it lasts.
struct Desk<'a> {
    range: ServiceAddresses,
    view: &'a View,
    target: &'a Target,
    before: &'a BTreeSet<String>,
}

impl Desk<'_> {
    fn address(
        &self,
        service: &mut Value,
        transaction: &Transaction,
        entropy: &dyn Entropy,
    ) -> Result<(), VerbError> {
        let spec = &mut service["spec"];
        if spec["type"] == "ExternalName" {
            return Ok(());
        }
        let asked = text(&spec["clusterIP"])
            .or_else(|| text(&spec["clusterIPs"][0]))
            .map(str::to_owned);
        let address = match asked {
            Some(asked) if asked == "None" => asked,
            Some(asked) => self.asked_address(asked)?,
            None => self.free_address(transaction, entropy)?,
        };
        spec["clusterIP"] = address.clone().into();
        spec["clusterIPs"] = json!([address]);
        if spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
            spec["ipFamilies"] = json!(["IPv4"]);
        }
        if text(&spec["ipFamilyPolicy"]).is_none() {
            spec["ipFamilyPolicy"] = "SingleStack".into();
        }
        Ok(())
    }

    fn asked_address(&self, asked: String) -> Result<String, VerbError> {
        let name = address_claim(&asked);
        let inside = asked
            .parse()
            .is_ok_and(|address| self.range.contains(address));
        if !inside {
            let why = format!(
                "the provided IP is not in the valid range. The range of valid IPs is {}",
                self.range.cidr()
            );
            return Err(self.invalid("spec.clusterIPs", &format!("[]string{{\"{asked}\"}}"), &why));
        }
        if self.before.contains(&name) || self.is_free(&name) {
            return Ok(asked);
        }
        let why = format!("failed to allocate IP {asked}: provided IP is already allocated");
        Err(self.invalid("spec.clusterIPs", &format!("[]string{{\"{asked}\"}}"), &why))
    }

    fn free_address(
        &self,
        transaction: &Transaction,
        entropy: &dyn Entropy,
    ) -> Result<String, VerbError> {
        let usable = u64::from(self.range.size - 2);
        let start = entropy.u64() % usable;
        (0..usable)
            .map(|step| {
                u32::try_from((start + step) % usable).expect("less than the size of the range") + 1
            })
            .filter(|offset| *offset != 1 && *offset != DNS_OFFSET)
            .map(|offset| Ipv4Addr::from(self.range.first + offset).to_string())
            .find(|address| {
                let name = address_claim(address);
                self.is_free(&name) && !is_claimed(transaction, &name)
            })
            .ok_or_else(|| {
                VerbError::Internal("failed to allocate a serviceIP: range is full".into())
            })
    }

    fn node_ports(
        &self,
        service: &mut Value,
        transaction: &Transaction,
        entropy: &dyn Entropy,
    ) -> Result<(), VerbError> {
        let needed = match service["spec"]["type"].as_str() {
            Some("NodePort") => true,
            Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"] != false,
            _ => false,
        };
        if !needed {
            return Ok(());
        }
        let mut given = BTreeSet::new();
        for (index, port) in service["spec"]["ports"]
            .as_array_mut()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let field = format!("spec.ports[{index}].nodePort");
            let number = match port["nodePort"].as_u64().filter(|number| *number > 0) {
                Some(number) => self.asked_port(&field, number)?,
                None => self.free_port(&given, transaction, entropy)?,
            };
            given.insert(number);
            port["nodePort"] = number.into();
        }
        Ok(())
    }

    fn asked_port(&self, field: &str, number: u64) -> Result<u16, VerbError> {
        let port = u16::try_from(number)
            .ok()
            .filter(|port| NODE_PORTS.contains(port));
        let Some(port) = port else {
            let why =
                "provided port is not in the valid range. The range of valid ports is 30000-32767";
            return Err(self.invalid(field, &number.to_string(), why));
        };
        let name = port_claim(port);
        if self.before.contains(&name) || self.is_free(&name) {
            return Ok(port);
        }
        Err(self.invalid(
            field,
            &number.to_string(),
            "provided port is already allocated",
        ))
    }

    fn free_port(
        &self,
        given: &BTreeSet<u16>,
        transaction: &Transaction,
        entropy: &dyn Entropy,
    ) -> Result<u16, VerbError> {
        let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
        let start =
            u16::try_from(entropy.u64() % u64::from(count)).expect("less than the number of ports");
        (0..count)
            .map(|step| NODE_PORTS.start() + (start + step) % count)
            .find(|port| {
                let name = port_claim(*port);
                !given.contains(port) && self.is_free(&name) && !is_claimed(transaction, &name)
            })
            .ok_or_else(|| {
                VerbError::Internal("failed to allocate a nodePort: range is full".into())
            })
    }

    /// Whether nobody has it, or only a service that is gone.
    fn is_free(&self, name: &str) -> bool {
        self.view
            .get(&claim_key(name))
            .is_none_or(|claim| self.is_stale(claim))
    }

    fn is_stale(&self, claim: &Object) -> bool {
        let Ok(value) = claim.value() else {
            return true;
        };
        let owner = &value["service"];
        let (namespace, name) = (
            owner["namespace"].as_str().unwrap_or(""),
            owner["name"].as_str().unwrap_or(""),
        );
        self.view
            .get(&Key::new("services", namespace, name))
            .is_none_or(|service| owner["uid"] != *service.meta.uid)
    }

    fn claim(
        &self,
        name: &str,
        service: &Value,
        transaction: &mut Transaction,
    ) -> Result<(), VerbError> {
        let key = claim_key(name);
        transaction.preconditions.push(match self.view.get(&key) {
            Some(stale) => Precondition::Revision(key.clone(), stale.revision),
            None => Precondition::Absent(key.clone()),
        });
        let claim = json!({
            "apiVersion": "claims.pontoon/v1", "kind": "Claim", "metadata": {"name": name},
            "service": {
                "namespace": self.target.namespace, "name": service["metadata"]["name"], "uid": service["metadata"]["uid"],
            },
        });
        transaction
            .writes
            .push(pontoon_state::Write::Put(key, encoded(&claim)?));
        Ok(())
    }

    fn invalid(&self, field: &str, value: &str, why: &str) -> VerbError {
        VerbError::Invalid {
            group: String::new(),
            kind: "Service".into(),
            name: self.target.name.clone(),
            errors: vec![FieldError {
                field: field.to_owned(),
                kind: FieldErrorKind::Invalid,
                message: format!("Invalid value: {value}: {why}"),
            }],
        }
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn claim_key(name: &str) -> Key {
    Key::new(claim::RESOURCE, "", name)
}

fn is_claimed(transaction: &Transaction, name: &str) -> bool {
    let key = claim_key(name);
    transaction.writes.iter().any(|write| *write.key() == key)
}

/// The claims a service's spec stands for.
fn claims_of(service: &Value) -> BTreeSet<String> {
    claim::of("Service", service)
}

/// What the server gave a service stays with it when an update leaves it out, and goes when its type has no
/// use for it (Kubernetes' `patchAllocatedValues` and `dropTypeDependentFields`).
pub(crate) fn carry_over(target: &Target, body: &mut Value, stored: &Value) {
    if target.descriptor().resource() != "services" || !body["spec"].is_object() {
        return;
    }
    let kind = |service: &Value| {
        service["spec"]["type"]
            .as_str()
            .unwrap_or("ClusterIP")
            .to_owned()
    };
    let (before, after) = (kind(stored), kind(body));
    if after == "ExternalName" {
        for member in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if body["spec"][member] == stored["spec"][member]
                && let Some(spec) = body["spec"].as_object_mut()
            {
                spec.remove(member);
            }
        }
    } else if before != "ExternalName" && text(&body["spec"]["clusterIP"]).is_none() {
        for member in ["clusterIP", "clusterIPs"] {
            body["spec"][member] = stored["spec"][member].clone();
        }
    }
    let has_ports = |kind: &str| kind == "NodePort" || kind == "LoadBalancer";
    let old_ports = stored["spec"]["ports"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for port in body["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |old: &&Value| {
            let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
            old["port"] == port["port"] && protocol(old) == protocol(port)
        };
        let Some(old) = old_ports
            .iter()
            .find(same)
            .and_then(|old| old["nodePort"].as_u64())
        else {
            continue;
        };
        if has_ports(&before) && has_ports(&after) && port["nodePort"].as_u64().unwrap_or(0) == 0 {
            port["nodePort"] = old.into();
        } else if has_ports(&before)
            && !has_ports(&after)
            && port["nodePort"].as_u64() == Some(old)
            && let Some(port) = port.as_object_mut()
        {
            port.remove("nodePort");
        }
    }
}
