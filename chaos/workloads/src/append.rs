//! Lists that transactions append to: read at one revision, written together on the condition that nothing read has changed.

use crate::limits::{LISTS, PACE, PACE_OF_FAILURE};
use crate::objects::{Servers, Stop, body, options, outcome, target, text};
use crate::{Result, dots};
use bytes::Bytes;
use pontoon_client::Client;
use pontoon_client::api::Selection;
use pontoon_history::append::{Answer, Call, Mop, check};
use pontoon_history::{Outcome, Recorder, edn};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

const NAMESPACE: &str = "default";
const LABEL: &str = "append";

/// The workload while it runs.
#[derive(Debug)]
pub struct Append {
    recorder: Recorder<Call, Answer>,
    count: AtomicU64,
}

/// A list as it was read.
struct Read {
    revision: u64,
    elements: Vec<u64>,
}

impl Append {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(start: std::time::Instant) -> Self {
        Self {
            recorder: Recorder::new(start),
            count: AtomicU64::new(1),
        }
    }

    /// Makes the empty lists.
    ///
    /// # Errors
    /// When the servers do not.
    pub async fn prepare(servers: &Servers) -> anyhow::Result<()> {
        let objects = (0..LISTS).map(|key| body(NAMESPACE, &name(key), LABEL, "", None));
        servers
            .client(0)?
            .apply(objects.collect(), NAMESPACE, options())
            .await?;
        Ok(())
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
            let call = self.transaction(&mut random);
            let ticket = self.recorder.begin(process, 0, call.clone())?;
            let result = ask(&client, &call).await;
            let failed = !matches!(result, Outcome::Done(_));
            self.recorder.end(ticket, result);
            tokio::time::sleep(if failed { PACE_OF_FAILURE } else { PACE }).await;
        }
        Ok(())
    }

    /// Reads first, then appends: what is appended is never read by the same transaction.
    fn transaction(&self, random: &mut StdRng) -> Call {
        let mut keys = BTreeSet::new();
        while keys.len() < random.random_range(1..4) {
            keys.insert(random.random_range(0..LISTS));
        }
        let mut call: Call = keys.iter().map(|key| Mop::Read { key: *key }).collect();
        if random.random_ratio(2, 3) {
            let value = self.count.fetch_add(1, Ordering::Relaxed);
            let some = random.random_range(1..=keys.len());
            call.extend(
                keys.iter()
                    .take(some)
                    .map(|key| Mop::Append { key: *key, value }),
            );
        }
        call
    }

    /// The judgement.
    #[must_use]
    pub fn judge(self) -> Result {
        let history = self.recorder.finish();
        let appends = self.count.load(Ordering::Relaxed) - 1;
        Result {
            name: "append",
            verdict: check(&history),
            figures: format!("{appends} transactions that append"),
            dots: dots(&history),
            edn: Some(edn::write(&history)),
        }
    }
}

fn name(key: u64) -> String {
    format!("list-{key}")
}

async fn ask(client: &Client, call: &Call) -> Outcome<Answer> {
    let selection = Selection {
        labels: format!("chaos={LABEL}"),
        ..Selection::default()
    };
    let listing = match client.list(&target(NAMESPACE, ""), &selection).await {
        Ok(listing) => listing,
        // Nothing was written yet.
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let found: BTreeMap<String, Read> = listing
        .items
        .iter()
        .map(|object| {
            let elements = text(object)
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect();
            (
                object.name.clone(),
                Read {
                    revision: object.revision,
                    elements,
                },
            )
        })
        .collect();
    let mut lists: Answer = Vec::new();
    let mut touched: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for mop in call {
        let (Mop::Read { key } | Mop::Append { key, .. }) = mop;
        let Some(read) = found.get(&name(*key)) else {
            return Outcome::Failed(format!("{} is not in the list", name(*key)));
        };
        let list = touched.entry(*key).or_insert_with(|| read.elements.clone());
        match mop {
            Mop::Read { .. } => lists.push(list.clone()),
            Mop::Append { value, .. } => list.push(*value),
        }
    }
    if call.iter().all(|mop| matches!(mop, Mop::Read { .. })) {
        return Outcome::Done(lists);
    }
    // What was only read is sent as well: its revision is a condition, too.
    let objects: Vec<Bytes> = touched
        .iter()
        .map(|(key, list)| {
            let words: Vec<String> = list.iter().map(u64::to_string).collect();
            let revision = found.get(&name(*key)).map(|read| read.revision);
            body(NAMESPACE, &name(*key), LABEL, &words.join(" "), revision)
        })
        .collect();
    match client.apply(objects, NAMESPACE, options()).await {
        Ok(_) => Outcome::Done(lists),
        Err(error) => outcome(&error),
    }
}
