//! Scripted lives of pods: `testdata/*.txt` holds inputs and what the machine makes of them. `UPDATE=1` rewrites the
//! answers.
//!
//! A case is a command line (`pod` and `update` are followed by the pod as JSON), `----`, and the answer up to an empty line.
#![allow(clippy::unwrap_used, missing_docs)]

mod script;

use std::fs;
use std::path::Path;

fn split(text: &str) -> Vec<(String, String)> {
    let mut cases = Vec::new();
    let mut rest = text;
    while let Some((input, after)) = rest.split_once("\n----\n") {
        let (answer, next) = match after.split_once("\n\n") {
            Some((answer, next)) => (answer, next),
            None => (after.trim_end(), ""),
        };
        let (answer, next) = if after.starts_with('\n') {
            ("", after.trim_start_matches('\n'))
        } else {
            (answer, next)
        };
        cases.push((input.to_owned(), answer.to_owned()));
        rest = next;
    }
    assert!(rest.trim().is_empty(), "no answer for {rest:?}");
    cases
}

#[test]
fn every_script_gives_its_recorded_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let update = std::env::var_os("UPDATE").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let mut stage = script::Stage::new();
        let mut written = String::new();
        for (input, answer) in split(&text) {
            let commands = input.lines().filter(|line| !line.starts_with('#'));
            let got = stage.run(&commands.collect::<Vec<_>>().join("\n"));
            let got = got.trim_end();
            if !update {
                assert_eq!(got, answer, "in {} after:\n{input}", path.display());
            }
            written.push_str(&format!("{input}\n----\n{got}\n\n"));
        }
        seen += 1;
        if update {
            fs::write(&path, written.trim_end().to_owned() + "\n").unwrap();
        }
    }
    assert!(seen > 0, "no scripts found");
}
