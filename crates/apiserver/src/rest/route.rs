//! Paths to what they name. Strict: no empty or dot segments, no hidden slashes, nothing after the end.

use super::query::decode;
use crate::error::VerbError;
use crate::request::Target;
use pontoon_api::{Kind, Scope, kinds};

/// What a path names.
#[derive(Debug)]
pub(super) enum Route {
    /// A document that the server makes: discovery, OpenAPI, version, metrics.
    Document(Vec<String>),
    /// An object, a collection, or a part of an object.
    Resource(Target),
}

/// Reads a path.
///
/// # Errors
/// 404 for what is not there, 400 for a path that is not well formed.
pub(super) fn parse(path: &str) -> Result<Route, VerbError> {
    let segments = segments(path)?;
    let texts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match texts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => {
            resource("", version, rest).map(Route::Resource)
        }
        ["apis", group, version, rest @ ..] if !rest.is_empty() => {
            resource(group, version, rest).map(Route::Resource)
        }
        _ => Ok(Route::Document(segments)),
    }
}

fn segments(path: &str) -> Result<Vec<String>, VerbError> {
    let bad = || VerbError::BadRequest(format!("the path {path:?} is not well formed"));
    let inner = path.strip_prefix('/').ok_or_else(bad)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    inner
        .split('/')
        .map(|segment| {
            let text = decode(segment, false).ok_or_else(bad)?;
            let strange = text.is_empty()
                || text == "."
                || text == ".."
                || text.contains(['/', '\0', '\\', '%']);
            if strange { Err(bad()) } else { Ok(text) }
        })
        .collect()
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Result<Target, VerbError> {
    let find =
        |plural: &str| kinds::by_plural(group, version, plural).ok_or(VerbError::NoSuchResource);
    match rest {
        // Both a namespace's own parts and its content lie below it.
        ["namespaces", name, part @ ("status" | "finalize")] if group.is_empty() => {
            with_subresource(find("namespaces")?, "", name, part)
        }
        ["namespaces", namespace, plural, tail @ ..] => {
            let kind = find_in_namespace(group, version, plural)?;
            if kind.descriptor().scope != Scope::Namespaced {
                return Err(VerbError::NoSuchResource);
            }
            object(kind, namespace, tail)
        }
        [plural, tail @ ..] => {
            let kind = find(plural)?;
            if kind.descriptor().scope == Scope::Namespaced && !tail.is_empty() {
                return Err(VerbError::NoSuchResource);
            }
            object(kind, "", tail)
        }
        [] => Err(VerbError::NoSuchResource),
    }
}

/// `bindings` has no kind of its own: it is another way to `pods/NAME/binding`, which is served.
fn find_in_namespace(
    group: &str,
    version: &str,
    plural: &str,
) -> Result<&'static dyn Kind, VerbError> {
    kinds::by_plural(group, version, plural).ok_or(VerbError::NoSuchResource)
}

fn object(kind: &'static dyn Kind, namespace: &str, tail: &[&str]) -> Result<Target, VerbError> {
    match tail {
        [] => Ok(Target::new(kind, namespace, "")),
        [name] => Ok(Target::new(kind, namespace, name)),
        [name, part] => with_subresource(kind, namespace, name, part),
        _ => Err(VerbError::NoSuchResource),
    }
}

fn with_subresource(
    kind: &'static dyn Kind,
    namespace: &str,
    name: &str,
    part: &str,
) -> Result<Target, VerbError> {
    if !kind
        .descriptor()
        .subresources
        .iter()
        .any(|known| known.name == part)
    {
        return Err(VerbError::NoSuchResource);
    }
    let mut target = Target::new(kind, namespace, name);
    target.subresource = part.to_owned();
    Ok(target)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn shown(path: &str) -> Option<String> {
        match parse(path) {
            Ok(Route::Resource(target)) => Some(format!("{target:?}")),
            _ => None,
        }
    }

    #[test]
    fn paths_name_collections_objects_and_parts() {
        for (path, expected) in [
            ("/api/v1/pods", "pods//"),
            ("/api/v1/namespaces/a/pods/b", "pods/a/b"),
            ("/api/v1/namespaces/a/pods/b/status", "pods/a/b/status"),
            ("/api/v1/namespaces/a", "namespaces//a"),
            ("/api/v1/namespaces/a/status", "namespaces//a/status"),
            (
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "deployments.apps/a/b/scale",
            ),
            ("/api/v1/nodes/n%31", "nodes//n1"),
        ] {
            assert_eq!(shown(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_404_and_what_is_not_a_path_400() {
        for path in [
            "/api/v1/nope",
            "/api/v2/pods",
            "/apis/apps/v1/pods",
            "/api/v1/namespaces/a/nodes",
            "/api/v1/pods/x",
            "/api/v1/namespaces/a/pods/b/nope",
            "/api/v1/namespaces/a/pods/b/status/more",
        ] {
            assert!(
                matches!(parse(path), Err(VerbError::NoSuchResource)),
                "{path}"
            );
        }
        for path in [
            "/api/v1//pods",
            "/api/v1/../v1/pods",
            "/api/v1/namespaces/a%2Fb/pods",
            "/api/v1/pods/%00",
            "/%zz",
            "x",
        ] {
            assert!(
                matches!(parse(path), Err(VerbError::BadRequest(_))),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic(path in ".{0,200}") {
            let _ = parse(&path);
            let _ = parse(&format!("/api/v1/{path}"));
        }
    }
}
