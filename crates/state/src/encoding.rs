//! How an object's JSON is laid out, so that `apply` can write the revision into it without
//! parsing it.

use bytes::Bytes;
use pontoon_api::Revision;
use serde_json::{Map, Value};

/// An object's JSON without `metadata.resourceVersion`, and where that belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The JSON, `apiVersion`, `kind` and `metadata` first.
    pub json: Bytes,
    /// Offset just behind metadata's opening brace.
    pub splice: u32,
}

/// The value is not an object with a non-empty `metadata` object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object needs a metadata object with at least a name")]
pub struct NoMetadata;

/// Lays out `object` for the store. A `resourceVersion` in it is left out: `apply` writes the true one.
///
/// # Errors
/// [`NoMetadata`] when `object` is not a JSON object with metadata.
pub fn encode(object: &Value) -> Result<Encoded, NoMetadata> {
    let object = object.as_object().ok_or(NoMetadata)?;
    let metadata = object
        .get("metadata")
        .and_then(Value::as_object)
        .ok_or(NoMetadata)?;
    let mut json = Vec::with_capacity(1024);
    json.push(b'{');
    for name in ["apiVersion", "kind"] {
        if let Some(value) = object.get(name) {
            member(&mut json, name, value);
            json.push(b',');
        }
    }
    json.extend_from_slice(b"\"metadata\":{");
    let splice = json.len();
    members(&mut json, metadata, &["resourceVersion"]);
    if json.len() == splice {
        return Err(NoMetadata);
    }
    json.push(b'}');
    let rest = json.len();
    json.push(b',');
    let before = json.len();
    members(&mut json, object, &["apiVersion", "kind", "metadata"]);
    if json.len() == before {
        json.truncate(rest);
    }
    json.push(b'}');
    let splice = u32::try_from(splice).map_err(|_| NoMetadata)?;
    Ok(Encoded {
        json: json.into(),
        splice,
    })
}

fn members(json: &mut Vec<u8>, map: &Map<String, Value>, except: &[&str]) {
    let mut first = true;
    for (name, value) in map
        .iter()
        .filter(|(name, _)| !except.contains(&name.as_str()))
    {
        if !first {
            json.push(b',');
        }
        first = false;
        member(json, name, value);
    }
}

fn member(json: &mut Vec<u8>, name: &str, value: &Value) {
    serde_json::to_writer(&mut *json, name).expect("a string always encodes");
    json.push(b':');
    serde_json::to_writer(&mut *json, value).expect("a JSON value always encodes");
}

/// Writes `revision` into an [`Encoded`] object. `None` when `splice` does not point behind a brace.
pub(crate) fn with_revision(json: &[u8], splice: u32, revision: Revision) -> Option<Bytes> {
    let splice = usize::try_from(splice).ok()?;
    if splice == 0 || splice >= json.len() || json[splice - 1] != b'{' {
        return None;
    }
    let mut whole = Vec::with_capacity(json.len() + 44);
    whole.extend_from_slice(&json[..splice]);
    whole.extend_from_slice(format!("\"resourceVersion\":\"{revision}\",").as_bytes());
    whole.extend_from_slice(&json[splice..]);
    Some(whole.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_lands_in_the_metadata() {
        let object = json!({"kind": "A", "apiVersion": "v1", "metadata": {"name": "x", "resourceVersion": "9"}, "data": {"metadata": {}}});
        let encoded = encode(&object).unwrap();
        let whole = with_revision(&encoded.json, encoded.splice, Revision(42)).unwrap();
        let value: Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(
            value["metadata"],
            json!({"name": "x", "resourceVersion": "42"})
        );
        assert_eq!(value["data"], object["data"]);
        assert_eq!(value["kind"], "A");
    }

    #[test]
    fn an_object_without_metadata_is_refused() {
        assert_eq!(encode(&json!({"metadata": {}})), Err(NoMetadata));
        assert_eq!(
            encode(&json!({"metadata": {"resourceVersion": "1"}})),
            Err(NoMetadata)
        );
        assert_eq!(encode(&json!([])), Err(NoMetadata));
        assert!(encode(&json!({"metadata": {"name": "x"}})).is_ok());
    }

    #[test]
    fn a_splice_outside_the_json_is_refused() {
        assert_eq!(with_revision(b"{}", 0, Revision(1)), None);
        assert_eq!(with_revision(b"{}", 2, Revision(1)), None);
        assert_eq!(with_revision(b"a{}", 1, Revision(1)), None);
    }
}
