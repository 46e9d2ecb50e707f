//! The port through which `plan` learns what the control loop would make of a transaction.
//!
//! The verb layer knows what would be written; which pods come and go because of it is the controllers' and the
//! scheduler's to say, which this crate does not know.

use pontoon_state::{Transaction, View};

/// Foretells what would become of pods.
pub trait Planner: Send + Sync + 'static {
    /// Follows a transaction, applied on top of `view`, to where controllers and scheduler would leave the cluster. Works for
    /// as long as its implementation's limits allow, on the thread it is called from.
    fn forecast(&self, view: &View, transaction: Transaction) -> Forecast;
}

/// What would become of pods, as far as every pod that starts turns ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Only those that something would become of.
    pub pods: Vec<PodForecast>,
    /// What controllers would complain about.
    pub warnings: Vec<String>,
    /// Whether it was followed to its end.
    pub complete: bool,
}

/// What would become of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodForecast {
    /// Its namespace.
    pub namespace: String,
    /// Its name; where that would be generated, the outermost owner's and `-*`.
    pub name: String,
    /// What would happen to it.
    pub fate: Fate,
}

/// What would happen to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It would be made, and get this node, or none for the reason told.
    Made(Result<String, String>),
    /// It waits today, and would get this node.
    Placed(String),
    /// It would be removed from this node, if it had one.
    Removed(Option<String>),
}

impl Forecast {
    /// Nothing would happen.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            pods: Vec::new(),
            warnings: Vec::new(),
            complete: true,
        }
    }
}
