//! One trace follows a write from the request to the runtime: as a collector sees it.

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use pontoon_tests::{Cluster, User, eventually};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let scopes = request
            .into_inner()
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        self.0
            .lock()
            .unwrap()
            .extend(scopes.flat_map(|scope| scope.spans));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens in the cluster's network for as long as the test's process lives.
    fn listen(&self, cluster: &Cluster) -> SocketAddr {
        let listener = cluster
            .namespace()
            .inside(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = TcpListenerStream::new(listener);
                let server = Server::builder().add_service(service);
                server.serve_with_incoming(incoming).await.unwrap();
            });
        });
        address
    }

    /// The spans of the trace that began with a request for `path`, each in a word or two.
    fn trace_of(&self, path: &str) -> BTreeSet<String> {
        let spans = self.0.lock().unwrap();
        let request = spans.iter().find(|span| {
            span.name == "request"
                && attribute(span, "method") == "POST"
                && attribute(span, "path") == path
        });
        let Some(trace) = request.map(|span| span.trace_id.clone()) else {
            return BTreeSet::new();
        };
        spans
            .iter()
            .filter(|span| span.trace_id == trace)
            .map(|span| match span.name.as_str() {
                "reconcile" => format!("reconcile {}", attribute(span, "controller")),
                "pod step" => format!("pod step {}", attribute(span, "step")),
                name => name.to_owned(),
            })
            .collect()
    }
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|found| found.key == key);
    let value = found.and_then(|found| found.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: traced}
spec:
  selector: {matchLabels: {app: traced}}
  template:
    metadata: {labels: {app: traced}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: host, command: [sleep, "83001"]}]
"#;

/// What one write of a deployment causes, down to the runtime.
const EXPECTED: [&str; 7] = [
    "apply",
    "place",
    "pod step StartContainer",
    "propose",
    "reconcile deployment-controller",
    "reconcile replicaset-controller",
    "request",
];

#[test]
fn one_trace_follows_a_write_from_the_request_to_the_runtime_through_either_front() {
    let collector = Collector::default();
    let mut cluster = Cluster::new(User::Root, &[]);
    let endpoint = format!("http://{}", collector.listen(&cluster));
    cluster.add_arguments(&["--otlp-endpoint", &endpoint]);
    cluster.run();
    cluster.wait_for_node();
    let arrives = |path: &str| {
        eventually(&format!("the whole trace of {path}"), || {
            let found = collector.trace_of(path);
            if EXPECTED.iter().all(|name| found.contains(*name)) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
    };

    let _ = cluster.apply(DEPLOYMENT);
    arrives("/apis/apps/v1/namespaces/default/deployments");

    let file = cluster.home().join("traced.yaml");
    std::fs::write(
        &file,
        DEPLOYMENT.replace("name: traced}", "name: traced-too}"),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let _ = cluster.pontoon(["apply", "-f", file]).ok();
    arrives("/pontoon.v1.Objects/Apply");
}
