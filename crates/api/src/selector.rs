//! Label and field selectors: `app=web,tier in (a,b),!canary` and `status.phase!=Running`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as TypedSelector;
use std::collections::BTreeMap;
use std::fmt;

/// Most requirements in one selector, so that matching is cheap.
const REQUIREMENTS: usize = 256;

/// A selector that cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// What one requirement asks of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// The label is there with one of these values.
    In(Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above this.
    GreaterThan(i64),
    /// The label is an integer below this.
    LessThan(i64),
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => {
                value.is_some_and(|value| values.iter().any(|wanted| wanted == value))
            }
            Operator::NotIn(values) => {
                value.is_none_or(|value| values.iter().all(|unwanted| unwanted != value))
            }
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Operator::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

/// A label selector: all requirements must hold. The empty one selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// In the order they were written.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`SelectorError`] in the words of Kubernetes' parser.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut tokens = Tokens { rest: text };
        let mut requirements = Vec::new();
        if tokens.peek().is_none() {
            return Ok(Self::default());
        }
        loop {
            requirements.push(requirement(&mut tokens)?);
            if requirements.len() > REQUIREMENTS {
                return Err(SelectorError(format!(
                    "a selector has at most {REQUIREMENTS} requirements"
                )));
            }
            match tokens.next() {
                None => return Ok(Self { requirements }),
                Some(",") if tokens.peek().is_some() => {}
                Some(",") => return Err(expected("", "identifier after ','")),
                Some(other) => return Err(expected(other, "',' or 'end of string'")),
            }
        }
    }

    /// Reads the typed form of a spec. An absent selector selects nothing in Kubernetes: the caller decides.
    ///
    /// # Errors
    /// [`SelectorError`] for an operator that does not exist or does not fit its values.
    pub fn from_typed(selector: &TypedSelector) -> Result<Self, SelectorError> {
        let mut requirements: Vec<Requirement> = selector
            .match_labels
            .iter()
            .flatten()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In(vec![value.clone()]),
            })
            .collect();
        for expression in selector.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            let operator = match expression.operator.as_str() {
                "In" if !values.is_empty() => Operator::In(values),
                "NotIn" if !values.is_empty() => Operator::NotIn(values),
                "Exists" if values.is_empty() => Operator::Exists,
                "DoesNotExist" if values.is_empty() => Operator::DoesNotExist,
                "In" | "NotIn" => {
                    return Err(SelectorError(
                        "for 'in', 'notin' operators, values set can't be empty".into(),
                    ));
                }
                "Exists" | "DoesNotExist" => {
                    return Err(SelectorError(
                        "values set must be empty for exists and does not exist".into(),
                    ));
                }
                other => {
                    return Err(SelectorError(format!(
                        "{other:?} is not a valid label selector operator"
                    )));
                }
            };
            requirements.push(Requirement {
                key: expression.key.clone(),
                operator,
            });
        }
        Ok(Self { requirements })
    }

    /// Selects exactly the objects that carry all these labels.
    #[must_use]
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        let requirement = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::In(vec![value.clone()]),
        };
        Self {
            requirements: labels.iter().map(requirement).collect(),
        }
    }

    /// Whether it selects everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels, looked up by `label`, satisfy it.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.matches(label(&requirement.key)))
    }

    /// Whether a map of labels satisfies it.
    #[must_use]
    pub fn matches_map(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches(|key| labels.get(key).map(String::as_str))
    }

    /// A `key=value` it demands, if any: what an index can answer.
    #[must_use]
    pub fn equality(&self) -> Option<(&str, &str)> {
        self.requirements
            .iter()
            .find_map(|requirement| match &requirement.operator {
                Operator::In(values) if values.len() == 1 => {
                    Some((requirement.key.as_str(), values[0].as_str()))
                }
                _ => None,
            })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, operator }) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match operator {
                Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Operator::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Operator::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Operator::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::GreaterThan(bound) => write!(f, "{key}>{bound}")?,
                Operator::LessThan(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

/// Splits a selector into words and the signs `= == != , ! ( ) < >`.
struct Tokens<'a> {
    rest: &'a str,
}

fn is_sign(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b',' | b'(' | b')' | b'<' | b'>')
}

impl<'a> Tokens<'a> {
    fn split(&self) -> Option<(&'a str, &'a str)> {
        let rest = self.rest.trim_start();
        let first = *rest.as_bytes().first()?;
        let length = if is_sign(first) {
            if rest.starts_with("==") || rest.starts_with("!=") {
                2
            } else {
                1
            }
        } else {
            rest.bytes()
                .position(|byte| is_sign(byte) || byte.is_ascii_whitespace())
                .unwrap_or(rest.len())
        };
        Some(rest.split_at(length))
    }

    fn peek(&self) -> Option<&'a str> {
        self.split().map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<&'a str> {
        let (token, rest) = self.split()?;
        self.rest = rest;
        Some(token)
    }
}

fn expected(found: &str, wanted: &str) -> SelectorError {
    SelectorError(format!(
        "unable to parse requirement: found '{found}', expected: {wanted}"
    ))
}

fn word<'a>(tokens: &mut Tokens<'a>, wanted: &str) -> Result<&'a str, SelectorError> {
    match tokens.next() {
        Some(token) if !is_sign(token.as_bytes()[0]) => Ok(token),
        other => Err(expected(other.unwrap_or(""), wanted)),
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, SelectorError> {
    if tokens.peek() == Some("!") {
        tokens.next();
        let key = key(word(tokens, "identifier")?)?;
        return Ok(Requirement {
            key,
            operator: Operator::DoesNotExist,
        });
    }
    let key = key(word(tokens, "!, identifier, or 'end of string'")?)?;
    let operator = match tokens.peek() {
        None | Some(",") => Operator::Exists,
        Some("=" | "==") => {
            tokens.next();
            Operator::In(vec![value(single(tokens))?])
        }
        Some("!=") => {
            tokens.next();
            Operator::NotIn(vec![value(single(tokens))?])
        }
        Some("in") => {
            tokens.next();
            Operator::In(values(tokens)?)
        }
        Some("notin") => {
            tokens.next();
            Operator::NotIn(values(tokens)?)
        }
        Some(sign @ (">" | "<")) => {
            tokens.next();
            let bound = word(tokens, "an integer")?;
            let bound = bound.parse().map_err(|_| {
                SelectorError(format!(
                    "for 'Gt', 'Lt' operators, the value must be an integer: {bound:?}"
                ))
            })?;
            if sign == ">" {
                Operator::GreaterThan(bound)
            } else {
                Operator::LessThan(bound)
            }
        }
        Some(other) => return Err(expected(other, "in, notin, =, ==, !=, gt, lt")),
    };
    Ok(Requirement { key, operator })
}

/// The value behind `=`: may be empty.
fn single<'a>(tokens: &mut Tokens<'a>) -> &'a str {
    match tokens.peek() {
        None | Some(",") => "",
        Some(_) => tokens.next().unwrap_or(""),
    }
}

fn values(tokens: &mut Tokens<'_>) -> Result<Vec<String>, SelectorError> {
    match tokens.next() {
        Some("(") => {}
        other => return Err(expected(other.unwrap_or(""), "'('")),
    }
    let mut values = Vec::new();
    loop {
        match tokens.peek() {
            Some(")" | ",") => values.push(String::new()),
            _ => values.push(value(word(tokens, "',' or ')'")?)?),
        }
        match tokens.next() {
            Some(",") => {}
            Some(")") => return Ok(values),
            other => return Err(expected(other.unwrap_or(""), "',' or ')'")),
        }
    }
}

/// A label key: an optional DNS prefix and a name of at most 63 characters (Kubernetes' qualified name).
fn key(text: &str) -> Result<String, SelectorError> {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let well_formed = !name.is_empty()
        && name.len() <= 63
        && name.chars().all(fine)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.matches('/').count() <= 1
        && !text.starts_with('/');
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(SelectorError(format!(
            "key: Invalid value: {text:?}: not a label key"
        )))
    }
}

fn value(text: &str) -> Result<String, SelectorError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric();
    let well_formed = text.is_empty()
        || (text.len() <= 63
            && text.chars().all(fine)
            && text.starts_with(edge)
            && text.ends_with(edge));
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(SelectorError(format!(
            "values: Invalid value: {text:?}: not a label value"
        )))
    }
}

/// One requirement of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Such as `status.phase`.
    pub field: String,
    /// The value compared with.
    pub value: String,
    /// Whether equal (`=`, `==`) or different (`!=`) objects are selected.
    pub equal: bool,
}

/// A field selector: all requirements must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    /// In the order they were written.
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Reads the text form; `\\`, `\,` and `\=` stand for themselves.
    ///
    /// # Errors
    /// [`SelectorError`] when a requirement has no operator.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_terms(text)
            .into_iter()
            .filter(|term| !term.is_empty())
        {
            requirements.push(field_requirement(&term)?);
            if requirements.len() > REQUIREMENTS {
                return Err(SelectorError(format!(
                    "a selector has at most {REQUIREMENTS} requirements"
                )));
            }
        }
        Ok(Self { requirements })
    }

    /// Whether it selects everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether fields, looked up by `field` (absent ones are empty), satisfy it.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| {
            (field(&requirement.field).unwrap_or("") == requirement.value) == requirement.equal
        })
    }

    /// The value it demands of `field`, if any: what an index can answer.
    #[must_use]
    pub fn equality(&self, field: &str) -> Option<&str> {
        let wanted =
            |requirement: &&FieldRequirement| requirement.equal && requirement.field == field;
        self.requirements
            .iter()
            .find(wanted)
            .map(|requirement| requirement.value.as_str())
    }
}

fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let last = terms.last_mut().expect("there is always one term");
        match c {
            ',' if !escaped => terms.push(String::new()),
            _ => last.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    terms
}

fn field_requirement(term: &str) -> Result<FieldRequirement, SelectorError> {
    let invalid = || {
        SelectorError(format!(
            "invalid selector: '{term}'; can't understand '{term}'"
        ))
    };
    let at = term.find(['=', '!']).ok_or_else(invalid)?;
    let (field, rest) = term.split_at(at);
    let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
        (false, value)
    } else if let Some(value) = rest.strip_prefix("==") {
        (true, value)
    } else if let Some(value) = rest.strip_prefix('=') {
        (true, value)
    } else {
        return Err(invalid());
    };
    Ok(FieldRequirement {
        field: field.trim().to_owned(),
        value: unescape(value)?,
        equal,
    })
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => text.push(c),
                _ => {
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence: {value}"
                    )));
                }
            },
            ('=' | ',', false) => {
                return Err(SelectorError(format!(
                    "invalid selector: unescaped {c:?} in {value:?}"
                )));
            }
            (c, false) => text.push(c),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: BTreeMap<String, String> = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        LabelSelector::parse(selector).unwrap().matches_map(&labels)
    }

    #[test]
    fn every_operator_means_what_kubernetes_says() {
        let labels = [("app", "web"), ("n", "5")];
        for yes in [
            "",
            "app",
            "app=web",
            "app==web",
            "app!=db",
            "x!=y",
            "!x",
            "app in (web, db)",
            "x notin (a)",
            "n>4",
            "n<6",
            "app=web,n",
        ] {
            assert!(selects(yes, &labels), "{yes}");
        }
        for no in [
            "x",
            "app=db",
            "app!=web",
            "!app",
            "app in (db)",
            "app notin (web)",
            "n>5",
            "x<1",
            "app=web,x",
            "x in (a)",
            "app=",
        ] {
            assert!(!selects(no, &labels), "{no}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            ",", "a,", "a b", "a in", "a in (", "a in b", "a=b=c", "=a", "!", "a>x", "a in (b",
            "-a=b", "a=-b", "a/b/c", "/a",
        ] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
        for text in ["a", "a=b=c", "a=\\x", "!a"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn field_selectors_compare_and_unescape() {
        let selector = FieldSelector::parse("status.phase!=Running,metadata.name=a\\,b,").unwrap();
        assert!(selector.matches(|field| (field == "metadata.name").then_some("a,b")));
        assert!(!selector.matches(|field| Some(if field == "status.phase" {
            "Running"
        } else {
            "a,b"
        })));
        assert_eq!(selector.equality("metadata.name"), Some("a,b"));
        assert_eq!(selector.equality("status.phase"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z0-9=!,()<> ./\\\\-]{0,40}") {
            let _ = LabelSelector::parse(&text);
            let _ = FieldSelector::parse(&text);
        }

        #[test]
        fn what_is_printed_reads_back_the_same(text in "[a-z]{1,3}(=[a-z]{0,3}|!=[a-z]{1,3}| in \\([a-z],[b-d]\\)| notin \\(a\\)|>[0-9]|)") {
            let selector = LabelSelector::parse(&text).unwrap();
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}
