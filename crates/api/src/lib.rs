//! Pontoon's vocabulary: kinds, names, revisions, selectors, defaulting, validation,
//! patches and the words of a Kubernetes `Status`.
//!
//! Pure: no clock, no entropy, no files, no sockets. What varies (time, uids, generated
//! names) is passed in. Nothing here knows how an object is stored or travels.
//!
//! Invariants:
//! - every kind is listed once, in [`kinds`], and everything else learns of it from there;
//! - defaulting is idempotent, and validation reports all errors at once.

pub mod admission;
pub mod claim;
pub mod decode;
pub mod deletion;
pub mod kind;
pub mod kinds;
pub mod limits;
pub mod name;
pub mod patch;
pub mod quantity;
pub mod revision;
pub mod schema;
pub mod selector;
pub mod status;
pub mod validation;

pub use kind::{Admitted, Column, Descriptor, Kind, Part, Scope, Verb};
pub use name::{NodeName, PodUid};
pub use revision::{Revision, Term};
pub use validation::{FieldError, FieldErrorKind};
