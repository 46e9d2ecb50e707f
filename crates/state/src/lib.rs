//! The replicated state machine: commands go in, revisions and changes come out.
//!
//! Pure: no clock, no entropy, no files, no sockets. [`Machine::apply`] is deterministic and
//! total: the same commands over the same store give the same bytes on every replica, and
//! a client's mistake is an [`Outcome`], never an error. Only a store that cannot be read
//! or written is an error, and that stops the process.
//!
//! Invariants:
//! - a revision belongs to exactly one committed transaction, and every object it wrote
//!   carries it;
//! - what a view holds is what the store holds at that revision;
//! - equal digests mean equal objects, and a store whose objects do not add up to its digest does not open;
//! - the change feed has every committed revision above the compacted one, once, in order.

pub mod apply;
pub mod change;
pub mod command;
pub mod digest;
pub mod encoding;
pub mod feed;
pub mod invariant;
pub mod key;
pub mod kv;
pub mod limits;
pub mod membership;
pub mod object;
pub mod outcome;
pub mod records;
pub mod replica;
pub mod seeded;
pub mod solo;
pub mod view;

pub use apply::{Entry, Machine};
pub use change::{Change, ChangeSet};
pub use command::{Command, Precondition, Transaction, Write};
pub use digest::Digest;
pub use encoding::encode;
pub use feed::{Feed, Watch, WatchEnd};
pub use key::Key;
pub use kv::{Family, Kv, KvError, MemKv};
pub use membership::{Membership, MembershipError, Progress};
pub use object::{DecodeError, Meta, Object, Owner};
pub use outcome::{Outcome, Refusal};
pub use replica::{Leadership, ProposeError, ReadError, Replica};
pub use solo::Solo;
pub use view::View;
