//! What would become of pods, as a table.

use crate::output::sheet::align;
use pontoon_client::messages::{PlannedPod, planned_pod::Change};
use std::collections::BTreeMap;

/// The table, pods of the same fate in one row, and one line that counts. Empty when nothing would become of any.
pub fn table(pods: &[PlannedPod], namespace: &str) -> (String, String) {
    if pods.is_empty() {
        return (String::new(), String::new());
    }
    let mut rows: BTreeMap<(String, &str, String), usize> = BTreeMap::new();
    for pod in pods {
        let name = if pod.namespace == namespace {
            pod.name.clone()
        } else {
            format!("{}/{}", pod.namespace, pod.name)
        };
        let place = match (pod.node.as_str(), pod.change()) {
            ("", Change::Removed) => "-".to_owned(),
            ("", _) => format!("none: {}", pod.reason),
            (node, _) => node.to_owned(),
        };
        *rows.entry((name, word(pod.change()), place)).or_insert(0) += 1;
    }
    let mut text = "POD\tCOUNT\tCHANGE\tNODE\n".to_owned();
    for ((name, change, place), count) in &rows {
        text.push_str(&format!("{name}\t{count}\t{change}\t{place}\n"));
    }
    (align(&text, 0, 3), summary(pods))
}

const fn word(change: Change) -> &'static str {
    match change {
        Change::Placed => "placed",
        Change::Removed => "removed",
        Change::Made | Change::Unspecified => "new",
    }
}

fn summary(pods: &[PlannedPod]) -> String {
    let count =
        |wanted: &dyn Fn(&PlannedPod) -> bool| pods.iter().filter(|pod| wanted(pod)).count();
    let new = count(&|pod| pod.change() == Change::Made);
    let placed = count(&|pod| pod.change() == Change::Placed);
    let removed = count(&|pod| pod.change() == Change::Removed);
    let waiting = count(&|pod| pod.change() == Change::Made && pod.node.is_empty());
    let mut text = format!("Pods: {new} new, {removed} removed");
    if placed > 0 {
        text.push_str(&format!(", {placed} that wait today placed"));
    }
    if waiting > 0 {
        text.push_str(&format!("; {waiting} would fit nowhere"));
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, change: Change, node: &str, reason: &str) -> PlannedPod {
        PlannedPod {
            change: change.into(),
            namespace: "default".into(),
            name: name.into(),
            node: node.into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn pods_of_the_same_fate_share_a_row_and_each_row_says_where_or_why_not() {
        let pods = [
            pod("web-*", Change::Made, "n1", ""),
            pod("web-*", Change::Made, "n1", ""),
            pod("web-*", Change::Made, "", "0/1 nodes are available"),
            pod("web-1-x", Change::Removed, "n2", ""),
        ];
        let (table, summary) = table(&pods, "default");
        assert_eq!(
            table,
            "POD       COUNT   CHANGE    NODE\n\
             web-*     2       new       n1\n\
             web-*     1       new       none: 0/1 nodes are available\n\
             web-1-x   1       removed   n2\n"
        );
        assert_eq!(summary, "Pods: 3 new, 1 removed; 1 would fit nowhere.");
    }

    #[test]
    fn nothing_is_said_when_nothing_becomes_of_any_pod() {
        assert_eq!(table(&[], "default"), (String::new(), String::new()));
    }
}
