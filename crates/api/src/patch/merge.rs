//! RFC 7396.

use super::PatchError;
use serde_json::Value;

pub(super) fn apply(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed(
            "a merge patch of an object is an object".into(),
        ));
    }
    let mut patched = object.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn null_removes_and_lists_are_replaced() {
        let object = json!({"a": 1, "b": {"c": 1, "d": [1, 2]}});
        let patch = json!({"a": null, "b": {"d": [3]}});
        assert_eq!(
            apply(&object, &patch).unwrap(),
            json!({"b": {"c": 1, "d": [3]}})
        );
        assert!(apply(&object, &json!([])).is_err());
    }
}
