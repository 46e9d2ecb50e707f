//! From creating a pod to seeing it Ready, on the process runtime.

use super::{objects, start};
use crate::{
    figures::Effort,
    report::{Figure, Report, Unit},
    rest::Rest,
    samples::Samples,
    server::{self, Mode, Server},
};
use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use pontoon_client::{Client, Selection, target};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Pods that do not count, at first.
const WARM_UP: usize = 5;

/// Made at once: a node takes 110.
const BURST: usize = 50;

const READY_TIMEOUT: Duration = Duration::from_secs(60);

pub async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let directory = server::directory()?;
    let server = Server::start(Mode::Dev, &directory).await?;
    start::node_ready(&server).await?;
    let mut rest = server.rest().await?;
    objects::namespace(&mut rest).await?;
    objects::quiet(&mut rest).await?;
    let client = server.grpc()?;
    let measured = singly(&mut rest, &client, effort, report).await;
    let measured = match measured {
        Ok(()) => at_once(&server, &client, effort, report).await,
        failed => failed,
    };
    // Its pods end with it, whatever was measured.
    server.stop().await?;
    measured
}

/// One container, no probe: Ready says that it runs.
fn sleeper(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": objects::NAMESPACE},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "host", "command": ["sleep", "infinity"]}],
        },
    })
}

/// One pod after the other, each gone before the next.
async fn singly(
    rest: &mut Rest,
    client: &Client,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/pods", objects::NAMESPACE);
    let (mut up, mut down) = (Samples::default(), Samples::default());
    for at in 0..effort.samples * 2 + WARM_UP {
        let name = format!("single-{at:04}");
        let target = target::collection::<Pod>(objects::NAMESPACE);
        let revision = client
            .list_page(&target, &Selection::default(), "")
            .await?
            .revision;
        let mut events = client
            .watch(&target, &Selection::default(), revision)
            .await?;
        let created = Instant::now();
        rest.post(&path, sleeper(&name).to_string().into()).await?;
        wait(&mut events, |event| {
            event
                .object
                .as_ref()
                .is_some_and(|pod| pod.name == name && ready(&pod.json))
        })
        .await?;
        let took = created.elapsed();
        let deleted = Instant::now();
        rest.delete(&format!("{path}/{name}")).await?;
        let gone = i32::from(pontoon_wire::pontoon::v1::watch_event::Type::Deleted);
        wait(&mut events, |event| event.r#type == gone).await?;
        if at >= WARM_UP {
            up.add_duration(took);
            down.add_duration(deleted.elapsed());
        }
    }
    let figure = Figure::new(
        "pod from create to seen Ready, process runtime, one at a time",
        Unit::Milliseconds,
        up,
    );
    report.add(&figure.aim(50.0).peer("5,000 (its objective)"));
    let name = "pod from delete (no grace) to seen gone, one at a time";
    report.add(&Figure::new(name, Unit::Milliseconds, down));
    Ok(())
}

/// Many pods in one transaction; each one's time, and the last one's.
async fn at_once(
    server: &Server,
    client: &Client,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    let target = target::collection::<Pod>(objects::NAMESPACE);
    let pods = effort.of(BURST);
    let revision = client
        .list_page(&target, &Selection::default(), "")
        .await?
        .revision;
    let mut events = client
        .watch(&target, &Selection::default(), revision)
        .await?;
    let created = Instant::now();
    objects::apply(
        server,
        (0..pods).map(|at| sleeper(&format!("burst-{at:04}"))),
    )
    .await?;
    let (mut seen, mut times) = (std::collections::HashSet::new(), Samples::default());
    wait(&mut events, |event| {
        if let Some(pod) = event.object.as_ref().filter(|pod| ready(&pod.json))
            && seen.insert(pod.name.clone())
        {
            times.add_duration(created.elapsed());
        }
        seen.len() == pods
    })
    .await?;
    let name =
        format!("{pods} pods in one transaction on one node: each from create to seen Ready");
    report.add(&Figure::new(name, Unit::Milliseconds, times));
    Ok(())
}

type Event = pontoon_wire::pontoon::v1::WatchEvent;

async fn wait(
    events: &mut (impl futures::Stream<Item = Result<Event, pontoon_client::ClientError>> + Unpin),
    mut until: impl FnMut(&Event) -> bool,
) -> Result<()> {
    let wait = async {
        loop {
            let event = events.next().await.context("the watch ended")??;
            if until(&event) {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(READY_TIMEOUT, wait)
        .await
        .context("a pod did not come or go in time")?
}

fn ready(pod: &[u8]) -> bool {
    let Ok(pod) = serde_json::from_slice::<Value>(pod) else {
        return false;
    };
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
