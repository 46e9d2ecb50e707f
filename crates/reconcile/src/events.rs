//! Events for the user: equal ones become one object with a count.

use crate::limits::{EVENT_SERIES, EVENTS_PER_PROPOSAL, EVENTS_WAITING};
use crate::metrics;
use crate::transaction::seconds;
use pontoon_controllers::EventNote;
use pontoon_state::{Key, Object, Replica, Transaction, encode};
use pontoon_world::World;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Takes events and writes them in the background. Never waits, may drop: events are advice.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<(&'static str, EventNote)>,
}

impl Events {
    /// Starts the writer; it ends when the last sender is gone.
    pub(crate) fn start(replica: Arc<dyn Replica>, world: World) -> Self {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
        tokio::spawn(
            Writer {
                replica,
                world,
                series: HashMap::new(),
            }
            .run(receiver),
        );
        Self { sender }
    }

    /// Takes an event of a component.
    pub(crate) fn note(&self, component: &'static str, note: EventNote) {
        if self.sender.try_send((component, note)).is_err() {
            metrics::event_dropped();
        }
    }
}

type Series = (Arc<str>, &'static str, String, String);

struct Writer {
    replica: Arc<dyn Replica>,
    world: World,
    /// The event object of each series of equal events, and its count.
    series: HashMap<Series, (Key, Value)>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<(&'static str, EventNote)>) {
        let mut notes = Vec::new();
        while receiver.recv_many(&mut notes, EVENTS_PER_PROPOSAL).await > 0 {
            let transaction = self.transaction(notes.drain(..));
            if let Err(error) = self.replica.propose(transaction).await {
                tracing::debug!(%error, "events were not written");
            }
        }
    }

    /// What writes these events; of a series that comes more than once, its last state.
    fn transaction(
        &mut self,
        notes: impl Iterator<Item = (&'static str, EventNote)>,
    ) -> Transaction {
        let mut written = BTreeMap::new();
        for (component, note) in notes {
            let (key, event) = self.event(component, &note);
            match encode(&event) {
                Ok(encoded) => {
                    written.insert(key, encoded);
                }
                Err(error) => tracing::warn!(%error, "an event could not be encoded"),
            }
        }
        written
            .into_iter()
            .fold(Transaction::default(), |transaction, (key, event)| {
                transaction.put(key, event)
            })
    }

    fn event(&mut self, component: &'static str, note: &EventNote) -> (Key, Value) {
        if self.series.len() >= EVENT_SERIES {
            self.series.clear();
        }
        let now = seconds(&self.world);
        let about = &note.about;
        let series = (
            about.meta.uid.clone(),
            component,
            note.reason.clone(),
            note.message.clone(),
        );
        let world = &self.world;
        let (key, event) = self.series.entry(series).or_insert_with(|| {
            let name = format!("{}.{:016x}", about.key.name, world.entropy().u64());
            let namespace = if about.key.namespace.is_empty() {
                "default"
            } else {
                &about.key.namespace
            };
            (
                Key::new("events", namespace, &name),
                new_event(component, note, &name, namespace, world),
            )
        });
        event["count"] = json!(event["count"].as_i64().unwrap_or(0) + 1);
        event["lastTimestamp"] = json!(now);
        (key.clone(), event.clone())
    }
}

fn new_event(
    component: &str,
    note: &EventNote,
    name: &str,
    namespace: &str,
    world: &World,
) -> Value {
    let about: &Object = &note.about;
    let described = about.value().unwrap_or_default();
    let now = seconds(world);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": world.entropy().uuid().to_string(),
            "creationTimestamp": now,
        },
        "involvedObject": {
            "apiVersion": described["apiVersion"],
            "kind": described["kind"],
            "namespace": &*about.key.namespace,
            "name": &*about.key.name,
            "uid": &*about.meta.uid,
            "resourceVersion": about.revision.to_string(),
        },
        "type": note.kind.as_str(),
        "reason": note.reason,
        "message": note.message,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 0,
    })
}
