//! The process runtime passes the suite that every runtime passes, as root and as an ordinary user.

#![allow(clippy::unwrap_used, unsafe_code)]

#[path = "subject_support/subject.rs"]
mod subject_under_test;

use subject_under_test::subject;

pontoon_runtime::conformance_suite!(subject);

/// The same suite again without privileges: what can be done is done, and what cannot is said.
#[test]
fn the_suite_passes_for_an_ordinary_user() {
    run_as_ordinary_user(&[]);
}

/// And in namespaces that an ordinary user makes, where only control groups and other users are missing.
#[test]
fn the_suite_passes_in_namespaces_of_an_ordinary_user() {
    run_as_ordinary_user(&[
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--net",
        "--",
    ]);
}

fn run_as_ordinary_user(wrapper: &[&str]) {
    if !nix::unistd::geteuid().is_root() {
        // This process is an ordinary user's already, and the suite runs in it.
        return;
    }
    let output = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--",
        ])
        .args(wrapper)
        .arg(std::env::current_exe().unwrap())
        .args(["--skip", "ordinary_user"])
        .current_dir("/")
        .env_remove("TMPDIR")
        .output()
        .expect("setpriv and unshare (package util-linux) are needed");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        told.contains("a_running_container_is_found_again ... ok"),
        "{told}"
    );
}
