//! A lock whose token is the revision of the transaction that took it, and writes that show the token.

use crate::limits::{PACE, PACE_OF_FAILURE};
use crate::objects::{Servers, Stop, body, options, target};
use crate::{Dot, DotEnd, Result};
use pontoon_client::{Client, ClientError};
use pontoon_history::Moment;
use pontoon_history::lock::{Deed, check};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "default";

/// How long a holder may dally between two writes: long enough for another to take the lock.
const DALLY: Duration = Duration::from_millis(60);

/// The workload while it runs.
#[derive(Debug)]
pub struct Lock {
    start: Instant,
    seen: Mutex<Seen>,
}

/// What clients committed, with revisions, and everything that they tried.
#[derive(Debug, Default)]
struct Seen {
    deeds: Vec<(u64, Deed)>,
    dots: Vec<Dot>,
}

impl Lock {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            seen: Mutex::default(),
        }
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Makes the lock, which nobody has, and what it guards.
    ///
    /// # Errors
    /// When the servers do not.
    pub async fn prepare(servers: &Servers) -> anyhow::Result<()> {
        let objects = ["lock", "guarded"].map(|name| body(NAMESPACE, name, "lock", "0", None));
        servers
            .client(0)?
            .apply(objects.into(), NAMESPACE, options())
            .await?;
        Ok(())
    }

    /// One client, until told to stop.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn client(
        &self,
        servers: &Servers,
        process: u32,
        seed: u64,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        let client = servers.client(process as usize)?;
        let mut random = StdRng::seed_from_u64(seed);
        let holder = u64::from(process);
        let mut count = 0_u64;
        while !stop.said() {
            let from = self.now();
            let taken = take(&client, holder).await;
            let Some(token) = self.note(from, taken, |_| Deed::Take { holder }) else {
                tokio::time::sleep(PACE_OF_FAILURE).await;
                continue;
            };
            for _ in 0..random.random_range(1..5) {
                count += 1;
                tokio::time::sleep(DALLY.mul_f64(random.random_range(0.0..1.0))).await;
                let from = self.now();
                let written = write(&client, holder, token, count).await;
                if self
                    .note(from, written, |_| Deed::Write { holder, token })
                    .is_none()
                {
                    break;
                }
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }

    /// Takes down what was committed; gives its revision.
    fn note(
        &self,
        from: Moment,
        result: std::result::Result<u64, ClientError>,
        deed: impl Fn(u64) -> Deed,
    ) -> Option<u64> {
        let to = self.now();
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let end = match &result {
            Ok(_) => DotEnd::Done,
            Err(error) if error.is_conflict() => DotEnd::Done,
            Err(error) => match crate::objects::outcome::<()>(error) {
                pontoon_history::Outcome::Failed(_) => DotEnd::Failed,
                _ => DotEnd::Indeterminate,
            },
        };
        seen.dots.push(Dot { from, to, end });
        let revision = result.ok()?;
        seen.deeds.push((revision, deed(revision)));
        Some(revision)
    }

    /// The judgement.
    #[must_use]
    pub fn judge(self) -> Result {
        let Seen { deeds, dots } = self
            .seen
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let taken = deeds
            .iter()
            .filter(|(_, deed)| matches!(deed, Deed::Take { .. }))
            .count();
        Result {
            name: "lock",
            verdict: check(&deeds),
            figures: format!(
                "taken {taken} times, {} guarded writes",
                deeds.len() - taken
            ),
            dots,
            edn: None,
        }
    }
}

async fn take(client: &Client, holder: u64) -> std::result::Result<u64, ClientError> {
    let found = client.get(target(NAMESPACE, "lock"), 0).await?;
    // The revision before makes each taking another text, also by who has it already.
    let text = format!("{holder} after {}", found.revision);
    let json = body(NAMESPACE, "lock", "lock", &text, Some(found.revision));
    let written = client
        .update(target(NAMESPACE, "lock"), json, options())
        .await?;
    Ok(written.object.map_or(0, |object| object.revision))
}

/// One transaction: the guarded write, and the lock on the condition that its revision is still the token.
async fn write(
    client: &Client,
    holder: u64,
    token: u64,
    count: u64,
) -> std::result::Result<u64, ClientError> {
    let lock = client.get(target(NAMESPACE, "lock"), token).await?;
    let held = body(
        NAMESPACE,
        "lock",
        "lock",
        &crate::objects::text(&lock),
        Some(token),
    );
    let guarded = body(
        NAMESPACE,
        "guarded",
        "lock",
        &format!("{holder} {token} {count}"),
        None,
    );
    let written = client
        .apply(vec![held, guarded], NAMESPACE, options())
        .await?;
    Ok(written.revision)
}
