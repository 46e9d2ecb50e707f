//! What containers leave behind, and what they find: their last words, and volumes in memory.

use pontoon_tests::{Cluster, User, eventually};
use std::path::Path;

/// Four programs: one writes why it ended, one says it in its log only, one has a limit, one looks at its volume.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: file}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: host
    command: [sh, -c, "echo because > /dev/termination-log; exit 3"]
---
apiVersion: v1
kind: Pod
metadata: {name: log}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: host, terminationMessagePolicy: FallbackToLogsOnError, command: [sh, -c, "echo last words; exit 4"]}
---
apiVersion: v1
kind: Pod
metadata: {name: limited}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: host, resources: {limits: {memory: 64Mi}}, command: [sleep, "84001"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: memory}
spec:
  restartPolicy: Never
  volumes: [{name: quick, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]
  containers:
  - name: main
    image: host
    terminationMessagePath: /var/why
    volumeMounts: [{name: quick, mountPath: /quick}]
    command:
    - sh
    - -c
    - "stat -f -c '%T %b*%S' /quick > /var/why; head -c 2M /dev/zero > /quick/file || echo full >> /var/why"
"#;

/// `message` of the terminated container, once the pod has come to `phase`.
fn last_words(cluster: &Cluster, pod: &str, phase: &str) -> String {
    cluster.wait(
        &format!("jsonpath={{.status.phase}}={phase}"),
        &format!("pod/{pod}"),
    );
    let path = "jsonpath={.status.containerStatuses[0].state.terminated.message}";
    cluster.kubectl(["get", "pod", pod, "-o", path]).ok()
}

#[test]
fn containers_say_why_they_ended_and_volumes_in_memory_are_tmpfs_as_root_and_as_an_ordinary_user() {
    for user in [User::Root, User::Ordinary] {
        let cluster = Cluster::start_as(user);
        let _ = cluster.apply(PODS);
        assert_eq!(last_words(&cluster, "file", "Failed"), "because\n");
        assert_eq!(last_words(&cluster, "log", "Failed"), "last words\n");
        let pages = last_words(&cluster, "memory", "Succeeded");
        assert_eq!(pages, "tmpfs 256*4096\nfull\n");
        if user == User::Ordinary {
            cluster.wait("condition=Ready", "pod/limited");
            eventually("its author is told that the limit is not enforced", || {
                let told =
                    cluster.kubectl(["get", "events", "--field-selector", "reason=RuntimeWarning"]);
                if told.stdout.contains("memory limit") && told.stdout.contains("is not enforced") {
                    Ok(())
                } else {
                    Err(format!("{told:?}"))
                }
            });
        }
        assert!(
            !Path::new("/dev/termination-log").exists() && !Path::new("/var/why").exists(),
            "the node's own file system was changed"
        );
    }
}
