//! Kinds without a layout of their own: every field, in words.

use super::{Sheet, header};
use crate::fields;
use serde_json::Value;

/// Metadata that the header says, or nobody reads.
const HIDDEN: [&str; 7] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "managedFields",
    "selfLink",
    "generateName",
];

pub(super) fn describe(sheet: &mut Sheet, object: &Value) {
    header(sheet, object);
    sheet.field(0, "API Version", fields::text(object, "/apiVersion"));
    sheet.field(0, "Kind", fields::text(object, "/kind"));
    for (key, value) in object.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                sheet.line(0, "Metadata:");
                for (key, value) in value.as_object().into_iter().flatten() {
                    if !HIDDEN.contains(&key.as_str()) {
                        field(sheet, 1, key, value);
                    }
                }
            }
            _ => field(sheet, 0, key, value),
        }
    }
}

fn field(sheet: &mut Sheet, level: usize, key: &str, value: &Value) {
    let label = words(key);
    match value {
        Value::Object(map) => {
            sheet.line(level, &format!("{label}:"));
            for (key, value) in map {
                field(sheet, level + 1, key, value);
            }
        }
        Value::Array(list) => {
            sheet.line(level, &format!("{label}:"));
            for item in list {
                match item {
                    Value::Object(map) => {
                        for (key, value) in map {
                            field(sheet, level + 1, key, value);
                        }
                    }
                    other => sheet.line(level + 1, &fields::plain(other)),
                }
            }
        }
        other => sheet.field(
            level,
            &label,
            &fields::plain(other).replace(['\n', '\t'], " "),
        ),
    }
}

/// `renewTime` as `Renew Time`.
fn words(key: &str) -> String {
    let mut text = String::with_capacity(key.len() + 4);
    let mut lower = false;
    for (index, c) in key.chars().enumerate() {
        if index == 0 {
            text.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && lower {
                text.push(' ');
            }
            text.push(c);
        }
        lower = c.is_lowercase() || c.is_ascii_digit();
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_fields_name_is_split_into_words() {
        for (key, text) in [
            ("renewTime", "Renew Time"),
            ("spec", "Spec"),
            ("podIP", "Pod IP"),
            ("", ""),
        ] {
            assert_eq!(super::words(key), text);
        }
    }
}
