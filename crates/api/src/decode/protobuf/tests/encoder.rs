//! What a Go client sends: objects as protobuf, with every plain scalar written, also when it is zero.

use super::super::schema::{Field, Message, SCHEMA, Shape, Type};
use super::super::{MAGIC, STANDARD};
use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// An object in its envelope.
pub(super) fn body(object: &Value) -> Vec<u8> {
    let text = |name: &str| object[name].as_str().unwrap();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let root = SCHEMA.root(version, kind).unwrap();
    envelope(version, kind, &message(&SCHEMA.messages[root], object))
}

pub(super) fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [
        MAGIC.to_vec(),
        field(1, &type_meta),
        field(2, raw),
        field(3, b""),
        field(4, b""),
    ]
    .concat()
}

/// A field of bytes.
pub(super) fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    [
        varint(u64::from(number) << 3 | 2),
        varint(bytes.len() as u64),
        bytes.to_vec(),
    ]
    .concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(number: u32, value: i64) -> Vec<u8> {
    [
        varint(u64::from(number) << 3),
        varint(value.cast_unsigned()),
    ]
    .concat()
}

fn message(message: &Message, object: &Value) -> Vec<u8> {
    message
        .fields
        .iter()
        .flat_map(|one| member(one, object))
        .collect()
}

fn member(one: &Field, object: &Value) -> Vec<u8> {
    let Some(name) = one.name else {
        return value(one.number, one.kind, object);
    };
    match (&object[name], one.shape) {
        (Value::Array(items), Shape::List) => items
            .iter()
            .flat_map(|item| value(one.number, one.kind, item))
            .collect(),
        (Value::Object(entries), Shape::Map) => {
            let entry = |(key, item): (&String, &Value)| {
                field(
                    one.number,
                    &[field(1, key.as_bytes()), value(2, one.kind, item)].concat(),
                )
            };
            entries.iter().flat_map(entry).collect()
        }
        (Value::Null, Shape::Plain | Shape::Always) if !matches!(one.kind, Type::Message(_)) => {
            value(one.number, one.kind, &Value::Null)
        }
        (Value::Null, _) => Vec::new(),
        (found, _) => value(one.number, one.kind, found),
    }
}

fn value(at: u32, kind: Type, found: &Value) -> Vec<u8> {
    let text = found.as_str().unwrap_or("");
    match kind {
        Type::Text => field(at, text.as_bytes()),
        Type::Flag => number(at, i64::from(found.as_bool().unwrap_or(false))),
        Type::Int32 | Type::Int64 => number(at, found.as_i64().unwrap_or(0)),
        Type::Bytes => field(at, &STANDARD.decode(text).unwrap()),
        Type::Quantity => field(
            at,
            &field(
                1,
                found
                    .as_str()
                    .map_or(found.to_string(), str::to_owned)
                    .as_bytes(),
            ),
        ),
        Type::IntOrText => {
            let which = i64::from(found.is_string());
            let parts = [
                number(1, which),
                number(2, found.as_i64().unwrap_or(0)),
                field(3, text.as_bytes()),
            ];
            field(at, &parts.concat())
        }
        Type::Time | Type::MicroTime => match text.parse::<Timestamp>() {
            Ok(time) => {
                let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
                field(
                    at,
                    &[number(1, seconds), number(2, i64::from(nanos))].concat(),
                )
            }
            Err(_) => field(at, b""),
        },
        Type::Fields if found.is_null() => Vec::new(),
        Type::Fields => field(at, &field(1, found.to_string().as_bytes())),
        Type::Message(inner) => field(at, &message(&SCHEMA.messages[inner], found)),
    }
}

/// An object of a kind with every field of the schema set to something that is not zero.
pub(super) fn sample(version: &str, kind: &str, root: usize) -> Value {
    let mut fields = fields(root);
    fields.insert("apiVersion".into(), version.into());
    fields.insert("kind".into(), kind.into());
    Value::Object(fields)
}

fn fields(place: usize) -> Map<String, Value> {
    let mut found = Map::new();
    for one in &SCHEMA.messages[place].fields {
        match (one.name, one.kind) {
            (None, Type::Message(inner)) => found.extend(fields(inner)),
            (Some(name), kind) => {
                let item = match kind {
                    Type::Message(inner) => Value::Object(fields(inner)),
                    kind => scalar(kind),
                };
                let value = match one.shape {
                    Shape::List => json!([item, item]),
                    Shape::Map => json!({"a": item, "b": item}),
                    _ => item,
                };
                found.insert(name.into(), value);
            }
            (None, _) => unreachable!("only messages lie in their parents"),
        }
    }
    found
}

fn scalar(kind: Type) -> Value {
    match kind {
        Type::Text => json!("text"),
        Type::Flag => json!(true),
        Type::Int32 => json!(-7),
        Type::Int64 => json!(-1_099_511_627_776_i64),
        Type::Bytes => json!("AAEC"),
        Type::Quantity => json!("250m"),
        Type::IntOrText => json!("http"),
        Type::Time => json!("2026-01-02T03:04:05Z"),
        Type::MicroTime => json!("2026-01-02T03:04:05.678901Z"),
        Type::Fields => json!({"f:metadata": {}}),
        Type::Message(_) => unreachable!("messages are made of their fields"),
    }
}
