//! Field errors in Kubernetes' shape: a path, a kind, the bad value and what is wrong.

use serde::Serialize;

pub mod format;
mod path;

pub use path::Path;

/// What is wrong with a field, in the words of `metav1.CauseType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is Kubernetes' own word")]
pub enum FieldErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    InternalError,
    TypeInvalid,
}

impl FieldErrorKind {
    /// The text in `Status.details.causes[].reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::InternalError => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    /// The words that open the message ("Required value", "Invalid value", ...).
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::InternalError => "Internal error",
        }
    }
}

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Such as `spec.containers[0].name`.
    pub field: String,
    /// What sort of mistake it is.
    pub kind: FieldErrorKind,
    /// The whole message without the field, as Kubernetes writes it: `Invalid value: "x": must ...`.
    pub message: String,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl FieldError {
    fn new(field: &Path<'_>, kind: FieldErrorKind, message: String) -> Self {
        Self {
            field: field.to_string(),
            kind,
            message,
        }
    }

    /// A value that breaks a rule; `detail` says which.
    #[must_use]
    pub fn invalid(field: &Path<'_>, value: impl Serialize, detail: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: {}: {}", shown(value), detail.as_ref());
        Self::new(field, FieldErrorKind::Invalid, message)
    }

    /// A field that must be set; `detail` may be empty.
    #[must_use]
    pub fn required(field: &Path<'_>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {detail}")
        };
        Self::new(field, FieldErrorKind::Required, message)
    }

    /// A value that stands twice where it may stand once.
    #[must_use]
    pub fn duplicate(field: &Path<'_>, value: impl Serialize) -> Self {
        Self::new(
            field,
            FieldErrorKind::Duplicate,
            format!("Duplicate value: {}", shown(value)),
        )
    }

    /// A value that names something which does not exist.
    #[must_use]
    pub fn not_found(field: &Path<'_>, value: impl Serialize) -> Self {
        Self::new(
            field,
            FieldErrorKind::NotFound,
            format!("Not found: {}", shown(value)),
        )
    }

    /// A field that may not be set here.
    #[must_use]
    pub fn forbidden(field: &Path<'_>, detail: impl AsRef<str>) -> Self {
        let message = format!("Forbidden: {}", detail.as_ref());
        Self::new(field, FieldErrorKind::Forbidden, message)
    }

    /// A value outside an enumeration. The choices are listed in order of their text, as Kubernetes does.
    #[must_use]
    pub fn not_supported(field: &Path<'_>, value: impl Serialize, choices: &[&str]) -> Self {
        let mut sorted: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
        sorted.sort();
        let message = format!(
            "Unsupported value: {}: supported values: {}",
            shown(value),
            sorted.join(", ")
        );
        Self::new(field, FieldErrorKind::NotSupported, message)
    }

    /// A text of more than `most` bytes.
    #[must_use]
    pub fn too_long(field: &Path<'_>, most: usize) -> Self {
        let message = format!("Too long: may not be more than {most} bytes");
        Self::new(field, FieldErrorKind::TooLong, message)
    }

    /// A list of more than `most` items.
    #[must_use]
    pub fn too_many(field: &Path<'_>, actual: usize, most: usize) -> Self {
        let message = format!("Too many: {actual}: must have at most {most} items");
        Self::new(field, FieldErrorKind::TooMany, message)
    }
}

/// A value as it stands in a message: texts in quotes, numbers bare, structures as JSON.
fn shown(value: impl Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned())
}

/// What validation has found so far.
pub type Errors = Vec<FieldError>;

/// The detail of a field that was changed and may not be.
pub const IMMUTABLE: &str = "field is immutable";

/// Adds an error when `new` differs from `old`.
pub fn immutable<T: PartialEq + Serialize>(
    errors: &mut Errors,
    field: &Path<'_>,
    new: &T,
    old: &T,
) {
    if new != old {
        errors.push(FieldError::invalid(field, new, IMMUTABLE));
    }
}

/// Adds an error when `value` is below zero.
pub fn non_negative(errors: &mut Errors, field: &Path<'_>, value: i64) {
    if value < 0 {
        errors.push(FieldError::invalid(
            field,
            value,
            "must be greater than or equal to 0",
        ));
    }
}

/// Adds one error at `field` for each of `problems`, which are texts about `value`.
pub fn each(errors: &mut Errors, field: &Path<'_>, value: &str, problems: Vec<String>) {
    errors.extend(
        problems
            .into_iter()
            .map(|problem| FieldError::invalid(field, value, problem)),
    );
}
