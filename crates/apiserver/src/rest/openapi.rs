//! OpenAPI documents: which operations there are, and the schemas of every kind (`pontoon_api::schema`), in version 3 by
//! group and version, and in version 2 all in one, as JSON and as the protobuf that kubectl asks for.
//!
//! Made when first asked for and kept compressed: many a server is never asked for them, and as text they are more than a megabyte.

mod operations;
mod protobuf;
mod version2;

use super::discovery::{group_version, versions};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use operations::Shared;
use pontoon_api::schema::Definitions;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::OnceLock;

/// Every OpenAPI document.
#[derive(Debug, Default)]
pub struct OpenApi {
    documents: OnceLock<Documents>,
}

#[derive(Debug)]
struct Documents {
    v2: Document,
    v2_protobuf: Document,
    index: Document,
    v3: BTreeMap<String, Document>,
}

/// One document, compressed.
#[derive(Debug)]
pub(super) struct Document {
    gzip: Bytes,
    /// Of the text: its ETag, and its hash in URLs.
    pub(super) digest: String,
}

impl Document {
    fn new(content: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let written = encoder
            .write_all(content)
            .and_then(|()| encoder.finish())
            .expect("writing into memory does not fail");
        Self {
            gzip: written.into(),
            digest: digest(content),
        }
    }

    fn json(document: &Value) -> Self {
        Self::new(document.to_string().as_bytes())
    }

    /// As gzip (RFC 1952).
    pub(super) fn gzip(&self) -> Bytes {
        self.gzip.clone()
    }

    /// As it is.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut content = Vec::new();
        GzDecoder::new(&self.gzip[..])
            .read_to_end(&mut content)
            .expect("what was compressed here decompresses");
        content
    }
}

/// An ETag, and a hash in URLs: SHA-256 in upper-case hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
}

impl OpenApi {
    /// Of the registered kinds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn documents(&self) -> &Documents {
        self.documents.get_or_init(Documents::new)
    }

    pub(super) fn v2(&self) -> &Document {
        &self.documents().v2
    }

    /// The same in the protobuf of gnostic's OpenAPIv2.proto.
    pub(super) fn v2_protobuf(&self) -> &Document {
        &self.documents().v2_protobuf
    }

    pub(super) fn v3_index(&self) -> &Document {
        &self.documents().index
    }

    /// The document of `api/v1` or `apis/GROUP/VERSION`.
    pub(super) fn v3(&self, path: &str) -> Option<&Document> {
        self.documents().v3.get(path)
    }
}

impl Documents {
    fn new() -> Self {
        let mut v3 = BTreeMap::new();
        let mut index = json!({"paths": {}});
        let (mut paths, mut definitions) = (Map::new(), Map::new());
        for (group, version) in versions() {
            let path = root(&group, &version);
            let (document, mut own) = v3_document(&group, &version);
            let compressed = Document::json(&document);
            index["paths"][&path] = json!({
                "serverRelativeURL": format!("/openapi/v3/{path}?hash={}", compressed.digest)
            });
            v3.insert(path, compressed);
            paths.append(&mut own.paths);
            definitions.append(&mut own.schemas);
        }
        let v2 = version2::document(info(), paths, definitions);
        Self {
            v2_protobuf: Document::new(&protobuf::encode(&v2)),
            v2: Document::json(&v2),
            index: Document::json(&index),
            v3,
        }
    }
}

/// What a document says, for version 2 to say it too.
struct Content {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

/// `api/v1` or `apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    format!(
        "{}/{}",
        if group.is_empty() { "api" } else { "apis" },
        group_version(group, version)
    )
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": super::documents::KUBERNETES})
}

fn v3_document(group: &str, version: &str) -> (Value, Content) {
    let mut definitions = Definitions::new();
    let shared = Shared::define(&mut definitions);
    let mut paths = Map::new();
    for kind in pontoon_api::kinds::all() {
        let descriptor = kind.descriptor();
        if descriptor.group == group && descriptor.version == version {
            let object = kind.define(&mut definitions);
            operations::of_kind(&mut paths, descriptor, &object, &shared, &mut definitions);
        }
    }
    let schemas = definitions.finish();
    let document = json!({
        "openapi": "3.0.0", "info": info(), "paths": &paths, "components": {"schemas": &schemas},
    });
    (document, Content { paths, schemas })
}

#[cfg(test)]
mod tests;
