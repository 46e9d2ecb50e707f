//! A Swagger 2.0 document in protobuf, as kubectl asks for it: the messages of gnostic's `OpenAPIv2.proto`.
//!
//! The tables say which field number a member of the JSON has and how its value is written; members that they do not list
//! are left out, and those of names that begin with `x-` are vendor extensions, whose values travel as YAML.

use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

/// How the value of a member is written.
enum How {
    Text,
    Texts,
    Flag,
    /// A message.
    One(&'static Message),
    /// A map: a message whose field is a list of name and value, the value lying in as many messages as the path has numbers.
    Named(u32, &'static [u32], &'static Message),
    /// A message inside as many others as the path has numbers: protobuf's `oneof`s.
    Wrapped(&'static [u32], &'static Message),
    /// A text in a message of its own.
    WrappedText,
    /// Parameters: in which `oneof` one is depends on where it is sent.
    Parameters,
}

/// The members of a message: name in JSON, field number, how.
struct Message {
    members: &'static [(&'static str, u32, How)],
    /// The field that takes vendor extensions.
    extensions: Option<u32>,
}

static DOCUMENT: Message = Message {
    members: &[
        ("swagger", 1, How::Text),
        ("info", 2, How::One(&INFO)),
        ("paths", 8, How::Named(2, &[], &PATH_ITEM)),
        ("definitions", 9, How::Named(1, &[], &SCHEMA)),
    ],
    extensions: None,
};

static INFO: Message = Message {
    members: &[("title", 1, How::Text), ("version", 2, How::Text)],
    extensions: None,
};

static PATH_ITEM: Message = Message {
    members: &[
        ("get", 2, How::One(&OPERATION)),
        ("put", 3, How::One(&OPERATION)),
        ("post", 4, How::One(&OPERATION)),
        ("delete", 5, How::One(&OPERATION)),
        ("patch", 8, How::One(&OPERATION)),
        ("parameters", 9, How::Parameters),
    ],
    extensions: None,
};

static OPERATION: Message = Message {
    members: &[
        ("description", 3, How::Text),
        ("operationId", 5, How::Text),
        ("produces", 6, How::Texts),
        ("consumes", 7, How::Texts),
        ("parameters", 8, How::Parameters),
        ("responses", 9, How::Named(1, &[1], &RESPONSE)),
    ],
    extensions: Some(13),
};

static RESPONSE: Message = Message {
    members: &[
        ("description", 1, How::Text),
        ("schema", 2, How::Wrapped(&[1], &SCHEMA)),
    ],
    extensions: None,
};

static BODY_PARAMETER: Message = Message {
    members: &[
        ("name", 2, How::Text),
        ("in", 3, How::Text),
        ("required", 4, How::Flag),
        ("schema", 5, How::One(&SCHEMA)),
    ],
    extensions: None,
};

static QUERY_PARAMETER: Message = Message {
    members: &[
        ("in", 2, How::Text),
        ("name", 4, How::Text),
        ("type", 6, How::Text),
        ("uniqueItems", 20, How::Flag),
    ],
    extensions: None,
};

static PATH_PARAMETER: Message = Message {
    members: &[
        ("required", 1, How::Flag),
        ("in", 2, How::Text),
        ("name", 4, How::Text),
        ("type", 5, How::Text),
        ("uniqueItems", 19, How::Flag),
    ],
    extensions: None,
};

static SCHEMA: Message = Message {
    members: &[
        ("$ref", 1, How::Text),
        ("format", 2, How::Text),
        ("description", 4, How::Text),
        ("required", 19, How::Texts),
        ("additionalProperties", 21, How::Wrapped(&[1], &SCHEMA)),
        ("type", 22, How::WrappedText),
        ("items", 23, How::Wrapped(&[1], &SCHEMA)),
        ("properties", 25, How::Named(1, &[], &SCHEMA)),
    ],
    extensions: Some(31),
};

/// Writes a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    message(document, &DOCUMENT)
}

fn message(value: &Value, of: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(map) = value.as_object() else {
        return out;
    };
    for (name, number, how) in of.members {
        if let Some(value) = map.get(*name) {
            member(&mut out, *number, how, value);
        }
    }
    if let Some(number) = of.extensions {
        extensions(&mut out, number, map);
    }
    out
}

fn member(out: &mut Vec<u8>, number: u32, how: &How, value: &Value) {
    match how {
        How::Text => text(out, number, value.as_str().unwrap_or_default()),
        How::Texts => {
            for item in value.as_array().into_iter().flatten() {
                text(out, number, item.as_str().unwrap_or_default());
            }
        }
        How::Flag => {
            encode_key(number, WireType::Varint, out);
            encode_varint(u64::from(value.as_bool() == Some(true)), out);
        }
        How::One(of) => bytes(out, number, &message(value, of)),
        How::Named(entry, path, of) => {
            let mut entries = Vec::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                let mut pair = Vec::new();
                text(&mut pair, 1, name);
                bytes(&mut pair, 2, &wrapped(path, message(value, of)));
                bytes(&mut entries, *entry, &pair);
            }
            bytes(out, number, &entries);
        }
        How::Wrapped(path, of) => bytes(out, number, &wrapped(path, message(value, of))),
        How::WrappedText => {
            let mut inner = Vec::new();
            text(&mut inner, 1, value.as_str().unwrap_or_default());
            bytes(out, number, &inner);
        }
        How::Parameters => {
            for item in value.as_array().into_iter().flatten() {
                bytes(out, number, &parameter(item));
            }
        }
    }
}

/// `ParametersItem.parameter.{body_parameter | non_body_parameter.{query… | path…}}`.
fn parameter(value: &Value) -> Vec<u8> {
    match value["in"].as_str() {
        Some("body") => wrapped(&[1, 1], message(value, &BODY_PARAMETER)),
        Some("path") => wrapped(&[1, 2, 4], message(value, &PATH_PARAMETER)),
        _ => wrapped(&[1, 2, 3], message(value, &QUERY_PARAMETER)),
    }
}

fn extensions(out: &mut Vec<u8>, number: u32, map: &Map<String, Value>) {
    for (name, value) in map.iter().filter(|(name, _)| name.starts_with("x-")) {
        // JSON is YAML.
        let mut any = Vec::new();
        text(&mut any, 2, &value.to_string());
        let mut pair = Vec::new();
        text(&mut pair, 1, name);
        bytes(&mut pair, 2, &any);
        bytes(out, number, &pair);
    }
}

/// A message inside others, the outermost by the path's first number.
fn wrapped(path: &[u32], inner: Vec<u8>) -> Vec<u8> {
    path.iter().rev().fold(inner, |inner, number| {
        let mut outer = Vec::new();
        bytes(&mut outer, *number, &inner);
        outer
    })
}

fn text(out: &mut Vec<u8>, number: u32, text: &str) {
    bytes(out, number, text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
