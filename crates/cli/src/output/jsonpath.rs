//! Kubernetes' JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}…{end}`, filters, unions,
//! slices, texts.
//!
//! The language is that of <https://kubernetes.io/docs/reference/kubectl/jsonpath/>: what a path does not find
//! is empty, not an error.

mod evaluate;
mod parse;

use serde_json::Value;

/// Why a template cannot be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonPathError(String);

/// A template that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<Node>,
    as_json: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// Text between braces, or a quoted one within.
    Text(String),
    Path(Path),
    Range(Path, Vec<Node>),
}

/// Steps from the current value, or from the root.
#[derive(Debug, Clone, PartialEq)]
struct Path {
    from_root: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// `.*` and `[*]`.
    Every,
    /// `..`: the value and everything below it.
    Descend,
    Slice(Slice),
    /// `[a,b]`: what each finds, in order.
    Union(Vec<Step>),
    Filter(Box<Condition>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    from: Option<i64>,
    to: Option<i64>,
    by: i64,
    /// A single index: `from` alone.
    single: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Exists(Operand),
    Compare(Operand, Comparison, Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

impl Template {
    /// Reads a template. Text outside of braces stands for itself.
    ///
    /// # Errors
    /// Says where it goes wrong.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        Ok(Self {
            nodes: parse::template(text)?,
            as_json: false,
        })
    }

    /// Reads a single path that may come without braces and without its first dot, as `--sort-by` and `wait` take it.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn relaxed(text: &str) -> Result<Self, JsonPathError> {
        let text = text.trim();
        let inner = text
            .strip_prefix('{')
            .and_then(|inner| inner.strip_suffix('}'))
            .unwrap_or(text);
        let dotted = if inner.starts_with(['.', '[', '$', '@']) {
            inner.to_owned()
        } else {
            format!(".{inner}")
        };
        Self::parse(&format!("{{{dotted}}}"))
    }

    /// The same, with its results as one JSON list.
    #[must_use]
    pub fn as_json(self) -> Self {
        Self {
            as_json: true,
            ..self
        }
    }

    /// The text for a value.
    ///
    /// # Errors
    /// When an index is out of its list, or far too much is found.
    pub fn render(&self, value: &Value) -> Result<String, JsonPathError> {
        if self.as_json {
            let found: Vec<Value> = self.find(value)?.into_iter().cloned().collect();
            return Ok(super::json::pretty(&Value::from(found)));
        }
        evaluate::render(&self.nodes, value)
    }

    /// What its paths find.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn find<'v>(&self, value: &'v Value) -> Result<Vec<&'v Value>, JsonPathError> {
        let mut found = Vec::new();
        for node in &self.nodes {
            if let Node::Path(path) = node {
                found.extend(evaluate::path(path, value, value)?);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
