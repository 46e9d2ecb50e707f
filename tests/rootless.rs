//! The same without root: an ordinary user's cluster is in namespaces of its own.

use crate::dev::{program_of, sleeper};
use nix::sys::signal::Signal;
use pontoon_tests::{Cluster, User, eventually, mounts_below, processes_of};

#[test]
fn an_ordinary_user_runs_reaches_and_ends_a_cluster() {
    let mut cluster = Cluster::new(User::Ordinary, &[]);
    let before = cluster.namespace().traces();
    cluster.run();
    cluster.wait_for_node();
    cluster.apply(&sleeper("82001"));
    let web = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: host
    command: [python3, -m, http.server, "8080"]
    workingDir: /usr/share/doc
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;
    cluster.apply(web);
    cluster.wait("condition=Ready", "pod/sleeper");
    cluster.wait("condition=Ready", "pod/web");
    eventually("a service answers by its name from a pod", || {
        let answer = cluster.exec(
            "sleeper",
            &[
                "curl",
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "5",
                "http://web.default.svc.cluster.local/",
            ],
        );
        if answer.code == 0 && answer.stdout.contains("<title>") {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    assert_eq!(
        cluster
            .exec("sleeper", &["curl", "--silent", "--fail", "http://web/"])
            .code,
        0
    );
    let first = program_of(&cluster, "82001").expect("the pod's program is found from outside");

    cluster.kill();
    assert_eq!(
        program_of(&cluster, "82001").map(|process| process.pid),
        Some(first.pid),
        "a killed dev leaves its pods"
    );
    cluster.run();
    cluster.wait_for_node();
    cluster.wait("condition=Ready", "pod/sleeper");
    assert_eq!(
        program_of(&cluster, "82001").map(|process| process.pid),
        Some(first.pid),
        "the next finds them"
    );

    assert_eq!(cluster.stop(Signal::SIGTERM), 0, "{}", cluster.log());
    eventually("every process of the cluster ends", || {
        let left = processes_of(cluster.directory(), Some(cluster.namespace().inode()));
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    assert_eq!(mounts_below(cluster.directory()), Vec::<String>::new());
    assert_eq!(
        cluster.namespace().traces(),
        before,
        "the user's network was never touched"
    );
}
