//! How objects look: tables for people, and documents and templates for programs.

pub mod custom_columns;
pub mod describe;
pub mod json;
pub mod jsonpath;
pub mod name;
pub mod sheet;
pub mod table;
pub mod yaml;

use crate::{error::CliError, session::Found};
use custom_columns::CustomColumns;
use jsonpath::Template;
use serde_json::{Value, json};

/// What `-o` chooses.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// The default: columns for people.
    Table,
    /// Every column.
    Wide,
    /// As stored.
    Json,
    /// As stored, to read and edit.
    Yaml,
    /// `deployment.apps/web`.
    Name,
    /// A template over the object or list.
    JsonPath(Template),
    /// A table of one's own columns.
    CustomColumns(CustomColumns),
}

const FORMATS: &str = "custom-columns, custom-columns-file, json, jsonpath, jsonpath-as-json, jsonpath-file, name, wide, yaml";

impl Format {
    /// Reads the value of `-o`.
    ///
    /// # Errors
    /// When there is no such format, or its template cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, template) = match text.split_once('=') {
            Some((name, template)) => (name, Some(template)),
            None => (text, None),
        };
        let needed = |what: &str| {
            template
                .filter(|template| !template.is_empty())
                .ok_or_else(|| {
                    format!("{what} template format specified but no {what} template given")
                })
        };
        let from_file = |what: &str| {
            let path = needed(what)?;
            std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
        };
        let jsonpath = |text: &str| Template::parse(text).map_err(|error| error.to_string());
        match name {
            "" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            "jsonpath" => jsonpath(needed("jsonpath")?).map(Self::JsonPath),
            "jsonpath-as-json" => {
                jsonpath(needed("jsonpath")?).map(|found| Self::JsonPath(found.as_json()))
            }
            "jsonpath-file" => jsonpath(&from_file("jsonpath")?).map(Self::JsonPath),
            "custom-columns" => {
                CustomColumns::parse(needed("custom-columns")?).map(Self::CustomColumns)
            }
            "custom-columns-file" => {
                CustomColumns::parse_file(&from_file("custom-columns")?).map(Self::CustomColumns)
            }
            _ => Err(format!(
                "unable to match a printer suitable for the output format {text:?}, allowed formats are: {FORMATS}"
            )),
        }
    }
}

/// `-o` of verbs that change something.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct OutputArgs {
    /// Print the object: json, yaml, name, jsonpath=TEMPLATE, custom-columns=SPEC.
    #[arg(short, long, value_name = "FORMAT", value_parser = Format::parse)]
    pub output: Option<Format>,
}

/// A single object as a document or template says it. Tables are [`table`]'s.
///
/// # Errors
/// When a template does not fit the object.
pub(crate) fn document(format: &Format, found: &Found) -> Result<String, CliError> {
    match format {
        Format::Name => Ok(name::line(&found.resource, &found.value)),
        _ => value(format, &presentable(&found.value)),
    }
}

/// Several objects as one List.
///
/// # Errors
/// As [`document`].
pub(crate) fn documents(format: &Format, found: &[Found]) -> Result<String, CliError> {
    match format {
        Format::Name => Ok(found
            .iter()
            .map(|found| name::line(&found.resource, &found.value))
            .collect()),
        _ => {
            let items: Vec<Value> = found
                .iter()
                .map(|found| presentable(&found.value))
                .collect();
            let list = json!({
                "apiVersion": "v1",
                "kind": "List",
                "metadata": {"resourceVersion": ""},
                "items": items,
            });
            value(format, &list)
        }
    }
}

fn value(format: &Format, value: &Value) -> Result<String, CliError> {
    match format {
        Format::Json => Ok(json::pretty(value)),
        Format::Yaml => Ok(yaml::block(value)),
        Format::JsonPath(template) => template
            .render(value)
            .map_err(|error| CliError::usage(format!("error executing jsonpath: {error}"))),
        Format::CustomColumns(columns) => columns.render(value, true).map_err(CliError::usage),
        Format::Table | Format::Wide | Format::Name => Ok(String::new()),
    }
}

/// Without the bookkeeping that kubectl hides, too.
fn presentable(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Format;

    #[test]
    fn an_unknown_format_is_answered_with_those_there_are() {
        let error = Format::parse("xml").unwrap_err();
        assert!(error.starts_with("unable to match a printer suitable for the output format \"xml\", allowed formats are: "));
        assert!(Format::parse("jsonpath").is_err());
        assert!(Format::parse("jsonpath=").is_err());
        assert_eq!(Format::parse("wide"), Ok(Format::Wide));
    }
}
