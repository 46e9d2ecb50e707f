//! What every cluster has from its first moment: the namespaces and the `kubernetes` service.

use crate::authenticate::administrator;
use crate::error::VerbError;
use crate::limits::BOOTSTRAP_PERIOD;
use crate::request::{Caller, FieldValidation, Target, WriteOptions};
use crate::server::ApiServer;
use pontoon_api::decode::Document;
use pontoon_api::kinds;
use pontoon_state::Key;
use serde_json::{Value, json};
use std::net::SocketAddr;

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
    // Pods could not reach a loopback address, and Kubernetes allows none in endpoints.
    match server
        .advertise
        .filter(|advertise| !advertise.ip().is_loopback() && !advertise.ip().is_unspecified())
    {
        Some(advertise) => endpoints(server, &caller, advertise).await,
        None => Ok(()),
    }
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
        if missing
            && replica.leadership().ready
            && let Err(error) = bootstrap(&server).await
        {
            tracing::info!(%error, "the cluster's own objects are not all there yet");
        }
    }
}

/// Where the service leads: this server.
async fn endpoints(
    server: &ApiServer,
    caller: &Caller,
    advertise: SocketAddr,
) -> Result<(), VerbError> {
    let (address, port) = (advertise.ip().to_string(), advertise.port());
    let metadata = json!({"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}});
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": if advertise.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}], "ports": ports,
    });
    let whole = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
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
