//! What end-to-end tests stand on: clusters of the real binary in network namespaces of their own, the clients that people use,
//! and waits that have a condition and a deadline.
//!
//! What it is not: a place for assertions about the product; those stand in the stories.
//!
//! Invariants:
//! * A [`Cluster`] shares nothing with another: network namespace, data directory and home are its own, so that stories run at once.
//! * Whatever a test started ends with it, also when it fails: processes are found by the namespace and the directory they are in, and
//!   killed by pid.
//! * Nothing sleeps in order to wait: [`eventually`] asks for a condition until its deadline, and says what it saw last.

#[path = "harness/agents.rs"]
mod agents;
#[path = "harness/cluster.rs"]
mod cluster;
#[path = "harness/netns.rs"]
mod netns;
#[path = "harness/processes.rs"]
mod processes;
#[path = "harness/script.rs"]
mod script;
#[path = "harness/servers.rs"]
mod servers;

pub use agents::AgentProcess;
pub use cluster::{Cluster, Output, User};
pub use netns::{NetworkNamespace, NetworkTraces};
pub use processes::{Process, control_groups_of, mounts_below, processes_of};
pub use script::Script;
pub use servers::Servers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the repository")
        .to_owned()
}

/// A file of `testdata/`.
#[must_use]
pub fn testdata(name: &str) -> PathBuf {
    root().join("tests/testdata").join(name)
}

/// The binary under test: `PONTOON_BIN`, or the one built beside this test.
///
/// # Panics
/// When there is none; the message says what to run.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PONTOON_BIN") {
        return PathBuf::from(path);
    }
    let here = std::env::current_exe().expect("a running program has a path");
    let path = here
        .ancestors()
        .nth(2)
        .expect("tests lie two folders deep")
        .join("pontoon");
    assert!(
        path.exists(),
        "{} is not there: run `cargo build -p pontoon` first, or set PONTOON_BIN",
        path.display()
    );
    path
}

/// A program of the Python environment that holds the clients, such as `kubectl` or `python3`.
///
/// # Panics
/// When it is not there; the message says what to run.
#[must_use]
pub fn client_program(name: &str) -> PathBuf {
    let venv = match std::env::var_os("PONTOON_VENV") {
        Some(path) => PathBuf::from(path),
        None => binary()
            .parent()
            .and_then(Path::parent)
            .map(|target| target.join("venv"))
            .unwrap_or_default(),
    };
    let path = venv.join("bin").join(name);
    assert!(
        path.exists(),
        "{} is not there: run `make clients`, and set PONTOON_VENV if it is elsewhere",
        path.display()
    );
    path
}

/// How long a condition may take that involves starting or ending programs on a busy machine. Conditions end as soon as they hold.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `probe` until it answers, for at most `patience`.
///
/// # Panics
/// At the deadline, with what the probe said last.
#[track_caller]
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        let why = match probe() {
            Ok(value) => return value,
            Err(why) => why,
        };
        assert!(
            start.elapsed() < patience,
            "{what}: not within {patience:?}; last seen: {why}"
        );
        // The pause between two questions, so that asking does not slow down what is waited for.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// [`eventually_within`] [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, probe)
}
