//! A short campaign, the seeds that once found something, and the simulator's own promise: one seed, one trace.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pontoon-sim"))
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn passes(output: &Output) {
    let told = String::from_utf8_lossy(&output.stdout);
    let erred = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{erred}");
}

#[test]
fn one_seed_gives_one_trace() {
    passes(&simulate(&["--twice", "--from", "5000", "--seeds", "4"]));
}

#[test]
fn no_invariant_breaks_in_a_short_campaign() {
    // Other seeds than the last time, so that many short campaigns are a long one.
    let day = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let from = (1_000_000 + day.as_secs() / 60).to_string();
    passes(&simulate(&[
        "--from",
        &from,
        "--seeds",
        "1000",
        "--seconds",
        "60",
    ]));
}

#[test]
fn seeds_that_found_bugs_find_no_more() {
    for line in include_str!("../seeds.txt").lines() {
        let seed = line.split_whitespace().next();
        if let Some(seed) = seed.filter(|seed| !seed.starts_with('#')) {
            passes(&simulate(&["--seed", seed]));
        }
    }
}
