//! Objects that come, change and go, several in one transaction; watchers that follow them through cut streams; lists read page by page.

mod follow;
mod pages;

use crate::limits::{CHURNING, PACE, PACE_OF_FAILURE};
use crate::objects::{Servers, Stop, body, options, outcome, target};
use crate::{Dot, DotEnd, Result};
use bytes::Bytes;
use pontoon_client::api::DeleteOptions;
use pontoon_client::messages::applied::Action;
use pontoon_client::{Client, ClientError};
use pontoon_history::ledger::{Change, Ledger};
use pontoon_history::paging::{self, List};
use pontoon_history::watch::{self, Scope, Stream};
use pontoon_history::{Moment, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// The namespace that is churned.
const NAMESPACE: &str = "churn";

/// Labels divide the objects by this.
const DIVISOR: u64 = 3;

/// The workload while it runs.
#[derive(Debug)]
pub struct Churn {
    start: Instant,
    count: AtomicU64,
    /// The greatest revision that a write was acknowledged with.
    latest: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    attempts: Vec<(u64, u64)>,
    changes: Vec<Change>,
    acknowledged: Vec<(Moment, u64)>,
    streams: Vec<Stream>,
    lists: Vec<List>,
    writes: Vec<Dot>,
    reads: Vec<Dot>,
}

fn name(key: u64) -> String {
    format!("churn-{key}")
}

fn key(name: &str) -> Option<u64> {
    name.strip_prefix("churn-")?.parse().ok()
}

fn label(key: u64) -> String {
    format!("churn-{}", key % DIVISOR)
}

impl Churn {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            count: AtomicU64::new(1),
            latest: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    /// Makes the namespace.
    ///
    /// # Errors
    /// When the servers do not.
    pub async fn prepare(servers: &Servers) -> anyhow::Result<()> {
        let namespace = format!(
            r#"{{"apiVersion": "v1", "kind": "Namespace", "metadata": {{"name": "{NAMESPACE}"}}}}"#
        );
        servers
            .client(0)?
            .apply(vec![Bytes::from(namespace)], "default", options())
            .await?;
        Ok(())
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One client that writes, until told to stop.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn writer(
        &self,
        servers: &Servers,
        process: u32,
        seed: u64,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        let client = servers.client(process as usize)?;
        let mut random = StdRng::seed_from_u64(seed);
        while !stop.said() {
            let from = self.now();
            let result = if random.random_ratio(1, 5) {
                delete(&client, random.random_range(0..CHURNING)).await
            } else {
                self.write(&client, &mut random).await
            };
            let end = match &result {
                Ok(()) => DotEnd::Done,
                Err(error) if error.is_not_found() || error.is_conflict() => DotEnd::Done,
                Err(error) => match outcome::<()>(error) {
                    Outcome::Failed(_) => DotEnd::Failed,
                    _ => DotEnd::Indeterminate,
                },
            };
            let to = self.now();
            self.seen().writes.push(Dot { from, to, end });
            tokio::time::sleep(if result.is_ok() {
                PACE
            } else {
                PACE_OF_FAILURE
            })
            .await;
        }
        Ok(())
    }

    async fn write(
        &self,
        client: &Client,
        random: &mut StdRng,
    ) -> std::result::Result<(), ClientError> {
        let mut keys = BTreeSet::from([random.random_range(0..CHURNING)]);
        if random.random_ratio(1, 2) {
            keys.insert(random.random_range(0..CHURNING));
        }
        let value = self.count.fetch_add(1, Ordering::Relaxed);
        self.seen()
            .attempts
            .extend(keys.iter().map(|key| (*key, value)));
        let objects = keys.iter().map(|key| {
            body(
                NAMESPACE,
                &name(*key),
                &label(*key),
                &value.to_string(),
                None,
            )
        });
        let response = client
            .apply(objects.collect(), NAMESPACE, options())
            .await?;
        let ended = self.now();
        let mut seen = self.seen();
        seen.acknowledged.push((ended, response.revision));
        for applied in &response.results {
            let written = matches!(applied.action(), Action::Created | Action::Configured);
            if let Some(key) = applied
                .object
                .as_ref()
                .and_then(|object| key(&object.name))
                .filter(|_| written)
            {
                seen.changes.push(Change {
                    revision: response.revision,
                    key,
                    value: Some(value),
                });
            }
        }
        self.latest.fetch_max(response.revision, Ordering::SeqCst);
        Ok(())
    }

    /// One watcher of `scope`, until told to stop.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn watcher(
        &self,
        servers: &Servers,
        number: u32,
        scope: Scope,
        seed: u64,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        follow::follow(self, servers, number, scope, seed, stop).await
    }

    /// One client that reads lists in pages, until told to stop.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn lister(
        &self,
        servers: &Servers,
        number: u32,
        seed: u64,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        pages::list(self, servers, number, seed, stop).await
    }

    /// The judgement on streams, and the one on lists.
    #[must_use]
    pub fn judge(self) -> [Result; 2] {
        let seen = self
            .seen
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut ledger = Ledger::default();
        for (key, value) in &seen.attempts {
            ledger.attempt(*key, *value);
        }
        for change in &seen.changes {
            ledger.learn(*change, "an acknowledged write");
        }
        let followed = watch::check(&mut ledger, &seen.streams);
        let events: usize = seen.streams.iter().map(|stream| stream.items.len()).sum();
        let listed = paging::check(&mut ledger, &seen.acknowledged, &seen.lists);
        let of = |end| seen.lists.iter().filter(|list| list.end == end).count();
        [
            Result {
                name: "watch",
                verdict: followed,
                figures: format!(
                    "{} streams, {events} events and bookmarks",
                    seen.streams.len()
                ),
                dots: seen.writes,
                edn: None,
            },
            Result {
                name: "paging",
                verdict: listed,
                figures: format!(
                    "{} lists, {} complete, {} expired",
                    seen.lists.len(),
                    of(paging::End::Complete),
                    of(paging::End::Expired)
                ),
                dots: seen.reads,
                edn: None,
            },
        ]
    }
}

async fn delete(client: &Client, key: u64) -> std::result::Result<(), ClientError> {
    client
        .delete(target(NAMESPACE, &name(key)), DeleteOptions::default())
        .await?;
    Ok(())
}
