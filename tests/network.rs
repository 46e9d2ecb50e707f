//! Names and services on one node: from pods, from the node, with and without endpoints.

use pontoon_tests::{Cluster, eventually, eventually_within};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A web server and a UDP echo that tell which pod they are, ready as long as `/tmp/...` of their own says so.
fn server(name: &str, labels: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec:
  terminationGracePeriodSeconds: 1
{more}
  containers:
  - name: main
    image: host
    command: [python3, -u, -c]
    args:
    - |
      import http.server, os, socket, threading
      name = os.environ["NAME"]
      class Web(http.server.BaseHTTPRequestHandler):
          ready = True
          def do_GET(self):
              if self.path == "/unready":
                  Web.ready = False
              code = 503 if self.path == "/ready" and not Web.ready else 200
              body = (name + " " + self.client_address[0] + "\n").encode()
              self.send_response(code)
              self.send_header("Content-Length", str(len(body)))
              self.end_headers()
              self.wfile.write(body)
          def log_message(self, *words):
              pass
      def echo():
          udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
          udp.bind(("", 9053))
          while True:
              data, peer = udp.recvfrom(2048)
              udp.sendto(name.encode() + b" " + data, peer)
      threading.Thread(target=echo, daemon=True).start()
      http.server.ThreadingHTTPServer(("", 8080), Web).serve_forever()
    env: [{{name: NAME, value: {name}}}]
    ports: [{{name: http, containerPort: 8080}}, {{name: echo, containerPort: 9053, protocol: UDP}}]
    readinessProbe: {{httpGet: {{path: /ready, port: http}}, periodSeconds: 1}}
    resources: {{requests: {{cpu: 10m}}}}
---
"#
    )
}

const SERVICES: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: echo, port: 53, targetPort: echo, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  selector: {app: web}
  sessionAffinity: ClientIP
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: http, port: 8080, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: alone}
spec:
  selector: {name: web-0}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: host, command: [sleep, infinity]}]
---
";

fn start() -> Cluster {
    let cluster = Cluster::start();
    let pods: String = (0..3)
        .map(|n| {
            server(
                &format!("web-{n}"),
                &format!("app: web, name: web-{n}"),
                &format!("  hostname: host-{n}\n  subdomain: peers"),
            )
        })
        .collect();
    cluster.apply(&format!("{pods}{SERVICES}"));
    for pod in ["pod/web-0", "pod/web-1", "pod/web-2", "pod/asker"] {
        cluster.wait("condition=Ready", pod);
    }
    eventually("all three are endpoints", || {
        let answer = cluster
            .kubectl([
                "get",
                "endpoints",
                "web",
                "-o",
                "jsonpath={.subsets[0].addresses[*].ip}",
            ])
            .ok();
        if answer.split(' ').filter(|ip| !ip.is_empty()).count() == 3 {
            Ok(())
        } else {
            Err(answer)
        }
    });
    cluster
}

fn jsonpath(cluster: &Cluster, what: &str, path: &str) -> String {
    cluster
        .kubectl(["get", what, "-o", &format!("jsonpath={{{path}}}")])
        .ok()
}

/// Asks over HTTP from inside a pod.
fn ask_from(cluster: &Cluster, pod: &str, url: &str) -> String {
    cluster
        .exec(
            pod,
            &[
                "curl",
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "5",
                url,
            ],
        )
        .ok()
}

/// Asks over HTTP from the node.
fn ask_from_node(cluster: &Cluster, url: &str) -> String {
    cluster
        .call(
            "curl",
            ["--silent", "--show-error", "--fail", "--max-time", "5", url],
            "",
        )
        .ok()
}

fn names_answer(cluster: &Cluster) {
    for name in [
        "web",
        "web.default",
        "web.default.svc",
        "web.default.svc.cluster.local",
        "elsewhere",
    ] {
        let answer = ask_from(cluster, "asker", &format!("http://{name}/"));
        assert!(answer.starts_with("web-"), "{name}: {answer}");
    }
    let resolve = |name: &str| {
        let answer = cluster.exec("asker", &["getent", "ahostsv4", name]).ok();
        let mut found: Vec<String> = answer
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        found.sort();
        found.dedup();
        found
    };
    assert_eq!(
        resolve("web"),
        [jsonpath(cluster, "service/web", ".spec.clusterIP")]
    );
    let mut pods: Vec<String> = (0..3)
        .map(|n| jsonpath(cluster, &format!("pod/web-{n}"), ".status.podIP"))
        .collect();
    assert_eq!(
        resolve("host-1.peers.default.svc.cluster.local"),
        [pods[1].clone()]
    );
    pods.sort();
    assert_eq!(resolve("peers"), pods, "a headless service is its pods");
    let refused = cluster.exec("asker", &["getent", "hosts", "no-such-service"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_eq!(cluster.exec("web-1", &["hostname"]).ok().trim(), "host-1");
}

fn addresses_answer(cluster: &Cluster) {
    let address = jsonpath(cluster, "service/web", ".spec.clusterIP");
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..60 {
        answered.insert(
            ask_from_node(cluster, &format!("http://{address}/"))
                .split(' ')
                .next()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(
        answered.len(),
        3,
        "the node reaches every endpoint: {answered:?}"
    );
    // Hairpin: a service whose one endpoint is the pod that asks.
    let alone = jsonpath(cluster, "service/alone", ".spec.clusterIP");
    assert!(ask_from(cluster, "web-0", &format!("http://{alone}/")).starts_with("web-0 "));
    // A pod is seen by its own address: nothing rewrites its source on the way to another pod.
    let own = jsonpath(cluster, "pod/asker", ".status.podIP");
    assert_eq!(
        ask_from(cluster, "asker", &format!("http://{alone}/")),
        format!("web-0 {own}\n")
    );
    let sticky = jsonpath(cluster, "service/sticky", ".spec.clusterIP");
    let first = ask_from(cluster, "asker", &format!("http://{sticky}/"));
    for _ in 0..8 {
        assert_eq!(
            ask_from(cluster, "asker", &format!("http://{sticky}/")),
            first,
            "one client stays with one pod"
        );
    }
}

fn datagrams_answer(cluster: &Cluster) {
    let program = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); \
                   s.sendto(b'hello', ('web.default.svc.cluster.local', 53)); print(s.recvfrom(2048)[0].decode())";
    let answer = cluster.exec("asker", &["python3", "-c", program]).ok();
    assert!(
        answer.starts_with("web-") && answer.ends_with(" hello\n"),
        "{answer}"
    );
}

fn refusal_is_prompt(cluster: &Cluster) {
    let address = jsonpath(cluster, "service/nobody", ".spec.clusterIP");
    let url = format!("http://{address}/");
    let arguments = [
        "--silent",
        "--show-error",
        "--max-time",
        "5",
        "--write-out",
        "%{time_total}",
        &url,
    ];
    for (from, answer) in [
        ("node", cluster.call("curl", arguments, "")),
        (
            "pod",
            cluster.pontoon(["exec", "asker", "--", "curl"].iter().chain(&arguments)),
        ),
    ] {
        assert!(
            answer.stderr.contains("(7)"),
            "{from}: curl's code 7 is a refused connection: {answer:?}"
        );
        let seconds: f64 = answer.stdout.trim().parse().unwrap();
        assert!(seconds < 1.0, "{from}: refused after {seconds} s");
    }
}

/// From the moment the API shows a pod unready until no connection reaches it through its service.
fn an_unready_pod_leaves(cluster: &Cluster) {
    let address = jsonpath(cluster, "service/web", ".spec.clusterIP");
    let pod = jsonpath(cluster, "pod/web-2", ".status.podIP");
    let mut watch = cluster.command(pontoon_tests::client_program("kubectl"));
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}";
    let mut watch = watch
        .args(["get", "pod", "web-2", "--watch", "-o", path])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "True");
    ask_from_node(cluster, &format!("http://{pod}:8080/unready"));
    let told = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line == "False")
        .map(|_| Instant::now());
    let told = told.expect("the watch goes on until the pod is unready");
    let last = cluster.namespace().inside(|| last_reached(&address, told));
    let _ = watch.kill();
    let _ = watch.wait();
    // The promise is 100 ms on an idle machine; two cores that run everything else besides get some room for the clients' own work.
    assert!(
        last < Duration::from_millis(250),
        "reached {last:?} after the API said that it is unready"
    );
    eventually_within(Duration::from_secs(5), "its name goes as well", || {
        let answer = cluster.exec("asker", &["getent", "ahostsv4", "peers"]).ok();
        if answer.contains(&pod) {
            Err(answer)
        } else {
            Ok(())
        }
    });
}

/// When `web-2` answered last, counted from `start`, while asking for two seconds.
fn last_reached(address: &str, start: Instant) -> Duration {
    use std::io::{Read, Write};
    let mut last = Duration::ZERO;
    while start.elapsed() < Duration::from_secs(2) {
        let asked = start.elapsed();
        let Ok(mut stream) = std::net::TcpStream::connect((address, 80)) else {
            continue;
        };
        let mut answer = String::new();
        let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
        if answer.contains("web-2 ") {
            last = asked;
        }
    }
    last
}

#[test]
fn names_and_services_answer_from_pods_and_from_the_node() {
    let cluster = start();
    names_answer(&cluster);
    addresses_answer(&cluster);
    datagrams_answer(&cluster);
    refusal_is_prompt(&cluster);
    an_unready_pod_leaves(&cluster);
}
