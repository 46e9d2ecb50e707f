//! Waiting pods on hollow nodes, from the moment there are nodes until every pod has one.
//!
//! Nodes are objects without an agent. Pods exist first and the scheduler has given up on them; then all
//! nodes come in one transaction. Time runs from sending that transaction until a watcher has seen
//! the last pod bound: it includes writing the nodes, waking the pods, placing them, writing
//! the bindings durably and telling the watcher.

use super::objects;
use crate::{
    figures::Effort,
    report::{Figure, Report, Unit},
    samples::Samples,
    server::{self, Mode, Server},
};
use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use pontoon_client::{Selection, target};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// Kubernetes takes 25 s.
const BIND_TIMEOUT: Duration = Duration::from_secs(120);

pub async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let (pods, nodes) = (effort.of(5_000), effort.of(1_000));
    let (mut times, mut rates, mut written) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..effort.repetitions {
        let directory = server::directory()?;
        let server = Server::start(Mode::Server, &directory).await?;
        let (nodes_written, bound) = once(&server, pods, nodes).await?;
        written.add_duration(nodes_written);
        times.add_duration(bound);
        rates.add(pods as f64 / bound.as_secs_f64());
        server.stop().await?;
    }
    let name = format!("bind {pods} waiting pods on {nodes} hollow nodes, end to end");
    report.add(
        &Figure::new(&name, Unit::Milliseconds, times)
            .aim(500.0)
            .peer("25,500"),
    );
    report.add(&Figure::new(format!("{name}: rate"), Unit::PerSecond, rates).peer("196"));
    report.add(&Figure::new(
        format!("of that, {nodes} nodes written"),
        Unit::Milliseconds,
        written,
    ));
    Ok(())
}

async fn once(server: &Server, pods: usize, nodes: usize) -> Result<(Duration, Duration)> {
    let mut rest = server.rest().await?;
    objects::namespace(&mut rest).await?;
    objects::pods(server, 0, pods).await?;
    objects::quiet(&mut rest).await?;
    let client = server.grpc()?;
    let target = target::collection::<Pod>(objects::NAMESPACE);
    let now = client
        .list_page(&target, &Selection::default(), "")
        .await?
        .revision;
    let placed = Selection {
        fields: "spec.nodeName!=".to_owned(),
        ..Selection::default()
    };
    let mut events = client.watch(&target, &placed, now).await?;
    let start = Instant::now();
    let hollow = (0..nodes).map(|at| objects::hollow_node(&format!("hollow-{at:05}")));
    let (mut written, mut bound) = (Duration::ZERO, HashSet::new());
    let release = async {
        objects::apply(server, hollow.collect::<Vec<_>>()).await?;
        written = start.elapsed();
        anyhow::Ok(())
    };
    let watch = async {
        while bound.len() < pods {
            let event = events.next().await.context("the watch ended")??;
            bound.extend(
                event
                    .object
                    .map(|object| object.name)
                    .filter(|name| !name.is_empty()),
            );
        }
        anyhow::Ok(start.elapsed())
    };
    let both = async { tokio::try_join!(release, watch) };
    let ((), took) = tokio::time::timeout(BIND_TIMEOUT, both)
        .await
        .context("not every pod was bound")??;
    Ok((written, took))
}
