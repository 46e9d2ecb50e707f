//! Objects made per second, durably, through both fronts.

use super::objects;
use crate::{
    figures::Effort,
    load::{self, Load, Operation},
    report::{Figure, Report, Unit},
    rest::Rest,
    server::{self, Mode, Server},
};
use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use pontoon_client::{Client, target};
use pontoon_wire::pontoon::v1::WriteOptions;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Clients at once; three times Kubernetes' rate at one, ten times above. Kubernetes was measured with 128.
const CONFIG_MAPS: [(usize, f64, &str); 3] = [
    (1, 630.0, "210"),
    (16, 7_650.0, "765"),
    (256, 10_950.0, "1,095 (128 clients)"),
];

/// Names are never used twice.
static NAMES: AtomicUsize = AtomicUsize::new(0);

fn fresh(prefix: &str) -> String {
    format!("{prefix}-{:08}", NAMES.fetch_add(1, Ordering::Relaxed))
}

struct CreateByRest(Rest, Kind);

struct CreateByGrpc(Client);

#[derive(Clone, Copy)]
enum Kind {
    ConfigMap,
    Pod,
}

impl Operation for CreateByRest {
    async fn call(&mut self) -> Result<()> {
        let (resource, body) = match self.1 {
            Kind::ConfigMap => ("configmaps", objects::config_map(&fresh("map"))),
            Kind::Pod => ("pods", objects::pod(&fresh("pod")).to_string().into()),
        };
        self.0
            .post(
                &format!("/api/v1/namespaces/{}/{resource}", objects::NAMESPACE),
                body,
            )
            .await?;
        Ok(())
    }
}

impl Operation for CreateByGrpc {
    async fn call(&mut self) -> Result<()> {
        let target = target::collection::<ConfigMap>(objects::NAMESPACE);
        let body = objects::config_map(&fresh("map"));
        self.0.create(target, body, WriteOptions::default()).await?;
        Ok(())
    }
}

/// One server for all of it: every client has a connection of its own.
pub async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let directory = server::directory()?;
    let server = Server::start(Mode::Server, &directory).await?;
    objects::namespace(&mut server.rest().await?).await?;
    for (clients, aim, peer) in CONFIG_MAPS {
        let load = rest(&server, Kind::ConfigMap, clients, effort).await?;
        let figure = figure(
            format!("create ConfigMaps by REST, {clients} clients"),
            load,
        );
        report.add(&figure.aim(aim).peer(peer));
        let mut grpc = Vec::new();
        for _ in 0..clients {
            grpc.push(CreateByGrpc(server.grpc()?));
        }
        let load = load::run(grpc, effort).await?;
        let figure = self::figure(
            format!("create ConfigMaps by gRPC, {clients} clients"),
            load,
        );
        report.add(&figure.aim(aim).peer(peer));
    }
    let load = rest(&server, Kind::Pod, 64, effort).await?;
    report.add(
        &figure("create Pods by REST, 64 clients".to_owned(), load)
            .aim(7_250.0)
            .peer("725"),
    );
    server.stop().await
}

async fn rest(server: &Server, kind: Kind, clients: usize, effort: Effort) -> Result<Load> {
    let mut all = Vec::new();
    for _ in 0..clients {
        all.push(CreateByRest(server.rest().await?, kind));
    }
    load::run(all, effort).await
}

fn figure(name: String, load: Load) -> Figure {
    Figure::new(name, Unit::PerSecond, load.rates).latencies(load.latencies)
}
