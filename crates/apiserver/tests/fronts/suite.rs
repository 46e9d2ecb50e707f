//! What the tests of both fronts share.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod behaviour;
pub mod front;
pub mod grpc;
pub mod rest;
pub mod stage;

use pontoon_apiserver::authenticate::administrator;
use pontoon_apiserver::authorize::BuiltIn;
use pontoon_apiserver::planner::{Fate, Forecast, PodForecast};
use pontoon_apiserver::{ApiServer, Others, Parts, Planner, bootstrap};
use pontoon_identity::Identity;
use pontoon_state::{Solo, Transaction, View};
use pontoon_telemetry::{Health, Metrics};
use pontoon_world::World;
use std::sync::Arc;

/// A server on an empty store, bootstrapped.
pub async fn server() -> Arc<ApiServer> {
    server_on(Solo::new()).await
}

pub async fn server_on(replica: Arc<Solo>) -> Arc<ApiServer> {
    let server = ApiServer::new(parts(replica)).unwrap();
    bootstrap(&server).await.unwrap();
    server
}

/// A server that is one of several.
pub async fn server_among(
    replica: Arc<Solo>,
    world: World,
    others: Arc<dyn Others>,
) -> Arc<ApiServer> {
    let parts = Parts {
        world,
        others,
        ..parts(replica)
    };
    let server = ApiServer::new(parts).unwrap();
    bootstrap(&server).await.unwrap();
    server
}

pub fn parts(replica: Arc<Solo>) -> Parts {
    Parts {
        replica,
        world: World::real(),
        authorizer: Arc::new(BuiltIn),
        plugins: Vec::new(),
        planner: Arc::new(Scripted),
        service_cidr: "10.96.0.0/16".into(),
        pod_cidr: "10.244.0.0/16".into(),
        cluster_domain: "cluster.local".into(),
        advertise: Some("192.0.2.1:6443".parse().unwrap()),
        others: Arc::new(pontoon_apiserver::Alone),
        health: Health::with_ping(),
        metrics: Metrics::install(),
        cluster_id: "test".into(),
        membership: Arc::new(pontoon_state::membership::Alone),
        authorities: None,
        version: "0.0.0".into(),
    }
}

/// Foretells one pod for each write.
struct Scripted;

impl Planner for Scripted {
    fn forecast(&self, _view: &View, transaction: Transaction) -> Forecast {
        let pods = transaction.writes.iter().map(|write| PodForecast {
            namespace: write.key().namespace.to_string(),
            name: write.key().name.to_string(),
            fate: Fate::Made(Err("none fits".into())),
        });
        Forecast {
            pods: pods.collect(),
            ..Forecast::nothing()
        }
    }
}

pub fn admin() -> Identity {
    administrator("admin")
}
