//! RFC 6902, with limits: Kubernetes' caps on operations (CVE-2019-1002100) and on bytes that copies may add.

use super::PatchError;
use crate::limits::{BODY_BYTES, PATCH_OPERATIONS};
use json_patch::{Patch, PatchOperation};
use serde_json::Value;

pub(super) fn apply(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let count = patch
        .as_array()
        .map(Vec::len)
        .ok_or_else(|| PatchError::Malformed("a JSON patch is a list of operations".into()))?;
    if count > PATCH_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {PATCH_OPERATIONS}, got {count}"
        )));
    }
    let Patch(operations) = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError::Malformed(error.to_string()))?;
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in &operations {
        copied += copied_bytes(&patched, operation);
        if copied > BODY_BYTES {
            return Err(PatchError::TooLarge(format!(
                "the patch copies more than {BODY_BYTES} bytes"
            )));
        }
        if is_test_for_absence(&patched, operation) {
            continue;
        }
        json_patch::patch(&mut patched, std::slice::from_ref(operation))
            .map_err(|error| PatchError::DoesNotApply(error.to_string()))?;
    }
    Ok(patched)
}

/// `test` for null holds where there is nothing, as in the implementation that Kubernetes uses (RFC 6902 would have it fail): controllers
/// add their finalizer to a list that is not there by it.
fn is_test_for_absence(object: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else {
        return false;
    };
    let Some((parent, _)) = test.path.as_str().rsplit_once('/') else {
        return false;
    };
    test.value.is_null()
        && object.pointer(parent).is_some_and(Value::is_object)
        && object.pointer(test.path.as_str()).is_none()
}

fn copied_bytes(object: &Value, operation: &PatchOperation) -> usize {
    match operation {
        PatchOperation::Copy(copy) => object.pointer(copy.from.as_str()).map_or(0, |value| {
            serde_json::to_vec(value).map_or(0, |bytes| bytes.len())
        }),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_apply_in_order_or_not_at_all() {
        let object = json!({"a": {"b": 1}});
        let patch = json!([{"op": "test", "path": "/a/b", "value": 1}, {"op": "replace", "path": "/a/b", "value": 2}]);
        assert_eq!(apply(&object, &patch).unwrap(), json!({"a": {"b": 2}}));
        let patch =
            json!([{"op": "remove", "path": "/a"}, {"op": "test", "path": "/x", "value": 1}]);
        assert!(matches!(
            apply(&object, &patch),
            Err(PatchError::DoesNotApply(_))
        ));
    }

    #[test]
    fn a_test_for_null_holds_where_there_is_nothing() {
        let patch = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["x"]},
        ]);
        let patched = apply(&json!({"metadata": {}}), &patch).unwrap();
        assert_eq!(patched, json!({"metadata": {"finalizers": ["x"]}}));
        assert!(matches!(
            apply(&patched, &patch),
            Err(PatchError::DoesNotApply(_))
        ));
        let nowhere = json!([{"op": "test", "path": "/a/b", "value": null}]);
        assert!(matches!(
            apply(&json!({}), &nowhere),
            Err(PatchError::DoesNotApply(_))
        ));
    }

    #[test]
    fn too_many_operations_are_refused() {
        let operation = json!({"op": "test", "path": "/a", "value": 1});
        let patch = Value::Array(vec![operation; PATCH_OPERATIONS + 1]);
        assert!(matches!(
            apply(&json!({"a": 1}), &patch),
            Err(PatchError::TooLarge(_))
        ));
    }

    #[test]
    fn copies_cannot_multiply_an_object() {
        let copy = |path: &str| json!({"op": "copy", "from": "/a", "path": path});
        let patch = Value::Array(
            (0..64)
                .map(|turn| copy(if turn % 2 == 0 { "/a/x" } else { "/a/y" }))
                .collect(),
        );
        let object = json!({"a": {"text": "y".repeat(1000)}});
        assert!(matches!(
            apply(&object, &patch),
            Err(PatchError::TooLarge(_))
        ));
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        assert!(matches!(
            apply(&json!({}), &json!({})),
            Err(PatchError::Malformed(_))
        ));
        assert!(matches!(
            apply(&json!({}), &json!([{"op": "fly"}])),
            Err(PatchError::Malformed(_))
        ));
    }
}
