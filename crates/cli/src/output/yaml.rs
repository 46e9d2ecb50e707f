//! YAML as kubectl prints it: blocks, keys sorted, lists no deeper than the key they belong to.

use pontoon_api::decode;
use serde_json::Value;

/// The document, with a line end.
#[must_use]
pub fn block(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(map, 0, false, &mut text),
        Value::Array(list) if !list.is_empty() => items(list, 0, false, &mut text),
        other => {
            scalar(other, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

/// What follows a key or a dash: on the same line, or below.
fn after(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            entries(map, indent + 2, false, text);
        }
        Value::Array(list) if !list.is_empty() => {
            text.push('\n');
            items(list, indent, false, text);
        }
        other => {
            text.push(' ');
            scalar(other, indent, text);
            text.push('\n');
        }
    }
}

/// `inline` when the first entry stands behind a dash.
fn entries(map: &serde_json::Map<String, Value>, indent: usize, inline: bool, text: &mut String) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 || !inline {
            pad(indent, text);
        }
        string(key, None, text);
        text.push(':');
        after(value, indent, text);
    }
}

fn items(list: &[Value], indent: usize, inline: bool, text: &mut String) {
    for (index, value) in list.iter().enumerate() {
        if index > 0 || !inline {
            pad(indent, text);
        }
        text.push('-');
        match value {
            Value::Object(map) if !map.is_empty() => {
                text.push(' ');
                entries(map, indent + 2, true, text);
            }
            Value::Array(list) if !list.is_empty() => {
                text.push(' ');
                items(list, indent + 2, true, text);
            }
            other => {
                text.push(' ');
                scalar(other, indent, text);
                text.push('\n');
            }
        }
    }
}

fn pad(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::String(content) => string(content, Some(indent), text),
        // `null`, booleans, numbers, and what is empty, read in YAML as they do in JSON.
        other => text.push_str(&other.to_string()),
    }
}

/// `block` is the indentation of the line it stands on, where a text of several lines may follow below.
fn string(content: &str, block: Option<usize>, text: &mut String) {
    if let Some(indent) = block
        && fits_literal(content)
    {
        literal(content, indent, text);
    } else if is_plain(content) {
        text.push_str(content);
    } else {
        // JSON's quoting is YAML's double quoting, but for a few characters that YAML wants escaped.
        for c in Value::from(content).to_string().chars() {
            match c {
                '\u{7f}'..='\u{9f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{feff}'
                | '\u{fffe}'
                | '\u{ffff}' => {
                    text.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => text.push(c),
            }
        }
    }
}

/// Whether it may stand as a block of lines that reads back as it is.
fn fits_literal(content: &str) -> bool {
    let printable = |c: char| {
        c == '\n'
            || (!c.is_control()
                && !matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                ))
    };
    content.contains('\n')
        && !content.starts_with([' ', '\n', '\t'])
        && content.lines().all(|line| {
            !line.ends_with([' ', '\t']) && !line.starts_with("---") && !line.starts_with("...")
        })
        && content.chars().all(printable)
}

fn literal(content: &str, indent: usize, text: &mut String) {
    let body = content.trim_end_matches('\n');
    text.push_str(match content.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in content.strip_suffix('\n').unwrap_or(content).split('\n') {
        text.push('\n');
        if !line.is_empty() {
            pad(indent + 2, text);
            text.push_str(line);
        }
    }
}

/// Whether it may stand without quotes: it begins and goes on harmlessly, and a YAML reader (also one of YAML
/// 1.1, such as kubectl's) takes it for text.
fn is_plain(content: &str) -> bool {
    let Some(first) = content.chars().next() else {
        return false;
    };
    let harmless =
        |c: char| c.is_ascii_alphanumeric() || "_-./=+@%,()*~^$!&[]{}|<>;#?\"'`\\ :".contains(c);
    let begins = first.is_ascii_alphanumeric() || "_./$(<+^;-".contains(first);
    let dashes = content.starts_with("- ")
        || content == "-"
        || content.starts_with("--")
        || content.starts_with("...");
    begins
        && !dashes
        && content.chars().all(harmless)
        && !content.ends_with([' ', ':'])
        && !content.contains(": ")
        && !content.contains(" #")
        && !reads_as_something_else(content)
}

/// Whether a reader of YAML 1.1 or 1.2 takes the plain text for a boolean, a number, a date or nothing.
fn reads_as_something_else(content: &str) -> bool {
    const WORDS: [&str; 14] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ".nan", ".inf", "<<", "=",
    ];
    let lower = content.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    WORDS.contains(&unsigned)
        || is_number(unsigned)
        || is_date(content)
        || decode::yaml(content.as_bytes()).map_or(true, |document| {
            document.value != Value::String(content.to_owned())
        })
}

/// Integers of every base, floats and base 60, as YAML 1.1 writes them.
fn is_number(unsigned: &str) -> bool {
    let all = |text: &str, fits: fn(char) -> bool| {
        !text.is_empty() && text.chars().all(|c| fits(c) || c == '_')
    };
    let digits = |text: &str| all(text, |c| c.is_ascii_digit());
    for (prefix, fits) in [
        ("0b", (|c| matches!(c, '0' | '1')) as fn(char) -> bool),
        ("0o", |c| c.is_digit(8)),
        ("0x", |c| c.is_ascii_hexdigit()),
    ] {
        if unsigned
            .strip_prefix(prefix)
            .is_some_and(|rest| all(rest, fits))
        {
            return true;
        }
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    if unsigned.contains(':') {
        return unsigned
            .split([':', '.'])
            .all(|part| part.is_empty() || digits(part));
    }
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let part = |text: &str| text.is_empty() || digits(text);
    digits(exponent) && part(whole) && part(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// Something that begins as a date does: `2026-01-02`.
fn is_date(content: &str) -> bool {
    let bytes = content.as_bytes();
    bytes.len() >= 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5].is_ascii_digit()
        && bytes.iter().filter(|byte| **byte == b'-').count() >= 2
        && content
            .chars()
            .all(|c| c.is_ascii_digit() || "-:.+ TtZz".contains(c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_document_reads_as_kubectl_prints_it() {
        let value = json!({
            "apiVersion": "v1",
            "data": {"a.conf": "x = 1\ny = 2\n", "empty": "", "n": "1", "t": "true", "url": "http://a:80/?b=c"},
            "kind": "ConfigMap",
            "list": [{"a": 1, "b": ["x", ["y", "z"]]}, {}, [], null],
            "metadata": {"creationTimestamp": "2026-01-02T03:04:05Z", "name": "web"},
            "plain": ["7fb97496c4", "10.244.0.1", "1889e2e2-d708-437e", "1.2.3", "v1", "a b", "0x", "50%", "12:ab"],
            "quoted": ["1e3", "0x1f", "012", "1.5", "1_000", "1:20", "2026-01-02", "-", "", "no", ".5", "100", "* a"],
            "tail": "one\n",
        });
        let expected = "\
apiVersion: v1
data:
  a.conf: |
    x = 1
    y = 2
  empty: \"\"
  \"n\": \"1\"
  t: \"true\"
  url: http://a:80/?b=c
kind: ConfigMap
list:
- a: 1
  b:
  - x
  - - \"y\"
    - z
- {}
- []
- null
metadata:
  creationTimestamp: \"2026-01-02T03:04:05Z\"
  name: web
plain:
- 7fb97496c4
- 10.244.0.1
- 1889e2e2-d708-437e
- 1.2.3
- v1
- a b
- 0x
- 50%
- 12:ab
quoted:
- \"1e3\"
- \"0x1f\"
- \"012\"
- \"1.5\"
- \"1_000\"
- \"1:20\"
- \"2026-01-02\"
- \"-\"
- \"\"
- \"no\"
- \".5\"
- \"100\"
- \"* a\"
tail: |
  one
";
        assert_eq!(block(&value), expected);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ -~\n]{0,20}",
            "[a-z0-9:.+-]{0,8}",
            "\\PC{0,8}",
            any::<String>(),
            Just("- a".to_owned()),
            Just("0o17".to_owned()),
            Just("1e3".to_owned()),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_it_was(value in any_value()) {
            let text = block(&value);
            let read = decode::yaml(text.as_bytes()).map(|document| document.value);
            prop_assert_eq!(read, Ok(value), "{}", text);
        }
    }
}
