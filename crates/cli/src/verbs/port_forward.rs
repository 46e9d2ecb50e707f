//! `port-forward`: local ports that lead to a pod's.

use crate::{
    console::Console, error::CliError, exit, fields, limits, pods, resources::Resource,
    session::Session,
};
use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, SelectAll},
};
use pontoon_client::streams::ForwardError;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;

/// Arguments of `port-forward`.
#[derive(Debug, clap::Args)]
pub struct PortForwardArgs {
    /// POD or TYPE/NAME such as svc/web.
    #[arg(value_name = "POD | TYPE/NAME")]
    pub target: String,
    /// PORT, LOCAL:REMOTE, or :REMOTE for any free local port.
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    pub ports: Vec<String>,
    /// Local addresses to listen on.
    #[arg(
        long,
        default_value = "localhost",
        value_delimiter = ',',
        value_name = "ADDRESS"
    )]
    pub address: Vec<String>,
}

/// A listener, and where its connections go.
struct Listening {
    listener: TcpListener,
    local: SocketAddr,
    remote: u16,
}

impl PortForwardArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let (resource, name) = pods::parse(session, &self.target).await?;
        let pod = pods::one(session, &resource, &name).await?.value;
        let phase = fields::text(&pod, "/status/phase");
        if phase != "Running" {
            return Err(CliError::hinted(
                format!(
                    "unable to forward port because pod is not running. Current status={phase}"
                ),
                format!("`pontoon why pod/{}` says why", fields::name(&pod)),
            ));
        }
        let whole = session.get(&resource, &name).await?.value;
        let mut listening = Vec::new();
        for text in &self.ports {
            let (local, remote) = ports(text)?;
            let remote = target_port(&resource, &whole, &pod, &remote)?;
            // Without a local port, the same as the remote one.
            listening.extend(self.listen(local.unwrap_or(remote), remote).await?);
        }
        for port in &listening {
            console.line(&format!(
                "Forwarding from {} -> {}",
                port.local, port.remote
            ))?;
        }
        carry(session, console, &pod, listening).await
    }

    async fn listen(&self, local: u16, remote: u16) -> Result<Vec<Listening>, CliError> {
        let mut listening: Vec<Listening> = Vec::new();
        let mut refused = None;
        for address in self.address.iter().flat_map(|address| addresses(address)) {
            let address = address?;
            // Of several addresses, all get the port that the first one got.
            let local = listening.first().map_or(local, |first| first.local.port());
            match TcpListener::bind((address, local)).await {
                Ok(listener) => {
                    let local = listener.local_addr()?;
                    listening.push(Listening {
                        listener,
                        local,
                        remote,
                    });
                }
                Err(error) => refused = Some((address, error)),
            }
        }
        match refused {
            // A machine without IPv6 still has localhost.
            Some((address, error)) if listening.is_empty() => Err(CliError::hinted(
                format!("unable to listen on port {local} of {address}: {error}"),
                format!("choose another local port, such as :{remote}"),
            )),
            _ => Ok(listening),
        }
    }
}

fn addresses(text: &str) -> Vec<Result<IpAddr, CliError>> {
    if text == "localhost" {
        return vec![
            Ok(Ipv4Addr::LOCALHOST.into()),
            Ok(Ipv6Addr::LOCALHOST.into()),
        ];
    }
    vec![
        text.parse()
            .map_err(|_| CliError::usage(format!("invalid ip address: {text}"))),
    ]
}

/// Carries connections until interrupted.
async fn carry(
    session: &Session,
    console: &mut Console,
    pod: &Value,
    listening: Vec<Listening>,
) -> Result<u8, CliError> {
    let (namespace, name) = (fields::namespace(pod), fields::name(pod));
    let mut accepted = SelectAll::new();
    for Listening {
        listener,
        local,
        remote,
    } in listening
    {
        accepted.push(
            TcpListenerStream::new(listener).map(move |stream| (stream, local.port(), remote)),
        );
    }
    let mut open: FuturesUnordered<BoxFuture<'_, (u16, Result<(), ForwardError>)>> =
        FuturesUnordered::new();
    let mut interrupted = Box::pin(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(exit::OK),
            Some((port, ended)) = open.next(), if !open.is_empty() => {
                if let Err(error) = ended {
                    console.note(&format!("error: forwarding port {port}: {}", told(&error)));
                }
            }
            // More callers wait in the listener's own queue.
            next = accepted.next(), if open.len() < limits::FORWARD_CONNECTIONS => {
                let Some((stream, local, remote)) = next else { return Ok(exit::OK) };
                match stream {
                    Ok(stream) => {
                        console.line(&format!("Handling connection for {local}"))?;
                        open.push(relay(session, namespace, name, stream, remote).map(move |ended| (remote, ended)).boxed());
                    }
                    Err(error) => console.note(&format!("error: accepting a connection: {error}")),
                }
            }
        }
    }
}

async fn relay(
    session: &Session,
    namespace: &str,
    pod: &str,
    stream: TcpStream,
    remote: u16,
) -> Result<(), ForwardError> {
    session
        .client
        .port_forward(namespace, pod, remote)
        .await?
        .relay(stream)
        .await
}

fn told(error: &ForwardError) -> String {
    match error {
        ForwardError::Local(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Reads `PORT`, `LOCAL:REMOTE` or `:REMOTE`; the remote one may be a name.
fn ports(text: &str) -> Result<(Option<u16>, String), CliError> {
    let wrong = || {
        CliError::usage(format!(
            "error parsing port {text:?}: use PORT, LOCAL:REMOTE or :REMOTE"
        ))
    };
    let (local, remote) = match text.split_once(':') {
        None => (None, text),
        Some(("", remote)) => (Some(0), remote),
        Some((local, remote)) => (Some(local.parse().map_err(|_| wrong())?), remote),
    };
    if remote.is_empty() || remote == "0" || remote.contains(':') {
        return Err(wrong());
    }
    Ok((local, remote.to_owned()))
}

/// The pod's port that is meant: of a Service, what its port leads to.
fn target_port(
    resource: &Resource,
    object: &Value,
    pod: &Value,
    remote: &str,
) -> Result<u16, CliError> {
    let mut wanted = Value::from(remote);
    if resource.plural == "services" {
        let number = remote.parse::<i64>().ok();
        let port = fields::list(object, "/spec/ports")
            .iter()
            .find(|port| match number {
                Some(number) => fields::integer(port, "/port") == Some(number),
                None => fields::text(port, "/name") == remote,
            });
        let port = port.ok_or_else(|| {
            CliError::usage(format!(
                "Service {} does not have a service port {remote}",
                fields::name(object)
            ))
        })?;
        let headless = fields::text(object, "/spec/clusterIP") == "None";
        let target = if headless {
            port.get("port")
        } else {
            port.get("targetPort").or(port.get("port"))
        };
        wanted = target.cloned().unwrap_or(wanted);
    }
    let named = |name: &str| {
        let containers = fields::list(pod, "/spec/containers").iter();
        let mut ports = containers.flat_map(|container| fields::list(container, "/ports"));
        ports
            .find(|port| fields::text(port, "/name") == name)
            .and_then(|port| fields::integer(port, "/containerPort"))
    };
    let number = match &wanted {
        Value::String(text) => text.parse().ok().or_else(|| named(text)),
        other => other.as_i64(),
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| {
            CliError::usage(format!(
                "pod {} has no port {}",
                fields::name(pod),
                fields::plain(&wanted)
            ))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resources::Catalog;
    use serde_json::json;

    proptest::proptest! {
        #[test]
        fn any_text_is_ports_or_not(text in r"[0-9a-c:]{0,12}|\PC{0,12}") {
            let _ = ports(&text);
        }
    }

    #[test]
    fn ports_are_local_and_remote() {
        let read = |text| ports(text).unwrap();
        assert_eq!(read("80"), (None, "80".to_owned()));
        assert_eq!(read("8080:80"), (Some(8080), "80".to_owned()));
        assert_eq!(read(":http"), (Some(0), "http".to_owned()));
        for wrong in ["", "a:80", "1:2:3", "99999:80", "80:", "80:0"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_services_port_leads_to_its_target() {
        let catalog = Catalog::builtin();
        let (services, pods) = (catalog.find("svc").unwrap(), catalog.find("pods").unwrap());
        let service = json!({"spec": {"clusterIP": "10.0.0.1", "ports": [
            {"name": "http", "port": 80, "targetPort": "web"}, {"name": "other", "port": 81, "targetPort": 9000}]}});
        let pod =
            json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}});
        let port = |resource, remote| target_port(resource, &service, &pod, remote).ok();
        assert_eq!(port(services, "80"), Some(8080));
        assert_eq!(port(services, "http"), Some(8080));
        assert_eq!(port(services, "81"), Some(9000));
        assert_eq!(port(services, "8080"), None);
        assert_eq!(port(pods, "web"), Some(8080));
        assert_eq!(port(pods, "5"), Some(5));
        assert_eq!(port(pods, "none"), None);
    }
}
