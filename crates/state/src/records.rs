//! What the cluster keeps about itself: its members, join tokens, revoked certificates.
//!
//! They are replicated as objects are, through transactions with preconditions, under keys whose resource no kind has: neither
//! front lists or watches them. A token's secret is in none of them.
//!
//! A member's record is never deleted: its id must not be given again, and whoever was removed is to be told so.

use crate::key::Key;
use crate::object::Object;
use crate::{View, encode, encoding::Encoded};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// The resource of members' records, named by their ids.
pub const MEMBERS: &str = "members.pontoon";
/// The resource of join tokens' records, named by their ids.
pub const TOKENS: &str = "tokens.pontoon";
/// The resource of revocations, named by what is revoked.
pub const REVOCATIONS: &str = "revocations.pontoon";

/// What a member is to be. The leader makes it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wish {
    /// Gets the log, catches up, and votes from then on.
    Voter,
    /// Gets the log and does not vote.
    Learner,
    /// Takes no part, for good.
    Removed,
}

/// A member's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// What it is to be.
    pub wish: Wish,
    /// Where the other members reach it: `HOST:PORT`.
    pub peer_address: String,
    /// Where clients reach it: `HOST:PORT`.
    pub api_address: String,
    /// The version it runs.
    #[serde(default)]
    pub version: String,
    /// When its record was made, RFC 3339.
    #[serde(default)]
    pub since: String,
}

/// A join token's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// `server` or `agent`.
    pub role: String,
    /// The SHA-256 of its secret, in hexadecimal.
    pub hash: String,
    /// Until when it may be used, RFC 3339.
    pub expires: String,
    /// The only node name it is good for; empty for any.
    #[serde(default)]
    pub node_name: String,
    /// Who used it: `member/3` or `node/NAME`; empty while unused.
    #[serde(default)]
    pub used_by: String,
    /// The SHA-256 of the attempt that used it, which may ask again.
    #[serde(default)]
    pub attempt: String,
}

/// Something that is not believed any more, whatever certificate it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// Certificates issued before this moment, RFC 3339, are refused.
    pub before: String,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// A record's form.
pub trait Record: Serialize + DeserializeOwned {
    /// The resource it lies under.
    const RESOURCE: &'static str;
    /// Its `kind`.
    const KIND: &'static str;

    /// Where the record of this name lies.
    #[must_use]
    fn key(name: &str) -> Key {
        Key::new(Self::RESOURCE, "", name)
    }

    /// For the store.
    #[must_use]
    fn encoded(&self, name: &str) -> Encoded {
        let object = json!({
            "apiVersion": "pontoon/v1",
            "kind": Self::KIND,
            "metadata": {"name": name},
            "record": serde_json::to_value(self).expect("a struct of text always encodes"),
        });
        encode(&object).expect("the metadata has a name")
    }

    /// What is stored. `None` when a newer version wrote what this one cannot read.
    #[must_use]
    fn read(object: &Object) -> Option<Self> {
        #[derive(Deserialize)]
        struct Stored<R> {
            record: R,
        }
        serde_json::from_slice::<Stored<Self>>(&object.json)
            .ok()
            .map(|stored| stored.record)
    }

    /// The record of this name, and the object it was read from.
    #[must_use]
    fn find(view: &View, name: &str) -> Option<(Self, Arc<Object>)> {
        let object = view.get(&Self::key(name))?;
        Some((Self::read(object)?, object.clone()))
    }

    /// All of them by name, in the order of names.
    fn all(view: &View) -> impl Iterator<Item = (String, Self)> {
        view.list(Self::RESOURCE, None)
            .filter_map(|object| Some((object.key.name.to_string(), Self::read(object)?)))
    }
}

impl Record for Member {
    const RESOURCE: &'static str = MEMBERS;
    const KIND: &'static str = "Member";
}

impl Record for Token {
    const RESOURCE: &'static str = TOKENS;
    const KIND: &'static str = "JoinToken";
}

impl Record for Revocation {
    const RESOURCE: &'static str = REVOCATIONS;
    const KIND: &'static str = "Revocation";
}

/// Every member that ever was, by id, in order.
#[must_use]
pub fn members(view: &View) -> Vec<(u64, Member)> {
    let mut members: Vec<(u64, Member)> = Member::all(view)
        .filter_map(|(name, member)| Some((name.parse().ok()?, member)))
        .collect();
    members.sort_by_key(|(id, _)| *id);
    members
}

/// Whether a member was told to leave for good.
#[must_use]
pub fn is_removed(view: &View, id: u64) -> bool {
    Member::find(view, &id.to_string()).is_some_and(|(member, _)| member.wish == Wish::Removed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Replica as _, Solo, Transaction};

    fn member(wish: Wish) -> Member {
        Member {
            wish,
            peer_address: "10.0.0.1:6444".into(),
            api_address: "10.0.0.1:6443".into(),
            version: "1".into(),
            since: String::new(),
        }
    }

    #[test]
    fn records_come_back_as_they_were_written_in_the_order_of_ids() {
        let replica = Solo::new();
        for (id, wish) in [(10, Wish::Voter), (9, Wish::Removed)] {
            let name = u64::to_string(&id);
            let put = Transaction::default().put(Member::key(&name), member(wish).encoded(&name));
            let done = futures::executor::block_on(replica.propose(put)).unwrap();
            done.committed().unwrap();
        }
        let view = replica.view();
        assert_eq!(
            members(&view),
            [(9, member(Wish::Removed)), (10, member(Wish::Voter))]
        );
        assert!(is_removed(&view, 9) && !is_removed(&view, 10) && !is_removed(&view, 11));
    }
}
