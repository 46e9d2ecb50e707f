//! The place of admission plug-ins: between authorization and the kind's own defaulting and validation.

use crate::error::VerbError;
use crate::request::{Target, Verb};
use pontoon_identity::Identity;
use serde_json::Value;

/// A write on its way in.
#[derive(Debug)]
pub struct Admission<'a> {
    /// Who writes.
    pub identity: &'a Identity,
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub target: &'a Target,
    /// The object as sent, after patches; plug-ins may change it. `None` for deletions.
    pub object: Option<&'a mut Value>,
    /// The object as stored. `None` for creations.
    pub current: Option<&'a Value>,
}

/// Changes or refuses writes.
pub trait Plugin: Send + Sync + 'static {
    /// Its name, for messages.
    fn name(&self) -> &'static str;

    /// Looks at a write.
    ///
    /// # Errors
    /// Why it is refused.
    fn admit(&self, admission: &mut Admission<'_>) -> Result<(), VerbError>;
}
