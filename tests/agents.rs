//! Nodes whose servers are elsewhere: they join once, and go on with whichever server is there.

use pontoon_tests::{AgentProcess, Servers, eventually, eventually_within};
use serde_json::Value;
use std::time::Duration;

/// Far less than the grace after which a silent node is doubted (50 s), and room for a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);

/// Where all servers of a cluster of three are.
fn urls() -> String {
    [1, 2, 3].map(Servers::url).join(",")
}

fn get(servers: &Servers, via: u8, words: &[&str]) -> Result<Value, String> {
    let asked = ["get"].iter().chain(words).chain(&["-o", "json"]);
    let answer = servers.pontoon(via, asked);
    if answer.code == 0 {
        serde_json::from_str(&answer.stdout).map_err(|error| error.to_string())
    } else {
        Err(answer.stderr)
    }
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Waits until `count` objects of a kind are there and ready; gives them.
#[track_caller]
fn ready(servers: &Servers, via: u8, kind: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} {kind} are ready"), || {
        let list = get(servers, via, &[kind])?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        if items.len() == count && items.iter().all(is_ready) {
            Ok(items)
        } else {
            Err(list.to_string())
        }
    })
}

fn deployment(replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{app: web}}}}\n  \
         template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers: [{{name: main, image: nginx}}]\n"
    )
}

fn apply(servers: &Servers, via: u8, manifest: &str) {
    let path = servers.directory().join("manifest.yaml");
    std::fs::write(&path, manifest).unwrap();
    let path = path.to_str().unwrap();
    let applied = servers.pontoon(via, ["apply", "-f", path]);
    assert_eq!(applied.code, 0, "{}", applied.stderr);
}

/// What tells a pod from another, and each of its containers from the one before.
fn identity(pod: &Value) -> (String, i64) {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
    (uid.to_owned(), restarts.as_i64().unwrap_or(-1))
}

fn identities(pods: &[Value]) -> Vec<(String, i64)> {
    let mut all: Vec<_> = pods.iter().map(identity).collect();
    all.sort();
    all
}

/// Runs a word in a pod by way of a server.
fn spoken(servers: &Servers, via: u8, pod: &str) -> Result<(), String> {
    let answer = servers.pontoon(via, ["exec", pod, "--", "hello"]);
    if answer.stdout == "main: hello\n" {
        Ok(())
    } else {
        Err(format!("{} {}", answer.stdout, answer.stderr))
    }
}

#[test]
fn a_node_goes_on_with_any_server_and_every_server_reaches_it() {
    let mut servers = Servers::of(3);
    let token = servers.token(1, "agent");
    let flags = ["--runtime", "hollow", "--server", &urls()];
    let joining = [&flags[..], &["--token", &token]].concat();
    let mut agent = AgentProcess::start(&servers, "edge", &joining);
    let nodes = ready(&servers, 1, "nodes", 1);
    assert_eq!(nodes[0]["spec"]["podCIDR"], "10.244.0.0/24");
    apply(&servers, 1, &deployment(3));
    let pods = ready(&servers, 1, "pods", 3);
    let before = identities(&pods);
    let pod = pods[0]["metadata"]["name"].as_str().unwrap();
    for via in 1..=3 {
        spoken(&servers, via, pod).unwrap();
    }
    // Each server goes once, the leader first: wherever the session was, it moves, and no pod is touched.
    let first = servers.leader(1).unwrap();
    let others = servers.running().into_iter().filter(|via| *via != first);
    let order: Vec<u8> = [first].into_iter().chain(others).collect();
    for gone in order {
        servers.kill(gone);
        let via = servers.running()[0];
        eventually_within(SOON, "the pod is reached again", || {
            spoken(&servers, via, pod)
        });
        let node = eventually("the node is read", || get(&servers, via, &["node", "edge"]));
        assert!(is_ready(&node), "{node}");
        assert_eq!(identities(&ready(&servers, via, "pods", 3)), before);
        servers.start(gone, &[]);
    }
    // What it knows is enough to come back, without a token and without being told where servers are.
    assert_eq!(agent.stop(), 0);
    agent.run(&servers, &["--runtime", "hollow"]);
    let nodes = ready(&servers, 2, "nodes", 1);
    assert_eq!(nodes[0]["spec"]["podCIDR"], "10.244.0.0/24");
    // Its pods were hollow and ended with it: the same pods, started again.
    let after = identities(&ready(&servers, 2, "pods", 3));
    let uids = |all: &[(String, i64)]| all.iter().map(|(uid, _)| uid.clone()).collect::<Vec<_>>();
    assert_eq!(uids(&after), uids(&before));
}

#[test]
fn processes_of_a_node_outlive_its_agent_and_are_reached_through_any_server() {
    let servers = Servers::of(2);
    let token = servers.token(1, "agent");
    // One server is named; the other is learned.
    let url = Servers::url(1);
    let joining = ["--server", &url, "--token", &token];
    let mut agent = AgentProcess::start(&servers, "worker", &joining);
    apply(
        &servers,
        2,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: main\n    image: host\n    \
         command: [sh, -c, 'echo begun; exec sleep 1000']\n",
    );
    let before = ready(&servers, 1, "pods", 1);
    let address = before[0]["status"]["podIP"].as_str().unwrap();
    assert!(address.starts_with("10.244.0."), "{address}");
    let reached = || {
        for via in [1, 2] {
            let said = servers.pontoon(via, ["exec", "web", "--", "hostname"]);
            if said.stdout != "web\n" {
                return Err(format!("via {via}: {} {}", said.stdout, said.stderr));
            }
            let log = servers.kubectl(via, ["logs", "web"]);
            if log.stdout != "begun\n" {
                return Err(format!("via {via}: {} {}", log.stdout, log.stderr));
            }
        }
        Ok(())
    };
    reached().unwrap();
    agent.kill();
    agent.run(&servers, &[]);
    eventually("the pod is reached again", reached);
    let after = ready(&servers, 2, "pods", 1);
    assert_eq!(identities(&after), identities(&before));
    assert_eq!(after[0]["status"]["podIP"], before[0]["status"]["podIP"]);
}

#[test]
fn many_hollow_nodes_fit_into_one_process_and_leave_no_file_for_a_pod() {
    const NODES: usize = 10;
    const PODS: usize = 200;
    let servers = Servers::of(1);
    let tokens: Vec<String> = (0..NODES).map(|_| servers.token(1, "agent")).collect();
    let file = servers.directory().join("tokens");
    std::fs::write(&file, tokens.join("\n")).unwrap();
    let (url, count) = (Servers::url(1), NODES.to_string());
    let agent = AgentProcess::start(
        &servers,
        "hollow",
        &[
            "--runtime",
            "hollow",
            "--nodes",
            &count,
            "--server",
            &url,
            "--token-file",
            file.to_str().unwrap(),
        ],
    );
    let nodes = ready(&servers, 1, "nodes", NODES);
    let mut ranges: Vec<&str> = nodes
        .iter()
        .filter_map(|node| node["spec"]["podCIDR"].as_str())
        .collect();
    ranges.sort_unstable();
    ranges.dedup();
    assert_eq!(ranges.len(), NODES, "every node has a range of its own");
    let before = agent.files();
    apply(&servers, 1, &deployment(PODS));
    let pods = ready(&servers, 1, "pods", PODS);
    let mut addresses: Vec<&str> = pods
        .iter()
        .filter_map(|pod| pod["status"]["podIP"].as_str())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), PODS, "every pod has an address of its own");
    assert_eq!(agent.files(), before, "no file is made for a pod");
}

#[test]
fn an_agent_that_cannot_join_says_what_to_do() {
    let servers = Servers::of(1);
    let directory = servers.directory().join("agent");
    let refused = |more: &[&str]| {
        let mut words = vec!["agent", "--node-name", "edge", "--data-dir"];
        words.push(directory.to_str().unwrap());
        words.extend(more);
        servers.pontoon(1, words).failed()
    };
    let url = Servers::url(1);
    let words = refused(&[]);
    assert!(words.contains("--server"), "{words}");
    let words = refused(&["--server", &url]);
    assert!(
        words.contains("cluster token create --role agent"),
        "{words}"
    );
    let words = refused(&["--server", &url, "--token", "nonsense"]);
    assert!(words.contains("not a join token"), "{words}");
    let token = servers.token(1, "server");
    let words = refused(&["--server", &url, "--token", &token]);
    assert!(words.contains("--role agent"), "{words}");
    let token = servers.token(1, "agent");
    let (rest, pin) = token.rsplit_once('.').unwrap();
    let elsewhere = format!("{rest}.{}", "0".repeat(pin.len()));
    let words = refused(&["--server", &url, "--token", &elsewhere]);
    assert!(words.contains("pinned"), "{words}");
}
