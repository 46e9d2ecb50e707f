//! What the answer looks like: the Accept header against what can be made (RFC 9110, section 12.5.1).

use crate::error::VerbError;
use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING};

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Yaml,
}

/// What an object is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Itself.
    Object,
    /// Rows for people: `meta.k8s.io` Table of this version.
    Table(&'static str),
    /// Its metadata only: PartialObjectMetadata or its list, of this version.
    Partial(&'static str),
}

/// The chosen form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub encoding: Encoding,
    pub shape: Shape,
}

impl Form {
    /// Plain JSON.
    pub(super) const JSON: Self = Self {
        encoding: Encoding::Json,
        shape: Shape::Object,
    };
}

/// One media range.
struct Range<'a> {
    media: String,
    parameters: Vec<(String, &'a str)>,
    weight: u16,
}

impl Range<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| *value)
    }
}

/// What the server can make of objects.
const OFFERED: &str = "application/json, application/yaml";

fn ranges(accept: &str) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range<'_>> = accept
        .split(',')
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts
                .next()
                .filter(|media| !media.is_empty())?
                .to_ascii_lowercase();
            let parameters: Vec<(String, &str)> = parts
                .filter_map(|part| part.split_once('='))
                .map(|(name, value)| {
                    (
                        name.trim().to_ascii_lowercase(),
                        value.trim().trim_matches('"'),
                    )
                })
                .collect();
            let weight = parameters
                .iter()
                .find(|(name, _)| name == "q")
                .map_or(1000, |(_, value)| weight(value));
            Some(Range {
                media,
                parameters,
                weight,
            })
        })
        .filter(|range| range.weight > 0)
        .collect();
    ranges.sort_by_key(|range| std::cmp::Reverse(range.weight));
    ranges
}

/// Thousandths of a quality value.
fn weight(text: &str) -> u16 {
    let value: f32 = text.parse().unwrap_or(0.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=1000"
    )]
    let thousandths = (value.clamp(0.0, 1.0) * 1000.0) as u16;
    thousandths
}

fn accept(headers: &HeaderMap) -> String {
    let values: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let joined = values.join(",");
    if joined.trim().is_empty() {
        "*/*".to_owned()
    } else {
        joined
    }
}

/// Chooses the form of objects.
///
/// # Errors
/// 406 when nothing asked for can be made (protobuf and CBOR are not).
pub(super) fn form(headers: &HeaderMap) -> Result<Form, VerbError> {
    ranges(&accept(headers))
        .iter()
        .find_map(form_of)
        .ok_or(VerbError::NotAcceptable(OFFERED))
}

fn form_of(range: &Range<'_>) -> Option<Form> {
    let encoding = match range.media.as_str() {
        "*/*" | "application/*" | "application/json" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let version = match range.parameter("v") {
        Some("v1") => Some("v1"),
        Some("v1beta1") => Some("v1beta1"),
        _ => None,
    };
    let meta = range.parameter("g") == Some("meta.k8s.io");
    let shape = match range.parameter("as") {
        None => Shape::Object,
        Some("Table") if meta => Shape::Table(version?),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => {
            Shape::Partial(version?)
        }
        Some(_) => return None,
    };
    Some(Form { encoding, shape })
}

/// The version of aggregated discovery asked for, if it is asked for before plain JSON.
pub(super) fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    ranges(&accept(headers)).iter().find_map(|range| {
        let json = matches!(
            range.media.as_str(),
            "application/json" | "application/*" | "*/*"
        );
        let discovery = range.parameter("g") == Some("apidiscovery.k8s.io")
            && range.parameter("as") == Some("APIGroupDiscoveryList");
        match (
            json,
            range.parameter("as").is_some(),
            discovery,
            range.parameter("v"),
        ) {
            (true, _, true, Some("v2")) => Some(Some("v2")),
            (true, _, true, Some("v2beta1")) => Some(Some("v2beta1")),
            (true, false, ..) => Some(None),
            _ => None,
        }
    })?
}

/// Whether JSON is acceptable at all.
pub(super) fn takes_json(headers: &HeaderMap) -> bool {
    ranges(&accept(headers)).iter().any(|range| {
        matches!(
            range.media.as_str(),
            "application/json" | "application/*" | "*/*"
        )
    })
}

/// How a Swagger 2.0 document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Openapi {
    Json,
    Protobuf,
}

/// The media type of a Swagger 2.0 document in protobuf.
pub(super) const OPENAPI_V2_PROTOBUF: &str =
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// kubectl's name for it, which is no valid media type.
const OPENAPI_V2_PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Chooses the form of a Swagger 2.0 document.
pub(super) fn openapi_v2(headers: &HeaderMap) -> Option<Openapi> {
    ranges(&accept(headers))
        .iter()
        .find_map(|range| match range.media.as_str() {
            "application/json" | "application/*" | "*/*" => Some(Openapi::Json),
            OPENAPI_V2_PROTOBUF | OPENAPI_V2_PROTOBUF_OLD => Some(Openapi::Protobuf),
            _ => None,
        })
}

/// Whether a compressed body is welcome.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            ranges(value)
                .iter()
                .any(|range| matches!(range.media.as_str(), "gzip" | "*"))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn kubectl_gets_tables_and_protobuf_clients_fall_back_to_json() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(&headers(kubectl)).unwrap().shape, Shape::Table("v1"));
        let go = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(form(&headers(go)).unwrap(), Form::JSON);
        assert_eq!(form(&HeaderMap::new()).unwrap(), Form::JSON);
        assert!(matches!(
            form(&headers("application/vnd.kubernetes.protobuf")),
            Err(VerbError::NotAcceptable(_))
        ));
        assert_eq!(
            form(&headers("application/json;q=0.1, application/yaml"))
                .unwrap()
                .encoding,
            Encoding::Yaml
        );
        assert!(form(&headers("application/json;q=0")).is_err());
    }

    #[test]
    fn aggregated_discovery_is_served_to_who_asks() {
        let both =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(aggregated(&headers(both)), Some("v2"));
        assert_eq!(aggregated(&headers("application/json")), None);
        assert_eq!(aggregated(&HeaderMap::new()), None);
    }

    proptest::proptest! {
        #[test]
        fn no_accept_header_makes_the_parser_panic(text in "[ -~]{0,100}") {
            let _ = form(&headers(&text));
            let _ = aggregated(&headers(&text));
        }
    }
}
