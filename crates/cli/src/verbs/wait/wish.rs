//! What is wished of an object.

use crate::{fields, output::jsonpath::Template};
use serde_json::Value;

/// What `--for` asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// It exists.
    Created,
    /// It does not.
    Gone,
    /// A condition has a status.
    Condition {
        /// Its type.
        name: String,
        /// Its status.
        status: String,
    },
    /// A path finds something, or this text.
    Path {
        /// Where to look.
        path: Template,
        /// What to find; anything when none is given.
        value: Option<String>,
    },
}

impl Wish {
    /// Reads the value of `--for`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "delete" => return Ok(Self::Gone),
            "create" => return Ok(Self::Created),
            _ => {}
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, status) = condition.split_once('=').unwrap_or((condition, "True"));
            if name.is_empty() {
                return Err("condition= needs the name of a condition".to_owned());
            }
            return Ok(Self::Condition {
                name: name.to_owned(),
                status: status.to_owned(),
            });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let (path, value) = cut(rest);
            let value = match value {
                Some("") => return Err("jsonpath wait has to have a value after =".to_owned()),
                value => value.map(|value| value.trim_matches(['"', '\'']).to_owned()),
            };
            let path = Template::relaxed(path.trim_matches(['"', '\'']))
                .map_err(|error| error.to_string())?;
            return Ok(Self::Path { path, value });
        }
        Err(format!(
            "unrecognized condition: {text:?}: use condition=NAME[=VALUE], jsonpath=PATH[=VALUE], create or delete"
        ))
    }

    /// Whether an object is so.
    pub fn met(&self, object: Option<&Value>) -> Result<bool, String> {
        let Some(object) = object else {
            return Ok(matches!(self, Self::Gone));
        };
        match self {
            Self::Created => Ok(true),
            Self::Gone => Ok(false),
            Self::Condition { name, status } => Ok(condition(object, name, status)),
            Self::Path { path, value } => {
                let found = path.find(object).map_err(|error| error.to_string())?;
                match value {
                    None => Ok(!found.is_empty()),
                    Some(_) if found.len() > 1 => {
                        Err("given jsonpath expression matches more than one value".to_owned())
                    }
                    Some(wanted) => Ok(found
                        .first()
                        .is_some_and(|found| fields::plain(found) == *wanted)),
                }
            }
        }
    }
}

/// Splits path and value at the first `=` that is not inside of braces.
fn cut(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (index, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            '=' if depth == 0 => return (&text[..index], Some(&text[index + 1..])),
            _ => {}
        }
    }
    (text, None)
}

/// Whether a condition has a status, and speaks of the object as it is.
fn condition(object: &Value, name: &str, status: &str) -> bool {
    let conditions = fields::list(object, "/status/conditions");
    let found = conditions
        .iter()
        .find(|condition| fields::text(condition, "/type").eq_ignore_ascii_case(name));
    let Some(found) = found else { return false };
    let generation = fields::integer(object, "/metadata/generation").unwrap_or(0);
    let observed = fields::integer(found, "/observedGeneration")
        .or_else(|| fields::integer(object, "/status/observedGeneration"))
        .unwrap_or(generation);
    observed >= generation && fields::text(found, "/status").eq_ignore_ascii_case(status)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn met(wish: &str, object: &Value) -> bool {
        Wish::parse(wish).unwrap().met(Some(object)).unwrap()
    }

    #[test]
    fn a_condition_counts_when_it_speaks_of_the_present_generation() {
        let pod = |generation: i64| {
            json!({"metadata": {"generation": generation}, "status": {"observedGeneration": 2,
                   "conditions": [{"type": "Available", "status": "True"}]}})
        };
        assert!(met("condition=Available", &pod(2)));
        assert!(met("condition=available=true", &pod(2)));
        assert!(!met("condition=Available=False", &pod(2)));
        assert!(!met("condition=Available", &pod(3)));
        assert!(!met("condition=Ready", &pod(2)));
    }

    #[test]
    fn a_path_is_compared_with_its_value() {
        let pod = json!({"status": {"phase": "Running", "n": 2, "list": [1, 2]}});
        assert!(met("jsonpath={.status.phase}=Running", &pod));
        assert!(met("jsonpath='{.status.phase}'=Running", &pod));
        assert!(met("jsonpath=.status.n=2", &pod));
        assert!(met("jsonpath={.status.phase}", &pod));
        assert!(met("jsonpath={.status.list[?(@==2)]}", &pod));
        assert!(!met("jsonpath={.status.none}", &pod));
        assert!(
            Wish::parse("jsonpath={.status.list[*]}=1")
                .unwrap()
                .met(Some(&pod))
                .is_err()
        );
    }

    proptest::proptest! {
        #[test]
        fn any_wish_is_taken_or_refused(text in r"(condition=|jsonpath=)?[{}.\[\]='a-c0-9]{0,20}|\PC{0,20}") {
            if let Ok(wish) = Wish::parse(&text) {
                let _ = wish.met(Some(&json!({"a": [1, {"b": "c"}]})));
            }
        }
    }

    #[test]
    fn what_does_not_exist_fulfils_only_its_deletion() {
        assert!(Wish::parse("delete").unwrap().met(None).unwrap());
        assert!(!Wish::parse("create").unwrap().met(None).unwrap());
        assert!(!Wish::parse("condition=Ready").unwrap().met(None).unwrap());
        for wrong in ["", "ready", "condition=", "jsonpath={", "jsonpath={.a}="] {
            assert!(Wish::parse(wrong).is_err(), "{wrong}");
        }
    }
}
