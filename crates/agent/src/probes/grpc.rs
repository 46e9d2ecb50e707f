//! gRPC probes: the health checking protocol, grpc.health.v1, in clear text as kubelet speaks it.

use super::Answer;
use k8s_openapi::api::core::v1::GRPCAction;
use std::net::{IpAddr, SocketAddr};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Asks the server in the pod for its health. Good is `SERVING`; everything else is a failure in kubelet's words.
pub(super) async fn check(action: &GRPCAction, ip: Option<IpAddr>) -> Answer {
    match ask(action, ip).await {
        Ok(()) => Answer::Good,
        Err(message) => Answer::Bad(message),
    }
}

/// Where the server should be.
pub(super) fn address(action: &GRPCAction, ip: Option<IpAddr>) -> Result<SocketAddr, String> {
    let port = u16::try_from(action.port).map_err(|_| "the probe's port is no port".to_owned())?;
    let ip = ip.ok_or("the pod has no address yet")?;
    Ok(SocketAddr::new(ip, port))
}

async fn ask(action: &GRPCAction, ip: Option<IpAddr>) -> Result<(), String> {
    let address = address(action, ip)?;
    let service = action.service.clone().unwrap_or_default();
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .and_then(|endpoint| endpoint.user_agent("kube-probe/1.36"))
        .map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|error| {
        let cause = innermost(&error);
        format!("dial tcp {address}: connect: {cause}")
    })?;
    let request = HealthCheckRequest {
        service: service.clone(),
    };
    let status = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|status| refused(&service, &status))?
        .into_inner()
        .status();
    if status == ServingStatus::Serving {
        return Ok(());
    }
    Err(format!(
        "service unhealthy (responded with {:?})",
        status.as_str_name()
    ))
}

fn refused(service: &str, status: &tonic::Status) -> String {
    match status.code() {
        Code::Unimplemented => format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        ),
        Code::NotFound => format!("error: the server does not know the service {service:?}"),
        _ => format!("error: health rpc probe failed: {}", status.message()),
    }
}

/// The operating system's own words, which the transport wraps several times.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => super::words(error),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::Server;

    async fn listener() -> (tokio::net::TcpListener, u16) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    async fn probe(port: u16, service: &str) -> Result<(), String> {
        let action = serde_json::from_value(json!({"port": port, "service": service})).unwrap();
        ask(&action, Some("127.0.0.1".parse().unwrap())).await
    }

    #[tokio::test]
    async fn a_service_is_good_while_it_says_that_it_serves() {
        let (listener, port) = listener().await;
        let (reporter, service) = tonic_health::server::health_reporter();
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        assert_eq!(probe(port, "").await, Ok(()));
        let status = tonic_health::ServingStatus::NotServing;
        reporter.set_service_status("shop", status).await;
        assert_eq!(
            probe(port, "shop").await,
            Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned())
        );
        assert_eq!(
            probe(port, "unknown").await,
            Err("error: the server does not know the service \"unknown\"".to_owned())
        );
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_refused_in_the_known_words() {
        let (listener, port) = listener().await;
        drop(listener);
        assert_eq!(
            probe(port, "").await,
            Err(format!(
                "dial tcp 127.0.0.1:{port}: connect: connection refused"
            ))
        );
    }
}
