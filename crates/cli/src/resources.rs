//! What a person calls a resource, and what the API calls it: `deploy/web`, `po a b`, `pods,services`, `all`.

use crate::{error::CliError, limits::TYPO_DISTANCE};
use pontoon_api::{Kind, Scope, kinds};
use pontoon_client::messages::{KindInfo, Target};

/// A kind of object, as the server or this program knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Such as `deployments`.
    pub plural: String,
    /// Such as `deployment`.
    pub singular: String,
    /// Such as `deploy`.
    pub short_names: Vec<String>,
    /// Such as `all`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods` or `deployments.apps`: as messages name the type.
    pub fn qualified_plural(&self) -> String {
        self.qualified(&self.plural)
    }

    /// `pod` or `deployment.apps`: as messages name an object's type.
    pub fn qualified_kind(&self) -> String {
        self.qualified(&self.kind.to_lowercase())
    }

    fn qualified(&self, name: &str) -> String {
        if self.group.is_empty() {
            name.to_owned()
        } else {
            format!("{name}.{}", self.group)
        }
    }

    /// One object, or the collection when `name` is empty. The namespace is left out for kinds that have none.
    pub fn target(&self, namespace: &str, name: &str) -> Target {
        Target {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.plural.clone(),
            namespace: if self.namespaced {
                namespace.to_owned()
            } else {
                String::new()
            },
            name: name.to_owned(),
            subresource: String::new(),
        }
    }

    /// What this program knows of the kind: its table, above all.
    pub fn builtin(&self) -> Option<&'static dyn Kind> {
        kinds::by_plural(&self.group, &self.version, &self.plural)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [self.plural.as_str(), self.singular.as_str()]
            .into_iter()
            .chain(self.short_names.iter().map(String::as_str))
    }

    /// Whether `word` names it: by a name, or one with the group or the version and group behind it.
    fn is_called(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let bare = word.as_str();
        let unqualified = |suffix: &str| word.strip_suffix(suffix);
        let versioned = format!(".{}.{}", self.version, self.group);
        let grouped = format!(".{}", self.group);
        let forms = [
            Some(bare),
            unqualified(versioned.trim_end_matches('.')),
            (!self.group.is_empty())
                .then(|| unqualified(&grouped))
                .flatten(),
        ];
        let kind = self.kind.to_lowercase();
        forms
            .into_iter()
            .flatten()
            .any(|form| form == kind || self.names().any(|name| name == form))
    }
}

impl From<&dyn Kind> for Resource {
    fn from(kind: &dyn Kind) -> Self {
        let found = kind.descriptor();
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            group: found.group.to_owned(),
            version: found.version.to_owned(),
            kind: found.kind.to_owned(),
            plural: found.plural.to_owned(),
            singular: found.singular.to_owned(),
            short_names: owned(found.short_names),
            categories: owned(found.categories),
            namespaced: found.scope == Scope::Namespaced,
        }
    }
}

impl From<KindInfo> for Resource {
    fn from(kind: KindInfo) -> Self {
        Self {
            group: kind.group,
            version: kind.version,
            kind: kind.kind,
            plural: kind.resource,
            singular: kind.singular,
            short_names: kind.short_names,
            categories: kind.categories,
            namespaced: kind.namespaced,
        }
    }
}

/// Every kind that can be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog(pub Vec<Resource>);

impl Catalog {
    /// The kinds that this program knows without asking.
    pub fn builtin() -> Self {
        Self(
            kinds::all()
                .iter()
                .map(|kind| Resource::from(*kind))
                .collect(),
        )
    }

    /// The kind called `word`.
    pub fn find(&self, word: &str) -> Option<&Resource> {
        self.0.iter().find(|resource| resource.is_called(word))
    }

    /// By what manifests say.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        self.0
            .iter()
            .find(|resource| resource.kind == kind && resource.api_version() == api_version)
    }

    /// The kinds that `word` names: one, or those of a category, in kubectl's order of `all`.
    pub fn named(&self, word: &str) -> Vec<&Resource> {
        if let Some(found) = self.find(word) {
            return vec![found];
        }
        let mut found: Vec<&Resource> = self
            .0
            .iter()
            .filter(|resource| resource.categories.iter().any(|category| category == word))
            .collect();
        const ORDER: [&str; 4] = ["pods", "services", "deployments", "replicasets"];
        found.sort_by_key(|resource| {
            ORDER
                .iter()
                .position(|plural| *plural == resource.plural)
                .unwrap_or(ORDER.len())
        });
        found
    }

    /// That there is no such type, and what may have been meant.
    pub fn unknown(&self, word: &str) -> CliError {
        let message = format!("the server doesn't have a resource type {word:?}");
        let word = word.to_lowercase();
        let near = self
            .0
            .iter()
            .flat_map(Resource::names)
            .map(|name| (distance(&word, name), name))
            .filter(|(distance, _)| *distance <= TYPO_DISTANCE.min(word.len() / 3))
            .min();
        let hint = near.map_or_else(
            || "`pontoon api-resources` lists every type".to_owned(),
            |(_, name)| format!("did you mean {name:?}?"),
        );
        CliError::hinted(message, hint)
    }
}

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Objects by name.
    Objects(Vec<(String, String)>),
    /// Whole collections, by the words for them.
    Collections(Vec<String>),
}

/// Splits arguments into types and names: `TYPE[,TYPE...]`, `TYPE NAME...` or `TYPE/NAME...`.
pub fn split(arguments: &[String]) -> Result<Asked, CliError> {
    let Some(first) = arguments.first() else {
        return Err(CliError::hinted(
            "you must specify the type of resource",
            "such as `pods`, `deploy/web` or `pods web-1 web-2`; `pontoon api-resources` lists every type",
        ));
    };
    if arguments.iter().any(|argument| argument.contains('/')) {
        return arguments
            .iter()
            .map(|argument| pair(argument))
            .collect::<Result<_, _>>()
            .map(Asked::Objects);
    }
    let types: Vec<String> = first
        .split(',')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    if types.is_empty() {
        return Err(CliError::usage(
            "arguments must consist of a resource and a name",
        ));
    }
    let names = &arguments[1..];
    if names.is_empty() {
        return Ok(Asked::Collections(types));
    }
    if names.iter().any(String::is_empty) {
        return Err(CliError::usage("resource name may not be empty"));
    }
    let pairs = types
        .iter()
        .flat_map(|word| names.iter().map(|name| (word.clone(), name.clone())));
    Ok(Asked::Objects(pairs.collect()))
}

fn pair(argument: &str) -> Result<(String, String), CliError> {
    match argument.split_once('/') {
        Some((word, name)) if !word.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((word.to_owned(), name.to_owned()))
        }
        Some(_) => Err(CliError::usage(
            "arguments in resource/name form must have a single resource and name",
        )),
        None => Err(CliError::usage(
            "there is no need to specify a resource type as a separate argument when passing arguments in \
             resource/name form (e.g. 'pontoon get resource/<resource_name>' instead of 'pontoon get resource \
             resource/<resource_name>')",
        )),
    }
}

/// Edits from one word to the other (Levenshtein). Words here are short; long ones are not near anything.
fn distance(from: &str, to: &str) -> usize {
    if from.len().abs_diff(to.len()) > TYPO_DISTANCE || from.len() > 64 {
        return usize::MAX;
    }
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, from) in from.chars().enumerate() {
        let mut corner = row[0];
        row[0] = line + 1;
        for (column, to) in to.iter().enumerate() {
            let replaced = corner + usize::from(from != *to);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn arguments(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn plural(word: &str) -> Option<String> {
        Catalog::builtin()
            .find(word)
            .map(Resource::qualified_plural)
    }

    #[test]
    fn a_kind_goes_by_each_of_its_names() {
        for word in [
            "deploy",
            "deployment",
            "deployments",
            "Deployment",
            "deployments.apps",
            "deployment.apps",
            "deploy.v1.apps",
            "deployments.v1.apps",
        ] {
            assert_eq!(plural(word).as_deref(), Some("deployments.apps"), "{word}");
        }
        for word in ["po", "pod", "pods", "PODS", "pods.v1"] {
            assert_eq!(plural(word).as_deref(), Some("pods"), "{word}");
        }
        assert_eq!(plural("pods.apps"), None);
        assert_eq!(plural("."), None);
        assert_eq!(plural(""), None);
    }

    #[test]
    fn types_and_names_are_told_apart() {
        let told = |text: &str| split(&arguments(text)).unwrap();
        let pairs = |pairs: &[(&str, &str)]| {
            Asked::Objects(
                pairs
                    .iter()
                    .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                    .collect(),
            )
        };
        assert_eq!(told("pods"), Asked::Collections(vec!["pods".into()]));
        assert_eq!(
            told("po,svc"),
            Asked::Collections(vec!["po".into(), "svc".into()])
        );
        assert_eq!(told("po a b"), pairs(&[("po", "a"), ("po", "b")]));
        assert_eq!(told("po,svc a"), pairs(&[("po", "a"), ("svc", "a")]));
        assert_eq!(
            told("po/a deploy/b"),
            pairs(&[("po", "a"), ("deploy", "b")])
        );
        for wrong in ["", "po/a b", "po po/a", "po/a/b", "/a", "po/", ","] {
            assert!(split(&arguments(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_unknown_type_is_answered_with_what_may_have_been_meant() {
        let told = |word| Catalog::builtin().unknown(word).report().unwrap();
        assert_eq!(
            told("depoyment"),
            "error: the server doesn't have a resource type \"depoyment\"\nhint: did you mean \"deployment\"?"
        );
        assert!(told("unrelated").contains("api-resources"));
    }

    #[test]
    fn all_are_the_workloads_in_kubectls_order() {
        let catalog = Catalog::builtin();
        let plurals: Vec<_> = catalog
            .named("all")
            .iter()
            .map(|found| found.plural.as_str())
            .collect();
        assert_eq!(plurals, ["pods", "services", "deployments", "replicasets"]);
    }

    proptest::proptest! {
        #[test]
        fn any_words_are_taken_or_refused(words in proptest::collection::vec(".{0,12}", 0..4)) {
            let catalog = Catalog::builtin();
            let _ = split(&words);
            for word in &words {
                let _ = catalog.find(word);
                let _ = catalog.unknown(word);
            }
        }
    }
}
