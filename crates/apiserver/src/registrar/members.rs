//! Members: who they are and how they are doing, and who is to go.

use super::{ATTEMPTS, Registrar, RegistrarError, busy};
use crate::limits::{HEARD_RECENTLY_MS, MEMBERSHIP_POLL, MEMBERSHIP_WAIT};
use pontoon_api::Revision;
use pontoon_state::digest::Digest;
use pontoon_state::records::{self, Member, Record as _, Wish};
use pontoon_state::{Precondition, Progress, Transaction};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// A member, as a person wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its id.
    pub id: u64,
    /// Where the other members reach it.
    pub address: String,
    /// Where clients reach it; empty when unknown.
    pub api_address: String,
    /// Its version; empty when unknown.
    pub version: String,
    /// What the leader knows of it.
    pub progress: Progress,
    /// What it holds, in a digest, and at which revision; `None` when unknown.
    pub digest: Option<(Revision, Digest)>,
}

impl Registrar {
    /// Every member. What the leader knows is left out while there is none.
    pub async fn members(&self) -> Vec<MemberView> {
        let known: BTreeMap<u64, Progress> = match self.membership.progress().await {
            Ok(known) => known.into_iter().map(|known| (known.id, known)).collect(),
            Err(_) => BTreeMap::new(),
        };
        let mut members: BTreeMap<u64, MemberView> = records::members(&self.replica.view())
            .into_iter()
            .filter(|(id, member)| member.wish != Wish::Removed || known.contains_key(id))
            .map(|(id, member)| {
                let progress = Progress {
                    id,
                    ..Progress::default()
                };
                let view = MemberView {
                    id,
                    address: member.peer_address,
                    api_address: member.api_address,
                    version: member.version,
                    progress,
                    digest: None,
                };
                (id, view)
            })
            .collect();
        for present in self.replica.members() {
            let id = present.id;
            let member = members.entry(id).or_insert_with(|| MemberView {
                id,
                address: present.address,
                api_address: String::new(),
                version: String::new(),
                progress: Progress {
                    id,
                    ..Progress::default()
                },
                digest: None,
            });
            member.digest = present.digest;
            member.progress.voter = present.voter;
            if let Some(known) = known.get(&id) {
                member.progress = known.clone();
            }
        }
        members.into_values().collect()
    }

    /// Keeps this member's own record true. Gives up quietly on a member that was removed: consensus ends it.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn register(
        &self,
        peer: &str,
        api: &str,
        version: &str,
    ) -> Result<(), RegistrarError> {
        let name = self.membership.me().to_string();
        let key = Member::key(&name);
        for _ in 0..ATTEMPTS {
            let view = self.view().await?;
            let found = Member::find(&view, &name);
            let before = found.as_ref().map(|(member, _)| member.clone());
            let now = Member {
                wish: before.as_ref().map_or(Wish::Voter, |member| member.wish),
                peer_address: peer.to_owned(),
                api_address: api.to_owned(),
                version: version.to_owned(),
                since: before.as_ref().map_or_else(
                    || self.world.now().to_string(),
                    |member| member.since.clone(),
                ),
            };
            if before
                .as_ref()
                .is_some_and(|before| *before == now || before.wish == Wish::Removed)
            {
                return Ok(());
            }
            let unchanged = match found {
                Some((_, object)) => Precondition::Revision(key.clone(), object.revision),
                None => Precondition::Absent(key.clone()),
            };
            let put = Transaction::default()
                .require(unchanged)
                .put(key.clone(), now.encoded(&name));
            if self.commit(put).await?.is_some() {
                return Ok(());
            }
        }
        Err(busy())
    }

    /// Lets a learner vote, as soon as it has caught up; answers when it does.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn promote(&self, id: u64) -> Result<(), RegistrarError> {
        self.wish(id, Wish::Voter).await?;
        let deadline = Instant::now() + MEMBERSHIP_WAIT;
        loop {
            let known = self.membership.progress().await?;
            match known.iter().find(|known| known.id == id) {
                Some(known) if known.voter => return Ok(()),
                found if Instant::now() >= deadline => {
                    let last = known.iter().map(|known| known.matched).max().unwrap_or(0);
                    let behind = last - found.map_or(0, |known| known.matched);
                    return Err(RegistrarError::Pending(format!(
                        "member {id} does not vote yet: it is {behind} log entries behind; it will as soon as it has caught up"
                    )));
                }
                _ => tokio::time::sleep(MEMBERSHIP_POLL).await,
            }
        }
    }

    /// Takes a member out for good; answers when it is out.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn remove(&self, id: u64, force: bool) -> Result<(), RegistrarError> {
        let known = self.membership.progress().await?;
        let view = self.view().await?;
        let leaving = |id| records::is_removed(&view, id);
        if known.iter().any(|known| known.id == id) && !leaving(id) {
            let staying: Vec<&Progress> = known
                .iter()
                .filter(|known| known.voter && known.id != id && !leaving(known.id))
                .collect();
            check_majority(id, &staying, force)?;
        }
        self.wish(id, Wish::Removed).await?;
        let deadline = Instant::now() + MEMBERSHIP_WAIT;
        while Instant::now() < deadline {
            match self.membership.progress().await {
                Ok(known) if known.iter().all(|known| known.id != id) => return Ok(()),
                // Nobody tells a member anything that is out.
                Err(_) if id == self.membership.me() => return Ok(()),
                _ => tokio::time::sleep(MEMBERSHIP_POLL).await,
            }
        }
        Err(RegistrarError::Pending(format!(
            "member {id} is to go, and is not out yet: the leader goes on by itself; see `pontoon cluster members`"
        )))
    }

    /// Writes what a member is to be.
    pub(super) async fn wish(&self, id: u64, wish: Wish) -> Result<(), RegistrarError> {
        let name = id.to_string();
        for _ in 0..ATTEMPTS {
            let view = self.view().await?;
            let (member, object) = Member::find(&view, &name).ok_or_else(|| {
                RegistrarError::NotFound(format!(
                    "there is no member {id}: see `pontoon cluster members`"
                ))
            })?;
            if member.wish == wish {
                return Ok(());
            }
            if member.wish == Wish::Removed {
                return Err(RegistrarError::Refused(format!(
                    "member {id} was removed, and its id is not given again"
                )));
            }
            let put = Transaction::default()
                .require(Precondition::Revision(object.key.clone(), object.revision))
                .put(object.key.clone(), Member { wish, ..member }.encoded(&name));
            if self.commit(put).await?.is_some() {
                tracing::info!(member = id, ?wish, "a member is to change");
                return Ok(());
            }
        }
        Err(busy())
    }
}

/// Whether the voters that stay could still decide anything.
fn check_majority(id: u64, staying: &[&Progress], force: bool) -> Result<(), RegistrarError> {
    if staying.is_empty() {
        return Err(RegistrarError::Refused(format!(
            "member {id} is the last voter: without it there is no cluster"
        )));
    }
    let there = |known: &&&Progress| {
        known
            .heard_ms
            .is_some_and(|heard| heard <= HEARD_RECENTLY_MS)
    };
    let (answering, needed) = (staying.iter().filter(there).count(), staying.len() / 2 + 1);
    if answering >= needed || force {
        return Ok(());
    }
    Err(RegistrarError::Refused(format!(
        "without member {id} there are {} voters, of which {answering} answer and {needed} are needed: bring others back \
         first; --force removes it all the same, and may leave the cluster without a majority",
        staying.len()
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn voter(id: u64, heard_ms: Option<u64>) -> Progress {
        Progress {
            id,
            matched: 1,
            heard_ms,
            voter: true,
        }
    }

    #[test]
    fn a_member_goes_only_while_a_majority_of_the_others_answers() {
        let (up, down) = (voter(1, Some(0)), voter(2, Some(60_000)));
        assert!(check_majority(3, &[], true).is_err(), "the last voter");
        check_majority(3, &[&up], false).unwrap();
        check_majority(3, &[&up, &up], false).unwrap();
        let error = check_majority(3, &[&up, &down], false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("1 answer and 2 are needed"), "{error}");
        check_majority(3, &[&up, &down], true).unwrap();
        check_majority(3, &[&up, &up, &down], false).unwrap();
    }
}
