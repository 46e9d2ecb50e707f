//! Registers with compare-and-set: reads, unconditional and conditional writes of a few keys by several clients, each through its own
//! server.

use crate::limits::{KEYS_AT_ONCE, OPERATIONS_PER_KEY, PACE, PACE_OF_FAILURE};
use crate::objects::{Servers, Stop, body, number, options, outcome, target};
use crate::{Result, dots};
use pontoon_client::Client;
use pontoon_history::register::{Answer, Call, Version, check};
use pontoon_history::{Outcome, Recorder, edn};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

const NAMESPACE: &str = "default";

/// The workload while it runs.
#[derive(Debug)]
pub struct Register {
    recorder: Recorder<Call, Answer>,
    count: AtomicU64,
}

impl Register {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(start: std::time::Instant) -> Self {
        Self {
            recorder: Recorder::new(start),
            count: AtomicU64::new(0),
        }
    }

    /// How many operations are known to be done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.recorder.counts().1
    }

    /// One client, until told to stop.
    ///
    /// # Errors
    /// When it cannot be made, or the history is full.
    pub async fn client(
        &self,
        servers: &Servers,
        process: u32,
        seed: u64,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        let client = servers.client(process as usize)?;
        let mut random = StdRng::seed_from_u64(seed);
        let mut known: BTreeMap<u64, u64> = BTreeMap::new();
        while !stop.said() {
            let count = self.count.fetch_add(1, Ordering::Relaxed);
            // A window of keys moves on, so that each has its share and then rests.
            let first = count / (OPERATIONS_PER_KEY * KEYS_AT_ONCE) * KEYS_AT_ONCE;
            let key = first + random.random_range(0..KEYS_AT_ONCE);
            let value = count + 1;
            let call = match random.random_range(0..10) {
                0..=3 => Call::Read,
                4 | 5 => Call::Write { value },
                _ => Call::Cas {
                    expected: known.get(&key).copied().unwrap_or(0),
                    value,
                },
            };
            let ticket = self.recorder.begin(process, key, call)?;
            let result = ask(&client, key, call).await;
            match &result {
                Outcome::Done(
                    Answer::Read(Some(Version { revision, .. })) | Answer::Written(revision),
                ) => {
                    known.insert(key, *revision);
                }
                Outcome::Done(Answer::Conflict) => {
                    known.remove(&key);
                }
                _ => {}
            }
            let failed = !matches!(result, Outcome::Done(_));
            self.recorder.end(ticket, result);
            tokio::time::sleep(if failed { PACE_OF_FAILURE } else { PACE }).await;
        }
        Ok(())
    }

    /// The judgement.
    #[must_use]
    pub fn judge(self) -> Result {
        let history = self.recorder.finish();
        let keys: std::collections::BTreeSet<u64> = history.iter().map(|one| one.key).collect();
        Result {
            name: "register",
            verdict: check(&history),
            figures: format!("{} keys", keys.len()),
            dots: dots(&history),
            edn: Some(edn::write(&history)),
        }
    }
}

async fn ask(client: &Client, key: u64, call: Call) -> Outcome<Answer> {
    let name = format!("register-{key}");
    let named = target(NAMESPACE, &name);
    let written = match call {
        Call::Read => {
            return match client.get(named, 0).await {
                Ok(object) => Outcome::Done(Answer::Read(Some(Version {
                    revision: object.revision,
                    value: number(&object),
                }))),
                Err(error) if error.is_not_found() => Outcome::Done(Answer::Read(None)),
                // A read has no effect, whatever became of it.
                Err(error) => Outcome::Failed(error.to_string()),
            };
        }
        Call::Write { value } => {
            let json = body(NAMESPACE, &name, "register", &value.to_string(), None);
            client.update(named, json, options()).await
        }
        Call::Cas { expected: 0, value } => {
            let json = body(NAMESPACE, &name, "register", &value.to_string(), None);
            client.create(target(NAMESPACE, ""), json, options()).await
        }
        Call::Cas { expected, value } => {
            let json = body(
                NAMESPACE,
                &name,
                "register",
                &value.to_string(),
                Some(expected),
            );
            client.update(named, json, options()).await
        }
    };
    match written {
        Ok(response) => {
            let revision = response.object.map_or(0, |object| object.revision);
            Outcome::Done(Answer::Written(revision))
        }
        Err(error)
            if matches!(call, Call::Cas { .. })
                && (error.is_conflict() || error.is_already_exists()) =>
        {
            Outcome::Done(Answer::Conflict)
        }
        Err(error) => outcome(&error),
    }
}
