//! `-o name`: what other commands take as an argument.

use crate::{fields, resources::Resource};
use serde_json::Value;

/// `deployment.apps/web`, as a line.
pub(crate) fn line(resource: &Resource, object: &Value) -> String {
    format!("{}/{}\n", resource.qualified_kind(), fields::name(object))
}
