//! etcd as a process, and a client of the three calls that are compared. Its messages hold the fields that are used.

use crate::server;
use anyhow::{Context as _, Result, bail};
use prost::bytes::Bytes;
use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

const READY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchCreateRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<WatchCreateRequest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

/// One member with its defaults, on loopback without TLS. Killed when dropped.
#[derive(Debug)]
pub struct Etcd {
    child: Child,
    endpoint: String,
    _directory: TempDir,
}

/// A port that was free a moment ago: etcd takes no listener, and does not say which port it got.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Etcd {
    pub async fn start() -> Result<Self> {
        let directory = server::directory()?;
        let [client, peer] =
            [free_port()?, free_port()?].map(|port| format!("http://127.0.0.1:{port}"));
        let log = fs::File::create(directory.path().join("log"))?;
        let child = Command::new("etcd")
            .args(["--name", "one", "--logger", "zap", "--log-level", "error"])
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            // Debian's says that some machines are unsupported otherwise.
            .env_remove("ETCD_UNSUPPORTED_ARCH")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context(
                "etcd does not start: install Debian's etcd-server (deploy/packages.sh --bench)",
            )?;
        let etcd = Self {
            child,
            endpoint: client,
            _directory: directory,
        };
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(mut client) = etcd.client().await
                && client.put("ready", "").await.is_ok()
            {
                return Ok(etcd);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("etcd was not ready within {READY_TIMEOUT:?}")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client with a connection of its own; clones share it.
    pub async fn client(&self) -> Result<Kv> {
        let endpoint = Endpoint::from_shared(self.endpoint.clone())?.tcp_nodelay(true);
        Ok(Kv(endpoint.connect().await?))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of etcd.
#[derive(Debug, Clone)]
pub struct Kv(Channel);

fn path(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}

impl Kv {
    pub async fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
        };
        let codec: ProstCodec<PutRequest, PutResponse> = ProstCodec::default();
        grpc.unary(Request::new(request), path("/etcdserverpb.KV/Put"), codec)
            .await?;
        Ok(())
    }

    /// A linearizable read.
    pub async fn get(&mut self, key: &str) -> Result<Option<Bytes>> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let request = RangeRequest {
            key: key.to_owned().into(),
        };
        let codec: ProstCodec<RangeRequest, RangeResponse> = ProstCodec::default();
        let answer = grpc
            .unary(Request::new(request), path("/etcdserverpb.KV/Range"), codec)
            .await?;
        Ok(answer.into_inner().kvs.pop().map(|kv| kv.value))
    }

    /// Waits until it watches all keys that begin with `prefix`, a letter; then gives them as they are written.
    pub async fn watch(&mut self, prefix: u8) -> Result<impl Stream + use<>> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let create = WatchCreateRequest {
            key: vec![prefix].into(),
            range_end: vec![prefix + 1].into(),
        };
        let request = WatchRequest {
            create: Some(create),
        };
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        let codec: ProstCodec<WatchRequest, WatchResponse> = ProstCodec::default();
        let answer = grpc
            .streaming(
                Request::new(requests),
                path("/etcdserverpb.Watch/Watch"),
                codec,
            )
            .await?;
        let mut responses = answer.into_inner();
        let first = responses.message().await?.context("the watch ended")?;
        anyhow::ensure!(first.created, "the watch was not made");
        Ok(responses.map(|response| {
            let events = response?.events.into_iter();
            let keys = events.filter_map(|event| Some(event.kv?.key));
            anyhow::Ok(
                keys.map(|key| String::from_utf8_lossy(&key).into_owned())
                    .collect(),
            )
        }))
    }
}

/// Names that were written, as a watch tells them.
pub trait Stream:
    tokio_stream::Stream<Item = Result<Vec<String>>> + Send + Unpin + 'static
{
}
impl<S: tokio_stream::Stream<Item = Result<Vec<String>>> + Send + Unpin + 'static> Stream for S {}
