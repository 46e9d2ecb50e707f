//! What goes through the log: transactions and compactions, and their durable form.
//!
//! The durable form is protobuf with fixed tags. A tag is never reused; an entry with a command this
//! program does not know stops the replica, since skipping it would diverge.

use crate::encoding::Encoded;
use crate::key::Key;
use bytes::Bytes;
use pontoon_api::{Revision, Term};
use std::sync::Arc;

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Preconditions and writes, all or nothing.
    Transact(Transaction),
    /// Forget what only revisions up to this one could see.
    Compact(Revision),
}

/// Preconditions and writes, all or nothing, at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// The term a controller planned in: refused when applied in another.
    pub fence: Option<Term>,
    /// All must hold.
    pub preconditions: Vec<Precondition>,
    /// Done in order. A key appears at most once.
    pub writes: Vec<Write>,
    /// W3C `traceparent` of the request, so that one trace follows a write; may be empty.
    pub trace: String,
}

/// Something that must hold for a transaction to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// No object is stored under the key.
    Absent(Key),
    /// An object is stored and is not being deleted.
    Live(Key),
    /// The stored object has this uid.
    Uid(Key, Arc<str>),
    /// The stored object was last written at this revision.
    Revision(Key, Revision),
}

impl Precondition {
    /// The key it looks at.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Live(key) | Self::Uid(key, _) | Self::Revision(key, _) => key,
        }
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores the object. Writing what is there already changes nothing and takes no revision.
    Put(Key, Encoded),
    /// Removes the object; nothing happens when there is none.
    Delete(Key),
}

impl Write {
    /// The key it touches.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

impl Transaction {
    /// Adds a precondition.
    #[must_use]
    pub fn require(mut self, precondition: Precondition) -> Self {
        self.preconditions.push(precondition);
        self
    }

    /// Adds a write of an encoded object.
    #[must_use]
    pub fn put(mut self, key: Key, object: Encoded) -> Self {
        self.writes.push(Write::Put(key, object));
        self
    }

    /// Adds a removal.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete(key));
        self
    }

    /// Has the transaction refused unless it is applied in the term it was planned in.
    #[must_use]
    pub const fn fenced(mut self, term: Term) -> Self {
        self.fence = Some(term);
        self
    }
}

/// A log entry's bytes are not a command this program knows.
#[derive(Debug, thiserror::Error)]
#[error("log entry is not a command this version knows: {detail}")]
pub struct CommandError {
    /// What is wrong with it.
    pub detail: String,
}

mod durable {
    //! The protobuf shape of a command. Tags are for ever.
    use bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Command {
        #[prost(oneof = "Body", tags = "1, 2")]
        pub body: Option<Body>,
    }
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Transact(Transact),
        #[prost(uint64, tag = "2")]
        Compact(u64),
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Transact {
        #[prost(uint64, optional, tag = "1")]
        pub fence: Option<u64>,
        #[prost(message, repeated, tag = "2")]
        pub preconditions: Vec<Precondition>,
        #[prost(message, repeated, tag = "3")]
        pub writes: Vec<Write>,
        #[prost(string, tag = "4")]
        pub trace: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Key {
        #[prost(string, tag = "1")]
        pub resource: String,
        #[prost(string, tag = "2")]
        pub namespace: String,
        #[prost(string, tag = "3")]
        pub name: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Precondition {
        #[prost(message, optional, tag = "1")]
        pub key: Option<Key>,
        #[prost(oneof = "Check", tags = "2, 3, 4, 5")]
        pub check: Option<Check>,
    }
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Check {
        #[prost(bool, tag = "2")]
        Absent(bool),
        #[prost(bool, tag = "3")]
        Live(bool),
        #[prost(string, tag = "4")]
        Uid(String),
        #[prost(uint64, tag = "5")]
        Revision(u64),
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Write {
        #[prost(message, optional, tag = "1")]
        pub key: Option<Key>,
        /// Absent for a removal.
        #[prost(bytes = "bytes", optional, tag = "2")]
        pub json: Option<Bytes>,
        #[prost(uint32, tag = "3")]
        pub splice: u32,
    }
}

fn key_out(key: &Key) -> Option<durable::Key> {
    Some(durable::Key {
        resource: key.resource.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    })
}

fn key_in(key: Option<durable::Key>) -> Result<Key, CommandError> {
    let key = key.ok_or_else(|| CommandError {
        detail: "a write or precondition without a key".into(),
    })?;
    Ok(Key::new(&key.resource, &key.namespace, &key.name))
}

impl Command {
    /// The durable form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = match self {
            Self::Compact(revision) => durable::Body::Compact(revision.0),
            Self::Transact(transaction) => durable::Body::Transact(transact_out(transaction)),
        };
        prost::Message::encode_to_vec(&durable::Command { body: Some(body) }).into()
    }

    /// Reads the durable form.
    ///
    /// # Errors
    /// [`CommandError`] when the bytes are damaged or of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Self, CommandError> {
        let command: durable::Command =
            prost::Message::decode(bytes).map_err(|error| CommandError {
                detail: error.to_string(),
            })?;
        match command.body {
            Some(durable::Body::Compact(revision)) => Ok(Self::Compact(Revision(revision))),
            Some(durable::Body::Transact(transact)) => transact_in(transact).map(Self::Transact),
            None => Err(CommandError {
                detail: "no known body".into(),
            }),
        }
    }
}

fn transact_out(transaction: &Transaction) -> durable::Transact {
    let precondition = |precondition: &Precondition| durable::Precondition {
        key: key_out(precondition.key()),
        check: Some(match precondition {
            Precondition::Absent(_) => durable::Check::Absent(true),
            Precondition::Live(_) => durable::Check::Live(true),
            Precondition::Uid(_, uid) => durable::Check::Uid(uid.to_string()),
            Precondition::Revision(_, revision) => durable::Check::Revision(revision.0),
        }),
    };
    let write = |write: &Write| {
        let (json, splice) = match write {
            Write::Put(_, object) => (Some(object.json.clone()), object.splice),
            Write::Delete(_) => (None, 0),
        };
        durable::Write {
            key: key_out(write.key()),
            json,
            splice,
        }
    };
    durable::Transact {
        fence: transaction.fence.map(|term| term.0),
        preconditions: transaction.preconditions.iter().map(precondition).collect(),
        writes: transaction.writes.iter().map(write).collect(),
        trace: transaction.trace.clone(),
    }
}

fn transact_in(transact: durable::Transact) -> Result<Transaction, CommandError> {
    let mut transaction = Transaction {
        fence: transact.fence.map(Term),
        trace: transact.trace,
        ..Transaction::default()
    };
    for precondition in transact.preconditions {
        let key = key_in(precondition.key)?;
        transaction.preconditions.push(match precondition.check {
            Some(durable::Check::Absent(_)) => Precondition::Absent(key),
            Some(durable::Check::Live(_)) => Precondition::Live(key),
            Some(durable::Check::Uid(uid)) => Precondition::Uid(key, uid.into()),
            Some(durable::Check::Revision(revision)) => {
                Precondition::Revision(key, Revision(revision))
            }
            None => {
                return Err(CommandError {
                    detail: "an unknown precondition".into(),
                });
            }
        });
    }
    for write in transact.writes {
        let key = key_in(write.key)?;
        transaction.writes.push(match write.json {
            Some(json) => Write::Put(
                key,
                Encoded {
                    json,
                    splice: write.splice,
                },
            ),
            None => Write::Delete(key),
        });
    }
    Ok(transaction)
}
