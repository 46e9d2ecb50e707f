//! The shape every controller has.

use jiff::Timestamp;
use pontoon_api::Part;
use pontoon_api::deletion::Options;
use pontoon_state::{Change, DecodeError, Key, Object, View};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A control decision maker. Stateless: everything it knows is in the view and the context.
pub trait Controller: Send + Sync + 'static {
    /// Its name in logs, metrics and the `reportingComponent` of events, such as `deployment-controller`.
    fn name(&self) -> &'static str;

    /// The keys to look at again because of `change`; `view` is the present that has it. Costs must be in the size
    /// of the answer. Waking too much is waste, waking too little is a bug that the full pass reports.
    fn wakes(&self, change: &Change, view: &View, wake: &mut dyn FnMut(Key));

    /// Every key it is responsible for: what the full pass looks at.
    fn keys(&self, view: &View) -> Vec<Key>;

    /// What to do about `key`. Must be empty when the world is as it should be.
    ///
    /// # Errors
    /// [`PlanError`] when the view holds something that cannot be read; the key is parked with back-off.
    fn plan(&self, view: &View, key: &Key, context: &Context<'_>) -> Result<Plan, PlanError>;
}

/// What a plan may know beside the view.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time, chosen once for the plan.
    pub now: Timestamp,
    /// How many plans for this key in a row were committed: lets creation start slowly (1, 2, 4, ...).
    pub successes: u32,
    /// When nodes were last heard of.
    pub liveness: &'a dyn Liveness,
}

/// Soft state of the leader: when nodes were last heard of.
pub trait Liveness: Send + Sync {
    /// When a node was last heard of by this leadership; `None` when not yet: its grace starts with the leadership.
    fn last_heard(&self, node: &str) -> Option<Timestamp>;

    /// When this leadership began.
    fn leading_since(&self) -> Timestamp;
}

/// What is to be done, as one atomic transaction.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The writes.
    pub writes: Vec<Intent>,
    /// When to look again even if nothing changes.
    pub requeue: Requeue,
    /// What to tell the user.
    pub events: Vec<EventNote>,
}

/// When to look at a key again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Requeue {
    /// When something changes.
    #[default]
    OnChange,
    /// At the latest after this long.
    After(Duration),
}

/// One write of a plan.
#[derive(Debug, Clone)]
pub enum Intent {
    /// A new object. `metadata.name`, or `metadata.generateName` for a name chosen at proposal; uid and times are
    /// filled in at proposal, defaults too.
    Create(Value),
    /// A changed object, written only if it is still at `base`'s revision.
    Update {
        /// What it was planned from.
        base: Arc<Object>,
        /// The whole changed object.
        object: Value,
        /// Which part of it counts.
        part: Part,
    },
    /// A deletion, done only if it is still at `base`'s revision.
    Delete {
        /// What it was planned from.
        base: Arc<Object>,
        /// Grace and propagation.
        options: Options,
    },
    /// Requires that an object has not changed since the plan, without writing it.
    Unchanged(Arc<Object>),
    /// The end of an object that nothing holds any more, done only if it is still at `base`'s revision. Grace and
    /// finalizers are not asked again.
    Remove(Arc<Object>),
    /// A pod's binding to a node: the one change of `spec` that the loop may make.
    Bind {
        /// The pod as it was planned.
        base: Arc<Object>,
        /// The node's name.
        node: String,
    },
}

/// An event for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventNote {
    /// What it is about.
    pub about: Arc<Object>,
    /// `Normal` or `Warning`.
    pub kind: EventType,
    /// One CamelCase word, such as `ScalingReplicaSet`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The write of the plan that makes an object whose name, known only once it is proposed, ends the message.
    pub made: Option<usize>,
}

/// How an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// All is going as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

impl EventType {
    /// The word in `Event.type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// A plan could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// An object in the view does not have its kind's shape.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What the plan wants to write cannot be written as JSON.
    #[error("cannot encode a planned object")]
    Encode(#[from] serde_json::Error),
    /// The object asks for something impossible; the message is for its author.
    #[error("{0}")]
    Impossible(String),
}
