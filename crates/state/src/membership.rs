//! The port through which the cluster's own administration meets consensus. What members there are to be stands in
//! [`records`](crate::records); consensus makes it so. Here is what only the leader knows or can do, asked through any server.

/// What the leader knows of a member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The member.
    pub id: u64,
    /// The last log entry it is known to have; zero for none.
    pub matched: u64,
    /// How long ago it was heard, in milliseconds; `None` when it never was.
    pub heard_ms: Option<u64>,
    /// Whether it votes.
    pub voter: bool,
}

/// A change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// It must not be, as things are; says why, and what would do.
    #[error("{0}")]
    Refused(String),
    /// The leader could not be asked; trying again is safe.
    #[error("{0}")]
    Unavailable(String),
}

/// What only the leader knows or can do.
#[async_trait::async_trait]
pub trait Membership: Send + Sync + 'static {
    /// The member that is asked.
    fn me(&self) -> u64;

    /// What the leader knows of each member.
    async fn progress(&self) -> Result<Vec<Progress>, MembershipError>;

    /// Hands leadership to a voter, or to the one that is furthest; answers when it leads, with its id.
    async fn transfer(&self, to: Option<u64>) -> Result<u64, MembershipError>;
}

/// A cluster of one that stays so.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

#[async_trait::async_trait]
impl Membership for Alone {
    fn me(&self) -> u64 {
        1
    }

    async fn progress(&self) -> Result<Vec<Progress>, MembershipError> {
        Ok(Vec::new())
    }

    async fn transfer(&self, _: Option<u64>) -> Result<u64, MembershipError> {
        Err(MembershipError::Refused(
            "there is no other member to lead".into(),
        ))
    }
}
