//! Known mistakes that can be built in, to prove that the harness catches them.
//!
//! Without the feature `seeded-bugs` every question is answered `false` at compile time, and nothing of a mistake is left
//! in the program. With it, at most one is chosen, once, by name.

/// A mistake. Each variant says what is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// An append is reported durable before it is.
    AckBeforeSync,
    /// The vote is not saved.
    VoteNotSaved,
    /// A write is acknowledged when the leader has it, before it is committed.
    AckBeforeCommit,
    /// A follower answers linearizable reads with what it has.
    FollowerRead,
    /// A leader answers linearizable reads without asking a majority.
    UnconfirmedRead,
    /// A read uses a confirmation that began before it did.
    SharedConfirmation,
    /// Who led when it ended leads when it begins, and does not know what it had committed.
    LeaderRestored,
    /// A follower is sent what is left of a purged range as if nothing were missing.
    GapInAppend,
    /// A leader is said to be ready before it has applied an entry of its own term.
    ReadyEarly,
    /// A write planned in another term is done.
    Unfenced,
    /// A proposal whose outcome is not known is sent again.
    RetryUnknown,
    /// A proposal is sent again though a snapshot may have hidden that it was done.
    RetryObscured,
    /// Watches miss a revision now and then.
    DroppedEvent,
    /// Watches get a revision twice now and then.
    RepeatedEvent,
    /// What is applied is recorded behind the batch that did it.
    MarkerOutsideBatch,
    /// A snapshot says that it has less than it has.
    SnapshotBehind,
    /// A snapshot's place in the view is taken, its place in the feed is not.
    FeedNotReset,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::AckBeforeSync,
        Self::VoteNotSaved,
        Self::AckBeforeCommit,
        Self::FollowerRead,
        Self::UnconfirmedRead,
        Self::SharedConfirmation,
        Self::LeaderRestored,
        Self::GapInAppend,
        Self::ReadyEarly,
        Self::Unfenced,
        Self::RetryUnknown,
        Self::RetryObscured,
        Self::DroppedEvent,
        Self::RepeatedEvent,
        Self::MarkerOutsideBatch,
        Self::SnapshotBehind,
        Self::FeedNotReset,
    ];

    /// Its name, as it is chosen by.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }
}

#[cfg(feature = "seeded-bugs")]
static BUILT_IN: std::sync::OnceLock<Bug> = std::sync::OnceLock::new();

/// Chooses the mistake of this process.
///
/// # Errors
/// There is none of this name, another is chosen already, or this program was built without them.
pub fn build_in(name: &str) -> Result<(), String> {
    let found = Bug::ALL.into_iter().find(|bug| bug.name() == name);
    let bug = found.ok_or_else(|| format!("no known mistake is called {name:?}"))?;
    choose(bug)
}

#[cfg(feature = "seeded-bugs")]
fn choose(bug: Bug) -> Result<(), String> {
    BUILT_IN
        .set(bug)
        .map_err(|bug| format!("a mistake is built in already, {bug:?} is not"))
}

#[cfg(not(feature = "seeded-bugs"))]
fn choose(bug: Bug) -> Result<(), String> {
    Err(format!(
        "{bug:?} cannot be built in: this program was built without the feature seeded-bugs"
    ))
}

/// Whether this mistake is made here.
#[cfg(feature = "seeded-bugs")]
#[must_use]
pub fn makes(bug: Bug) -> bool {
    BUILT_IN.get() == Some(&bug)
}

/// Whether this mistake is made here: never.
#[cfg(not(feature = "seeded-bugs"))]
#[must_use]
pub const fn makes(_: Bug) -> bool {
    false
}
