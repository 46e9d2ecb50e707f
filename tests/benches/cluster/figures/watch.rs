//! How soon many watchers learn of a change.
//!
//! A writer makes ConfigMaps at a steady pace. Each watcher notes when the event's bytes were read;
//! delivery is counted twice: from when the write was sent (durable write included), and from when
//! its answer came (zero for those that learned of it before the writer did).

use super::objects;
use crate::{
    figures::Effort,
    report::{Figure, Report, Unit},
    samples::Samples,
    server::{self, Mode, Server},
};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::StreamExt as _;
use http::Method;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use pontoon_client::{Selection, target};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between two writes: long enough for a thousand deliveries to end, so that none waits for those before.
const PACE: Duration = Duration::from_millis(100);

/// Events that do not count, at first.
const WARM_UP: usize = 5;

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// gRPC watchers that share a connection, as informers of one program do.
const STREAMS: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Front {
    Rest,
    Grpc,
}

pub async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let directory = server::directory()?;
    let server = Server::start(Mode::Server, &directory).await?;
    objects::namespace(&mut server.rest().await?).await?;
    let cases = [
        (Front::Rest, "REST", 100, "a"),
        (Front::Grpc, "gRPC", 100, "b"),
        (Front::Rest, "REST", 1_000, "c"),
        (Front::Grpc, "gRPC", 1_000, "d"),
    ];
    for (front, name, watchers, prefix) in cases {
        let watchers = effort.of(watchers);
        let events = effort.samples * 2 + WARM_UP;
        let [sent, answered] = deliver(&server, front, watchers, events, prefix).await?;
        let title = format!("watch delivery by {name}, {watchers} watchers");
        let figure = Figure::new(
            format!("{title}, from the write's answer"),
            Unit::Milliseconds,
            answered,
        );
        let aimed = watchers == 100;
        report.add(&if aimed {
            figure.aim(1.0).aim_p99(3.0).peer("8.6 (p99 16)")
        } else {
            figure
        });
        report.add(&Figure::new(
            format!("{title}, from sending the write"),
            Unit::Milliseconds,
            sent,
        ));
    }
    server.stop().await
}

/// What each watcher saw: when the event of that number came.
type Seen = Vec<Instant>;

async fn deliver(
    server: &Server,
    front: Front,
    watchers: usize,
    events: usize,
    prefix: &'static str,
) -> Result<[Samples; 2]> {
    let mut rest = server.rest().await?;
    let path = format!("/api/v1/namespaces/{}/configmaps", objects::NAMESPACE);
    let list: serde_json::Value = serde_json::from_slice(&rest.get(&path).await?)?;
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .context("a revision")?
        .to_owned();
    let mut tasks = JoinSet::new();
    match front {
        Front::Rest => {
            watch_by_rest(server, watchers, events, &revision, prefix, &mut tasks).await?
        }
        Front::Grpc => {
            watch_by_grpc(server, watchers, events, &revision, prefix, &mut tasks).await?
        }
    }
    let mut writes = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    for at in 0..events {
        pace.tick().await;
        let sent = Instant::now();
        rest.post(&path, objects::config_map(&name(prefix, at)))
            .await?;
        writes.push((sent, Instant::now()));
    }
    let all = tokio::time::timeout(DELIVERY_TIMEOUT, tasks.join_all());
    let all = all.await.context("not every watcher was told")?;
    let mut samples = [Samples::default(), Samples::default()];
    for seen in all {
        for (&(sent, answered), seen) in writes.iter().zip(seen?).skip(WARM_UP) {
            samples[0].add_duration(seen.duration_since(sent));
            samples[1].add_duration(seen.saturating_duration_since(answered));
        }
    }
    Ok(samples)
}

/// Of a fixed length, so that no name begins another.
fn name(prefix: &str, at: usize) -> String {
    format!("watched-{prefix}-{at:04}")
}

async fn watch_by_rest(
    server: &Server,
    watchers: usize,
    events: usize,
    revision: &str,
    prefix: &'static str,
    tasks: &mut JoinSet<Result<Seen>>,
) -> Result<()> {
    let path = format!(
        "/api/v1/namespaces/{}/configmaps?watch=true&resourceVersion={revision}",
        objects::NAMESPACE
    );
    for _ in 0..watchers {
        let mut rest = server.rest().await?;
        let mut body = rest
            .send(Method::GET, &path, Bytes::new())
            .await?
            .into_body();
        tasks.spawn(async move {
            let _open = rest;
            let (mut seen, mut text) = (Seen::new(), Vec::new());
            while seen.len() < events {
                let frame = body.frame().await.context("the watch ended")??;
                let now = Instant::now();
                text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(end) = text.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    if holds(&line, &name(prefix, seen.len())) {
                        seen.push(now);
                    }
                }
            }
            Ok(seen)
        });
    }
    Ok(())
}

fn holds(line: &[u8], name: &str) -> bool {
    line.windows(name.len())
        .any(|window| window == name.as_bytes())
}

async fn watch_by_grpc(
    server: &Server,
    watchers: usize,
    events: usize,
    revision: &str,
    prefix: &'static str,
    tasks: &mut JoinSet<Result<Seen>>,
) -> Result<()> {
    let mut client = server.grpc()?;
    for watcher in 0..watchers {
        if watcher % STREAMS == 0 {
            client = server.grpc()?;
        }
        let target = target::collection::<ConfigMap>(objects::NAMESPACE);
        let mut stream = client
            .watch(&target, &Selection::default(), revision.parse()?)
            .await?;
        tasks.spawn(async move {
            let mut seen = Seen::new();
            while seen.len() < events {
                let event = stream.next().await.context("the watch ended")??;
                if event
                    .object
                    .is_some_and(|object| object.name == name(prefix, seen.len()))
                {
                    seen.push(Instant::now());
                }
            }
            Ok(seen)
        });
    }
    Ok(())
}
