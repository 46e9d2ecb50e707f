//! Which objects a list or watch is about: label and field selectors, and the view's index that answers them.

use crate::error::VerbError;
use crate::request::Target;
use pontoon_api::Kind;
use pontoon_api::selector::{FieldSelector, LabelSelector};
use pontoon_state::{Key, Object, View};
use serde_json::Value;
use std::sync::Arc;

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";
const NODE: &str = "spec.nodeName";

/// Both selectors; the empty one selects everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads both selectors for a kind.
    ///
    /// # Errors
    /// 400 when one cannot be read, or asks for a field the kind cannot select by.
    pub fn parse(kind: &dyn Kind, labels: &str, fields: &str) -> Result<Self, VerbError> {
        let labels = LabelSelector::parse(labels).map_err(|error| {
            VerbError::BadRequest(format!("unable to parse requirement: {error}"))
        })?;
        let fields = FieldSelector::parse(fields)
            .map_err(|error| VerbError::BadRequest(error.to_string()))?;
        for requirement in &fields.requirements {
            let field = requirement.field.as_str();
            if field != NAME && field != NAMESPACE && !kind.field_names().contains(&field) {
                return Err(VerbError::BadRequest(format!(
                    "Unable to find \"{}\" that match label selector \"{labels}\", field selector \"{}\": \
                     \"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"{}",
                    kind.descriptor().plural,
                    requirement.field,
                    kind.field_names()
                        .iter()
                        .map(|name| format!(", \"{name}\""))
                        .collect::<String>(),
                )));
            }
        }
        Ok(Self { labels, fields })
    }

    /// Whether everything is selected.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether one object is selected. Parses it only when a field beside name, namespace and node is asked for.
    #[must_use]
    pub fn matches(&self, kind: &dyn Kind, object: &Object) -> bool {
        self.labels
            .matches(|key| object.meta.labels.get(key).map(AsRef::as_ref))
            && (self.fields.is_empty() || self.fields_match(kind, object))
    }

    fn fields_match(&self, kind: &dyn Kind, object: &Object) -> bool {
        let known = |field: &str| {
            matches!(field, NAME | NAMESPACE) || (field == NODE && &*object.key.resource == "pods")
        };
        let parsed = if self
            .fields
            .requirements
            .iter()
            .all(|requirement| known(&requirement.field))
        {
            Vec::new()
        } else {
            match object.value() {
                Ok(value) => kind.fields(&value),
                Err(_) => return false,
            }
        };
        self.fields.matches(|field| match field {
            NAME => Some(&object.key.name),
            NAMESPACE => Some(&object.key.namespace),
            _ if known(field) => object.meta.node.as_deref(),
            _ => parsed
                .iter()
                .find(|(name, _)| *name == field)
                .map(|(_, value)| value.as_str()),
        })
    }

    /// Whether a value that is not stored would be selected: for what a dry run answers.
    #[must_use]
    pub fn demands_name(&self) -> Option<&str> {
        self.fields.equality(NAME)
    }

    /// Objects of a view that may be selected, behind `after`, in the order of keys: from the narrowest
    /// index there is.
    pub fn candidates<'a>(
        &self,
        view: &'a View,
        target: &Target,
        after: Option<&Key>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Object>> + Send + 'a> {
        let resource = target.kind.storage();
        let namespace = target
            .scope()
            .or_else(|| self.fields.equality(NAMESPACE))
            .map(str::to_owned);
        let behind = after.cloned();
        let is_behind =
            move |object: &&'a Arc<Object>| behind.as_ref().is_none_or(|after| object.key > *after);
        if let (Some(name), true) = (
            self.demands_name(),
            namespace.is_some() || !target.is_namespaced(),
        ) {
            let key = Key::new(&resource, namespace.as_deref().unwrap_or(""), name);
            return Box::new(view.get(&key).into_iter().filter(is_behind));
        }
        if resource == "pods"
            && let Some(node) = self.fields.equality(NODE).filter(|node| !node.is_empty())
        {
            let inside = move |object: &&'a Arc<Object>| {
                namespace
                    .as_ref()
                    .is_none_or(|namespace| *object.key.namespace == **namespace)
            };
            return Box::new(view.on_node(node).filter(inside).filter(is_behind));
        }
        if let Some((label, value)) = self.labels.equality() {
            return Box::new(
                view.labelled(&resource, namespace.as_deref(), label, value)
                    .filter(is_behind),
            );
        }
        Box::new(view.list_after(&resource, namespace.as_deref(), after))
    }
}

/// The `metadata` member of an object.
#[must_use]
pub fn metadata(object: &Value) -> &Value {
    &object["metadata"]
}
