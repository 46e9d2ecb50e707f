//! What is measured, one module for each kind of question.

pub mod bind;
pub mod disk;
pub mod etcd;
pub mod footprint;
pub mod pods;
pub mod reads;
pub mod start;
pub mod watch;
pub mod writes;

mod objects;

use std::time::Duration;

/// A group of figures that share a server.
#[derive(Debug, Clone, Copy)]
pub enum Figures {
    Disk,
    Etcd,
    Start,
    Writes,
    Reads,
    Watch,
    Bind,
    Pods,
    Footprint,
}

/// Every group with the name that filters match, in the order in which they run: the disk first, so
/// that what follows can be judged by it.
pub const ALL: &[(&str, Figures)] = &[
    ("disk", Figures::Disk),
    ("etcd", Figures::Etcd),
    ("start", Figures::Start),
    ("footprint", Figures::Footprint),
    ("writes", Figures::Writes),
    ("reads", Figures::Reads),
    ("watch", Figures::Watch),
    ("bind", Figures::Bind),
    ("pods", Figures::Pods),
];

/// How long to look. The quick one shows that everything works; its numbers mean little.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Times a figure that takes seconds is repeated.
    pub repetitions: usize,
    /// Of one repetition under load.
    pub period: Duration,
    /// Before the first one.
    pub warm_up: Duration,
    /// Times a figure that takes milliseconds is repeated.
    pub samples: usize,
    /// A tenth of the objects when quick.
    pub scale: usize,
    /// How long an idle cluster is looked at.
    pub idle: Duration,
}

impl Effort {
    pub const FULL: Self = Self {
        repetitions: 3,
        period: Duration::from_secs(4),
        warm_up: Duration::from_secs(2),
        samples: 30,
        scale: 10,
        idle: Duration::from_secs(30),
    };

    pub const QUICK: Self = Self {
        repetitions: 1,
        period: Duration::from_secs(1),
        warm_up: Duration::from_millis(300),
        samples: 5,
        scale: 1,
        idle: Duration::from_secs(3),
    };

    /// A number of objects, smaller when quick.
    pub const fn of(self, full: usize) -> usize {
        full * self.scale / 10
    }
}
