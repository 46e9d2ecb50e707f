//! From typing `pontoon dev` to a cluster that takes work.

use crate::{
    figures::Effort,
    report::{Figure, Report, Unit},
    rest::Rest,
    samples::Samples,
    server::{self, Mode, Server},
};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::time::Duration;

const NODE_TIMEOUT: Duration = Duration::from_secs(60);

pub async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let mut first = [Samples::default(), Samples::default()];
    let mut again = Samples::default();
    // The first start reads the binary from disk: it warms up and does not count.
    for repetition in 0..=effort.repetitions.max(2) * 2 {
        let directory = server::directory()?;
        let server = Server::start(Mode::Dev, &directory).await?;
        let (api, node) = (server.ready, node_ready(&server).await?);
        server.stop().await?;
        let server = Server::start(Mode::Dev, &directory).await?;
        if repetition > 0 {
            first[0].add_duration(api);
            first[1].add_duration(node);
            again.add_duration(server.ready);
        }
        server.stop().await?;
    }
    let figure = |name, values| Figure::new(name, Unit::Milliseconds, values);
    let [api, node] = first;
    report.add(&figure("pontoon dev, empty directory: API ready", api));
    report.add(
        &figure("pontoon dev, empty directory: node Ready", node)
            .aim(1_000.0)
            .peer("5,000-7,000"),
    );
    // The node is Ready at once: that much is on disk.
    report.add(&figure("pontoon dev, restarted: API ready", again));
    Ok(())
}

/// Since before the process existed until its node is Ready, found by asking without pause.
pub async fn node_ready(server: &Server) -> Result<Duration> {
    let mut rest = server.rest().await?;
    while !any_node_is_ready(&mut rest).await? {
        ensure!(
            server.age() < NODE_TIMEOUT,
            "its node was not Ready within {NODE_TIMEOUT:?}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(server.age())
}

async fn any_node_is_ready(rest: &mut Rest) -> Result<bool> {
    let list: Value = serde_json::from_slice(&rest.get("/api/v1/nodes").await?)?;
    let mut nodes = list["items"].as_array().into_iter().flatten();
    Ok(nodes.any(|node| {
        let mut conditions = node["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }))
}
