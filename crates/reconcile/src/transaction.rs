//! A plan as a transaction: names, uids and times are chosen here, defaults filled in, and every write is made
//! conditional on what the plan saw.

use pontoon_api::deletion::{self, Deletion};
use pontoon_api::kind::{Kind, Part, Refusal, Scope};
use pontoon_api::{Term, admission, claim, kinds};
use pontoon_controllers::Intent;
use pontoon_state::{DecodeError, Key, Object, Precondition, Transaction, View, encode};
use pontoon_world::World;
use serde_json::{Value, json};
use std::sync::Arc;

/// Names of namespaces' own objects.
const NAMESPACES: &str = "namespaces";

/// A plan cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransactionError {
    /// It makes an object of a kind that is not served.
    #[error("no kind {kind} in {api_version} is served")]
    UnknownKind { api_version: String, kind: String },
    /// What it makes is not valid.
    #[error("planned {what} is refused: {why}")]
    Refused { what: String, why: String },
    /// The object it changes cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Builds the transaction of a plan made in `term`.
pub(crate) fn build(
    intents: Vec<Intent>,
    term: Term,
    view: &View,
    world: &World,
) -> Result<Transaction, TransactionError> {
    let mut transaction = Transaction::default().fenced(term);
    for intent in intents {
        transaction = match intent {
            Intent::Create(object) => create(transaction, object, view, world)?,
            Intent::Update { base, object, part } => update(transaction, &base, object, part)?,
            Intent::Delete { base, options } => delete(transaction, &base, options, world)?,
            Intent::Unchanged(base) => unchanged(transaction, &base),
            Intent::Remove(base) => end(transaction, &base)?,
            Intent::Bind { base, node } => bind(transaction, &base, &node, world)?,
        };
    }
    Ok(transaction)
}

fn unchanged(transaction: Transaction, base: &Object) -> Transaction {
    transaction.require(Precondition::Revision(base.key.clone(), base.revision))
}

fn kind_of(object: &Value) -> Result<&'static dyn Kind, TransactionError> {
    let text = |name: &str| {
        object
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    kinds::by_kind(&api_version, &kind).ok_or(TransactionError::UnknownKind { api_version, kind })
}

fn refused(what: &str, refusal: Refusal) -> TransactionError {
    let why = match refusal {
        Refusal::Malformed(why) => why,
        Refusal::Invalid(errors) => errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; "),
    };
    TransactionError::Refused {
        what: what.to_owned(),
        why,
    }
}

fn text_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn create(
    transaction: Transaction,
    mut object: Value,
    view: &View,
    world: &World,
) -> Result<Transaction, TransactionError> {
    let kind = kind_of(&object)?;
    if text_at(&object, "/metadata/name").is_empty() {
        let name = format!(
            "{}{}",
            text_at(&object, "/metadata/generateName"),
            world.entropy().name_suffix()
        );
        object["metadata"]["name"] = json!(name);
    }
    object["metadata"]["uid"] = json!(world.entropy().uuid().to_string());
    object["metadata"]["creationTimestamp"] = json!(seconds(world));
    let name = text_at(&object, "/metadata/name").to_owned();
    if kind.descriptor().resource() == "pods" {
        admit(&mut object, view).map_err(|why| TransactionError::Refused {
            what: name.clone(),
            why: why.0,
        })?;
    }
    let object = kind
        .create(object)
        .map_err(|refusal| refused(&name, refusal))?
        .object;
    let descriptor = kind.descriptor();
    let namespace = text_at(&object, "/metadata/namespace").to_owned();
    let key = Key::new(&descriptor.resource(), &namespace, &name);
    let transaction = transaction.require(Precondition::Absent(key.clone()));
    let transaction = match descriptor.scope {
        Scope::Namespaced => {
            transaction.require(Precondition::Live(Key::new(NAMESPACES, "", &namespace)))
        }
        Scope::Cluster => transaction,
    };
    put(transaction, key, &object)
}

/// Pods that controllers make are admitted as those that clients make.
fn admit(pod: &mut Value, view: &View) -> Result<(), admission::Refused> {
    admission::create(pod, |class| {
        view.get(&Key::new("runtimeclasses.node.k8s.io", "", class))
            .and_then(|class| class.value().ok())
    })
}

fn put(
    transaction: Transaction,
    key: Key,
    object: &Value,
) -> Result<Transaction, TransactionError> {
    let encoded = encode(object).map_err(|error| TransactionError::Refused {
        what: key.to_string(),
        why: error.to_string(),
    })?;
    Ok(transaction.put(key, encoded))
}

fn update(
    transaction: Transaction,
    base: &Arc<Object>,
    object: Value,
    part: Part,
) -> Result<Transaction, TransactionError> {
    let kind = kind_of(&object)?;
    let current = base.value()?;
    let object = kind
        .update(object, &current, part)
        .map_err(|refusal| refused(&base.key.to_string(), refusal))?
        .object;
    let transaction = unchanged(transaction, base);
    if deletion::is_released(kind.descriptor().kind, &object) {
        return Ok(remove(transaction, base, kind.descriptor().kind, &current));
    }
    put(transaction, base.key.clone(), &object)
}

fn remove(transaction: Transaction, base: &Object, kind: &str, object: &Value) -> Transaction {
    let claims = claim::of(kind, object);
    claims
        .iter()
        .fold(transaction.delete(base.key.clone()), |transaction, name| {
            transaction.delete(Key::new(claim::RESOURCE, "", name))
        })
}

fn delete(
    transaction: Transaction,
    base: &Arc<Object>,
    options: deletion::Options,
    world: &World,
) -> Result<Transaction, TransactionError> {
    let object = base.value()?;
    let kind = kind_of(&object)?.descriptor().kind;
    let transaction = unchanged(transaction, base);
    match deletion::decide(kind, &object, options, world.now()) {
        Deletion::Remove => Ok(remove(transaction, base, kind, &object)),
        Deletion::Mark(marked) => put(transaction, base.key.clone(), &marked),
        Deletion::Unchanged => Ok(transaction),
    }
}

fn end(transaction: Transaction, base: &Arc<Object>) -> Result<Transaction, TransactionError> {
    let object = base.value()?;
    let kind = text_at(&object, "/kind").to_owned();
    Ok(remove(unchanged(transaction, base), base, &kind, &object))
}

fn bind(
    transaction: Transaction,
    base: &Arc<Object>,
    node: &str,
    world: &World,
) -> Result<Transaction, TransactionError> {
    let mut pod = base.value()?;
    pod["spec"]["nodeName"] = json!(node);
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": seconds(world)});
    set_condition(&mut pod, condition);
    put(unchanged(transaction, base), base.key.clone(), &pod)
}

/// Puts a condition in the place of the one of its type.
pub(crate) fn set_condition(object: &mut Value, condition: Value) {
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
        match conditions
            .iter_mut()
            .find(|found| found["type"] == condition["type"])
        {
            Some(found) => *found = condition,
            None => conditions.push(condition),
        }
    }
}

/// The present time as `metadata` has it: whole seconds, UTC.
pub(crate) fn seconds(world: &World) -> String {
    world.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
