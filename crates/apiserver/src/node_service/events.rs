//! Events of agents: the same thing happening again counts up one event, instead of making many.

use super::{Inner, own_caller};
use crate::error::VerbError;
use crate::limits::CONFLICT_RETRIES;
use crate::request::{FieldValidation, Target, WriteOptions};
use crate::verbs::encoded;
use pontoon_api::decode::Document;
use pontoon_api::kinds;
use pontoon_state::{Key, Precondition, Transaction};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

impl Inner {
    /// Writes events; one that cannot be written is logged and dropped: events are best effort.
    pub(super) async fn write_events(&self, node: &str, events: &[bytes::Bytes]) {
        for event in events {
            if let Err(error) = self.write_event(node, event).await {
                tracing::debug!(node, %error, "an event is dropped");
            }
        }
    }

    async fn write_event(&self, node: &str, event: &[u8]) -> Result<(), VerbError> {
        let mut event: Value = serde_json::from_slice(event)
            .map_err(|error| VerbError::BadRequest(error.to_string()))?;
        if !event.is_object() {
            return Err(VerbError::BadRequest("an event must be an object".into()));
        }
        let namespace = event["involvedObject"]["namespace"]
            .as_str()
            .filter(|name| !name.is_empty());
        let namespace = namespace.unwrap_or("default").to_owned();
        let name = name_of(node, &event);
        let now = self.timestamp();
        let key = Key::new("events", &namespace, &name);
        for _ in 0..CONFLICT_RETRIES {
            let view = self.verbs.replica.view();
            let Some(current) = view.get(&key) else { break };
            let mut counted = current.value()?;
            counted["count"] = json!(counted["count"].as_i64().unwrap_or(1) + 1);
            counted["lastTimestamp"] = json!(now);
            let transaction = Transaction::default()
                .require(Precondition::Revision(key.clone(), current.revision))
                .put(key.clone(), encoded(&counted)?);
            if self.verbs.commit(transaction).await?.is_ok() {
                return Ok(());
            }
        }
        event["metadata"] = json!({"name": name, "namespace": namespace});
        for member in ["firstTimestamp", "lastTimestamp"] {
            if event[member].is_null() {
                event[member] = json!(now);
            }
        }
        if event["count"].is_null() {
            event["count"] = json!(1);
        }
        if event["source"]["host"].is_null() {
            event["source"]["host"] = json!(node);
        }
        let kind = kinds::by_plural("", "v1", "events")
            .ok_or_else(|| VerbError::Internal("there is no kind Event".into()))?;
        let options = WriteOptions {
            dry_run: false,
            validation: FieldValidation::Ignore,
        };
        let document = Document {
            value: event,
            duplicates: Vec::new(),
        };
        self.verbs
            .create(
                &own_caller(),
                &Target::new(kind, &namespace, ""),
                document,
                &options,
            )
            .await
            .map(|_| ())
    }
}

/// The same thing gets the same name: the object's name and a hash of what makes two events one.
fn name_of(node: &str, event: &Value) -> String {
    let mut hash = Sha256::new();
    let involved = &event["involvedObject"];
    for part in [
        &involved["uid"],
        &involved["fieldPath"],
        &event["type"],
        &event["reason"],
        &event["message"],
    ] {
        hash.update(part.as_str().unwrap_or("").as_bytes());
        hash.update([0]);
    }
    hash.update(node.as_bytes());
    let hash = hash.finalize();
    let hex: String = hash
        .iter()
        .take(8)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let stem: String = involved["name"]
        .as_str()
        .unwrap_or("event")
        .chars()
        .take(200)
        .collect();
    format!("{stem}.{hex}")
}
