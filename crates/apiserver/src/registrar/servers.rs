//! How a server gets its place.

use super::{ATTEMPTS, Registrar, RegistrarError, Settings, busy};
use crate::limits::MEMBERS;
use pontoon_identity::Role;
use pontoon_identity::authority::Handed;
use pontoon_state::records::{self, Member, Record as _, Wish};
use pontoon_state::{Precondition, Transaction, View};

/// What a server says that wants to join.
#[derive(Debug, Clone)]
pub struct ServerRequest {
    /// Its token.
    pub token: String,
    /// Makes a repeated request the same request.
    pub attempt: String,
    /// Where the other members will reach it.
    pub peer_address: String,
    /// Where clients will reach it.
    pub api_address: String,
    /// What it runs.
    pub version: String,
}

/// Its place.
#[derive(Debug, Clone)]
pub struct ServerPlace {
    /// The cluster.
    pub cluster: String,
    /// Its id.
    pub member: u64,
    /// What clients and API servers trust.
    pub cluster_authority: Handed,
    /// What members trust.
    pub peer_authority: Handed,
    /// The members, itself included.
    pub members: Vec<(u64, Member)>,
    /// What it must be set to.
    pub settings: Settings,
}

impl Registrar {
    /// Gives a server its place: consumes the token and makes the member's record, in one transaction.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn join_server(
        &self,
        request: &ServerRequest,
    ) -> Result<ServerPlace, RegistrarError> {
        for (field, address) in [
            ("peer_address", &request.peer_address),
            ("api_address", &request.api_address),
        ] {
            check_address(field, address)?;
        }
        for _ in 0..ATTEMPTS {
            let view = self.view().await?;
            let shown = self.check_token(&view, &request.token, Role::Server, &request.attempt)?;
            if let Some(used_by) = shown.used_by() {
                return self.same_place(&view, used_by);
            }
            let id = self.vacant(&view, request)?;
            let name = id.to_string();
            let member = Member {
                wish: Wish::Voter,
                peer_address: request.peer_address.clone(),
                api_address: request.api_address.clone(),
                version: request.version.clone(),
                since: self.world.now().to_string(),
            };
            let key = Member::key(&name);
            let transaction = Transaction::default()
                .require(Precondition::Absent(key.clone()))
                .put(key, member.encoded(&name));
            let transaction = shown.consume(&format!("member/{id}"), &request.attempt, transaction);
            if self.commit(transaction).await?.is_some() {
                tracing::info!(
                    member = id,
                    address = request.peer_address,
                    "a server joins"
                );
                return self.place(&*self.view().await?, id);
            }
        }
        Err(busy())
    }

    /// The answer that this attempt got before.
    fn same_place(&self, view: &View, used_by: &str) -> Result<ServerPlace, RegistrarError> {
        let id = used_by
            .strip_prefix("member/")
            .and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| {
            RegistrarError::Denied(format!("this join token was used by {used_by}"))
        })?;
        if records::is_removed(view, id) {
            return Err(RegistrarError::Denied(format!(
                "member {id}, which joined with this token, was removed: make another token with \
                 `pontoon cluster token create --role server`, and join with an empty data directory"
            )));
        }
        self.place(view, id)
    }

    fn place(&self, view: &View, member: u64) -> Result<ServerPlace, RegistrarError> {
        let (cluster_authority, peer_authority) = self.authorities()?.hand_over();
        let members = records::members(view)
            .into_iter()
            .filter(|(_, member)| member.wish != Wish::Removed);
        Ok(ServerPlace {
            cluster: self.cluster.clone(),
            member,
            cluster_authority,
            peer_authority,
            members: members.collect(),
            settings: self.settings.clone(),
        })
    }

    /// An id that nobody ever had.
    fn vacant(&self, view: &View, request: &ServerRequest) -> Result<u64, RegistrarError> {
        let members = records::members(view);
        let present: Vec<&(u64, Member)> = members
            .iter()
            .filter(|(_, member)| member.wish != Wish::Removed)
            .collect();
        if present.len() >= MEMBERS {
            return Err(RegistrarError::Refused(format!(
                "the cluster has {MEMBERS} servers, and more would only make it slower: remove one first \
                 (`pontoon cluster remove ID`)"
            )));
        }
        let twin = present
            .iter()
            .find(|(_, member)| member.peer_address == request.peer_address);
        if let Some((id, _)) = twin {
            return Err(RegistrarError::Refused(format!(
                "member {id} has the peer address {}: if this server takes its place, remove it first \
                 (`pontoon cluster remove {id}`), else give this one another with --peer-advertise",
                request.peer_address
            )));
        }
        let recorded = members.iter().map(|(id, _)| *id);
        let in_raft = self.replica.members().into_iter().map(|member| member.id);
        Ok(recorded.chain(in_raft).max().unwrap_or(0) + 1)
    }
}

/// A place that others can dial.
fn check_address(field: &str, address: &str) -> Result<(), RegistrarError> {
    let wrong = |why: &str| {
        Err(RegistrarError::Invalid(format!(
            "{field}: {address:?} {why}"
        )))
    };
    let Some((host, port)) = address.rsplit_once(':') else {
        return wrong("is not HOST:PORT");
    };
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return wrong("is not HOST:PORT");
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if address
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_unspecified())
    {
        return wrong(
            "is everywhere, and so nowhere to dial: say where with --advertise and --peer-advertise",
        );
    }
    Ok(())
}
