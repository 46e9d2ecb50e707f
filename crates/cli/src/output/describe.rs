//! Objects in detail.

use super::sheet::Sheet;
use serde_json::Value;

/// A pod template.
pub(crate) fn template(_sheet: &mut Sheet, _level: usize, _template: &Value) {}
