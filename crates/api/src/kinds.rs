//! The one list of kinds. Adding a kind is one file under `kinds/` and one line here.

use crate::kind::Kind;

/// Every built-in kind, in discovery order.
#[must_use]
pub fn all() -> &'static [&'static dyn Kind] {
    &[]
}

/// By group, version and plural, as URLs name it.
#[must_use]
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static dyn Kind> {
    all().iter().copied().find(|kind| {
        let found = kind.descriptor();
        found.group == group && found.version == version && found.plural == plural
    })
}

/// By `apiVersion` and `kind`, as bodies name it.
#[must_use]
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static dyn Kind> {
    all().iter().copied().find(|found| {
        found.descriptor().kind == kind && found.descriptor().api_version() == api_version
    })
}
