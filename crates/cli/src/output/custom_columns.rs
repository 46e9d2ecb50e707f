//! `-o custom-columns=NAME:.metadata.name,…`.

use super::{jsonpath::Template, table};
use crate::fields;
use serde_json::Value;

/// Headings, and a path for each.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomColumns(Vec<(String, Template)>);

impl CustomColumns {
    /// Reads `HEADING:PATH` pairs, separated by commas.
    ///
    /// # Errors
    /// When a pair is not one, or its path cannot be read.
    pub fn parse(spec: &str) -> Result<Self, String> {
        spec.split(',')
            .map(|part| {
                let (heading, path) = part
                    .split_once(':')
                    .filter(|(heading, path)| !heading.is_empty() && !path.is_empty())
                    .ok_or_else(|| {
                        format!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>")
                    })?;
                let path = Template::relaxed(path).map_err(|error| error.to_string())?;
                Ok((heading.to_owned(), path))
            })
            .collect::<Result<_, String>>()
            .map(Self)
    }

    /// Reads a file of two lines: headings, and the paths below them.
    ///
    /// # Errors
    /// When there are not as many of one as of the other.
    pub fn parse_file(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let (headings, paths) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let headings: Vec<&str> = headings.split_whitespace().collect();
        let paths: Vec<&str> = paths.split_whitespace().collect();
        if headings.is_empty() || headings.len() != paths.len() {
            return Err(format!(
                "number of headers ({}) should match number of paths ({})",
                headings.len(),
                paths.len()
            ));
        }
        headings
            .into_iter()
            .zip(paths)
            .map(|(heading, path)| {
                let path = Template::relaxed(path).map_err(|error| error.to_string())?;
                Ok((heading.to_owned(), path))
            })
            .collect::<Result<_, String>>()
            .map(Self)
    }

    /// The table of an object, or of the items of a List.
    ///
    /// # Errors
    /// When a path does not fit.
    pub fn render(&self, value: &Value, headings: bool) -> Result<String, String> {
        let items = match value.get("items").and_then(Value::as_array) {
            Some(items) => items.as_slice(),
            None => std::slice::from_ref(value),
        };
        let mut rows = Vec::with_capacity(items.len());
        for item in items {
            let mut row = Vec::with_capacity(self.0.len());
            for (_, path) in &self.0 {
                let found = path.find(item).map_err(|error| error.to_string())?;
                let texts: Vec<String> = found.iter().map(|value| cell(value)).collect();
                row.push(if texts.is_empty() {
                    "<none>".to_owned()
                } else {
                    texts.join(",")
                });
            }
            rows.push(row);
        }
        let names: Vec<&str> = self.0.iter().map(|(heading, _)| heading.as_str()).collect();
        Ok(table::plain(&names, &rows, headings))
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        // Go's formatting of maps and lists, which scripts may know.
        Value::Array(list) => format!("[{}]", list.iter().map(cell).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let parts: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", cell(value)))
                .collect();
            format!("map[{}]", parts.join(" "))
        }
        other => fields::plain(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    proptest::proptest! {
        #[test]
        fn any_columns_are_taken_or_refused(text in r"[A-C:,.{}\[\]*a-c \n]{0,30}|\PC{0,20}") {
            for columns in [CustomColumns::parse(&text), CustomColumns::parse_file(&text)].into_iter().flatten() {
                let _ = columns.render(&json!({"items": [{"a": [1, null]}, 3]}), true);
            }
        }
    }

    #[test]
    fn each_column_is_a_path() {
        let columns =
            CustomColumns::parse("NAME:.metadata.name,IMAGES:.spec.c[*].image,NO:.none").unwrap();
        let list = json!({"items": [
            {"metadata": {"name": "web"}, "spec": {"c": [{"image": "a"}, {"image": "b"}]}},
            {"metadata": {"name": "database"}},
        ]});
        assert_eq!(
            columns.render(&list, true).unwrap(),
            "NAME       IMAGES   NO\nweb        a,b      <none>\ndatabase   <none>   <none>\n"
        );
        assert!(CustomColumns::parse("NAME").is_err());
    }
}
