//! The process runtime passes the suite that every runtime passes, as root and as an ordinary user.

#![allow(clippy::unwrap_used, unsafe_code)]

#[path = "subject_support/subject.rs"]
mod subject_under_test;

use subject_under_test::subject;

pontoon_runtime::conformance_suite!(subject);

/// The same suite again without privileges: what can be done is done, and what cannot is said.
#[test]
fn the_suite_passes_for_an_ordinary_user() {
    if !nix::unistd::geteuid().is_root() {
        // The suite in this very process is run by one already.
        return;
    }
    let output = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--no-new-privs",
            "--",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--skip", "the_suite_passes_for_an_ordinary_user"])
        .current_dir("/")
        .env_remove("TMPDIR")
        .output()
        .expect("setpriv (package util-linux) is needed");
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
