//! Reads of one object and of whole collections.

use super::objects;
use crate::{
    figures::Effort,
    load::{self, Operation},
    report::{Figure, Report, Unit},
    rest::Rest,
    samples::Samples,
    server::{self, Mode, Server},
};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use pontoon_client::{Client, Selection, target};
use std::time::Instant;

/// Different objects that are asked for in turn.
const MAPS: usize = 500;

const CLIENTS: usize = 32;

struct GetByRest(Rest, usize);

struct GetByGrpc(Client, usize);

fn name(at: &mut usize) -> String {
    *at = (*at + 1) % MAPS;
    format!("read-{at:06}")
}

impl Operation for GetByRest {
    async fn call(&mut self) -> Result<()> {
        let name = name(&mut self.1);
        self.0
            .get(&format!(
                "/api/v1/namespaces/{}/configmaps/{name}",
                objects::NAMESPACE
            ))
            .await?;
        Ok(())
    }
}

impl Operation for GetByGrpc {
    async fn call(&mut self) -> Result<()> {
        let name = name(&mut self.1);
        self.0
            .get(target::named::<ConfigMap>(objects::NAMESPACE, &name), 0)
            .await?;
        Ok(())
    }
}

pub async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let directory = server::directory()?;
    let server = Server::start(Mode::Server, &directory).await?;
    let mut rest = server.rest().await?;
    objects::namespace(&mut rest).await?;
    gets(&server, effort, report).await?;
    let half = effort.of(5_000);
    objects::pods(&server, 0, half).await?;
    objects::quiet(&mut rest).await?;
    list(&server, half, effort, report).await?;
    objects::pods(&server, half, half).await?;
    objects::quiet(&mut rest).await?;
    list(&server, 2 * half, effort, report).await?;
    server.stop().await
}

async fn gets(server: &Server, effort: Effort, report: &mut Report) -> Result<()> {
    let maps =
        (0..MAPS).map(|at| serde_json::from_slice(&objects::config_map(&format!("read-{at:06}"))));
    objects::apply(server, maps.collect::<Result<Vec<_>, _>>()?).await?;
    let (mut rest, mut grpc) = (Vec::new(), Vec::new());
    for client in 0..CLIENTS {
        rest.push(GetByRest(server.rest().await?, client * MAPS / CLIENTS));
        grpc.push(GetByGrpc(server.grpc()?, client * MAPS / CLIENTS));
    }
    let load = load::run(rest, effort).await?;
    let figure = Figure::new(
        "get a ConfigMap by REST, 32 clients",
        Unit::PerSecond,
        load.rates,
    );
    report.add(&figure.latencies(load.latencies).aim(17_230.0).peer("1,723"));
    let load = load::run(grpc, effort).await?;
    let figure = Figure::new(
        "get a ConfigMap by gRPC, 32 clients",
        Unit::PerSecond,
        load.rates,
    );
    report.add(&figure.latencies(load.latencies).aim(17_230.0).peer("1,723"));
    Ok(())
}

/// One client reads all pods again and again, to the last byte, over a connection that exists.
async fn list(server: &Server, pods: usize, effort: Effort, report: &mut Report) -> Result<()> {
    let mut rest = server.rest().await?;
    let path = format!("/api/v1/namespaces/{}/pods", objects::NAMESPACE);
    let (mut times, mut bytes) = (Samples::default(), 0);
    for sample in 0..effort.samples + 3 {
        let start = Instant::now();
        let body = rest.get(&path).await?;
        if sample >= 3 {
            times.add_duration(start.elapsed());
        }
        bytes = body.len();
    }
    let name = format!("list {pods} pods by REST ({:.1} MB)", bytes as f64 / 1e6);
    let figure = Figure::new(name, Unit::Milliseconds, times);
    report.add(&if pods == 5_000 {
        figure.aim(15.0).peer("270")
    } else {
        figure
    });
    let client = server.grpc()?;
    let target = target::collection::<Pod>(objects::NAMESPACE);
    let mut times = Samples::default();
    for sample in 0..effort.samples + 3 {
        let start = Instant::now();
        let listing = client.list(&target, &Selection::default()).await?;
        ensure!(
            listing.items.len() == pods,
            "{} pods of {pods}",
            listing.items.len()
        );
        if sample >= 3 {
            times.add_duration(start.elapsed());
        }
    }
    let name = format!("list {pods} pods by gRPC, in pages of 500");
    report.add(&Figure::new(name, Unit::Milliseconds, times));
    Ok(())
}
