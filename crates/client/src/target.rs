//! What a call is about: one object, or one collection.

use k8s_openapi::Resource;
use pontoon_wire::pontoon::v1::Target;

/// The objects of kind `K` in one namespace; in all of them, or of a kind that has none, when
/// `namespace` is empty.
#[must_use]
pub fn collection<K: Resource>(namespace: &str) -> Target {
    named::<K>(namespace, "")
}

/// One object of kind `K`; `namespace` is empty for kinds that have none.
#[must_use]
pub fn named<K: Resource>(namespace: &str, name: &str) -> Target {
    Target {
        group: K::GROUP.to_owned(),
        version: K::VERSION.to_owned(),
        resource: K::URL_PATH_SEGMENT.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: String::new(),
    }
}

/// The same target's subresource, such as `status`.
#[must_use]
pub fn subresource(target: Target, name: &str) -> Target {
    Target {
        subresource: name.to_owned(),
        ..target
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;

    #[test]
    fn a_target_is_named_as_urls_name_it() {
        let target = subresource(named::<Deployment>("default", "web"), "scale");
        assert_eq!(
            (target.group.as_str(), target.version.as_str()),
            ("apps", "v1")
        );
        assert_eq!(
            (target.resource.as_str(), target.subresource.as_str()),
            ("deployments", "scale")
        );
        assert_eq!(
            (target.namespace.as_str(), target.name.as_str()),
            ("default", "web")
        );
    }
}
