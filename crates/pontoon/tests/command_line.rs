//! The program itself, as it is typed.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::{Command, Output};

fn pontoon(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pontoon"))
        .args(arguments)
        .env_remove("PONTOON_CONFIG")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_knows_its_version_and_its_commands() {
    let version = pontoon(&["--version"], &[]);
    assert_eq!(
        text(&version.stdout).trim(),
        concat!("pontoon ", env!("CARGO_PKG_VERSION"))
    );
    let help = text(&pontoon(&["--help"], &[]).stdout);
    for command in [
        "dev", "server", "config", "get", "apply", "rollout", "why", "exec",
    ] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{command} is not in:\n{help}"
        );
    }
}

#[test]
fn settings_are_shown_with_where_they_came_from() {
    let shown = pontoon(
        &["config", "show", "--listen", "127.0.0.1:1"],
        &[("PONTOON_POD_CIDR", "10.9.0.0/16")],
    );
    let shown = text(&shown.stdout);
    assert!(shown.contains("127.0.0.1:1  (flag)"), "{shown}");
    assert!(
        shown.contains("10.9.0.0/16  (environment PONTOON_POD_CIDR)"),
        "{shown}"
    );
    assert!(shown.contains("cluster.local  (default)"), "{shown}");
}

#[test]
fn a_setting_that_cannot_be_used_is_named_and_ends_with_code_2() {
    let refused = pontoon(&["dev", "--service-cidr", "nowhere"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    let words = text(&refused.stderr);
    assert!(
        words.contains("service-cidr (from flag): \"nowhere\""),
        "{words}"
    );
}

#[test]
fn an_unknown_command_ends_with_code_2() {
    let refused = pontoon(&["fly"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("fly"));
}
