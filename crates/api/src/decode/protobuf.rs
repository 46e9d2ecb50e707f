//! Reading bodies in Kubernetes' protobuf encoding into the value that the JSON of the same object gives.
//!
//! A body is the magic `k8s\0`, then a `runtime.Unknown` that names the kind and carries the object (Kubernetes' "API
//! Concepts", section "Protobuf encoding"). One walker reads every kind by the schema; what follows is the same code
//! as for JSON.
//!
//! Go writes every plain scalar, also when it is zero, so zero values are left out here exactly where Go's JSON
//! (`omitempty`) leaves them out. A field that the schema does not know, and that says something, appears under a name
//! no type has, so that strict checking tells of it: it is not swallowed.
//!
//! Bounded: size by the caller, depth by the schema, which has no cycles, and the number of values by
//! [`PROTOBUF_VALUES`], as two bytes can make a list item.

mod schema;
mod wire;

#[cfg(test)]
mod tests;

use super::{Document, SyntaxError};
use crate::limits::PROTOBUF_VALUES;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schema::{Field, Message, SCHEMA, Shape, Type};
use serde_json::{Map, Value};
use wire::{Payload, Reader};

/// The media type of the encoding.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The first bytes of every body.
const MAGIC: &[u8] = b"k8s\0";

/// Why bytes cannot be read.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the body does not start with the magic bytes of Kubernetes' protobuf encoding")]
    Magic,
    #[error("contentEncoding {0:?} is not supported")]
    Compressed(String),
    #[error("contentType {0:?} is not supported inside protobuf")]
    Content(String),
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind { api_version: String, kind: String },
    #[error("{0}")]
    Wire(&'static str),
    #[error("{name}: {what}")]
    Field { name: String, what: &'static str },
    #[error("there are more than {PROTOBUF_VALUES} values")]
    TooMany,
}

/// Reads one object.
///
/// # Errors
/// [`SyntaxError`] when the bytes are not an object of a kind that is known.
pub fn protobuf(body: &[u8]) -> Result<Document, SyntaxError> {
    object(body)
        .map(|value| Document {
            value,
            duplicates: Vec::new(),
        })
        .map_err(|fault| SyntaxError(format!("protobuf: {fault}")))
}

fn object(body: &[u8]) -> Result<Value, Fault> {
    let envelope = Envelope::read(body.strip_prefix(MAGIC).ok_or(Fault::Magic)?)?;
    let Envelope {
        api_version,
        kind,
        raw,
    } = envelope;
    let Some(root) = SCHEMA.root(&api_version, &kind) else {
        return Err(Fault::Kind { api_version, kind });
    };
    let mut fields = Map::new();
    Walker {
        values_left: PROTOBUF_VALUES,
    }
    .message(&SCHEMA.messages[root], raw, &mut fields)?;
    fields.insert("apiVersion".into(), api_version.into());
    fields.insert("kind".into(), kind.into());
    Ok(Value::Object(fields))
}

/// `runtime.Unknown`.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut envelope = Self::default();
        let mut fields = Reader::new(bytes);
        while let Some((number, payload)) = fields.next()? {
            match (number, payload) {
                (1, Payload::Bytes(bytes)) => envelope.type_meta(bytes)?,
                (2, Payload::Bytes(raw)) => envelope.raw = raw,
                (3, Payload::Bytes(_)) if !payload.is_zero() => {
                    return Err(Fault::Compressed(text("contentEncoding", payload)?));
                }
                (4, Payload::Bytes(_)) if !payload.is_zero() => {
                    let media = text("contentType", payload)?;
                    if media != MEDIA_TYPE {
                        return Err(Fault::Content(media));
                    }
                }
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn type_meta(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut fields = Reader::new(bytes);
        while let Some((number, payload)) = fields.next()? {
            match number {
                1 => self.api_version = text("apiVersion", payload)?,
                2 => self.kind = text("kind", payload)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn wrong(name: &str, what: &'static str) -> Fault {
    Fault::Field {
        name: name.to_owned(),
        what,
    }
}

fn bytes<'a>(name: &str, payload: Payload<'a>) -> Result<&'a [u8], Fault> {
    match payload {
        Payload::Bytes(bytes) => Ok(bytes),
        _ => Err(wrong(name, "has another wire type than its field")),
    }
}

fn text(name: &str, payload: Payload<'_>) -> Result<String, Fault> {
    let bytes = bytes(name, payload)?;
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| wrong(name, "is not UTF-8"))
}

/// A varint as the signed number it stands for.
fn number(name: &str, payload: Payload<'_>) -> Result<i64, Fault> {
    match payload {
        Payload::Varint(value) => Ok(value.cast_signed()),
        _ => Err(wrong(name, "has another wire type than its field")),
    }
}

/// A 32-bit number, of which Go keeps the low half.
fn number32(name: &str, payload: Payload<'_>) -> Result<i32, Fault> {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the wire format says to keep the low 32 bits"
    )]
    number(name, payload).map(|value| value as i32)
}

/// Turns messages into JSON, within a budget of values.
struct Walker {
    values_left: usize,
}

impl Walker {
    fn spend(&mut self) -> Result<(), Fault> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Fault::TooMany)?;
        Ok(())
    }

    /// Reads the fields of a message into `into`. A message that comes twice is merged, as the encoding says.
    fn message(
        &mut self,
        message: &Message,
        raw: &[u8],
        into: &mut Map<String, Value>,
    ) -> Result<(), Fault> {
        for field in message
            .fields
            .iter()
            .filter(|field| field.shape == Shape::Always)
        {
            if let (Some(name), Some(zero)) = (field.name, zero(field.kind)) {
                self.spend()?;
                into.entry(name).or_insert(zero);
            }
        }
        let mut fields = Reader::new(raw);
        while let Some((number, payload)) = fields.next()? {
            self.spend()?;
            match message.field(number) {
                Some(field) => self.field(field, payload, into)?,
                None if payload.is_zero() => {}
                None => _ = into.insert(format!("protobuf field {number}"), Value::Bool(true)),
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &Field,
        payload: Payload<'_>,
        into: &mut Map<String, Value>,
    ) -> Result<(), Fault> {
        let Some(name) = field.name else {
            // The schema has only messages without a name.
            let Type::Message(inner) = field.kind else {
                return Ok(());
            };
            return self.message(
                &SCHEMA.messages[inner],
                bytes("an embedded message", payload)?,
                into,
            );
        };
        match (field.shape, field.kind) {
            (Shape::List, kind) => {
                let Value::Array(items) =
                    into.entry(name).or_insert_with(|| Value::Array(Vec::new()))
                else {
                    return Ok(());
                };
                self.items(name, kind, payload, items)
            }
            (Shape::Map, kind) => {
                let Value::Object(entries) = into
                    .entry(name)
                    .or_insert_with(|| Value::Object(Map::new()))
                else {
                    return Ok(());
                };
                self.entry(name, kind, bytes(name, payload)?, entries)
            }
            (_, Type::Message(inner)) => {
                let Value::Object(fields) = into
                    .entry(name)
                    .or_insert_with(|| Value::Object(Map::new()))
                else {
                    return Ok(());
                };
                self.message(&SCHEMA.messages[inner], bytes(name, payload)?, fields)
            }
            (shape, kind) => {
                let value = self.value(name, kind, payload)?;
                if value.is_null()
                    || (shape == Shape::Plain && zero(kind).is_some_and(|zero| zero == value))
                {
                    into.remove(name);
                } else {
                    into.insert(name.to_owned(), value);
                }
                Ok(())
            }
        }
    }

    /// One item of a list, or many numbers packed into one field.
    fn items(
        &mut self,
        name: &str,
        kind: Type,
        payload: Payload<'_>,
        items: &mut Vec<Value>,
    ) -> Result<(), Fault> {
        match (kind, payload) {
            (Type::Int32 | Type::Int64 | Type::Flag, Payload::Bytes(packed)) => {
                let mut packed = Reader::new(packed);
                while !packed.is_empty() {
                    self.spend()?;
                    let payload = Payload::Varint(packed.varint()?);
                    items.push(self.value(name, kind, payload)?);
                }
            }
            _ => items.push(self.value(name, kind, payload)?),
        }
        Ok(())
    }

    /// One entry of a map: a message of key and value, each of which may be missing.
    fn entry(
        &mut self,
        name: &str,
        kind: Type,
        raw: &[u8],
        entries: &mut Map<String, Value>,
    ) -> Result<(), Fault> {
        let mut key = String::new();
        let mut value = Payload::Bytes(&[]);
        let mut fields = Reader::new(raw);
        while let Some((number, payload)) = fields.next()? {
            match number {
                1 => key = text(name, payload)?,
                2 => value = payload,
                _ => {}
            }
        }
        entries.insert(key, self.value(name, kind, value)?);
        Ok(())
    }

    /// One value; null where Go's JSON has null or nothing.
    fn value(&mut self, name: &str, kind: Type, payload: Payload<'_>) -> Result<Value, Fault> {
        Ok(match kind {
            Type::Text => text(name, payload)?.into(),
            Type::Flag => (number(name, payload)? != 0).into(),
            Type::Int32 => number32(name, payload)?.into(),
            Type::Int64 => number(name, payload)?.into(),
            Type::Bytes => STANDARD.encode(bytes(name, payload)?).into(),
            Type::Quantity => quantity(name, bytes(name, payload)?)?,
            Type::IntOrText => int_or_text(name, bytes(name, payload)?)?,
            Type::Time | Type::MicroTime => {
                time(name, bytes(name, payload)?, kind == Type::MicroTime)?
            }
            Type::Fields => raw_json(name, bytes(name, payload)?)?,
            Type::Message(inner) => {
                let mut fields = Map::new();
                self.message(&SCHEMA.messages[inner], bytes(name, payload)?, &mut fields)?;
                Value::Object(fields)
            }
        })
    }
}

/// The zero value of what is not a structure.
fn zero(kind: Type) -> Option<Value> {
    match kind {
        Type::Text | Type::Bytes => Some("".into()),
        Type::Flag => Some(false.into()),
        Type::Int32 | Type::Int64 | Type::IntOrText => Some(0.into()),
        Type::Quantity => Some("0".into()),
        Type::Time | Type::MicroTime | Type::Fields | Type::Message(_) => None,
    }
}

/// `resource.Quantity`: field 1 is its text.
fn quantity(name: &str, raw: &[u8]) -> Result<Value, Fault> {
    let mut found = String::new();
    let mut fields = Reader::new(raw);
    while let Some((number, payload)) = fields.next()? {
        if number == 1 {
            found = text(name, payload)?;
        }
    }
    Ok(if found.is_empty() {
        "0".into()
    } else {
        found.into()
    })
}

/// `intstr.IntOrString`: field 1 tells which, 0 for the number in 2 and 1 for the text in 3.
fn int_or_text(name: &str, raw: &[u8]) -> Result<Value, Fault> {
    let (mut which, mut int, mut string) = (0, 0, String::new());
    let mut fields = Reader::new(raw);
    while let Some((field, payload)) = fields.next()? {
        match field {
            1 => which = number(name, payload)?,
            2 => int = number32(name, payload)?,
            3 => string = text(name, payload)?,
            _ => {}
        }
    }
    match which {
        0 => Ok(int.into()),
        1 => Ok(string.into()),
        _ => Err(wrong(name, "is neither a number nor a text")),
    }
}

/// `metav1.Time` and `MicroTime`: seconds and nanoseconds since 1970. No bytes are Go's zero time, null in JSON.
fn time(name: &str, raw: &[u8], micro: bool) -> Result<Value, Fault> {
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Reader::new(raw);
    while let Some((field, payload)) = fields.next()? {
        match field {
            1 => seconds = number(name, payload)?,
            2 => nanos = number32(name, payload)?,
            _ => {}
        }
    }
    let nanos = if micro { nanos } else { 0 };
    let time = Timestamp::new(seconds, nanos).map_err(|_| wrong(name, "is a time out of range"))?;
    Ok(if micro {
        format!("{time:.6}")
    } else {
        time.to_string()
    }
    .into())
}

/// `metav1.FieldsV1`: field 1 is JSON.
fn raw_json(name: &str, raw: &[u8]) -> Result<Value, Fault> {
    let mut fields = Reader::new(raw);
    let mut found = Value::Null;
    while let Some((number, payload)) = fields.next()? {
        if number == 1 && !payload.is_zero() {
            found = serde_json::from_slice(bytes(name, payload)?)
                .map_err(|_| wrong(name, "is not JSON"))?;
        }
    }
    Ok(found)
}
