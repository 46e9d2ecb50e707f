//! The cluster's own administration: who its members are, who may join, who is not believed any more.
//!
//! It writes records ([`pontoon_state::records`]) and never Raft's configuration: consensus makes that so. Everything is a
//! transaction with preconditions, so that any server may be asked, any number of times.

mod agents;
mod members;
mod servers;
mod tokens;

use crate::authenticate::{ADMINISTRATORS, Identity};
use crate::error::VerbError;
use pontoon_identity::Authorities;
use pontoon_state::records::{Member, Record as _, Wish};
use pontoon_state::{Membership, MembershipError, Outcome, Refusal, Replica, Transaction, View};
use pontoon_world::World;
use std::sync::Arc;

pub use agents::{AgentPlace, AgentRequest};
pub use members::MemberView;
pub use servers::{ServerPlace, ServerRequest};
pub use tokens::{Issued, Wanted};

/// What every server must be set to alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where services get their addresses.
    pub service_cidr: String,
    /// Where nodes get their pod ranges.
    pub pod_cidr: String,
    /// Such as `cluster.local`.
    pub cluster_domain: String,
}

/// The administration was refused or failed. How it looks on the wire is [`crate::respond`]'s alone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistrarError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Who asks may not.
    #[error("{0}")]
    Denied(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// As things are, it must not be.
    #[error("{0}")]
    Refused(String),
    /// It is on its way, and not done yet.
    #[error("{0}")]
    Pending(String),
    /// The store or the leader could not be asked.
    #[error(transparent)]
    Store(#[from] VerbError),
}

impl From<MembershipError> for RegistrarError {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Refused(reason) => Self::Refused(reason),
            MembershipError::Unavailable(reason) => Self::Store(VerbError::Unavailable(reason)),
        }
    }
}

/// Times that a transaction is made anew when another was faster: more than anybody's luck is bad.
const ATTEMPTS: usize = 16;

/// Keeps the cluster's records.
pub struct Registrar {
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) membership: Arc<dyn Membership>,
    authorities: Option<Arc<Authorities>>,
    world: World,
    cluster: String,
    settings: Settings,
}

impl std::fmt::Debug for Registrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registrar")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl Registrar {
    pub(crate) const fn new(
        replica: Arc<dyn Replica>,
        membership: Arc<dyn Membership>,
        authorities: Option<Arc<Authorities>>,
        world: World,
        cluster: String,
        settings: Settings,
    ) -> Self {
        Self {
            replica,
            membership,
            authorities,
            world,
            cluster,
            settings,
        }
    }

    fn authorities(&self) -> Result<&Authorities, RegistrarError> {
        self.authorities.as_deref().ok_or_else(|| {
            RegistrarError::Refused("this server has no certificate authorities".into())
        })
    }

    async fn view(&self) -> Result<Arc<View>, RegistrarError> {
        Ok(self.replica.read().await.map_err(VerbError::from)?)
    }

    /// Proposes; `None` when what it was made from has changed meanwhile.
    async fn commit(&self, transaction: Transaction) -> Result<Option<()>, RegistrarError> {
        let outcome = self
            .replica
            .propose(transaction)
            .await
            .map_err(VerbError::from)?;
        match outcome {
            Outcome::Committed { .. } => Ok(Some(())),
            Outcome::Refused(Refusal::Precondition { .. }) => Ok(None),
            Outcome::Refused(other) => Err(VerbError::Internal(other.to_string()).into()),
        }
    }

    /// Every server's `https://HOST:PORT`, this one's first.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        let me = self.membership.me().to_string();
        let mut found: Vec<(bool, String)> = Member::all(&self.replica.view())
            .filter(|(_, member)| member.wish != Wish::Removed && !member.api_address.is_empty())
            .map(|(name, member)| (name != me, format!("https://{}", member.api_address)))
            .collect();
        found.sort();
        found.into_iter().map(|(_, url)| url).collect()
    }
}

fn busy() -> RegistrarError {
    VerbError::Unavailable("others changed the same all the while: try again".into()).into()
}

/// Administration is for administrators.
///
/// # Errors
/// [`RegistrarError::Denied`].
pub fn administrators_only(identity: &Identity) -> Result<(), RegistrarError> {
    if identity.in_group(ADMINISTRATORS) {
        return Ok(());
    }
    Err(RegistrarError::Denied(format!(
        "user {:?} may not administer the cluster: members of {ADMINISTRATORS} may",
        identity.user
    )))
}

#[cfg(test)]
mod tests;
