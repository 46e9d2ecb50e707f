//! The adapter between a kind's definition, written on k8s-openapi's types, and [`Kind`], which
//! works on JSON. What is the same for every kind (metadata, generation, who owns status) is here.

use super::without_effect::{self, Patterns};
use super::{metadata, prune, reader};
use crate::kind::{Admitted, Descriptor, Form, Kind, Part, Refusal};
use crate::schema::Definitions;
use crate::validation::{Errors, FieldError, format};
use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::schemars::JsonSchema;
use serde_json::Value;
use std::marker::PhantomData;

/// What one kind adds to the rules that all kinds share.
pub(super) trait Definition: Sized + 'static {
    /// Kubernetes' type.
    type Object: Metadata<Ty = ObjectMeta>
        + serde::Serialize
        + serde::de::DeserializeOwned
        + JsonSchema
        + Clone
        + PartialEq;

    /// Names and shape.
    const DESCRIPTOR: &'static Descriptor;
    /// Whether a change of the spec is counted in `metadata.generation`.
    const GENERATION: bool = false;
    /// The names [`Definition::fields`] gives.
    const FIELDS: &'static [&'static str] = &[];

    /// Set where its objects are another form of another kind's.
    const FORM: Option<Form> = None;
    /// What every request for it is told, if it is deprecated.
    const DEPRECATION: Option<&'static str> = None;

    /// Fields that are accepted and not acted on.
    const WITHOUT_EFFECT: &'static [Patterns] = &[];

    /// What is wrong with a name, in Kubernetes' words.
    fn name(name: &str) -> Vec<String> {
        format::dns_subdomain(name)
    }

    /// Fills in what the author left out. Idempotent; also run on updates.
    fn default(_object: &mut Self::Object) {}

    /// Clears what a client may not set at creation, such as status, and sets what only the server sets.
    fn prepare_create(_object: &mut Self::Object) {}

    /// Takes from `old` what a write of `part` may not change.
    fn prepare_update(_object: &mut Self::Object, _old: &Self::Object, _part: Part) {}

    /// Whether `new` asks for something else than `old`: what `generation` counts.
    fn spec_changed(_new: &Self::Object, _old: &Self::Object) -> bool {
        false
    }

    /// Finds everything wrong with an object.
    fn validate(_object: &Self::Object, _errors: &mut Errors) {}

    /// Finds what is asked of a new object beside that.
    fn validate_create(_object: &Self::Object, _errors: &mut Errors) {}

    /// Finds what an update may not change. The object itself has been validated by
    /// [`Definition::validate`] if `part` is [`Part::Main`].
    fn validate_update(
        _new: &Self::Object,
        _old: &Self::Object,
        _part: Part,
        _errors: &mut Errors,
    ) {
    }

    /// The values field selectors ask for, read from JSON: lists filter by them without decoding objects.
    fn fields(_object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The Table cells in the order of the columns.
    fn cells(object: &Self::Object, now: Timestamp) -> Vec<Value>;
}

/// A kind made of its definition.
pub(super) struct Typed<D>(PhantomData<fn() -> D>);

impl<D: Definition> Typed<D> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }

    /// Decodes a body. Where it spells out zero values that Kubernetes' encoding leaves out, they are
    /// dropped, so that `hostPort: 0` and no `hostPort` are one and the same.
    fn decode(mut body: Value) -> Result<D::Object, Refusal> {
        let (object, _) = Self::read(&body)?;
        if prune::zero_values(&mut body) {
            Ok(Self::read(&body)?.0)
        } else {
            Ok(object)
        }
    }

    fn read(body: &Value) -> Result<(D::Object, Vec<String>), Refusal> {
        reader::read(body).map_err(|error| {
            let Descriptor { kind, version, .. } = D::DESCRIPTOR;
            Refusal::Malformed(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {error}"
            ))
        })
    }

    fn admit(object: &D::Object, errors: Vec<FieldError>) -> Result<Admitted, Refusal> {
        if !errors.is_empty() {
            return Err(Refusal::Invalid(errors));
        }
        let mut warnings: Vec<String> = D::DEPRECATION.map(str::to_owned).into_iter().collect();
        let mut object =
            serde_json::to_value(object).map_err(|error| Refusal::Malformed(error.to_string()))?;
        prune::zero_values(&mut object);
        if let Some(form) = D::FORM {
            object = (form.store)(object);
        }
        warnings.extend(without_effect::warnings(&object, D::WITHOUT_EFFECT));
        Ok(Admitted { object, warnings })
    }
}

impl<D: Definition> Kind for Typed<D> {
    fn descriptor(&self) -> &Descriptor {
        D::DESCRIPTOR
    }

    fn form(&self) -> Option<Form> {
        D::FORM
    }

    fn deprecation(&self) -> Option<&'static str> {
        D::DEPRECATION
    }

    fn unknown_fields(&self, body: &Value) -> Result<Vec<String>, Refusal> {
        Self::read(body).map(|(_, unknown)| unknown)
    }

    fn create(&self, body: Value) -> Result<Admitted, Refusal> {
        let mut object = Self::decode(body)?;
        metadata::prepare_create(object.metadata_mut(), D::GENERATION);
        D::default(&mut object);
        D::prepare_create(&mut object);
        let mut errors = Errors::new();
        metadata::validate(object.metadata(), D::DESCRIPTOR.scope, D::name, &mut errors);
        D::validate(&object, &mut errors);
        D::validate_create(&object, &mut errors);
        Self::admit(&object, errors)
    }

    fn update(&self, body: Value, current: &Value, part: Part) -> Result<Admitted, Refusal> {
        let mut object = Self::decode(body)?;
        let old = match D::FORM {
            None => Self::read(current)?.0,
            Some(form) => Self::read(&(form.show)(current.clone()))?.0,
        };
        metadata::prepare_update(object.metadata_mut(), old.metadata());
        D::default(&mut object);
        D::prepare_update(&mut object, &old, part);
        let changed = D::GENERATION && part == Part::Main && D::spec_changed(&object, &old);
        let generation = old.metadata().generation;
        object.metadata_mut().generation = if changed {
            Some(generation.unwrap_or(0) + 1)
        } else {
            generation
        };
        let mut errors = Errors::new();
        metadata::validate(object.metadata(), D::DESCRIPTOR.scope, D::name, &mut errors);
        metadata::validate_update(object.metadata(), old.metadata(), &mut errors);
        if part == Part::Main {
            D::validate(&object, &mut errors);
        }
        D::validate_update(&object, &old, part, &mut errors);
        Self::admit(&object, errors)
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        D::fields(object)
    }

    fn field_names(&self) -> &'static [&'static str] {
        D::FIELDS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match Self::read(object) {
            Ok((object, _)) => D::cells(&object, now),
            Err(_) => D::DESCRIPTOR
                .columns
                .iter()
                .map(|_| Value::from("<invalid>"))
                .collect(),
        }
    }

    fn define(&self, definitions: &mut Definitions) -> String {
        definitions.kind::<D::Object>(D::DESCRIPTOR)
    }
}

/// Makes the hooks of a kind whose object is `spec` and `status`: a write of one part leaves the other as it was.
macro_rules! spec_and_status {
    () => {
        fn prepare_create(object: &mut Self::Object) {
            object.status = Some(Default::default());
        }

        fn prepare_update(object: &mut Self::Object, old: &Self::Object, part: $crate::kind::Part) {
            match part {
                $crate::kind::Part::Main => object.status = old.status.clone(),
                $crate::kind::Part::Status => object.spec = old.spec.clone(),
            }
        }

        fn spec_changed(new: &Self::Object, old: &Self::Object) -> bool {
            new.spec != old.spec
        }
    };
}
pub(super) use spec_and_status;

/// The text at a JSON pointer, empty when absent: what field selectors compare with.
pub(super) fn text_at(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Declares the selectable fields of a kind as `"name" => "/json/pointer" or "default"`.
macro_rules! selectable {
    ($($name:literal => $pointer:literal $(or $default:literal)?),+ $(,)?) => {
        const FIELDS: &'static [&'static str] = &[$($name),+];

        fn fields(object: &serde_json::Value) -> Vec<(&'static str, String)> {
            vec![$({
                let text = $crate::kinds::typed::text_at(object, $pointer);
                $(let text = if text.is_empty() { $default.to_owned() } else { text };)?
                ($name, text)
            }),+]
        }
    };
}
pub(super) use selectable;
