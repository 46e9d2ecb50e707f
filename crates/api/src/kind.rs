//! What a kind is: its names, its columns, and how its objects are defaulted and checked.
//!
//! [`Kind`] is what the verb layer sees; it works on JSON values, so that kinds defined at
//! run time fit in beside the built-in ones.

use crate::schema::Definitions;
use crate::validation::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// Whether a kind's objects live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One set of names for the whole cluster.
    Cluster,
    /// One set of names in each namespace.
    Namespaced,
}

/// What can be asked of a collection or object, as discovery lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is Kubernetes' own word")]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// Everything, in the order of discovery.
    pub const ALL: &[Self] = &[
        Self::Create,
        Self::Delete,
        Self::DeleteCollection,
        Self::Get,
        Self::List,
        Self::Patch,
        Self::Update,
        Self::Watch,
    ];

    /// What can be asked of a subresource that is a part of its object.
    pub const STATUS: &[Self] = &[Self::Get, Self::Patch, Self::Update];

    /// The word in discovery documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// A column of the Table that `kubectl get` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the column that names the object, else empty.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// The column that names the object: first in nearly every table.
    pub const NAME: Self = Self {
        name: "Name",
        kind: "string",
        format: "name",
        description: "Name must be unique within a namespace.",
        priority: 0,
    };

    /// How long ago the object was created.
    pub const AGE: Self = Self::text("Age", "Time since the object was created.");

    /// A column of text.
    #[must_use]
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind: "string",
            format: "",
            description,
            priority: 0,
        }
    }

    /// A column of numbers.
    #[must_use]
    pub const fn integer(name: &'static str, description: &'static str) -> Self {
        Self {
            kind: "integer",
            ..Self::text(name, description)
        }
    }

    /// The same column, shown only with `-o wide`.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self {
            priority: 1,
            ..self
        }
    }
}

/// A subresource and what discovery says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    /// Such as `status`.
    pub name: &'static str,
    /// The kind of its bodies, such as `Scale`.
    pub kind: &'static str,
    /// Group of that kind if it is another than the parent's.
    pub group: Option<&'static str>,
    /// Version of that kind if it is another than the parent's.
    pub version: Option<&'static str>,
    /// What can be asked of it.
    pub verbs: &'static [Verb],
}

impl Subresource {
    /// A subresource with bodies of the group and version of its parent.
    #[must_use]
    pub const fn new(name: &'static str, kind: &'static str, verbs: &'static [Verb]) -> Self {
        Self {
            name,
            kind,
            group: None,
            version: None,
            verbs,
        }
    }

    /// A subresource with bodies of another group and version.
    #[must_use]
    pub const fn of(
        name: &'static str,
        kind: &'static str,
        group: &'static str,
        version: &'static str,
        verbs: &'static [Verb],
    ) -> Self {
        Self {
            name,
            kind,
            group: Some(group),
            version: Some(version),
            verbs,
        }
    }

    /// `status`, with bodies of the parent's kind.
    #[must_use]
    pub const fn status(kind: &'static str) -> Self {
        Self::new("status", kind, Verb::STATUS)
    }

    /// `scale`, with bodies of `autoscaling/v1`.
    pub const SCALE: Self = Self::of("scale", "Scale", "autoscaling", "v1", Verb::STATUS);
}

/// The names and shape of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Empty for the core group.
    pub group: &'static str,
    /// Such as `v1`.
    pub version: &'static str,
    /// Such as `Deployment`.
    pub kind: &'static str,
    /// Such as `deployments`: the name in URLs.
    pub plural: &'static str,
    /// Such as `deployment`.
    pub singular: &'static str,
    /// Such as `deploy`.
    pub short_names: &'static [&'static str],
    /// Such as `all`.
    pub categories: &'static [&'static str],
    /// Namespaced or not.
    pub scope: Scope,
    /// What can be asked of the main resource.
    pub verbs: &'static [Verb],
    /// Its subresources.
    pub subresources: &'static [Subresource],
    /// Its Table columns.
    pub columns: &'static [Column],
}

impl Descriptor {
    /// `v1` or `apps/v1`: the value of `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `configmaps` or `deployments.apps`: the name objects of this kind are stored under.
    #[must_use]
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// Which part of an object a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The object itself: a sent status is ignored where the kind has a status subresource.
    Main,
    /// The `status` subresource: all but status (and parts of metadata) is ignored.
    Status,
}

/// An object that passed defaulting and validation, and what its author should be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The whole object, defaulted.
    pub object: Value,
    /// Texts for `Warning` headers: deprecated fields, and fields not honoured.
    pub warnings: Vec<String>,
}

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the body does not have the shape of the kind (a string where a number belongs).
    Malformed(String),
    /// 422: the shape is right and the content is not; every error found.
    Invalid(Vec<FieldError>),
}

/// What makes a kind's objects another form of those of another kind: one and the same object under two names.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The name they are stored under, such as `events`.
    pub resource: &'static str,
    /// A stored object in this form.
    pub show: fn(Value) -> Value,
    /// An object of this form as it is stored.
    pub store: fn(Value) -> Value,
}

/// One kind of object: the strategy the verb layer follows for it.
///
/// Callers set `metadata.uid`, `creationTimestamp` and a generated `name` before
/// [`Kind::create`]; the kind owns `generation`, defaults, and what a write may touch.
pub trait Kind: Send + Sync + 'static {
    /// Names and shape.
    fn descriptor(&self) -> &Descriptor;

    /// Set where its objects are another form of another kind's. Then [`Kind::create`] and [`Kind::update`] give the stored form
    /// and take `current` in it, and [`Kind::fields`] reads it; bodies and [`Kind::cells`] are in the kind's own.
    fn form(&self) -> Option<Form> {
        None
    }

    /// The name its objects are stored under.
    fn storage(&self) -> String {
        self.form().map_or_else(
            || self.descriptor().resource(),
            |form| form.resource.to_owned(),
        )
    }

    /// What every request for it is told by a `Warning` header, if it is deprecated.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// Paths of fields in `body` that the kind does not have, such as `spec.replcas`, in the order
    /// Kubernetes reports them.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when the body does not have the kind's shape at all.
    fn unknown_fields(&self, body: &Value) -> Result<Vec<String>, Refusal>;

    /// Defaults and validates a new object. Sets `generation` and clears what a client may not set.
    ///
    /// # Errors
    /// See [`Refusal`].
    fn create(&self, body: Value) -> Result<Admitted, Refusal>;

    /// Defaults and validates a change of `current` to `body`, limited to `part`. Bumps `generation` when the
    /// spec changed. Identity (uid, creationTimestamp, ...) is carried over from `current`.
    ///
    /// # Errors
    /// See [`Refusal`].
    fn update(&self, body: Value, current: &Value, part: Part) -> Result<Admitted, Refusal>;

    /// The values field selectors can ask for, beside `metadata.name` and `metadata.namespace`.
    fn fields(&self, object: &Value) -> Vec<(&'static str, String)>;

    /// The names [`Kind::fields`] can give: a selector with another is refused.
    fn field_names(&self) -> &'static [&'static str];

    /// The Table cells of one object, in the order of the descriptor's columns.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value>;

    /// Adds the schemas of its objects and their lists. Gives the name of the first, such as `io.k8s.api.core.v1.Pod`; the
    /// second's ends in `List`.
    fn define(&self, definitions: &mut Definitions) -> String;
}
