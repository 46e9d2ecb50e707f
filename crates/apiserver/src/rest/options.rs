//! Query parameters (and DeleteOptions bodies) to options of verbs.

use super::query::Query;
use crate::error::VerbError;
use crate::request::{
    DeleteOptions, FieldValidation, Freshness, ListOptions, Propagation, Target, WatchOptions,
    WatchStart, WriteOptions,
};
use crate::selection::Selection;
use pontoon_api::{FieldError, FieldErrorKind, Revision};
use serde_json::Value;
use std::time::Duration;

/// Longest `fieldManager`, in characters: Kubernetes' limit.
const MANAGER_CHARACTERS: usize = 128;

fn invalid(kind: &str, field: &str, what: FieldErrorKind, message: String) -> VerbError {
    VerbError::Invalid {
        group: "meta.k8s.io".into(),
        kind: kind.into(),
        name: String::new(),
        errors: vec![FieldError {
            field: field.into(),
            kind: what,
            message,
        }],
    }
}

fn forbidden(field: &str, why: &str) -> VerbError {
    invalid(
        "ListOptions",
        field,
        FieldErrorKind::Forbidden,
        format!("Forbidden: {why}"),
    )
}

fn unsupported(kind: &str, field: &str, value: &str, known: &[&str]) -> VerbError {
    let known: Vec<String> = known.iter().map(|value| format!("\"{value}\"")).collect();
    let message = format!(
        "Unsupported value: \"{value}\": supported values: {}",
        known.join(", ")
    );
    invalid(kind, field, FieldErrorKind::NotSupported, message)
}

fn revision(query: &Query) -> Result<Option<Revision>, VerbError> {
    let read = |text: &str| {
        text.parse().map_err(|_| {
            VerbError::BadRequest(format!(
                "Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
            ))
        })
    };
    query.get("resourceVersion").map(read).transpose()
}

/// Options of get.
pub(super) fn get(query: &Query) -> Result<Freshness, VerbError> {
    Ok(match revision(query)? {
        None => Freshness::Newest,
        Some(Revision(0)) => Freshness::Any,
        Some(revision) => Freshness::NotOlderThan(revision),
    })
}

fn selection(query: &Query, target: &Target) -> Result<Selection, VerbError> {
    let labels = query.get("labelSelector").unwrap_or("");
    let mut fields = query.get("fieldSelector").unwrap_or("").to_owned();
    // A watch of one object is a watch of its collection by name.
    if !target.name.is_empty() {
        fields = format!(
            "metadata.name={}{}{fields}",
            target.name,
            if fields.is_empty() { "" } else { "," }
        );
    }
    Selection::parse(target.kind, labels, &fields)
}

/// Options of list, also of deletecollection.
pub(super) fn list(query: &Query, target: &Target) -> Result<ListOptions, VerbError> {
    if query.optional_flag("sendInitialEvents").is_some() {
        return Err(forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    let limit = query
        .number("limit")?
        .filter(|limit| *limit > 0)
        .and_then(|limit| usize::try_from(limit).ok());
    let token = query.get("continue").map(str::to_owned);
    let at = revision(query)?;
    if token.is_some() && at.is_some_and(|at| at.0 != 0) {
        return Err(VerbError::BadRequest(
            "specifying resource version is not allowed when using continue".into(),
        ));
    }
    let freshness = match (query.get("resourceVersionMatch"), at) {
        (Some(_), _) if token.is_some() => {
            return Err(forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        (Some(_), None) => {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(forbidden("resourceVersionMatch", why));
        }
        (Some("Exact"), Some(Revision(0))) => {
            let why = "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"";
            return Err(forbidden("resourceVersionMatch", why));
        }
        (Some("Exact"), Some(at)) => Freshness::Exact(at),
        (Some("NotOlderThan") | None, Some(Revision(0))) => Freshness::Any,
        (Some("NotOlderThan"), Some(at)) => Freshness::NotOlderThan(at),
        // Kubernetes' older rule: a page of a named revision is of exactly that one.
        (None, Some(at)) if limit.is_some() => Freshness::Exact(at),
        (None, Some(at)) => Freshness::NotOlderThan(at),
        (None, None) => Freshness::Newest,
        (Some(other), _) => {
            return Err(unsupported(
                "ListOptions",
                "resourceVersionMatch",
                other,
                &["Exact", "NotOlderThan"],
            ));
        }
    };
    Ok(ListOptions {
        freshness,
        selection: selection(query, target)?,
        limit,
        token,
        bytes: usize::MAX,
    })
}

/// Options of watch.
pub(super) fn watch(query: &Query, target: &Target) -> Result<WatchOptions, VerbError> {
    let at = revision(query)?;
    let matching = query.get("resourceVersionMatch");
    let initial = query.optional_flag("sendInitialEvents");
    match (initial, matching) {
        (None, Some(_)) => {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(forbidden("resourceVersionMatch", why));
        }
        (Some(_), None) => {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(forbidden("resourceVersionMatch", why));
        }
        (Some(_), Some(other)) if other != "NotOlderThan" => {
            return Err(unsupported(
                "ListOptions",
                "resourceVersionMatch",
                other,
                &["NotOlderThan"],
            ));
        }
        _ => {}
    }
    let least = match at {
        None => Freshness::Newest,
        Some(Revision(0)) => Freshness::Any,
        Some(at) => Freshness::NotOlderThan(at),
    };
    let start = match (initial, at) {
        (Some(true), _) => WatchStart::Present(least),
        (_, Some(at)) if at.0 > 0 => WatchStart::After(at),
        (Some(false), _) => WatchStart::Newest(least),
        (None, _) => WatchStart::Present(least),
    };
    let seconds = query
        .number("timeoutSeconds")?
        .filter(|seconds| *seconds > 0);
    Ok(WatchOptions {
        start,
        selection: selection(query, target)?,
        bookmarks: query.flag("allowWatchBookmarks"),
        mark_initial: initial == Some(true),
        timeout: seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs),
    })
}

/// Options of a write; `kind` is that of the options, for messages.
pub(super) fn write(query: &Query, kind: &str) -> Result<WriteOptions, VerbError> {
    if let Some(manager) = query.get("fieldManager")
        && (manager.chars().count() > MANAGER_CHARACTERS || manager.chars().any(char::is_control))
    {
        let message = format!(
            "Invalid value: \"{manager}\": should be at most {MANAGER_CHARACTERS} printable characters"
        );
        return Err(invalid(
            kind,
            "fieldManager",
            FieldErrorKind::Invalid,
            message,
        ));
    }
    Ok(WriteOptions {
        dry_run: dry_run(query.all("dryRun"), kind)?,
        validation: validation(query, kind)?,
    })
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, kind: &str) -> Result<bool, VerbError> {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value != "All" {
            return Err(unsupported(kind, "dryRun", value, &["All"]));
        }
        dry = true;
    }
    Ok(dry)
}

fn validation(query: &Query, kind: &str) -> Result<FieldValidation, VerbError> {
    match query.get("fieldValidation") {
        None => Ok(FieldValidation::default()),
        Some("Strict") => Ok(FieldValidation::Strict),
        Some("Warn") => Ok(FieldValidation::Warn),
        Some("Ignore") => Ok(FieldValidation::Ignore),
        Some(other) => Err(unsupported(
            kind,
            "fieldValidation",
            other,
            &["Ignore", "Strict", "Warn"],
        )),
    }
}

/// Options of delete: from a DeleteOptions body, else from the query.
pub(super) fn delete(query: &Query, body: Option<&Value>) -> Result<DeleteOptions, VerbError> {
    const KIND: &str = "DeleteOptions";
    let mut options = DeleteOptions {
        grace: query.number("gracePeriodSeconds")?,
        propagation: query
            .get("propagationPolicy")
            .map(propagation)
            .transpose()?,
        dry_run: dry_run(query.all("dryRun"), KIND)?,
        ..DeleteOptions::default()
    };
    if let Some(orphan) = query.optional_flag("orphanDependents") {
        options.propagation.get_or_insert(if orphan {
            Propagation::Orphan
        } else {
            Propagation::Background
        });
    }
    let Some(body) = body.filter(|body| !body.is_null()) else {
        return Ok(options);
    };
    if !body.is_object() {
        return Err(VerbError::BadRequest(
            "the body of a deletion must be DeleteOptions".into(),
        ));
    }
    if !body["kind"].is_null() && body["kind"] != KIND {
        return Err(VerbError::BadRequest(format!(
            "the body of a deletion must be DeleteOptions, not {}",
            body["kind"]
        )));
    }
    if !body["gracePeriodSeconds"].is_null() {
        let seconds = body["gracePeriodSeconds"].as_i64();
        let wrong = || VerbError::BadRequest("gracePeriodSeconds must be an integer".into());
        options.grace = Some(seconds.ok_or_else(wrong)?);
    }
    if let Some(policy) = body["propagationPolicy"].as_str() {
        options.propagation = Some(propagation(policy)?);
    } else if let Some(orphan) = body["orphanDependents"].as_bool() {
        options.propagation = Some(if orphan {
            Propagation::Orphan
        } else {
            Propagation::Background
        });
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    options.uid = text(&body["preconditions"]["uid"]);
    options.revision = text(&body["preconditions"]["resourceVersion"]);
    let dry = body["dryRun"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    options.dry_run |= dry_run(dry, KIND)?;
    Ok(options)
}

fn propagation(text: &str) -> Result<Propagation, VerbError> {
    match text {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => {
            let known = ["Foreground", "Background", "Orphan"];
            Err(unsupported(
                "DeleteOptions",
                "propagationPolicy",
                other,
                &known,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn delete_options_come_from_the_body_before_the_query() {
        let query = Query::parse("gracePeriodSeconds=5&propagationPolicy=Orphan").unwrap();
        let options = delete(&query, None).unwrap();
        assert_eq!(
            (options.grace, options.propagation),
            (Some(5), Some(Propagation::Orphan))
        );
        let body = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}, "dryRun": ["All"]});
        let options = delete(&query, Some(&body)).unwrap();
        assert_eq!(
            (options.grace, options.propagation),
            (Some(0), Some(Propagation::Foreground))
        );
        assert_eq!((options.uid.as_deref(), options.dry_run), (Some("u"), true));
        let orphans = delete(&Query::default(), Some(&json!({"orphanDependents": true}))).unwrap();
        assert_eq!(orphans.propagation, Some(Propagation::Orphan));
    }

    #[test]
    fn delete_options_that_make_no_sense_are_refused() {
        for body in [
            json!([]),
            json!({"kind": "Pod"}),
            json!({"gracePeriodSeconds": "soon"}),
            json!({"propagationPolicy": "Sideways"}),
            json!({"dryRun": ["Some"]}),
        ] {
            assert!(delete(&Query::default(), Some(&body)).is_err(), "{body}");
        }
    }
}
