//! The registry says of each kind what a Kubernetes server says of it (see `testdata/README.md`).

#![allow(clippy::unwrap_used)]

use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::kinds;
use std::collections::BTreeSet;

fn section(name: &str) -> Vec<Vec<&'static str>> {
    let text = include_str!("../../testdata/resources.tsv");
    let lines = text
        .lines()
        .skip_while(|line| line.strip_prefix("# ") != Some(name))
        .skip(1);
    lines
        .take_while(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect()
}

fn verbs(verbs: &[Verb]) -> String {
    verbs
        .iter()
        .map(|verb| verb.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn find(api_version: &str, plural: &str) -> &'static Descriptor {
    let found = kinds::all().iter().map(|kind| kind.descriptor());
    found
        .into_iter()
        .find(|found| found.api_version() == api_version && found.plural == plural)
        .unwrap()
}

#[test]
fn names_scope_and_verbs_are_those_of_kubernetes() {
    let lines = section("resources");
    assert_eq!(lines.len(), kinds::all().len());
    for line in lines {
        let found = find(line[0], line[1]);
        assert_eq!(found.singular, line[2]);
        assert_eq!(found.kind, line[3]);
        assert_eq!(
            found.scope == Scope::Namespaced,
            line[4] == "true",
            "{line:?}"
        );
        assert_eq!(found.short_names.join(","), line[5]);
        assert_eq!(found.categories.join(","), line[6]);
        assert_eq!(verbs(found.verbs), line[7]);
    }
}

#[test]
fn subresources_are_those_of_kubernetes() {
    let expected: BTreeSet<String> = section("subresources")
        .iter()
        .map(|line| line.join("\t"))
        .collect();
    let found = kinds::all()
        .iter()
        .map(|kind| kind.descriptor())
        .flat_map(|kind| {
            kind.subresources.iter().map(|sub| {
                let of = match (sub.group, sub.version) {
                    (Some(group), Some(version)) => format!("{group}/{version}"),
                    _ => String::new(),
                };
                let path = format!("{}/{}", kind.plural, sub.name);
                [
                    kind.api_version(),
                    path,
                    sub.kind.to_owned(),
                    of,
                    verbs(sub.verbs),
                ]
                .join("\t")
            })
        });
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn columns_are_those_of_kubernetes() {
    for line in section("columns") {
        let found = find(line[0], line[1]).columns.iter().map(|column| {
            let Column {
                name,
                kind,
                format,
                priority,
                ..
            } = column;
            let format = if format.is_empty() {
                String::new()
            } else {
                format!("/{format}")
            };
            let wide = if *priority > 0 { "*" } else { "" };
            format!("{name}:{kind}{format}{wide}")
        });
        assert_eq!(
            found.collect::<Vec<_>>().join(" | "),
            line[2],
            "{}",
            line[1]
        );
    }
}
