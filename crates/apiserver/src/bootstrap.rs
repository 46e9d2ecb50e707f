//! What every cluster has from its first moment: the namespaces and the `kubernetes` service.

use crate::authenticate::administrator;
use crate::error::VerbError;
use crate::limits::BOOTSTRAP_PERIOD;
use crate::request::{Caller, FieldValidation, Target, WriteOptions};
use crate::server::ApiServer;
use pontoon_api::decode::Document;
use pontoon_api::kinds;
use pontoon_state::Key;
use pontoon_state::records::{self, Wish};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Kubernetes' initial namespaces.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Creates what is missing. Idempotent; safe on every server at every start.
///
/// # Errors
/// What the store says when it takes no writes.
pub async fn bootstrap(server: &ApiServer) -> Result<(), VerbError> {
    let caller = Caller {
        identity: administrator("system:apiserver"),
    };
    for name in NAMESPACES {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(server, &caller, "v1", "Namespace", "", body).await?;
    }
    let address = server.verbs.addresses.api_address().to_string();
    let port = server.advertise.map_or(6443, |advertise| advertise.port());
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    create(server, &caller, "v1", "Service", "default", service).await?;
    match reachable(server) {
        addresses if addresses.is_empty() => Ok(()),
        addresses => endpoints(server, &caller, &addresses, port).await,
    }
}

/// Where pods reach the servers that share this one's port: an EndpointSlice has one port for all. Pods could not reach a
/// loopback address, and Kubernetes allows none in endpoints.
fn reachable(server: &ApiServer) -> BTreeSet<IpAddr> {
    let Some(own) = server.advertise else {
        return BTreeSet::new();
    };
    let members = records::members(&server.verbs.replica.view()).into_iter();
    let others = members
        .filter(|(_, member)| member.wish != Wish::Removed)
        .filter_map(|(_, member)| member.api_address.parse().ok());
    others
        .chain([own])
        .filter(|address: &SocketAddr| address.port() == own.port())
        .map(|address| address.ip())
        .filter(|address| address.is_ipv4() == own.is_ipv4())
        .filter(|address| !address.is_loopback() && !address.is_unspecified())
        .collect()
}

/// Whether the `kubernetes` service leads to all servers, and to no others.
fn leads_right(server: &ApiServer) -> bool {
    let key = Key::new("endpointslices.discovery.k8s.io", "default", "kubernetes");
    let view = server.verbs.replica.view();
    let slice = view.get(&key).and_then(|slice| slice.value().ok());
    let listed = slice
        .as_ref()
        .and_then(|slice| slice["endpoints"].as_array());
    let listed = listed.into_iter().flatten();
    let addresses = listed.filter_map(|endpoint| endpoint["addresses"][0].as_str()?.parse().ok());
    addresses.collect::<BTreeSet<IpAddr>>() == reachable(server)
}

/// Puts back what a user deletes of it, while this replica leads: Kubernetes' control plane does the same. Runs until the
/// server stops.
pub(crate) async fn maintain(server: std::sync::Arc<ApiServer>) {
    let first = tokio::time::Instant::now() + BOOTSTRAP_PERIOD;
    let mut period = tokio::time::interval_at(first, BOOTSTRAP_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = server.stopping.cancelled() => return,
            _ = period.tick() => {}
        }
        let replica = &server.verbs.replica;
        let missing = replica
            .view()
            .get(&Key::new("services", "default", "kubernetes"))
            .is_none();
        if (missing || !leads_right(&server))
            && replica.leadership().ready
            && let Err(error) = bootstrap(&server).await
        {
            tracing::info!(%error, "the cluster's own objects are not all there yet");
        }
    }
}

/// Where the service leads: the servers.
async fn endpoints(
    server: &ApiServer,
    caller: &Caller,
    addresses: &BTreeSet<IpAddr>,
    port: u16,
) -> Result<(), VerbError> {
    let is_v4 = addresses.iter().all(IpAddr::is_ipv4);
    let ready = |address: &IpAddr| json!({"addresses": [address.to_string()], "conditions": {"ready": true}});
    let whole_of = |address: &IpAddr| json!({"ip": address.to_string()});
    let metadata = json!({"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}});
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": if is_v4 { "IPv4" } else { "IPv6" },
        "endpoints": addresses.iter().map(ready).collect::<Vec<_>>(), "ports": ports,
    });
    let whole = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": addresses.iter().map(whole_of).collect::<Vec<_>>(), "ports": ports}],
    });
    let documents = [slice, whole].map(|value| Document {
        value,
        duplicates: Vec::new(),
    });
    server
        .verbs
        .apply(caller, documents.into(), "default", &options())
        .await
        .map(|_| ())
}

const fn options() -> WriteOptions {
    WriteOptions {
        dry_run: false,
        validation: FieldValidation::Strict,
    }
}

async fn create(
    server: &ApiServer,
    caller: &Caller,
    version: &str,
    kind: &str,
    namespace: &str,
    value: Value,
) -> Result<(), VerbError> {
    let kind = kinds::by_kind(version, kind)
        .ok_or_else(|| VerbError::Internal(format!("there is no kind {kind}")))?;
    // Asked first: a second `kubernetes` service would be refused for its address before its name.
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let key = Key::new(&kind.descriptor().resource(), namespace, name);
    if server.verbs.replica.view().get(&key).is_some() {
        return Ok(());
    }
    let target = Target::new(kind, namespace, "");
    let document = Document {
        value,
        duplicates: Vec::new(),
    };
    match server
        .verbs
        .create(caller, &target, document, &options())
        .await
    {
        Ok(_) | Err(VerbError::AlreadyExists { .. } | VerbError::Deleting { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
