//! What a template finds and says.

use super::{Comparison, Condition, JsonPathError, Node, Operand, Path, Slice, Step};
use crate::limits::{TEMPLATE_BYTES, TEMPLATE_RESULTS};
use serde_json::Value;
use std::cmp::Ordering;

type Found<'v> = Result<Vec<&'v Value>, JsonPathError>;

/// The text of a template for a value.
pub(super) fn render(nodes: &[Node], root: &Value) -> Result<String, JsonPathError> {
    let mut text = String::new();
    write(nodes, root, root, &mut text)?;
    Ok(text)
}

fn write(
    nodes: &[Node],
    root: &Value,
    current: &Value,
    text: &mut String,
) -> Result<(), JsonPathError> {
    for node in nodes {
        match node {
            Node::Text(content) => text.push_str(content),
            Node::Path(found) => {
                for (index, value) in path(found, root, current)?.into_iter().enumerate() {
                    if index > 0 {
                        text.push(' ');
                    }
                    push(value, text);
                }
            }
            Node::Range(found, body) => {
                for value in path(found, root, current)? {
                    write(body, root, value, text)?;
                }
            }
        }
        if text.len() > TEMPLATE_BYTES {
            return Err(JsonPathError(format!(
                "the template says more than {TEMPLATE_BYTES} bytes"
            )));
        }
    }
    Ok(())
}

fn push(value: &Value, text: &mut String) {
    match value {
        Value::String(content) => text.push_str(content),
        Value::Null => {}
        other => text.push_str(&other.to_string()),
    }
}

/// What a path finds, in order.
pub(super) fn path<'v>(path: &Path, root: &'v Value, current: &'v Value) -> Found<'v> {
    let mut found = vec![if path.from_root { root } else { current }];
    for step in &path.steps {
        let mut next = Vec::new();
        for value in found {
            take(step, root, value, &mut next)?;
            if next.len() > TEMPLATE_RESULTS {
                return Err(JsonPathError(format!(
                    "the template finds more than {TEMPLATE_RESULTS} values"
                )));
            }
        }
        found = next;
    }
    Ok(found)
}

fn take<'v>(
    step: &Step,
    root: &'v Value,
    value: &'v Value,
    next: &mut Vec<&'v Value>,
) -> Result<(), JsonPathError> {
    match step {
        Step::Field(name) => next.extend(value.as_object().and_then(|map| map.get(name))),
        Step::Every => every(value, next),
        Step::Descend => descend(value, next),
        Step::Slice(slice) => {
            if let Some(list) = value.as_array() {
                cut(*slice, list, next)?;
            }
        }
        Step::Union(steps) => {
            for step in steps {
                take(step, root, value, next)?;
            }
        }
        Step::Filter(condition) => {
            let mut candidates = Vec::new();
            every(value, &mut candidates);
            for candidate in candidates {
                if holds(condition, root, candidate)? {
                    next.push(candidate);
                }
            }
        }
    }
    Ok(())
}

fn every<'v>(value: &'v Value, next: &mut Vec<&'v Value>) {
    match value {
        Value::Array(list) => next.extend(list),
        Value::Object(map) => next.extend(map.values()),
        _ => {}
    }
}

/// The value and all below it. Documents are no deeper than their reader allows, so that recursion ends.
fn descend<'v>(value: &'v Value, next: &mut Vec<&'v Value>) {
    next.push(value);
    let mut below = Vec::new();
    every(value, &mut below);
    for value in below {
        descend(value, next);
    }
}

fn cut<'v>(
    slice: Slice,
    list: &'v [Value],
    next: &mut Vec<&'v Value>,
) -> Result<(), JsonPathError> {
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let absolute = |index: i64| {
        if index < 0 {
            index.saturating_add(length)
        } else {
            index
        }
    };
    let from = absolute(slice.from.unwrap_or(0));
    if slice.single {
        let found = usize::try_from(from).ok().and_then(|index| list.get(index));
        next.push(found.ok_or_else(|| {
            JsonPathError(format!(
                "array index out of bounds: index {from}, length {length}"
            ))
        })?);
        return Ok(());
    }
    let from = from.clamp(0, length);
    let to = absolute(slice.to.unwrap_or(length)).clamp(0, length);
    if let (Ok(from), Ok(to), Ok(by)) = (
        usize::try_from(from),
        usize::try_from(to),
        usize::try_from(slice.by),
    ) && from < to
    {
        next.extend(list[from..to].iter().step_by(by));
    }
    Ok(())
}

fn holds(condition: &Condition, root: &Value, current: &Value) -> Result<bool, JsonPathError> {
    match condition {
        Condition::Exists(Operand::Literal(value)) => Ok(value != &Value::Bool(false)),
        Condition::Exists(Operand::Path(found)) => Ok(!path(found, root, current)?.is_empty()),
        Condition::Compare(left, comparison, right) => {
            let left = operand(left, root, current)?;
            let right = operand(right, root, current)?;
            match (left, right) {
                (Some(left), Some(right)) => Ok(compares(left, *comparison, right)),
                _ => Ok(false),
            }
        }
    }
}

fn operand<'v>(
    operand: &'v Operand,
    root: &'v Value,
    current: &'v Value,
) -> Result<Option<&'v Value>, JsonPathError> {
    match operand {
        Operand::Literal(value) => Ok(Some(value)),
        Operand::Path(found) => Ok(path(found, root, current)?.into_iter().next()),
    }
}

fn compares(left: &Value, comparison: Comparison, right: &Value) -> bool {
    let order = order(left, right);
    let equal = left == right || order == Some(Ordering::Equal);
    match comparison {
        Comparison::Equal => equal,
        Comparison::NotEqual => !equal,
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// Numbers by value, texts by bytes; others have no order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}
