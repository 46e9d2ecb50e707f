//! Sets: each element a key of a ConfigMap, added by a patch.

use crate::limits::{ELEMENTS_PER_SET, PACE, PACE_OF_FAILURE};
use crate::objects::{Servers, Stop, options, outcome, target};
use crate::{Result, dots};
use bytes::Bytes;
use pontoon_client::Client;
use pontoon_client::api::Patch;
use pontoon_history::set::{Answer, Call, check};
use pontoon_history::{Operation, Outcome, Recorder, Verdict, edn};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

const NAMESPACE: &str = "default";

/// The workload while it runs.
#[derive(Debug)]
pub struct Set {
    recorder: Recorder<Call, Answer>,
    count: AtomicU64,
}

impl Set {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(start: std::time::Instant) -> Self {
        Self {
            recorder: Recorder::new(start),
            count: AtomicU64::new(0),
        }
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
        while !stop.said() {
            let (set, call) = if random.random_ratio(1, 5) {
                (
                    self.count.load(Ordering::Relaxed) / ELEMENTS_PER_SET,
                    Call::Read,
                )
            } else {
                let element = self.count.fetch_add(1, Ordering::Relaxed);
                (element / ELEMENTS_PER_SET, Call::Add(element))
            };
            let failed = self.step(&client, process, set, call).await?;
            tokio::time::sleep(if failed { PACE_OF_FAILURE } else { PACE }).await;
        }
        Ok(())
    }

    /// Reads every set once, when all is quiet again.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub async fn read_all(&self, servers: &Servers) -> anyhow::Result<()> {
        for number in 0..servers.count() {
            let client = servers.client(number)?;
            for set in 0..=self.count.load(Ordering::Relaxed) / ELEMENTS_PER_SET {
                let process = 1_000 + u32::try_from(number)?;
                let _ = self.step(&client, process, set, Call::Read).await?;
            }
        }
        Ok(())
    }

    async fn step(
        &self,
        client: &Client,
        process: u32,
        set: u64,
        call: Call,
    ) -> anyhow::Result<bool> {
        let ticket = self.recorder.begin(process, set, call)?;
        let result = ask(client, set, call).await;
        let failed = !matches!(result, Outcome::Done(_));
        self.recorder.end(ticket, result);
        Ok(failed)
    }

    /// The judgement.
    #[must_use]
    pub fn judge(self) -> Result {
        let history = self.recorder.finish();
        let (shown, text) = (dots(&history), edn::write(&history));
        let mut sets: BTreeMap<u64, Vec<Operation<Call, Answer>>> = BTreeMap::new();
        for one in history {
            sets.entry(one.key).or_default().push(one);
        }
        let mut verdict = Verdict::Valid;
        let (mut acknowledged, mut recovered, mut vanished) = (0, 0, 0);
        for own in sets.values() {
            let (own, figures) = check(own);
            verdict = verdict.and(own);
            acknowledged += figures.acknowledged;
            recovered += figures.recovered;
            vanished += figures.vanished;
        }
        Result {
            name: "set",
            verdict,
            figures: format!(
                "{acknowledged} elements acknowledged; of those with unknown outcome {recovered} are there and {vanished} are not"
            ),
            dots: shown,
            edn: Some(text),
        }
    }
}

async fn ask(client: &Client, set: u64, call: Call) -> Outcome<Answer> {
    let name = format!("set-{set}");
    match call {
        Call::Read => match client.get(target(NAMESPACE, &name), 0).await {
            Ok(object) => {
                let value: Value = serde_json::from_slice(&object.json).unwrap_or_default();
                let names = value["data"]
                    .as_object()
                    .into_iter()
                    .flat_map(|data| data.keys());
                let elements = names.filter_map(|name| name.strip_prefix("element-")?.parse().ok());
                Outcome::Done(Answer::Holds(elements.collect()))
            }
            Err(error) if error.is_not_found() => Outcome::Done(Answer::Holds(BTreeSet::new())),
            Err(error) => Outcome::Failed(error.to_string()),
        },
        Call::Add(element) => {
            let patch = json!({"data": {format!("element-{element}"): ""}}).to_string();
            let mut written = client
                .patch(
                    target(NAMESPACE, &name),
                    Patch::Merge(Bytes::from(patch)),
                    options(),
                )
                .await;
            if written
                .as_ref()
                .is_err_and(pontoon_client::ClientError::is_not_found)
            {
                let json = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                    "data": {format!("element-{element}"): ""}
                });
                written = client
                    .create(
                        target(NAMESPACE, ""),
                        Bytes::from(json.to_string()),
                        options(),
                    )
                    .await;
            }
            match written {
                Ok(_) => Outcome::Done(Answer::Added),
                Err(error) => outcome(&error),
            }
        }
    }
}
