//! The verb layer: what each request does, whichever front it came through.
//!
//! authorize → admit → default and validate (the kind) → propose → answer. Reads are linearizable unless
//! the client asks for less.

mod admission;
mod apply;
mod binding;
mod create;
mod delete;
mod delete_collection;
mod get;
mod list;
mod pages;
mod patch;
mod scale;
mod update;
mod watch;

use crate::admit::{Admission, Plugin};
use crate::authorize::{Attributes, Authorizer, refusal};
use crate::error::VerbError;
use crate::fanout::Fanout;
use crate::limits::{FORECASTS, REVISION_WAIT};
use crate::planner::Planner;
use crate::request::{Caller, FieldValidation, Freshness, Target, Verb};
use crate::services::ServiceAddresses;
use pontoon_api::Revision;
use pontoon_api::limits::OBJECT_BYTES;
use pontoon_state::encoding::Encoded;
use pontoon_state::{Key, Object, Refusal, Replica, Transaction, View, encode};
use pontoon_world::World;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::Semaphore;

pub use apply::{Action, Applied, Planned};
pub(crate) use create::timestamp;
pub use delete::Deleted;
pub use list::Listed;
pub use watch::{Event, EventKind, WatchStream};

/// The verb layer over one replica.
pub struct Verbs {
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) world: World,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) plugins: Vec<Arc<dyn Plugin>>,
    pub(crate) addresses: ServiceAddresses,
    pub(crate) fanout: Fanout,
    planner: Arc<dyn Planner>,
    /// Turns of [`Verbs::plan`]: a forecast takes a processor for as long as it lasts.
    forecasts: Semaphore,
    pages: pages::Pages,
}

impl std::fmt::Debug for Verbs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verbs")
            .field("revision", &self.replica.view().revision())
            .finish_non_exhaustive()
    }
}

/// A transaction's writes, as stored.
pub(crate) struct Committed {
    pub revision: Revision,
    pub objects: Vec<Option<Arc<Object>>>,
}

impl Verbs {
    /// Made of its parts.
    pub(crate) fn new(
        replica: Arc<dyn Replica>,
        world: World,
        authorizer: Arc<dyn Authorizer>,
        plugins: Vec<Arc<dyn Plugin>>,
        addresses: ServiceAddresses,
        planner: Arc<dyn Planner>,
    ) -> Self {
        let fanout = Fanout::default();
        Self {
            replica,
            world,
            authorizer,
            plugins,
            addresses,
            fanout,
            planner,
            forecasts: Semaphore::new(FORECASTS),
            pages: pages::Pages::default(),
        }
    }

    /// Whether the caller may do it.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn authorize(
        &self,
        caller: &Caller,
        verb: Verb,
        target: &Target,
    ) -> Result<(), VerbError> {
        let resource = target.resource();
        let attributes = Attributes {
            identity: &caller.identity,
            verb,
            resource: &resource,
            subresource: &target.subresource,
            namespace: &target.namespace,
            name: &target.name,
        };
        self.authorizer
            .authorize(&attributes)
            .map_err(|why| refusal(&attributes, &why))
    }

    fn admit(&self, admission: &mut Admission<'_>) -> Result<(), VerbError> {
        self.plugins
            .iter()
            .try_for_each(|plugin| plugin.admit(admission))
    }

    /// A view that is as new as asked for; `Exact` is the caller's to handle.
    ///
    /// # Errors
    /// 503 without a quorum, 504 when this replica has not come that far.
    pub(crate) async fn view(&self, freshness: Freshness) -> Result<Arc<View>, VerbError> {
        if let Some(trouble) = self.replica.trouble().filter(|trouble| trouble.withdrawn) {
            return Err(VerbError::Unavailable(trouble.detail));
        }
        match freshness {
            Freshness::Newest => Ok(self.replica.read().await?),
            Freshness::Any => Ok(self.replica.view()),
            Freshness::NotOlderThan(revision) | Freshness::Exact(revision) => {
                self.reached(revision).await
            }
        }
    }

    async fn reached(&self, revision: Revision) -> Result<Arc<View>, VerbError> {
        match tokio::time::timeout(REVISION_WAIT, self.replica.reached(revision)).await {
            Ok(Some(view)) => Ok(view),
            Ok(None) => Err(VerbError::Unavailable("the server is stopping".into())),
            Err(_) => {
                let current = self.replica.view().revision().0;
                Err(VerbError::FutureRevision {
                    wanted: revision.0,
                    current,
                })
            }
        }
    }

    /// Proposes a transaction. The inner error is the store's refusal, for the verb to word or to try again.
    ///
    /// # Errors
    /// 503, 504 or 413 when the proposal itself fails.
    pub(crate) async fn commit(
        &self,
        mut transaction: Transaction,
    ) -> Result<Result<Committed, Refusal>, VerbError> {
        transaction.trace = pontoon_telemetry::trace::current().unwrap_or_default();
        match self.replica.propose(transaction).await?.committed() {
            Ok((revision, objects)) => Ok(Ok(Committed { revision, objects })),
            Err(Refusal::Malformed(detail)) => Err(VerbError::BadRequest(detail)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

/// Lays an object out for the store.
///
/// # Errors
/// 413 when it is larger than an object may be.
pub(crate) fn encoded(object: &Value) -> Result<Encoded, VerbError> {
    let encoded = encode(object).map_err(|error| VerbError::BadRequest(error.to_string()))?;
    if encoded.json.len() > OBJECT_BYTES {
        return Err(VerbError::TooLarge(format!(
            "Request entity too large: the object has {} bytes, at most {OBJECT_BYTES} are allowed",
            encoded.json.len()
        )));
    }
    Ok(encoded)
}

/// The key of a namespace.
pub(crate) fn namespace_key(name: &str) -> Key {
    Key::new("namespaces", "", name)
}

/// The text of a member of `metadata`, empty when absent.
pub(crate) fn meta_text<'a>(object: &'a Value, member: &str) -> &'a str {
    object["metadata"][member].as_str().unwrap_or("")
}

/// `metadata` to write into; made when absent.
///
/// # Errors
/// 400 when it is something else than an object.
pub(crate) fn meta_mut(object: &mut Value) -> Result<&mut Map<String, Value>, VerbError> {
    let not_object = || {
        VerbError::BadRequest("the body of the request must be an object with metadata".to_owned())
    };
    let object = object.as_object_mut().ok_or_else(not_object)?;
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().ok_or_else(not_object)
}

/// Checks that a body is of the target's kind and belongs where the request says, and fills in what it leaves out.
///
/// # Errors
/// 400 in Kubernetes' words.
pub(crate) fn settle(target: &Target, body: &mut Value) -> Result<(), VerbError> {
    let descriptor = target.descriptor();
    let version = descriptor.api_version();
    let Some(object) = body.as_object_mut() else {
        return Err(VerbError::BadRequest(format!(
            "{} in version \"{}\" cannot be handled as a {}: the body must be an object",
            descriptor.kind, descriptor.version, descriptor.kind
        )));
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
    let (sent_version, sent_kind) = (text(object.get("apiVersion")), text(object.get("kind")));
    if !sent_version.is_empty() && sent_version != version {
        return Err(VerbError::BadRequest(format!(
            "the API version in the data ({sent_version}) does not match the expected API version ({version})"
        )));
    }
    if !sent_kind.is_empty() && sent_kind != descriptor.kind {
        return Err(VerbError::BadRequest(format!(
            "{sent_kind} in version \"{}\" cannot be handled as a {}: the kind in the data ({sent_kind}) does not match \
             the expected kind ({})",
            descriptor.version, descriptor.kind, descriptor.kind
        )));
    }
    object.insert("apiVersion".into(), version.into());
    object.insert("kind".into(), descriptor.kind.into());
    if object
        .get("metadata")
        .is_some_and(|metadata| !metadata.is_object() && !metadata.is_null())
    {
        return Err(VerbError::BadRequest(format!(
            "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal metadata into an object",
            descriptor.kind, descriptor.version, descriptor.kind
        )));
    }
    settle_namespace(target, body)
}

fn settle_namespace(target: &Target, body: &mut Value) -> Result<(), VerbError> {
    let sent = meta_text(body, "namespace").to_owned();
    let metadata = meta_mut(body)?;
    if !target.is_namespaced() {
        metadata.remove("namespace");
    } else if sent.is_empty() {
        metadata.insert("namespace".into(), target.namespace.clone().into());
    } else if sent != target.namespace {
        return Err(VerbError::BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
                .into(),
        ));
    }
    Ok(())
}

/// Applies fieldValidation: warnings, or the refusal.
///
/// # Errors
/// 400 naming every unknown and duplicate field when strict.
pub(crate) fn check_fields(
    target: &Target,
    body: &Value,
    duplicates: &[String],
    validation: FieldValidation,
) -> Result<Vec<String>, VerbError> {
    if validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let resource = target.resource();
    let unknown = target
        .kind
        .unknown_fields(body)
        .map_err(|refusal| malformed(target, refusal))?;
    let mut problems: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect();
    problems.extend(
        duplicates
            .iter()
            .map(|path| format!("duplicate field \"{path}\"")),
    );
    if validation == FieldValidation::Strict && !problems.is_empty() {
        return Err(VerbError::BadRequest(format!(
            "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
            resource.kind,
            resource.version,
            resource.kind,
            problems.join(", ")
        )));
    }
    Ok(problems)
}

/// A kind's refusal of a body. Malformed bodies are already worded by the kind.
pub(crate) fn malformed(target: &Target, refusal: pontoon_api::kind::Refusal) -> VerbError {
    match refusal {
        pontoon_api::kind::Refusal::Malformed(detail) => VerbError::BadRequest(detail),
        invalid => VerbError::refused(invalid, &target.resource(), &target.name),
    }
}
