//! `--sort-by`.

use crate::{error::CliError, output::jsonpath::Template, session::Found};
use serde_json::Value;
use std::cmp::Ordering;

/// Sorts by what a path finds. What has nothing there comes first, as in kubectl.
pub fn by(path: &Template, items: &mut [Found]) -> Result<(), CliError> {
    let mut keys: Vec<Option<Value>> = Vec::with_capacity(items.len());
    for item in items.iter() {
        let found = path
            .find(&item.value)
            .map_err(|error| CliError::usage(error.to_string()))?;
        keys.push(found.first().map(|value| (*value).clone()));
    }
    if !items.is_empty() && keys.iter().all(Option::is_none) {
        return Err(CliError::usage(
            "couldn't find any field with the path given to --sort-by in the list of objects",
        ));
    }
    let mut paired: Vec<(Option<Value>, Found)> =
        keys.into_iter().zip(items.iter().cloned()).collect();
    paired.sort_by(|(left, _), (right, _)| order(left.as_ref(), right.as_ref()));
    for (slot, (_, item)) in items.iter_mut().zip(paired) {
        *slot = item;
    }
    Ok(())
}

fn order(left: Option<&Value>, right: Option<&Value>) -> Ordering {
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => left
            .as_f64()
            .partial_cmp(&right.as_f64())
            .unwrap_or(Ordering::Equal),
        (Some(Value::String(left)), Some(Value::String(right))) => text(left, right),
        (left, right) => left.is_some().cmp(&right.is_some()),
    }
}

/// Quantities by value, other texts (and RFC 3339 times, which order so) by bytes.
fn text(left: &str, right: &str) -> Ordering {
    use pontoon_api::quantity::Quantity;
    match (left.parse::<Quantity>(), right.parse::<Quantity>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        _ => left.cmp(right),
    }
}
