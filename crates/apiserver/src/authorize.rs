//! Who may do what. Administrators may do everything, nodes what concerns them; rules (RBAC) take this
//! trait's place when they come.

use crate::authenticate::ADMINISTRATORS;
use crate::error::VerbError;
use crate::request::{ResourceName, Verb};
use pontoon_api::NodeName;
use pontoon_identity::Identity;

/// What is asked, as rules see it.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// What is to be done.
    pub verb: Verb,
    /// To which resource.
    pub resource: &'a ResourceName,
    /// To which part of it; empty for the whole.
    pub subresource: &'a str,
    /// Where; empty for the cluster or all namespaces.
    pub namespace: &'a str,
    /// To which object; empty for a collection.
    pub name: &'a str,
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync + 'static {
    /// `Ok` when it is allowed.
    ///
    /// # Errors
    /// Why not, in words for the user.
    fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), String>;
}

/// Administrators everything; a node reads what it needs and writes what is its own; everybody else nothing.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn;

impl Authorizer for BuiltIn {
    fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), String> {
        if attributes.identity.in_group(ADMINISTRATORS) {
            return Ok(());
        }
        match attributes.identity.node() {
            Some(node) if node_may(&node, attributes) => Ok(()),
            Some(_) => Err("nodes may only touch what is their own".into()),
            None => {
                Err("only members of system:masters may use this cluster until it has roles".into())
            }
        }
    }
}

/// A node reads what pods and services are made of (secrets come with its assignments, never by asking), and
/// writes its own Node and Lease. What it says of its pods comes through its session.
fn node_may(node: &NodeName, attributes: &Attributes<'_>) -> bool {
    let reads = matches!(attributes.verb, Verb::Get | Verb::List | Verb::Watch);
    let own = attributes.name == node.as_str();
    match attributes.resource.plural.as_str() {
        "nodes" => {
            reads || (own && matches!(attributes.verb, Verb::Update | Verb::Patch | Verb::Create))
        }
        "leases" => own && attributes.namespace == "kube-node-lease",
        "services" | "endpointslices" | "endpoints" | "runtimeclasses" | "namespaces" => reads,
        _ => false,
    }
}

/// Kubernetes' text for a refusal.
#[must_use]
pub fn refusal(attributes: &Attributes<'_>, why: &str) -> VerbError {
    let resource = if attributes.subresource.is_empty() {
        attributes.resource.plural.clone()
    } else {
        format!("{}/{}", attributes.resource.plural, attributes.subresource)
    };
    let place = if attributes.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", attributes.namespace)
    };
    VerbError::Forbidden {
        resource: attributes.resource.clone(),
        name: attributes.name.to_owned(),
        detail: format!(
            "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}: {why}",
            attributes.identity.user,
            attributes.verb.as_str(),
            attributes.resource.group,
        ),
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::{administrator, agent};

    fn may(identity: &Identity, verb: Verb, plural: &str, namespace: &str, name: &str) -> bool {
        let resource = ResourceName {
            group: String::new(),
            version: "v1".into(),
            plural: plural.into(),
            kind: "X".into(),
        };
        BuiltIn
            .authorize(&Attributes {
                identity,
                verb,
                resource: &resource,
                subresource: "",
                namespace,
                name,
            })
            .is_ok()
    }

    #[test]
    fn a_node_touches_only_its_own() {
        let node = agent("a");
        assert!(may(&node, Verb::Update, "nodes", "", "a"));
        assert!(!may(&node, Verb::Update, "nodes", "", "b"));
        assert!(!may(&node, Verb::Delete, "nodes", "", "a"));
        assert!(!may(&node, Verb::Get, "secrets", "default", "x"));
        assert!(!may(&node, Verb::Update, "pods", "default", "x"));
        assert!(may(&node, Verb::Update, "leases", "kube-node-lease", "a"));
        assert!(may(&node, Verb::Watch, "services", "", ""));
    }

    #[test]
    fn administrators_may_everything_and_strangers_nothing() {
        assert!(may(
            &administrator("root"),
            Verb::Delete,
            "secrets",
            "x",
            "y"
        ));
        let stranger = Identity {
            user: "x".into(),
            groups: vec![],
        };
        assert!(!may(&stranger, Verb::Get, "services", "", ""));
    }
}
