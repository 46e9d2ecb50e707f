//! JSON as kubectl prints it: indented by four.

use serde::Serialize as _;
use serde_json::{Value, ser::PrettyFormatter};

/// The document, with a line end.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value
        .serialize(&mut serializer)
        .expect("a JSON value is JSON, and memory takes it");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_is_indented_by_four() {
        let text = super::pretty(&serde_json::json!({"a": [1], "b": {}}));
        assert_eq!(
            text,
            "{\n    \"a\": [\n        1\n    ],\n    \"b\": {}\n}\n"
        );
    }
}
