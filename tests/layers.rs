//! The layer table and the headings of ARCHITECTURE.md agree with the crates and what they use.

use pontoon_tests::root;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Crates that are not part of the product: anything goes there, and nothing uses them.
fn outside() -> BTreeSet<String> {
    let chaos = std::fs::read_dir(root().join("chaos")).unwrap();
    let names = chaos.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.chain(["tests".to_owned()]).collect()
}

fn architecture() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// Crate directories by name, from the folders that hold crates.
fn crates() -> BTreeMap<String, PathBuf> {
    let folders = ["crates", "runtimes"].map(|folder| root().join(folder));
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").exists())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .collect()
}

/// What the table allows each crate to use; `None` for everything.
fn allowed() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let mut table = BTreeMap::new();
    for line in architecture().lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [layer, name, uses] = cells[..] else {
            continue;
        };
        if layer.parse::<u8>().is_ok() {
            let uses = match uses {
                "everything" => None,
                "-" => Some(BTreeSet::new()),
                list => Some(list.split(", ").map(str::to_owned).collect()),
            };
            table.insert(name.trim_matches('`').to_owned(), uses);
        }
    }
    table
}

/// Our crates that a crate's product code depends on.
fn used(path: &std::path::Path) -> BTreeSet<String> {
    let manifest: toml::Table = std::fs::read_to_string(path.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let names = |section: &str| {
        let section = manifest
            .get(section)
            .and_then(|section| section.as_table())
            .cloned()
            .unwrap_or_default();
        section.into_iter().map(|(name, _)| name)
    };
    let all = names("dependencies").chain(names("build-dependencies"));
    all.filter_map(|name| name.strip_prefix("pontoon-").map(str::to_owned))
        .collect()
}

#[test]
fn every_crate_is_in_the_layer_table_and_uses_only_what_it_may() {
    let allowed = allowed();
    let crates = crates();
    let outside = outside();
    assert_eq!(
        allowed.keys().collect::<Vec<_>>(),
        crates.keys().collect::<Vec<_>>()
    );
    for (name, path) in &crates {
        let used = used(path);
        let Some(allowed) = &allowed[name] else {
            continue;
        };
        let forbidden: Vec<_> = used.difference(allowed).collect();
        assert!(
            forbidden.is_empty(),
            "{name} uses {forbidden:?}: a change of architecture, which the table must allow first"
        );
        assert!(used.is_disjoint(&outside), "{name} uses a crate of tests");
    }
}

#[test]
fn every_crate_has_its_heading_and_every_heading_its_crate() {
    let text = architecture();
    let headings: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .map(str::to_owned)
        .collect();
    assert_eq!(headings, crates().into_keys().collect());
    let words = text.split_whitespace().count();
    assert!(
        words <= 4_000,
        "ARCHITECTURE.md has {words} words; it is to be read in one go"
    );
}

#[test]
fn pure_crates_reach_no_clock_file_socket_or_runtime() {
    for name in ["api", "state", "scheduler", "controllers", "lifecycle"] {
        let manifest = std::fs::read_to_string(crates()[name].join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        for impure in [
            "tokio", "rand", "uuid", "hyper", "tonic", "nix", "rustix", "tempfile", "rocksdb",
        ] {
            assert!(
                !dependencies.contains_key(impure),
                "{name} depends on {impure}"
            );
        }
        for file in sources(&crates()[name].join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let product = text.split("#[cfg(test)]").next().unwrap();
            for call in [
                "SystemTime::now",
                "Instant::now",
                "Timestamp::now",
                "std::fs",
                "std::net::Tcp",
                "std::thread",
                "println!",
            ] {
                assert!(
                    !product.contains(call) || file.ends_with("tests.rs"),
                    "{} calls {call}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn each_heavy_library_has_one_owner() {
    let owners = BTreeMap::from([
        ("rocksdb", "storage"),
        ("openraft", "consensus"),
        ("rcgen", "identity"),
        ("hickory-server", "dns"),
        ("axum", "apiserver"),
        ("rtnetlink", "network"),
        ("clap_complete", "cli"),
        ("metrics-exporter-prometheus", "telemetry"),
    ]);
    for (name, path) in crates() {
        let manifest: toml::Table = std::fs::read_to_string(path.join("Cargo.toml"))
            .unwrap()
            .parse()
            .unwrap();
        for (library, owner) in &owners {
            let uses = manifest
                .get("dependencies")
                .and_then(|section| section.get(*library))
                .is_some();
            assert!(
                !uses || name == *owner,
                "{name} uses {library}, which belongs to {owner}"
            );
        }
    }
}

fn sources(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
