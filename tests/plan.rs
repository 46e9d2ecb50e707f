//! `pontoon plan` against a running cluster: what it foretells is what happens, and nothing happens before.

use pontoon_tests::Cluster;

fn deployment(replicas: u32, cpu: &str, seconds: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: host, command: [sleep, "{seconds}"], resources: {{requests: {{cpu: "{cpu}"}}}}}}]
"#
    )
}

#[test]
fn a_plan_says_which_pods_would_come_and_go_and_where_and_writes_nothing() {
    let cluster = Cluster::start();
    cluster.wait_for_node();
    let file = cluster.home().join("web.yaml");
    let plan = |manifest: &str| {
        std::fs::write(&file, manifest).unwrap();
        cluster.pontoon(["plan", "-f", file.to_str().unwrap()])
    };
    let row = |words: [&str; 4]| words.map(str::to_owned).to_vec();
    let rows = |output: &str| -> Vec<Vec<String>> {
        let lines = output
            .lines()
            .skip_while(|line| !line.starts_with("POD "))
            .skip(1)
            .take_while(|line| !line.starts_with("Pods: "));
        lines
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };

    let planned = plan(&deployment(2, "10m", "82001"));
    assert_eq!(planned.code, 1, "{planned:?}");
    assert_eq!(
        rows(&planned.stdout),
        [row(["web-*", "2", "new", "node-1"])],
        "{planned:?}"
    );
    assert!(
        planned.stdout.ends_with("Pods: 2 new, 0 removed.\n"),
        "{planned:?}"
    );
    assert_eq!(cluster.kubectl(["get", "deployments,pods"]).ok(), "");

    let _ = cluster
        .pontoon(["apply", "-f", file.to_str().unwrap(), "--wait"])
        .ok();
    let unchanged = plan(&deployment(2, "10m", "82001"));
    assert_eq!(
        (unchanged.code, unchanged.stderr.as_str()),
        (0, ""),
        "{unchanged:?}"
    );
    assert!(!unchanged.stdout.contains("Pods:"), "{unchanged:?}");

    let rollout = plan(&deployment(2, "10m", "82002"));
    assert!(
        rollout.stdout.ends_with("Pods: 2 new, 2 removed.\n"),
        "{rollout:?}"
    );

    let names = cluster.kubectl(["get", "pods", "-o", "name"]).ok();
    let too_large = plan(&deployment(3, "4000", "82003"));
    assert!(
        too_large.stdout.contains("Insufficient cpu")
            && too_large.stdout.contains("would fit nowhere"),
        "{too_large:?}"
    );
    assert_eq!(cluster.kubectl(["get", "pods", "-o", "name"]).ok(), names);
}
