//! Objects from files, directories and standard input: YAML or JSON, many documents each, lists taken apart.

use crate::{
    console::Console, error::CliError, fields, limits, resources::Resource, session::Session,
};
use pontoon_api::decode;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where manifests come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct FileArgs {
    /// Files or directories with manifests, or - for standard input; may be repeated.
    #[arg(short, long = "filename", value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<PathBuf>,
    /// Go into directories below those given.
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// One object of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The file's name, or `STDIN`.
    pub source: String,
    /// Its kind.
    pub resource: Resource,
    /// As written, with the namespace it goes to.
    pub value: Value,
}

impl Manifest {
    /// Where it goes; empty for kinds that have no namespace.
    pub fn namespace(&self) -> &str {
        fields::namespace(&self.value)
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        fields::name(&self.value)
    }
}

impl FileArgs {
    /// Whether no file is named.
    pub fn is_empty(&self) -> bool {
        self.filename.is_empty()
    }

    /// Every object of the files, in their order, each of a kind that the server knows and with its namespace.
    pub async fn read(
        &self,
        session: &Session,
        console: &mut Console,
    ) -> Result<Vec<Manifest>, CliError> {
        if self.is_empty() {
            return Err(CliError::usage("must specify one of -f"));
        }
        let mut manifests = Vec::new();
        for (source, text) in self.texts(console).await? {
            let mut values = Vec::new();
            for document in parse(&source, &text)? {
                flatten(document, &mut values);
            }
            for value in values {
                manifests.push(place(session, &source, value).await?);
            }
        }
        if manifests.is_empty() {
            return Err(CliError::usage("the files hold no objects"));
        }
        Ok(manifests)
    }

    async fn texts(&self, console: &mut Console) -> Result<Vec<(String, Vec<u8>)>, CliError> {
        let mut left = limits::MANIFEST_BYTES;
        let mut texts = Vec::new();
        for given in &self.filename {
            if given.as_os_str() == "-" {
                let text = console
                    .read_input(left)
                    .await
                    .map_err(|error| CliError::File {
                        path: PathBuf::from("STDIN"),
                        error,
                    })?;
                left = left.saturating_sub(text.len());
                texts.push(("STDIN".to_owned(), text));
                continue;
            }
            let shown = given.to_string_lossy();
            if shown.starts_with("http://") || shown.starts_with("https://") {
                return Err(CliError::hinted(
                    format!("{shown}: manifests are not fetched from URLs"),
                    format!("fetch it yourself: curl -fsSL {shown} | pontoon apply -f -"),
                ));
            }
            let paths = if given.is_dir() {
                let mut paths = Vec::new();
                collect(given, self.recursive, 0, &mut paths)?;
                paths
            } else {
                vec![given.clone()]
            };
            for path in paths {
                let text = read_file(&path, left)?;
                left = left.saturating_sub(text.len());
                texts.push((path.display().to_string(), text));
            }
        }
        Ok(texts)
    }
}

fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, CliError> {
    let wrong = |error| CliError::File {
        path: path.to_owned(),
        error,
    };
    let size = std::fs::metadata(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            CliError::usage(format!(
                "the path {:?} does not exist",
                path.display().to_string()
            ))
        } else {
            wrong(error)
        }
    })?;
    if usize::try_from(size.len()).unwrap_or(usize::MAX) > limit {
        return Err(CliError::usage(format!(
            "{}: manifests of one command are at most {} bytes",
            path.display(),
            limits::MANIFEST_BYTES
        )));
    }
    std::fs::read(path).map_err(wrong)
}

/// The manifests of a directory, in the order of their names.
fn collect(
    directory: &Path,
    recursive: bool,
    depth: usize,
    paths: &mut Vec<PathBuf>,
) -> Result<(), CliError> {
    let wrong = |error| CliError::File {
        path: directory.to_owned(),
        error,
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(wrong)?;
    found.sort();
    for path in found {
        if path.is_dir() {
            if recursive && depth < limits::DIRECTORY_DEPTH {
                collect(&path, recursive, depth + 1, paths)?;
            }
        } else if path.extension().is_some_and(|extension| {
            extension == "yaml" || extension == "yml" || extension == "json"
        }) {
            paths.push(path);
        }
    }
    Ok(())
}

/// The documents of a text. A field given twice is a mistake: one of the two would be lost.
pub fn parse(source: &str, text: &[u8]) -> Result<Vec<Value>, CliError> {
    let documents = decode::documents(text)
        .map_err(|error| CliError::usage(format!("error parsing {source}: {error}")))?;
    documents
        .into_iter()
        .map(|document| match document.duplicates.first() {
            None => Ok(document.value),
            Some(field) => Err(CliError::usage(format!(
                "error parsing {source}: field {field:?} is given twice"
            ))),
        })
        .collect()
}

/// A List is its items.
fn flatten(document: Value, values: &mut Vec<Value>) {
    let is_list = fields::text(&document, "/kind").ends_with("List");
    match document {
        Value::Object(mut map) if is_list && map.get("items").is_some_and(Value::is_array) => {
            if let Some(Value::Array(items)) = map.remove("items") {
                values.extend(items);
            }
        }
        other => values.push(other),
    }
}

/// Checks what every object must have, and gives it its namespace.
async fn place(session: &Session, source: &str, mut value: Value) -> Result<Manifest, CliError> {
    let (api_version, kind) = (
        fields::text(&value, "/apiVersion"),
        fields::text(&value, "/kind"),
    );
    let missing: Vec<&str> = [("apiVersion not set", api_version), ("kind not set", kind)]
        .iter()
        .filter(|(_, text)| text.is_empty())
        .map(|(message, _)| *message)
        .collect();
    if !missing.is_empty() {
        return Err(CliError::usage(format!(
            "error validating {source:?}: error validating data: [{}]",
            missing.join(", ")
        )));
    }
    let Some(resource) = session.of_kind(api_version, kind).await? else {
        return Err(CliError::hinted(
            format!(
                "resource mapping not found for name: {:?} namespace: {:?} from {source:?}: no matches for kind \
                 {kind:?} in version {api_version:?}",
                fields::name(&value),
                fields::namespace(&value)
            ),
            "`pontoon api-resources` lists every kind that the server knows",
        ));
    };
    if resource.namespaced {
        let own = fields::namespace(&value);
        if own.is_empty() {
            if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("namespace".to_owned(), session.namespace.clone().into());
            }
        } else if session.namespace_is_given && own != session.namespace {
            return Err(CliError::usage(format!(
                "the namespace from the provided object {own:?} does not match the namespace {:?}. You must pass \
                 '--namespace={own}' to perform this operation.",
                session.namespace
            )));
        }
    }
    Ok(Manifest {
        source: source.to_owned(),
        resource,
        value,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_has_many_documents_and_lists_are_taken_apart() {
        let text = b"kind: A\n---\n# nothing\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n---\nkind: D\n";
        let mut values = Vec::new();
        for document in parse("x", text).unwrap() {
            flatten(document, &mut values);
        }
        let kinds: Vec<_> = values
            .iter()
            .map(|value| fields::text(value, "/kind"))
            .collect();
        assert_eq!(kinds, ["A", "B", "C", "D"]);
    }

    #[test]
    fn a_field_given_twice_is_refused_by_name() {
        let error = parse("web.yaml", b"spec:\n  a: 1\n  a: 2\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "error parsing web.yaml: field \"spec.a\" is given twice"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in r"[a-c:{}\[\]&*!|> \n'-]{0,60}|\PC{0,40}") {
            let _ = parse("x", text.as_bytes());
        }
    }

    #[test]
    fn json_is_read_as_yaml() {
        assert_eq!(
            parse("x", br#"{"kind": "A"}"#).unwrap(),
            [json!({"kind": "A"})]
        );
    }

    #[test]
    fn directories_are_read_in_order_and_deeper_only_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("below")).unwrap();
        for name in ["b.yaml", "a.json", "notes.txt", "below/c.yml"] {
            std::fs::write(directory.path().join(name), "kind: A").unwrap();
        }
        let names = |recursive| {
            let mut paths = Vec::new();
            collect(directory.path(), recursive, 0, &mut paths).unwrap();
            paths
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["a.json", "b.yaml"]);
        assert_eq!(names(true), ["a.json", "b.yaml", "c.yml"]);
    }
}
