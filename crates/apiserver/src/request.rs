//! What a request asks for, as types: parsed once at the front, the same for both fronts.

use crate::authenticate::Identity;
use crate::error::VerbError;
use crate::selection::Selection;
use bytes::Bytes;
use pontoon_api::{Descriptor, Kind, Revision, Scope};
use pontoon_state::{Key, Object};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is Kubernetes' own word")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The word in rules, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// The names of a kind as errors and rules use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceName {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Such as `deployments`.
    pub plural: String,
    /// Such as `Deployment`.
    pub kind: String,
}

impl ResourceName {
    /// The names of a descriptor.
    #[must_use]
    pub fn of(descriptor: &Descriptor) -> Self {
        Self {
            group: descriptor.group.to_owned(),
            version: descriptor.version.to_owned(),
            plural: descriptor.plural.to_owned(),
            kind: descriptor.kind.to_owned(),
        }
    }
}

/// `deployments.apps`, as in Kubernetes' messages.
impl std::fmt::Display for ResourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() {
            Ok(())
        } else {
            write!(f, ".{}", self.group)
        }
    }
}

/// One object or collection, and possibly a part of it.
#[derive(Clone)]
pub struct Target {
    /// The kind.
    pub kind: &'static dyn Kind,
    /// Empty for the whole cluster.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.resource(), self.namespace, self.name)?;
        if self.subresource.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.subresource)
        }
    }
}

impl Target {
    /// An object of `kind`, or its collection when `name` is empty.
    #[must_use]
    pub fn new(kind: &'static dyn Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
        }
    }

    /// The kind's names and shape.
    #[must_use]
    pub fn descriptor(&self) -> &'static Descriptor {
        self.kind.descriptor()
    }

    /// The kind's names, for errors.
    #[must_use]
    pub fn resource(&self) -> ResourceName {
        ResourceName::of(self.descriptor())
    }

    /// Where the object is stored.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(&self.kind.storage(), &self.namespace, &self.name)
    }

    /// A stored object in the form of the target's kind.
    #[must_use]
    pub fn shown(&self, object: Arc<Object>) -> Arc<Object> {
        if self.kind.form().is_none() {
            return object;
        }
        Arc::new(Object {
            json: self.shown_json(object.json.clone()),
            ..Object::clone(&object)
        })
    }

    /// A stored object's JSON in the form of the target's kind.
    #[must_use]
    pub fn shown_json(&self, json: Bytes) -> Bytes {
        let Some(form) = self.kind.form() else {
            return json;
        };
        let shown = serde_json::from_slice(&json).map(form.show);
        shown
            .and_then(|shown| serde_json::to_vec(&shown))
            .map_or(json, Bytes::from)
    }

    /// A stored object's value in the form of the target's kind: what patches are applied to.
    #[must_use]
    pub fn shown_value<'a>(&self, stored: &'a Value) -> Cow<'a, Value> {
        match self.kind.form() {
            None => Cow::Borrowed(stored),
            Some(form) => Cow::Owned((form.show)(stored.clone())),
        }
    }

    /// Whether the kind lives in namespaces.
    #[must_use]
    pub fn is_namespaced(&self) -> bool {
        self.descriptor().scope == Scope::Namespaced
    }

    /// The namespace to list, `None` for all.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(self.namespace.as_str())
    }

    /// 404 for this object.
    #[must_use]
    pub fn not_found(&self) -> VerbError {
        VerbError::not_found(&self.resource(), &self.name)
    }

    /// 409 for this object.
    #[must_use]
    pub fn conflict(&self, detail: impl Into<String>) -> VerbError {
        VerbError::conflict(&self.resource(), &self.name, detail)
    }
}

/// Who asks, with what was read of them at the door.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The certificate's names.
    pub identity: Identity,
}

/// How new a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Everything acknowledged before the request.
    Newest,
    /// Whatever this replica has.
    Any,
    /// At least this revision.
    NotOlderThan(Revision),
    /// Exactly as of this revision.
    Exact(Revision),
}

/// Options of list.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// How new.
    pub freshness: Freshness,
    /// Which objects.
    pub selection: Selection,
    /// Most items in the answer.
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub token: Option<String>,
    /// Most bytes of objects in the answer, whatever the limit says; at least one object comes.
    pub bytes: usize,
}

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchStart {
    /// Changes after this revision.
    After(Revision),
    /// The present objects, then changes.
    Present(Freshness),
    /// Changes from the present on.
    Newest(Freshness),
}

/// Options of watch.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// From where.
    pub start: WatchStart,
    /// Which objects.
    pub selection: Selection,
    /// Whether to send bookmarks.
    pub bookmarks: bool,
    /// Whether the end of the present objects is marked by a bookmark (streaming list).
    pub mark_initial: bool,
    /// How long it may live.
    pub timeout: Option<Duration>,
}

/// What to do about fields a kind does not have, and fields given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop them in silence.
    Ignore,
    /// Drop them with a warning: the default, as in Kubernetes.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// Options of every write.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Do everything but store.
    pub dry_run: bool,
    /// What to do about unknown fields.
    pub validation: FieldValidation,
}

/// What becomes of dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They go after the owner.
    Background,
    /// The owner waits for them.
    Foreground,
    /// They stay.
    Orphan,
}

/// Options of delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Seconds a pod has to end; `None` takes the object's own.
    pub grace: Option<i64>,
    /// What becomes of dependents; `None` keeps what the object's finalizers say.
    pub propagation: Option<Propagation>,
    /// Delete only this very object.
    pub uid: Option<String>,
    /// Delete only this version.
    pub revision: Option<String>,
    /// Do everything but store.
    pub dry_run: bool,
}

/// A patch, by its media type.
#[derive(Debug, Clone, PartialEq)]
pub enum PatchBody {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own.
    Strategic(Value),
}

/// An object that was written, and what its author should be told.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object as stored; as it would be stored for a dry run.
    pub json: Bytes,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
    /// Whether it is new.
    pub created: bool,
}

impl Written {
    /// The same in the form of the target's kind.
    pub(crate) fn shown(mut self, target: &Target) -> Self {
        self.json = target.shown_json(self.json);
        self
    }
}
