//! Probes: a command in the container, or a look at the pod's address from the node.

use crate::limits::PROBE_ANSWER_BYTES;
use crate::metrics;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pontoon_lifecycle::{ProbeKind, ProbeOutcome};
use pontoon_runtime::{ContainerId, ExecOutput, ExecSpec, Runtime};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

mod grpc;
mod tls;

/// What is probed.
pub(crate) struct Target<'a> {
    pub(crate) runtime: &'a Arc<dyn Runtime>,
    pub(crate) id: &'a ContainerId,
    pub(crate) container: &'a Container,
    pub(crate) ip: Option<IpAddr>,
}

/// What a look at a port found.
pub(crate) enum Answer {
    Good,
    Bad(String),
}

/// Makes one probe within its timeout.
pub(crate) async fn probe(target: &Target<'_>, kind: ProbeKind, timeout: Duration) -> ProbeOutcome {
    let spec = match kind {
        ProbeKind::Startup => target.container.startup_probe.as_ref(),
        ProbeKind::Liveness => target.container.liveness_probe.as_ref(),
        ProbeKind::Readiness => target.container.readiness_probe.as_ref(),
    };
    let Some(spec) = spec else {
        return ProbeOutcome::Unknown("no such probe".to_owned());
    };
    let outcome = match tokio::time::timeout(timeout, once(target, spec)).await {
        Ok(outcome) => outcome,
        Err(_) => ProbeOutcome::Failure(timed_out(target, spec, timeout)),
    };
    let result = match outcome {
        ProbeOutcome::Success => "success",
        ProbeOutcome::Failure(_) => "failure",
        ProbeOutcome::Unknown(_) => "unknown",
    };
    metrics::probed(kind.title(), result);
    outcome
}

async fn once(target: &Target<'_>, spec: &Probe) -> ProbeOutcome {
    if let Some(action) = &spec.exec {
        let command = action.command.clone().unwrap_or_default();
        return match exec(target.runtime, target.id, command).await {
            Ok((0, _)) => ProbeOutcome::Success,
            Ok((_, output)) => ProbeOutcome::Failure(output),
            Err(message) => ProbeOutcome::Unknown(message),
        };
    }
    let answer = if let Some(action) = &spec.http_get {
        http_get(action, Some(target.container), target.ip).await
    } else if let Some(action) = &spec.tcp_socket {
        let port = port_of(&action.port, Some(target.container));
        match address(action.host.as_deref(), target.ip, port).await {
            Ok(address) => connect(address)
                .await
                .map_or_else(Answer::Bad, |_| Answer::Good),
            Err(message) => Answer::Bad(message),
        }
    } else if let Some(action) = &spec.grpc {
        grpc::check(action, target.ip).await
    } else {
        return ProbeOutcome::Unknown("the probe names no action".to_owned());
    };
    match answer {
        Answer::Good => ProbeOutcome::Success,
        Answer::Bad(message) => ProbeOutcome::Failure(message),
    }
}

fn timed_out(target: &Target<'_>, spec: &Probe, timeout: Duration) -> String {
    let seconds = timeout.as_secs();
    if let Some(action) = &spec.exec {
        let command = action.command.clone().unwrap_or_default().join(" ");
        return format!("command timed out: {command:?} timed out after {seconds}s");
    }
    if let Some(action) = &spec.http_get {
        let url = url(action, Some(target.container), target.ip);
        return format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        );
    }
    if let Some(action) = &spec.grpc {
        let service = action.service.as_deref().unwrap_or_default();
        return format!(
            "timeout: health rpc for service {service:?} did not complete within {seconds}s"
        );
    }
    let port = spec
        .tcp_socket
        .as_ref()
        .and_then(|a| port_of(&a.port, Some(target.container)));
    let ip = target.ip.map(|ip| ip.to_string()).unwrap_or_default();
    format!("dial tcp {ip}:{}: i/o timeout", port.unwrap_or(0))
}

/// Runs a command in a container to its end; exit code and the beginning of its output.
pub(crate) async fn exec(
    runtime: &Arc<dyn Runtime>,
    id: &ContainerId,
    command: Vec<String>,
) -> Result<(i32, String), String> {
    let spec = ExecSpec {
        command,
        terminal: None,
        stdin: false,
        env: Vec::new(),
    };
    let session = runtime.exec(id, &spec).await;
    let mut session = session.map_err(|error| error.to_string())?;
    let mut output = Vec::new();
    while let Some(chunk) = session.output.recv().await {
        let (ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes)) = chunk;
        let left = PROBE_ANSWER_BYTES.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(left)]);
    }
    let exit = match session.exit.await {
        Ok(exit) => exit.map_err(|error| error.to_string())?,
        Err(_) => return Err("the command's end was not seen".to_owned()),
    };
    Ok((
        exit.exit_code,
        String::from_utf8_lossy(&output).into_owned(),
    ))
}

/// A port by number, or by the name that the container gives it.
fn port_of(port: &IntOrString, container: Option<&Container>) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let ports = container.into_iter().flat_map(|c| c.ports.iter().flatten());
            let named = ports
                .filter(|port| port.name.as_deref() == Some(name))
                .find_map(|port| u16::try_from(port.container_port).ok());
            named.or_else(|| name.parse().ok())
        }
    }
}

async fn address(
    host: Option<&str>,
    ip: Option<IpAddr>,
    port: Option<u16>,
) -> Result<SocketAddr, String> {
    let port = port.ok_or("the probe's port is not one of the container's")?;
    match host.filter(|host| !host.is_empty()) {
        None => {
            let ip = ip.ok_or("the pod has no address yet")?;
            Ok(SocketAddr::new(ip, port))
        }
        Some(host) => {
            let mut found = tokio::net::lookup_host((host, port))
                .await
                .map_err(|error| format!("lookup {host}: {error}"))?;
            found
                .next()
                .ok_or_else(|| format!("lookup {host}: no such host"))
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address)
        .await
        .map_err(|error| format!("dial tcp {address}: connect: {}", words(&error)))
}

/// As Go writes the errors that people know.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        _ => error.to_string(),
    }
}

fn is_https(action: &HTTPGetAction) -> bool {
    action.scheme.as_deref() == Some("HTTPS")
}

fn url(action: &HTTPGetAction, container: Option<&Container>, ip: Option<IpAddr>) -> String {
    let scheme = if is_https(action) { "https" } else { "http" };
    let host = action.host.clone().filter(|host| !host.is_empty());
    let host = host.unwrap_or_else(|| match ip {
        Some(IpAddr::V6(ip)) => format!("[{ip}]"),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        None => String::new(),
    });
    let port = port_of(&action.port, container).unwrap_or(0);
    format!("{scheme}://{host}:{port}{}", path(action))
}

fn path(action: &HTTPGetAction) -> String {
    let path = action.path.as_deref().unwrap_or("/");
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

/// One GET. Good is 200 to 399, as for kubelet; certificates are not verified, as for kubelet.
pub(crate) async fn http_get(
    action: &HTTPGetAction,
    container: Option<&Container>,
    ip: Option<IpAddr>,
) -> Answer {
    let status = match try_get(action, container, ip).await {
        Ok(status) => status,
        Err(message) => {
            let url = url(action, container, ip);
            return Answer::Bad(format!("Get {url:?}: {message}"));
        }
    };
    if (200..400).contains(&status) {
        Answer::Good
    } else {
        Answer::Bad(format!("HTTP probe failed with statuscode: {status}"))
    }
}

async fn try_get(
    action: &HTTPGetAction,
    container: Option<&Container>,
    ip: Option<IpAddr>,
) -> Result<u16, String> {
    let port = port_of(&action.port, container);
    let address = address(action.host.as_deref(), ip, port).await?;
    let stream = connect(address).await?;
    let request = request(action, address)?;
    if is_https(action) {
        send(
            TokioIo::new(tls::connect(stream, address.ip()).await?),
            request,
        )
        .await
    } else {
        send(TokioIo::new(stream), request).await
    }
}

fn request(
    action: &HTTPGetAction,
    address: SocketAddr,
) -> Result<hyper::Request<Empty<Bytes>>, String> {
    let mut builder = hyper::Request::get(path(action));
    let mut has = (false, false);
    for header in action.http_headers.iter().flatten() {
        has.0 |= header.name.eq_ignore_ascii_case("host");
        has.1 |= header.name.eq_ignore_ascii_case("user-agent");
        builder = builder.header(header.name.as_str(), header.value.as_str());
    }
    if !has.0 {
        let host = action.host.clone().filter(|host| !host.is_empty());
        let host = host.map_or_else(
            || address.to_string(),
            |h| format!("{h}:{}", address.port()),
        );
        builder = builder.header("host", host);
    }
    if !has.1 {
        builder = builder.header("user-agent", "kube-probe/1.36");
    }
    builder
        .header("accept", "*/*")
        .header("connection", "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

async fn send<S>(stream: TokioIo<S>, request: hyper::Request<Empty<Bytes>>) -> Result<u16, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(stream).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let answered = sender.send_request(request).await;
    let result = match answered {
        Ok(response) => {
            let status = response.status().as_u16();
            read_some(response.into_body()).await;
            Ok(status)
        }
        Err(error) => Err(error.to_string()),
    };
    driver.abort();
    result
}

/// Reads a little of the answer, so that a program which writes it is not cut off at once.
async fn read_some(mut body: hyper::body::Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read >= PROBE_ANSWER_BYTES {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
