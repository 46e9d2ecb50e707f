//! A session's own Node object: made or refreshed by Hello, its conditions by heartbeats.

use super::{Inner, own_caller};
use crate::error::VerbError;
use crate::limits::CONFLICT_RETRIES;
use crate::request::Target;
use crate::verbs::{encoded, timestamp};
use pontoon_api::kinds;
use pontoon_api::{Kind, Part};
use pontoon_state::{Key, Precondition, Transaction};
use serde_json::{Value, json};

/// What of `Node.status` is the agent's to say.
const STATUS: [&str; 6] = [
    "capacity",
    "allocatable",
    "addresses",
    "nodeInfo",
    "images",
    "runtimeHandlers",
];

fn kind() -> Result<&'static dyn Kind, VerbError> {
    kinds::by_plural("", "v1", "nodes")
        .ok_or_else(|| VerbError::Internal("there is no kind Node".into()))
}

impl Inner {
    /// Writes the node as its agent describes it; gives its pod range.
    ///
    /// # Errors
    /// 400 or 422 when the description is not a Node, 503 when nothing can be written.
    pub(super) async fn register(&self, name: &str, sent: &Value) -> Result<String, VerbError> {
        for _ in 0..CONFLICT_RETRIES {
            let view = self.verbs.replica.read().await?;
            let key = Key::new("nodes", "", name);
            let mut transaction = Transaction::default();
            let object = match view.get(&key) {
                Some(current) => {
                    transaction
                        .preconditions
                        .push(Precondition::Revision(key.clone(), current.revision));
                    let mut node = current.value()?;
                    refresh(&mut node, sent);
                    if range_of(&node).is_empty() {
                        let wanted = range_of(sent);
                        let range = self.ranges.claim(&view, name, wanted, &mut transaction)?;
                        give_range(&mut node, &range);
                    }
                    checked(node, &current.value()?)?
                }
                None => {
                    transaction
                        .preconditions
                        .push(Precondition::Absent(key.clone()));
                    let wanted = range_of(sent);
                    let range = self.ranges.claim(&view, name, wanted, &mut transaction)?;
                    self.new_node(name, sent, &range)?
                }
            };
            let range = range_of(&object).to_owned();
            if self
                .verbs
                .commit(transaction.put(key, encoded(&object)?))
                .await?
                .is_ok()
            {
                return Ok(range);
            }
        }
        Err(VerbError::Timeout(format!(
            "node {name} was changed by others too often"
        )))
    }

    fn new_node(&self, name: &str, sent: &Value, range: &str) -> Result<Value, VerbError> {
        let mut target = Target::new(kind()?, "", "");
        target.name = name.to_owned();
        let mut body = sent.clone();
        if !body.is_object() {
            return Err(VerbError::BadRequest("a Node must be an object".into()));
        }
        body["apiVersion"] = json!("v1");
        body["kind"] = json!("Node");
        body["metadata"]["name"] = json!(name);
        let mut node = self
            .verbs
            .prepare_create(&own_caller(), &target, body)?
            .object;
        give_range(&mut node, range);
        // Creation clears status, as for any object; what the agent measured comes right back.
        refresh(&mut node, sent);
        checked(node.clone(), &node)
    }

    /// Writes conditions that changed.
    ///
    /// # Errors
    /// 400 when they are not conditions, 404 when the node is gone.
    pub(super) async fn conditions(&self, name: &str, conditions: &[u8]) -> Result<(), VerbError> {
        let sent: Vec<Value> = serde_json::from_slice(conditions).map_err(|error| {
            VerbError::BadRequest(format!("conditions cannot be read: {error}"))
        })?;
        let key = Key::new("nodes", "", name);
        for _ in 0..CONFLICT_RETRIES {
            let view = self.verbs.replica.read().await?;
            let current = view.get(&key).ok_or_else(|| gone(name))?;
            let stored = current.value()?;
            let mut node = stored.clone();
            merge_conditions(&mut node["status"]["conditions"], &sent);
            let object = checked(node, &stored)?;
            let transaction = Transaction::default()
                .require(Precondition::Revision(key.clone(), current.revision))
                .put(key.clone(), encoded(&object)?);
            if self.verbs.commit(transaction).await?.is_ok() {
                return Ok(());
            }
        }
        Err(VerbError::Timeout(format!(
            "node {name} was changed by others too often"
        )))
    }

    /// Whether the node is taken for silent although its session is here: its condition is Unknown, which no agent says.
    pub(super) fn is_doubted(&self, name: &str) -> bool {
        let view = self.verbs.replica.view();
        let stored = view.get(&Key::new("nodes", "", name));
        let Some(Ok(node)) = stored.map(|node| node.value()) else {
            return false;
        };
        let conditions = node["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "Unknown")
    }

    /// The present time as objects carry it.
    pub(super) fn timestamp(&self) -> String {
        timestamp(self.verbs.world.now())
    }
}

fn gone(name: &str) -> VerbError {
    kind().map_or_else(
        |error| error,
        |kind| Target::new(kind, "", name).not_found(),
    )
}

/// The node after the kind's own look at its status.
fn checked(node: Value, stored: &Value) -> Result<Value, VerbError> {
    let kind = kind()?;
    let spec = node["spec"].clone();
    let labels = node["metadata"]["labels"].clone();
    let target = Target::new(kind, "", node["metadata"]["name"].as_str().unwrap_or(""));
    let admitted = kind
        .update(node, stored, Part::Status)
        .map_err(|refusal| crate::verbs::malformed(&target, refusal))?;
    let mut object = admitted.object;
    // A status update leaves the spec alone; the pod range and the agent's labels are the server's to set.
    if !spec.is_null() {
        object["spec"] = spec;
    }
    if !labels.is_null() {
        object["metadata"]["labels"] = labels;
    }
    Ok(object)
}

/// Takes over what the agent measured. Labels, taints and annotations of people stay.
fn refresh(node: &mut Value, sent: &Value) {
    for (label, value) in sent["metadata"]["labels"].as_object().into_iter().flatten() {
        if !node["metadata"]["labels"].is_object() {
            node["metadata"]["labels"] = json!({});
        }
        node["metadata"]["labels"][label] = value.clone();
    }
    for member in STATUS {
        if let Some(value) = sent["status"].get(member) {
            node["status"][member] = value.clone();
        }
    }
    let conditions: Vec<Value> = sent["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if !conditions.is_empty() {
        merge_conditions(&mut node["status"]["conditions"], &conditions);
    }
}

/// Conditions by type: what is sent replaces, the rest stays.
pub(super) fn merge_conditions(stored: &mut Value, sent: &[Value]) {
    if !stored.is_array() {
        *stored = json!([]);
    }
    let Some(list) = stored.as_array_mut() else {
        return;
    };
    for condition in sent {
        match list
            .iter_mut()
            .find(|found| found["type"] == condition["type"])
        {
            Some(found) => *found = condition.clone(),
            None => list.push(condition.clone()),
        }
    }
}

fn range_of(node: &Value) -> &str {
    node["spec"]["podCIDR"].as_str().unwrap_or("")
}

fn give_range(node: &mut Value, range: &str) {
    node["spec"]["podCIDR"] = json!(range);
    node["spec"]["podCIDRs"] = json!([range]);
}
