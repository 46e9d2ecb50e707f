//! Other shapes of objects: rows of a Table for people, and metadata alone for collectors.

use crate::error::VerbError;
use jiff::Timestamp;
use pontoon_api::Kind;
use serde_json::{Map, Value, json};

/// Which part of each object a Table's rows carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    /// Nothing.
    None,
    /// PartialObjectMetadata: what kubectl needs to name rows.
    Metadata,
    /// The object.
    Object,
}

impl Include {
    /// Reads the query parameter `includeObject`.
    ///
    /// # Errors
    /// 400 for another word.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, VerbError> {
        match text {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(VerbError::BadRequest(format!(
                "unrecognized includeObject value: {other:?}"
            ))),
        }
    }
}

/// How a Table is made.
#[derive(Clone, Copy)]
pub(super) struct Maker {
    pub kind: &'static dyn Kind,
    pub version: &'static str,
    pub include: Include,
    pub now: Timestamp,
}

impl Maker {
    /// A Table of objects. `columns` is whether the definitions are sent: once is enough in a watch.
    pub(super) fn table<'a>(
        &self,
        objects: impl Iterator<Item = &'a Value>,
        metadata: Value,
        columns: bool,
    ) -> Value {
        let rows: Vec<Value> = objects.map(|object| self.row(object)).collect();
        let definitions = if columns { self.columns() } else { Value::Null };
        json!({
            "kind": "Table", "apiVersion": format!("meta.k8s.io/{}", self.version), "metadata": metadata,
            "columnDefinitions": definitions, "rows": rows,
        })
    }

    fn columns(&self) -> Value {
        let columns = self.kind.descriptor().columns.iter();
        columns
            .map(|column| {
                json!({
                    "name": column.name, "type": column.kind, "format": column.format,
                    "description": column.description, "priority": column.priority,
                })
            })
            .collect()
    }

    fn row(&self, object: &Value) -> Value {
        let mut row = Map::new();
        row.insert("cells".into(), self.kind.cells(object, self.now).into());
        match self.include {
            Include::None => {}
            Include::Metadata => {
                row.insert("object".into(), partial(object, self.version));
            }
            Include::Object => {
                row.insert("object".into(), object.clone());
            }
        }
        Value::Object(row)
    }
}

/// The metadata of an object, alone.
pub(super) fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"],
    })
}

/// A list of such.
pub(super) fn partial_list<'a>(
    objects: impl Iterator<Item = &'a Value>,
    metadata: Value,
    version: &str,
) -> Value {
    let items: Vec<Value> = objects.map(|object| partial(object, version)).collect();
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata, "items": items,
    })
}
