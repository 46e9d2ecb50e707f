//! Fields that are accepted and not acted on: their author is told, by name.
//!
//! Each kind keeps one list of patterns. A pattern is a path below the list's prefix; `[]` stands for each item of a
//! list, and `=VALUE` at its end limits it to that value. Without one, every value counts but those that say nothing
//! (null, false, empty).

use serde_json::Value;

/// Where a list of patterns applies, and the patterns.
pub(super) type Patterns = (&'static str, &'static [&'static str]);

/// One text for each field of an object that has no effect.
pub(super) fn warnings(object: &Value, lists: &[Patterns]) -> Vec<String> {
    let mut found = Vec::new();
    for (prefix, patterns) in lists {
        let Some(start) = prefix
            .split('.')
            .filter(|step| !step.is_empty())
            .try_fold(object, |at, step| at.get(step))
        else {
            continue;
        };
        for pattern in *patterns {
            let (path, wanted) = pattern
                .split_once('=')
                .map_or((*pattern, None), |(path, value)| (path, Some(value)));
            walk(start, path, wanted, (*prefix).to_owned(), &mut found);
        }
    }
    let text = |field| format!("{field}: Pontoon does not honour this field yet; it has no effect");
    found.into_iter().map(text).collect()
}

fn walk(value: &Value, path: &str, wanted: Option<&str>, at: String, found: &mut Vec<String>) {
    if path.is_empty() {
        if says(value, wanted) {
            found.push(at);
        }
        return;
    }
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let name = step.trim_end_matches("[]");
    let Some(value) = value.get(name) else { return };
    let at = if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    };
    match value {
        Value::Array(items) if step.ends_with("[]") => {
            for (index, item) in items.iter().enumerate() {
                walk(item, rest, wanted, format!("{at}[{index}]"), found);
            }
        }
        value => walk(value, rest, wanted, at, found),
    }
}

fn says(value: &Value, wanted: Option<&str>) -> bool {
    match (value, wanted) {
        (Value::String(text), Some(wanted)) => text == wanted,
        (Value::Bool(flag), Some(wanted)) => wanted.parse() == Ok(*flag),
        (_, Some(_)) => false,
        (Value::Null, None) => false,
        (Value::Bool(flag), None) => *flag,
        (Value::String(text), None) => !text.is_empty(),
        (Value::Array(items), None) => !items.is_empty(),
        (Value::Object(_) | Value::Number(_), None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::warnings;
    use serde_json::json;

    #[test]
    fn fields_are_named_by_the_path_that_a_manifest_has() {
        let object = json!({"spec": {"a": false, "b": true, "list": [{}, {"c": {"d": 1}}], "e": "Local", "f": {}}});
        let patterns: &[&str] = &[
            "a",
            "a=false",
            "b",
            "list[].c.d",
            "list[].x",
            "e=Local",
            "e=Cluster",
            "f",
            "g",
        ];
        let found = warnings(&object, &[("spec", patterns), ("status", &["a"])]);
        let fields: Vec<&str> = found
            .iter()
            .filter_map(|text| text.split(':').next())
            .collect();
        assert_eq!(
            fields,
            ["spec.a", "spec.b", "spec.list[1].c.d", "spec.e", "spec.f"]
        );
    }
}
