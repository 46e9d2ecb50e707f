//! The schema: which message a kind is, and which JSON field each field number means.
//!
//! `schema.txt` has a line `kind APIVERSION KIND MESSAGE` for each kind (`*` is any apiVersion), and a block for each
//! message: its name, then `NUMBER NAME TYPE` a line. The name `-` says that the fields of the message lie in its
//! parent, as Go's `json:",inline"`. Before the type, `*` is a Go pointer (zero and absent differ), `[]` a list and
//! `map ` a map by text; behind it, `!` says that JSON spells out the zero value too: Go has no `omitempty` there, or the
//! type is a Go structure, which `omitempty` does not leave out.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What one value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Flag,
    Int32,
    Int64,
    Bytes,
    /// `resource.Quantity`, a text in JSON.
    Quantity,
    /// `intstr.IntOrString`.
    IntOrText,
    /// `metav1.Time`: seconds.
    Time,
    /// `metav1.MicroTime`: microseconds.
    MicroTime,
    /// `metav1.FieldsV1`: JSON in bytes.
    Fields,
    /// A message, by its place in [`Schema::messages`].
    Message(usize),
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One, which is left out of JSON when zero.
    Plain,
    /// One, which JSON spells out also when zero.
    Always,
    /// One or none.
    Pointer,
    List,
    Map,
}

#[derive(Debug)]
pub(super) struct Field {
    pub number: u32,
    /// The name in JSON; `None` for a message whose fields lie in its parent.
    pub name: Option<&'static str>,
    pub shape: Shape,
    pub kind: Type,
}

#[derive(Debug)]
pub(super) struct Message {
    pub fields: Vec<Field>,
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

pub(super) struct Schema {
    pub messages: Vec<Message>,
    /// apiVersion, kind and message.
    pub kinds: Vec<(&'static str, &'static str, usize)>,
}

impl Schema {
    /// The message of a kind.
    pub(super) fn root(&self, api_version: &str, kind: &str) -> Option<usize> {
        let found = |(version, name, _): &&(&str, &str, usize)| {
            *name == kind && (*version == "*" || *version == api_version)
        };
        self.kinds
            .iter()
            .find(found)
            .map(|(_, _, message)| *message)
    }
}

/// The schema, read at the first use.
pub(super) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    parse(include_str!("schema.txt")).expect("the text is part of the program and read in a test")
});

fn parse(text: &'static str) -> Option<Schema> {
    let lines = || {
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    };
    let places: HashMap<&str, usize> = lines()
        .filter(|line| !line.contains(' '))
        .enumerate()
        .map(|(place, name)| (name, place))
        .collect();
    let mut schema = Schema {
        messages: Vec::new(),
        kinds: Vec::new(),
    };
    for line in lines() {
        if !line.contains(' ') {
            schema.messages.push(Message { fields: Vec::new() });
        } else if let Some(kind) = line.strip_prefix("kind ") {
            let mut words = kind.split(' ');
            schema
                .kinds
                .push((words.next()?, words.next()?, *places.get(words.next()?)?));
        } else {
            schema
                .messages
                .last_mut()?
                .fields
                .push(field(line, &places)?);
        }
    }
    Some(schema)
}

fn field(line: &'static str, places: &HashMap<&str, usize>) -> Option<Field> {
    let mut words = line.splitn(3, ' ');
    let (number, name, spelled) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let (shape, kind) = if let Some(kind) = spelled.strip_prefix('*') {
        (Shape::Pointer, kind)
    } else if let Some(kind) = spelled.strip_prefix("[]") {
        (Shape::List, kind)
    } else if let Some(kind) = spelled.strip_prefix("map ") {
        (Shape::Map, kind)
    } else if let Some(kind) = spelled.strip_suffix('!') {
        (Shape::Always, kind)
    } else {
        (Shape::Plain, spelled)
    };
    let kind = match kind {
        "string" => Type::Text,
        "bool" => Type::Flag,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "bytes" => Type::Bytes,
        "Quantity" => Type::Quantity,
        "IntOrString" => Type::IntOrText,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        "Fields" => Type::Fields,
        message => Type::Message(*places.get(message)?),
    };
    Some(Field {
        number,
        name: (name != "-").then_some(name),
        shape,
        kind,
    })
}
