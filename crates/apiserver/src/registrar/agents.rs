//! How a node gets its certificate, and another before that one expires.

use super::{ATTEMPTS, Registrar, RegistrarError, Settings, busy};
use crate::authenticate::Identity;
use crate::error::VerbError;
use pontoon_api::NodeName;
use pontoon_identity::Role;
use pontoon_identity::authority::IssueError;
use pontoon_state::{Key, Transaction};

/// What an agent says that wants to join.
#[derive(Debug, Clone)]
pub struct AgentRequest {
    /// Its token.
    pub token: String,
    /// Makes a repeated request the same request.
    pub attempt: String,
    /// The node's name.
    pub node_name: String,
    /// A certificate request, PEM.
    pub csr: String,
}

/// What it gets.
#[derive(Debug, Clone)]
pub struct AgentPlace {
    /// Its certificate, PEM.
    pub certificate: String,
    /// What to trust, PEM.
    pub authority: String,
    /// Every server.
    pub servers: Vec<String>,
    /// What it must be set to.
    pub settings: Settings,
}

impl Registrar {
    /// Gives an agent a certificate for its node, for a token.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn join_agent(&self, request: &AgentRequest) -> Result<AgentPlace, RegistrarError> {
        check_name(&request.node_name)?;
        let owner = format!("node/{}", request.node_name);
        for _ in 0..ATTEMPTS {
            let view = self.view().await?;
            let shown = self.check_token(&view, &request.token, Role::Agent, &request.attempt)?;
            let bound = &shown.record.node_name;
            if !bound.is_empty() && *bound != request.node_name {
                return Err(RegistrarError::Denied(format!(
                    "join token {} is for node {bound}, not for node {}",
                    shown.id, request.node_name
                )));
            }
            let place = self.agent_place(&request.node_name, &request.csr)?;
            match shown.used_by() {
                Some(used_by) if used_by == owner => return Ok(place),
                Some(used_by) => {
                    return Err(RegistrarError::Denied(format!(
                        "join token {} was used by {used_by}",
                        shown.id
                    )));
                }
                None => {}
            }
            if bound.is_empty()
                && view
                    .get(&Key::new("nodes", "", &request.node_name))
                    .is_some()
            {
                return Err(RegistrarError::Denied(format!(
                    "there is a node {0} already: choose another name with --node-name, or make a token for it with \
                     `pontoon cluster token create --role agent --node {0}`",
                    request.node_name
                )));
            }
            let transaction = shown.consume(&owner, &request.attempt, Transaction::default());
            if self.commit(transaction).await?.is_some() {
                tracing::info!(node = request.node_name, "a node joins");
                return Ok(place);
            }
        }
        Err(busy())
    }

    /// A new certificate for a node that shows one that is still good.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub fn renew(&self, identity: &Identity, csr: &str) -> Result<AgentPlace, RegistrarError> {
        let node = identity.node().ok_or_else(|| {
            RegistrarError::Denied(format!(
                "user {:?} is no node: certificates are renewed for nodes only",
                identity.user
            ))
        })?;
        self.agent_place(node.as_str(), csr)
    }

    fn agent_place(&self, name: &str, csr: &str) -> Result<AgentPlace, RegistrarError> {
        let authority = &self.authorities()?.cluster;
        let certificate = authority
            .node_of_request(csr, &NodeName::new(name), self.world.now())
            .map_err(|error| match error {
                IssueError::Request(_) => RegistrarError::Invalid(format!("csr: {error}")),
                other => VerbError::Internal(other.to_string()).into(),
            })?;
        Ok(AgentPlace {
            certificate,
            authority: authority.certificate_pem().to_owned(),
            servers: self.servers(),
            settings: self.settings.clone(),
        })
    }
}

/// A node's name is a DNS name.
pub(super) fn check_name(name: &str) -> Result<(), RegistrarError> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !name.is_empty() && name.len() <= 253 && name.chars().all(fine) {
        return Ok(());
    }
    Err(RegistrarError::Invalid(format!(
        "node_name: {name:?} is not a DNS name of lower case letters, digits, '-' and '.'"
    )))
}
