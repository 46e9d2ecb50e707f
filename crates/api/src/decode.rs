//! Reading request bodies and manifests: JSON, YAML and protobuf into one value, telling duplicate fields by path.
//!
//! Bounded: size by the caller, depth by the parsers, YAML aliases by a budget, so that no small body becomes a
//! large value.

mod protobuf;

pub use protobuf::{MEDIA_TYPE as PROTOBUF, protobuf};

use crate::limits::DOCUMENT_DEPTH;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// What a body says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// The value; of a field given twice, the last.
    pub value: Value,
    /// Paths of fields given more than once, such as `spec.replicas`, in order.
    pub duplicates: Vec<String>,
}

/// The bytes are not JSON or YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(pub String);

/// Reads one JSON document.
///
/// # Errors
/// [`SyntaxError`] with line and column.
pub fn json(body: &[u8]) -> Result<Document, SyntaxError> {
    serde_json::from_slice(body).map_err(|error| SyntaxError(error.to_string()))
}

/// Reads one YAML document.
///
/// # Errors
/// [`SyntaxError`] with line and column, also when aliases or nesting exceed their limits.
pub fn yaml(body: &[u8]) -> Result<Document, SyntaxError> {
    serde_saphyr::from_slice_with_options(body, yaml_options())
        .map_err(|error| SyntaxError(error.to_string()))
}

/// Reads every document of a YAML stream (JSON is YAML, so of either). Empty documents are left out.
///
/// # Errors
/// As [`yaml`].
pub fn documents(body: &[u8]) -> Result<Vec<Document>, SyntaxError> {
    let found: Vec<Document> = serde_saphyr::from_slice_multiple_with_options(body, yaml_options())
        .map_err(|error| SyntaxError(error.to_string()))?;
    Ok(found
        .into_iter()
        .filter(|document| !document.value.is_null())
        .collect())
}

/// Kubernetes reads YAML 1.1's octals (`0644`), which file modes in manifests rely on. Aliases may repeat what was
/// written, not multiply it.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: DOCUMENT_DEPTH,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: 1_000,
        },
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = RefCell::new(Record::default());
        let value = Recorder(&record).deserialize(deserializer)?;
        Ok(Self {
            value,
            duplicates: record.into_inner().duplicates,
        })
    }
}

#[derive(Default)]
struct Record {
    path: String,
    duplicates: Vec<String>,
}

/// Builds a value and notes each field that comes twice.
#[derive(Clone, Copy)]
struct Recorder<'r>(&'r RefCell<Record>);

impl Recorder<'_> {
    /// Runs `read` with `step` added to the path.
    fn within<T>(self, step: &str, read: impl FnOnce() -> T) -> T {
        let length = {
            let mut record = self.0.borrow_mut();
            let length = record.path.len();
            if length > 0 && !step.starts_with('[') {
                record.path.push('.');
            }
            record.path.push_str(step);
            length
        };
        let read = read();
        self.0.borrow_mut().path.truncate(length);
        read
    }
}

impl<'de> DeserializeSeed<'de> for Recorder<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Recorder<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = self.within(&format!("[{}]", values.len()), || {
            seq.next_element_seed(self)
        })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key_seed(FieldName)? {
            let value = self.within(&name, || access.next_value_seed(self))?;
            if map.contains_key(&name) {
                self.within(&name, || {
                    let mut record = self.0.borrow_mut();
                    let path = record.path.clone();
                    if !record.duplicates.contains(&path) {
                        record.duplicates.push(path);
                    }
                });
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// A map's key. YAML may write `8080: web` or `true: x`: they are taken as text, as `sigs.k8s.io/yaml` does.
struct FieldName;

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let key = Value::deserialize(deserializer)?;
        match key {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(value) => Ok(value.to_string()),
            _ => Err(D::Error::custom("a field name must be a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_of_the_same_object_are_the_same_value() {
        let from_json = json(br#"{"a":{"b":[1,2.5,"x",null,true]}}"#).unwrap();
        let from_yaml = yaml(b"a:\n  b:\n  - 1\n  - 2.5\n  - x\n  -\n  - true\n").unwrap();
        assert_eq!(from_json, from_yaml);
    }

    #[test]
    fn duplicate_fields_are_told_by_path_and_the_last_wins() {
        let found = json(br#"{"a":1,"l":[{"x":1,"x":2,"x":3}],"a":{"b":1,"b":2}}"#).unwrap();
        assert_eq!(found.duplicates, ["l[0].x", "a.b", "a"]);
        assert_eq!(found.value, json!({"a": {"b": 2}, "l": [{"x": 3}]}));
        assert_eq!(yaml(b"a: 1\na: 2\n").unwrap().duplicates, ["a"]);
    }

    #[test]
    fn octal_modes_and_numeric_names_are_read_as_kubernetes_reads_them() {
        assert_eq!(
            yaml(b"mode: 0644\n8080: web\n").unwrap().value,
            json!({"mode": 420, "8080": "web"})
        );
    }

    #[test]
    fn a_stream_gives_its_documents_without_the_empty_ones() {
        let found = documents(b"---\na: 1\n---\n---\n# only a comment\n---\nb: 2\n").unwrap();
        assert_eq!(
            found
                .iter()
                .map(|document| document.value.clone())
                .collect::<Vec<_>>(),
            [json!({"a": 1}), json!({"b": 2})]
        );
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(yaml(bomb.as_bytes()).is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(json(deep.as_bytes()).is_err());
        assert!(yaml(deep.as_bytes()).is_err());
    }

    #[test]
    fn the_deepest_document_fits_the_stack_that_threads_are_given() {
        let deep = |levels: usize| format!("{}1{}", "{\"a\": ".repeat(levels), "}".repeat(levels));
        let read = move || {
            for levels in [DOCUMENT_DEPTH + 1, 1_000, 100_000] {
                assert!(json(deep(levels).as_bytes()).is_err());
                assert!(yaml(deep(levels).as_bytes()).is_err());
                assert!(yaml("- ".repeat(levels).as_bytes()).is_err());
            }
            assert!(yaml(deep(DOCUMENT_DEPTH - 8).as_bytes()).is_ok());
        };
        let thread = std::thread::Builder::new().stack_size(crate::limits::DECODE_STACK_BYTES);
        thread.spawn(read).unwrap().join().unwrap();
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = json(&body);
            let _ = documents(&body);
        }

        #[test]
        fn no_text_panics(body in "[a-z:&*\\-\\n \\[\\]{},\"'#|>%!?]{0,80}") {
            let _ = documents(body.as_bytes());
        }
    }
}
