//! Query strings: pairs of names and values.

use crate::error::VerbError;

/// Most pairs in a query: more than every parameter together.
const PAIRS: usize = 256;

/// The pairs of a query, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    ///
    /// # Errors
    /// 400 for a bad escape.
    pub(super) fn parse(text: &str) -> Result<Self, VerbError> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.take(PAIRS).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        });
        pairs
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| VerbError::BadRequest("the query has a bad percent escape".into()))
    }

    /// The first value of a name, if it is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, value)| found == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// A flag, as Kubernetes reads them: absent, empty, `false` and `0` are false, anything else is true.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    /// As [`Query::flag`]; `None` when absent.
    pub(super) fn optional_flag(&self, name: &str) -> Option<bool> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name)?;
        Some(!matches!(
            value.to_ascii_lowercase().as_str(),
            "" | "false" | "0"
        ))
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 for something else.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, VerbError> {
        self.get(name)
            .map(|value| {
                value.parse().map_err(|_| {
                    VerbError::BadRequest(format!(
                        "strconv.ParseInt: parsing \"{value}\": invalid syntax ({name})"
                    ))
                })
            })
            .transpose()
    }
}

/// Undoes percent escapes, and `+` for a space in queries. `None` when an escape or the text is not well formed.
pub(super) fn decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pairs_are_unescaped() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+(d)&watch&limit=5&limit=6").unwrap();
        assert_eq!(query.get("labelSelector"), Some("a=b,c in (d)"));
        assert!(!query.flag("watch"));
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert!(Query::parse("a=%f").is_err());
        assert!(Query::parse("a=%ff").is_err());
        assert!(Query::parse("limit=x").unwrap().number("limit").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_query_makes_the_parser_panic(text in ".{0,200}") {
            if let Ok(query) = Query::parse(&text) {
                let _ = (query.number("limit"), query.flag("watch"), query.get("labelSelector"));
            }
        }

        #[test]
        fn what_was_escaped_is_read_back(text in ".{0,50}") {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            proptest::prop_assert_eq!(decode(&escaped, true), Some(text));
        }
    }
}
