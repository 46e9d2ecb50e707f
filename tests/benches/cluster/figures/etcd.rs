//! Pontoon beside etcd, in the same run: one member each, one after the other, with the same clients.
//!
//! A write is a fresh key or ConfigMap with 256 bytes, a read is linearizable. As many connections on both sides, gRPC over
//! HTTP/2; etcd's without TLS, as it comes, ours with client certificates over TLS 1.3, which cannot be turned off.

use super::objects;
use crate::{
    etcd::{Etcd, Kv},
    figures::{Effort, disk},
    load::{self, Load, Operation},
    report::{Figure, Report, Unit, number},
    samples::Samples,
    server::{self, Mode, Server},
};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use pontoon_client::{Client, Selection, target};
use pontoon_wire::pontoon::v1::WriteOptions;
use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

/// Clients at once, and connections that they share.
const SHAPES: [(usize, usize); 4] = [(1, 1), (16, 4), (128, 8), (1_024, 16)];

/// Watchers on one connection, and the pause between two writes.
const WATCHERS: usize = 100;
const PACE: Duration = Duration::from_millis(50);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Objects that reads ask for in turn.
const READ: usize = 500;

/// What is asked of either.
trait Store: Clone + Send + 'static {
    fn put(&mut self, name: &str) -> impl Future<Output = Result<()>> + Send;
    fn get(&mut self, name: &str) -> impl Future<Output = Result<()>> + Send;
    /// Names beginning with `w`, as they are written from now on.
    fn watch(&mut self) -> impl Future<Output = Result<impl crate::etcd::Stream>> + Send;
}

impl Store for Kv {
    async fn put(&mut self, name: &str) -> Result<()> {
        Self::put(self, name, &"x".repeat(256)).await
    }

    async fn get(&mut self, name: &str) -> Result<()> {
        Self::get(self, name).await?.context("a key is gone")?;
        Ok(())
    }

    async fn watch(&mut self) -> Result<impl crate::etcd::Stream> {
        Self::watch(self, b'w').await
    }
}

impl Store for Client {
    async fn put(&mut self, name: &str) -> Result<()> {
        let target = target::collection::<ConfigMap>(objects::NAMESPACE);
        let body = objects::config_map(name);
        self.create(target, body, WriteOptions::default()).await?;
        Ok(())
    }

    async fn get(&mut self, name: &str) -> Result<()> {
        let target = target::named::<ConfigMap>(objects::NAMESPACE, name);
        Self::get(self, target, 0).await?;
        Ok(())
    }

    async fn watch(&mut self) -> Result<impl crate::etcd::Stream> {
        let target = target::collection::<ConfigMap>(objects::NAMESPACE);
        let selection = Selection::default();
        let revision = self.list_page(&target, &selection, "").await?.revision;
        let events = Self::watch(self, &target, &selection, revision).await?;
        Ok(Box::pin(events.map(|event| {
            let object = event?.object;
            let name = object.map(|object| object.name);
            anyhow::Ok(
                name.filter(|name| name.starts_with('w'))
                    .into_iter()
                    .collect(),
            )
        })))
    }
}

/// Names are never used twice.
static NAMES: AtomicUsize = AtomicUsize::new(0);

struct Write<S>(S);

impl<S: Store> Operation for Write<S> {
    async fn call(&mut self) -> Result<()> {
        let name = format!("k{:08}", NAMES.fetch_add(1, Ordering::Relaxed));
        self.0.put(&name).await
    }
}

struct Read<S>(S, usize);

impl<S: Store> Operation for Read<S> {
    async fn call(&mut self) -> Result<()> {
        self.1 = (self.1 + 1) % READ;
        self.0.get(&read_name(self.1)).await
    }
}

fn read_name(nth: usize) -> String {
    format!("r{nth:04}")
}

/// What was measured of one of the two.
struct Measured {
    writes: Vec<Load>,
    reads: Vec<Load>,
    delivery: Samples,
    resident: f64,
    bytes_per_write: f64,
}

pub async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    disk::measure(effort, report)?;
    let etcd = {
        let etcd = Etcd::start().await?;
        let mut connections = Vec::new();
        for _ in 0..SHAPES[3].1 {
            connections.push(etcd.client().await?);
        }
        all(&connections, etcd.pid(), effort).await?
    };
    let directory = server::directory()?;
    let server = Server::start(Mode::Server, &directory).await?;
    objects::namespace(&mut server.rest().await?).await?;
    let connections = (0..SHAPES[3].1).map(|_| server.grpc());
    let connections = connections.collect::<Result<Vec<_>>>()?;
    let pontoon = all(&connections, server.pid(), effort).await?;
    server.stop().await?;
    tell(pontoon, etcd, report);
    Ok(())
}

async fn all<S: Store>(connections: &[S], pid: u32, effort: Effort) -> Result<Measured> {
    let mut first = connections[0].clone();
    for nth in 0..READ {
        first.put(&read_name(nth)).await?;
    }
    let delivery = deliver(&connections[0], &connections[1], effort.of(200)).await?;
    let (before, started) = (written_bytes(pid)?, NAMES.load(Ordering::Relaxed));
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for (clients, shared) in SHAPES {
        let clients = (0..clients).map(|nth| Write(connections[nth % shared].clone()));
        writes.push(load::run(clients.collect(), effort).await?);
    }
    let count = NAMES.load(Ordering::Relaxed) - started;
    let bytes_per_write = (written_bytes(pid)? - before) / count as f64;
    for (clients, shared) in SHAPES {
        let clients = (0..clients).map(|nth| Read(connections[nth % shared].clone(), nth));
        reads.push(load::run(clients.collect(), effort).await?);
    }
    Ok(Measured {
        writes,
        reads,
        delivery,
        resident: proc_number(pid, "status", "VmRSS:")? / 1e3,
        bytes_per_write,
    })
}

/// From when a write was sent until each watcher has read its event, in milliseconds.
async fn deliver<S: Store>(watched: &S, written: &S, events: usize) -> Result<Samples> {
    let name = |nth: usize| format!("w{nth:06}");
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut stream = watched.clone().watch().await?;
        watchers.spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < events {
                let names = stream.next().await.context("a watch ended")??;
                seen.extend(names.iter().map(|_| Instant::now()));
            }
            anyhow::Ok(seen)
        });
    }
    let (mut writer, mut sent) = (written.clone(), Vec::new());
    let mut pace = tokio::time::interval(PACE);
    for nth in 0..events {
        pace.tick().await;
        sent.push(Instant::now());
        writer.put(&name(nth)).await?;
    }
    let all = tokio::time::timeout(DELIVERY_TIMEOUT, watchers.join_all()).await;
    let mut samples = Samples::default();
    for seen in all.context("not every watcher was told")? {
        for (sent, seen) in sent.iter().zip(seen?) {
            samples.add_duration(seen.duration_since(*sent));
        }
    }
    Ok(samples)
}

fn proc_number(pid: u32, file: &str, field: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number
        .with_context(|| format!("no {field} of {pid}"))?
        .parse()?)
}

/// Bytes that a process made the system send to its disk.
fn written_bytes(pid: u32) -> Result<f64> {
    proc_number(pid, "io", "write_bytes:")
}

fn tell(pontoon: Measured, etcd: Measured, report: &mut Report) {
    let sides = [
        ("write of 256 B", pontoon.writes, etcd.writes),
        ("linearizable read", pontoon.reads, etcd.reads),
    ];
    for (what, ours, theirs) in sides {
        for (((clients, connections), ours), theirs) in SHAPES.into_iter().zip(ours).zip(theirs) {
            let name =
                format!("{what}, one member, {clients} clients on {connections} connections");
            let peer = format!(
                "etcd {} /s, p99 {} ms",
                number(theirs.rates.median()),
                number(theirs.latencies.percentile(99.0))
            );
            let figure = Figure::new(name, Unit::PerSecond, ours.rates);
            report.add(&figure.latencies(ours.latencies).peer(peer));
        }
    }
    let peer = format!(
        "etcd {} ms, p99 {} ms",
        number(etcd.delivery.median()),
        number(etcd.delivery.percentile(99.0))
    );
    let name = format!("watch delivery to {WATCHERS} watchers, from sending the write");
    report.add(&Figure::new(name, Unit::Milliseconds, pontoon.delivery).peer(peer));
    let one = |value: f64| std::iter::once(value).collect::<Samples>();
    report.add(
        &Figure::new(
            "resident after that",
            Unit::Megabytes,
            one(pontoon.resident),
        )
        .peer(format!("etcd {} MB", number(etcd.resident))),
    );
    report.add(
        &Figure::new(
            "bytes to the disk for each write, all client counts together",
            Unit::Bytes,
            one(pontoon.bytes_per_write),
        )
        .peer(format!("etcd {} B", number(etcd.bytes_per_write))),
    );
}
