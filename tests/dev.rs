//! The life of `pontoon dev`: what it prints, what it refuses, what it leaves.

use nix::sys::signal::Signal;
use pontoon_tests::{
    Cluster, Process, User, control_groups_of, eventually, mounts_below, processes_of,
};
use std::path::PathBuf;

/// A pod and a service. The pod's program is found on the machine by what it sleeps.
pub(crate) fn sleeper(seconds: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: sleeper, labels: {{app: sleeper}}}}
spec:
  terminationGracePeriodSeconds: 2
  containers: [{{name: main, image: host, command: [sleep, "{seconds}"], resources: {{limits: {{memory: 64Mi}}}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: sleeper}}
spec:
  selector: {{app: sleeper}}
  ports: [{{port: 80}}]
"#
    )
}

/// The program of [`sleeper`].
pub(crate) fn program_of(cluster: &Cluster, seconds: &str) -> Option<Process> {
    let processes = processes_of(cluster.directory(), None);
    processes
        .into_iter()
        .find(|process| process.command == format!("sleep {seconds}"))
}

/// Everything that a cluster with a running pod holds: its processes, and the directories of its control groups.
fn holdings(cluster: &Cluster) -> (Vec<Process>, Vec<PathBuf>) {
    let processes = processes_of(cluster.directory(), Some(cluster.namespace().inode()));
    let groups = control_groups_of(&processes);
    (processes, groups)
}

/// Nothing of the cluster is left: `groups` are the control groups it had.
#[track_caller]
fn assert_nothing_left(cluster: &Cluster, groups: &[PathBuf]) {
    eventually("every process of the cluster ends", || {
        let left = processes_of(cluster.directory(), Some(cluster.namespace().inode()));
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    assert_eq!(mounts_below(cluster.directory()), Vec::<String>::new());
    let left: Vec<_> = groups.iter().filter(|group| group.exists()).collect();
    assert!(left.is_empty(), "control groups are left: {left:?}");
}

#[test]
fn dev_prints_what_it_made_and_leaves_nothing_when_it_ends() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut cluster = Cluster::new(User::Root, &[]);
        let before = cluster.namespace().traces();
        cluster.run();
        cluster.wait_for_node();
        let printed = cluster.log();
        for made in [
            cluster.kubeconfig().display().to_string(),
            "https://127.0.0.1:".to_owned(),
            "node-1".to_owned(),
        ] {
            assert!(
                printed.contains(&made),
                "{made} is not in what was printed:\n{printed}"
            );
        }
        cluster.apply(&sleeper("81001"));
        cluster.wait("condition=Ready", "pod/sleeper");
        let (processes, groups) = holdings(&cluster);
        assert!(program_of(&cluster, "81001").is_some(), "{processes:?}");
        assert!(!groups.is_empty(), "a limited pod has a control group");
        assert_ne!(cluster.namespace().traces(), before, "a pod has a link");
        assert_eq!(cluster.stop(signal), 0, "{}", cluster.log());
        assert_nothing_left(&cluster, &groups);
        assert_eq!(cluster.namespace().traces(), before);
    }
}

#[test]
fn kept_pods_outlive_dev_and_are_found_again() {
    let mut cluster = Cluster::new(User::Root, &["--keep-pods"]);
    cluster.run();
    cluster.wait_for_node();
    cluster.apply(&sleeper("81002"));
    cluster.wait("condition=Ready", "pod/sleeper");
    let first = program_of(&cluster, "81002").unwrap();
    assert_eq!(cluster.stop(Signal::SIGINT), 0, "{}", cluster.log());
    assert_eq!(
        program_of(&cluster, "81002").map(|process| process.pid),
        Some(first.pid)
    );
    cluster.run();
    cluster.wait_for_node();
    cluster.wait("condition=Ready", "pod/sleeper");
    let restarts = [
        "get",
        "pod",
        "sleeper",
        "-o",
        "jsonpath={.status.containerStatuses[0].restartCount}",
    ];
    assert_eq!(cluster.kubectl(restarts).ok(), "0");
    assert_eq!(
        program_of(&cluster, "81002").map(|process| process.pid),
        Some(first.pid)
    );
    let _ = cluster.kubectl(["delete", "pod", "sleeper"]).ok();
    eventually("its program ends", || {
        program_of(&cluster, "81002").map_or(Ok(()), |process| Err(format!("{process:?}")))
    });
}

#[test]
fn a_killed_dev_leaves_pods_running_and_the_next_ends_them() {
    let mut cluster = Cluster::new(User::Root, &[]);
    let before = cluster.namespace().traces();
    cluster.run();
    cluster.wait_for_node();
    cluster.apply(&sleeper("81003"));
    cluster.wait("condition=Ready", "pod/sleeper");
    let first = program_of(&cluster, "81003").unwrap();
    let (_, groups) = holdings(&cluster);
    cluster.kill();
    assert_eq!(
        program_of(&cluster, "81003").map(|process| process.pid),
        Some(first.pid)
    );
    cluster.run();
    cluster.wait_for_node();
    cluster.wait("condition=Ready", "pod/sleeper");
    assert_eq!(
        program_of(&cluster, "81003").map(|process| process.pid),
        Some(first.pid)
    );
    assert_eq!(cluster.stop(Signal::SIGINT), 0, "{}", cluster.log());
    assert_nothing_left(&cluster, &groups);
    assert_eq!(cluster.namespace().traces(), before);
}

#[test]
fn a_directory_in_use_a_taken_port_and_a_newer_format_are_refused() {
    let cluster = Cluster::start();
    let run = |mut command: std::process::Command| {
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, error) = run(cluster.dev_command(&[]));
    let directory = cluster.data_dir().display().to_string();
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains(&directory) && error.contains("in use"),
        "{error}"
    );

    let server = cluster
        .kubectl([
            "config",
            "view",
            "-o",
            "jsonpath={.clusters[0].cluster.server}",
        ])
        .ok();
    let address = server.trim_start_matches("https://").trim();
    let other = cluster.home().join("other");
    let dev = |listen: &str| {
        let mut command = cluster.command(pontoon_tests::binary());
        command
            .args(["dev", "--listen", listen, "--data-dir"])
            .arg(&other);
        command
    };
    let (code, error) = run(dev(address));
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains(address) && error.to_lowercase().contains("in use"),
        "{error}"
    );

    let newer = r#"{"format": 1000, "cluster": "c", "node": 1}"#;
    let formats: Vec<PathBuf> = find(&cluster.data_dir(), "format");
    let place = formats
        .first()
        .expect("the store writes its format down")
        .strip_prefix(cluster.data_dir())
        .unwrap();
    let _ = std::fs::remove_dir_all(&other);
    std::fs::create_dir_all(other.join(place).parent().unwrap()).unwrap();
    std::fs::write(other.join(place), newer).unwrap();
    let (code, error) = run(dev("127.0.0.1:0"));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("1000") && error.contains("newer"), "{error}");
    assert_eq!(
        std::fs::read_to_string(other.join(place)).unwrap(),
        newer,
        "nothing is changed"
    );
    assert_eq!(
        cluster.kubectl(["get", "--raw", "/readyz"]).ok(),
        "ok",
        "the first cluster is not disturbed"
    );
}

/// Files of this name below a directory.
fn find(directory: &std::path::Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let entries: Vec<PathBuf> = entries.unwrap_or_default();
    let below = entries
        .iter()
        .filter(|path| path.is_dir() && !path.is_symlink())
        .flat_map(|path| find(path, name));
    let here = entries
        .iter()
        .filter(|path| path.is_file() && path.ends_with(name))
        .cloned();
    here.chain(below).collect()
}
