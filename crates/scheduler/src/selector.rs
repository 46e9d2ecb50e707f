//! Selectors over labels, compiled once per shape of pod.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// Labels as objects carry them.
pub type Labels = BTreeMap<String, String>;

/// The one field that `matchFields` knows.
const NAME_FIELD: &str = "metadata.name";

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    Above(i64),
    Below(i64),
    /// An operator or value that cannot be read: matches nothing, as in Kubernetes.
    Never,
}

impl Requirement {
    /// `key` has exactly `value`.
    pub fn equals(key: &str, value: &str) -> Self {
        Self {
            key: key.to_owned(),
            test: Test::In(vec![value.to_owned()]),
        }
    }

    fn new(key: &str, operator: &str, values: Option<&Vec<String>>) -> Self {
        let values = values.cloned().unwrap_or_default();
        let number = || match values.as_slice() {
            [one] => one.parse::<i64>().ok(),
            _ => None,
        };
        let test = match operator {
            "In" => Test::In(values),
            "NotIn" => Test::NotIn(values),
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::DoesNotExist,
            "Gt" => number().map_or(Test::Never, Test::Above),
            "Lt" => number().map_or(Test::Never, Test::Below),
            _ => Test::Never,
        };
        Self {
            key: key.to_owned(),
            test,
        }
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
            Test::Above(bound) => number().is_some_and(|number| number > *bound),
            Test::Below(bound) => number().is_some_and(|number| number < *bound),
            Test::Never => false,
        }
    }
}

/// A label selector: every requirement holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// Compiles a selector. One without requirements matches everything; an absent one nothing.
    pub fn new(selector: Option<&LabelSelector>) -> Option<Self> {
        let selector = selector?;
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::equals(key, value));
        }
        for one in selector.match_expressions.iter().flatten() {
            requirements.push(Requirement::new(
                &one.key,
                &one.operator,
                one.values.as_ref(),
            ));
        }
        Some(Self(requirements))
    }

    /// Asks for all of `labels`.
    pub fn all_of(labels: &Labels) -> Self {
        Self(
            labels
                .iter()
                .map(|(key, value)| Requirement::equals(key, value))
                .collect(),
        )
    }

    /// Asks for one more thing.
    pub fn and(&mut self, requirement: Requirement) {
        self.0.push(requirement);
    }

    /// Whether all requirements hold for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0
            .iter()
            .all(|one| one.matches(labels.get(&one.key).map(String::as_str)))
    }
}

/// A term of node affinity: every requirement on labels and on fields holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeTerm {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

impl NodeTerm {
    /// Compiles a term.
    pub fn new(term: &NodeSelectorTerm) -> Self {
        let compile = |list: &Option<Vec<NodeSelectorRequirement>>| {
            let list = list.iter().flatten();
            list.map(|one| Requirement::new(&one.key, &one.operator, one.values.as_ref()))
                .collect()
        };
        Self {
            labels: compile(&term.match_expressions),
            fields: compile(&term.match_fields),
        }
    }

    /// Whether the node of this name and these labels satisfies the term. An empty term matches no node.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        self.labels
            .iter()
            .all(|one| one.matches(labels.get(&one.key).map(String::as_str)))
            && self
                .fields
                .iter()
                .all(|one| one.key == NAME_FIELD && one.matches(Some(name)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn labels() -> Labels {
        [("zone", "a"), ("cores", "8"), ("odd", "x")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    fn term(value: serde_json::Value) -> bool {
        let term: NodeSelectorTerm = serde_json::from_value(value).unwrap();
        NodeTerm::new(&term).matches("n1", &labels())
    }

    fn label(key: &str, operator: &str, values: &[&str]) -> bool {
        term(json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}))
    }

    #[test]
    fn every_operator_of_node_affinity_means_what_kubernetes_says() {
        assert!(label("zone", "In", &["b", "a"]));
        assert!(!label("zone", "In", &["b"]));
        assert!(!label("none", "In", &["b"]));
        assert!(label("zone", "NotIn", &["b"]));
        assert!(
            label("none", "NotIn", &["b"]),
            "an absent label is not among the values"
        );
        assert!(!label("zone", "NotIn", &["a"]));
        assert!(label("zone", "Exists", &[]) && !label("none", "Exists", &[]));
        assert!(label("none", "DoesNotExist", &[]) && !label("zone", "DoesNotExist", &[]));
        assert!(label("cores", "Gt", &["7"]) && !label("cores", "Gt", &["8"]));
        assert!(label("cores", "Lt", &["9"]) && !label("cores", "Lt", &["8"]));
        assert!(
            !label("odd", "Gt", &["1"]) && !label("none", "Lt", &["1"]),
            "what is no number compares with none"
        );
        assert!(!label("cores", "Gt", &["1", "2"]) && !label("cores", "Above", &["1"]));
    }

    #[test]
    fn fields_match_by_name_and_an_empty_term_matches_nothing() {
        let field = |key: &str, name: &str| {
            term(json!({"matchFields": [{"key": key, "operator": "In", "values": [name]}]}))
        };
        assert!(
            field("metadata.name", "n1")
                && !field("metadata.name", "n2")
                && !field("metadata.uid", "n1")
        );
        assert!(!term(json!({})));
    }

    #[test]
    fn an_empty_label_selector_matches_everything_and_an_absent_one_nothing() {
        let empty = Selector::new(Some(&LabelSelector::default())).unwrap();
        assert!(empty.matches(&labels()) && empty.matches(&Labels::new()));
        assert_eq!(Selector::new(None), None);
    }
}
