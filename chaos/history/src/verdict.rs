//! What a checker says.

use crate::limits::ANOMALIES_TOLD;
use std::fmt;

/// One thing that must not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// A short name, the same for the same mistake: `lost-write`, `stale-read`.
    pub kind: &'static str,
    /// What was seen, in words, with the operations concerned.
    pub story: String,
}

impl Anomaly {
    /// An anomaly of `kind`, told by `story`.
    #[must_use]
    pub fn new(kind: &'static str, story: impl Into<String>) -> Self {
        Self {
            kind,
            story: story.into(),
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.story)
    }
}

/// The judgement on one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong with it.
    Valid,
    /// These are wrong with it; at least one.
    Invalid(Vec<Anomaly>),
    /// It could not be decided, and why. A run with such a verdict has failed.
    Unknown(String),
}

impl Verdict {
    /// Valid when `anomalies` is empty.
    #[must_use]
    pub fn of(anomalies: Vec<Anomaly>) -> Self {
        if anomalies.is_empty() {
            Self::Valid
        } else {
            Self::Invalid(anomalies)
        }
    }

    /// Both judgements in one: anything wrong outweighs anything unknown.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Invalid(mut some), Self::Invalid(more)) => {
                some.extend(more);
                Self::Invalid(some)
            }
            (Self::Invalid(some), _) | (_, Self::Invalid(some)) => Self::Invalid(some),
            (Self::Unknown(why), _) | (_, Self::Unknown(why)) => Self::Unknown(why),
            (Self::Valid, Self::Valid) => Self::Valid,
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        *self == Self::Valid
    }

    /// Whether an anomaly of `kind` was found.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        matches!(self, Self::Invalid(anomalies) if anomalies.iter().any(|anomaly| anomaly.kind == kind))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => f.write_str("valid"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
            Self::Invalid(anomalies) => {
                write!(f, "{} anomalies", anomalies.len())?;
                for anomaly in anomalies.iter().take(ANOMALIES_TOLD) {
                    write!(f, "\n- {anomaly}")?;
                }
                Ok(())
            }
        }
    }
}
