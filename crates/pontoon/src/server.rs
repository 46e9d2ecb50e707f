//! `pontoon server`: the control plane alone, one server of a cluster.

use crate::config::Config;
use crate::joining::{self, Addresses};
use crate::place::{self, Found, Place};
use crate::wiring::{ControlPlane, Process, Reached};
use crate::{shutdown, wiring};
use anyhow::{Context as _, anyhow, bail};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// What the server listens with.
struct Listeners {
    api: TcpListener,
    peers: TcpListener,
}

/// Runs a server until it is told to end.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let data_dir = wiring::make_data_dir(&config)?;
    let listeners = Listeners {
        api: wiring::bind(config.listen, "--listen")?,
        peers: wiring::bind(config.peer_listen, "--peer-listen")?,
    };
    let runtime = wiring::runtime()?;
    let process = runtime.block_on(async { Process::start(&config) })?;
    let ended = runtime.block_on(Box::pin(serve(config, &process, &data_dir, listeners)));
    drop(process);
    ended
}

async fn serve(
    mut config: Config,
    process: &Process,
    data_dir: &Path,
    listeners: Listeners,
) -> anyhow::Result<()> {
    let addresses = addresses(&config, &listeners)?;
    let directory = data_dir.join("server");
    let place = tokio::select! {
        place = place(&config, process, &directory, &addresses) => place?,
        asked = shutdown::requested() => return asked.context("signals cannot be waited for"),
    };
    place.settle(&mut config)?;
    // Loopback is nobody's way in from elsewhere.
    let inside = addresses.api.parse().ok();
    let reached = Reached {
        inside: inside.filter(|address: &SocketAddr| !address.ip().is_loopback()),
        addresses: Some(addresses),
    };
    let control = ControlPlane::start(&config, process, data_dir.to_owned(), place, reached);
    let mut control = Box::pin(control).await?;
    let fatal = control.fatal();
    let run = async {
        control.serve_peers(listeners.peers).await?;
        control.serve(listeners.api)?;
        control.bootstrap().await?;
        println!(
            "Pontoon {} serves https://{} as member {}; kubeconfig: {}",
            env!("CARGO_PKG_VERSION"),
            control.address(),
            control.member(),
            control.kubeconfig().display()
        );
        std::future::pending::<anyhow::Result<()>>().await
    };
    let ended = tokio::select! {
        asked = shutdown::requested() => asked.context("signals cannot be waited for"),
        why = fatal => Err(anyhow!("the replica stopped: {why}")),
        ended = run => ended,
    };
    control.stop().await;
    ended
}

/// The place this server has, or gets.
async fn place(
    config: &Config,
    process: &Process,
    directory: &Path,
    addresses: &Addresses,
) -> anyhow::Result<Place> {
    let attempt = match place::look(directory)? {
        Found::Member(place) => {
            if config.join.is_some() {
                println!(
                    "Note: this data directory is member {} of cluster {} already; --join is not needed, and does nothing",
                    place.member, place.cluster
                );
            }
            return Ok(place);
        }
        Found::Joining(attempt) => Some(attempt),
        Found::Nothing => None,
    };
    match (&config.join, &config.token) {
        (Some(url), Some(token)) => {
            let joined = joining::join(directory, url, token, attempt, addresses, &process.world);
            joined.await
        }
        (Some(_), None) => bail!(
            "to join a cluster takes a token: make one with `pontoon cluster token create --role server` and give it with \
             --token or PONTOON_TOKEN"
        ),
        (None, Some(_)) => bail!(
            "a token without a cluster: say which server to join, with --join https://HOST:PORT"
        ),
        (None, None) => place::found_or_open(directory, &process.world),
    }
}

/// Where this server is to be reached.
fn addresses(config: &Config, listeners: &Listeners) -> anyhow::Result<Addresses> {
    let bound =
        |listener: &TcpListener| listener.local_addr().context("the listener has no address");
    let (api, peers) = (bound(&listeners.api)?, bound(&listeners.peers)?);
    let (api_host, api_port) = match &config.advertise {
        Some((host, port)) => (host.clone(), port.unwrap_or(api.port())),
        None => (host_of(api, config, "--advertise")?, api.port()),
    };
    let (peer_host, peer_port) = match (&config.peer_advertise, &config.advertise) {
        (Some((host, port)), _) => (host.clone(), port.unwrap_or(peers.port())),
        (None, Some((host, _))) => (host.clone(), peers.port()),
        (None, None) => (host_of(peers, config, "--peer-advertise")?, peers.port()),
    };
    Ok(Addresses {
        peer: joined(&peer_host, peer_port),
        api: joined(&api_host, api_port),
    })
}

/// The host of an address; of "everywhere", the one that the machine's own routes choose.
fn host_of(address: SocketAddr, config: &Config, flag: &str) -> anyhow::Result<String> {
    if !address.ip().is_unspecified() {
        return Ok(address.ip().to_string());
    }
    let towards = config.join.as_ref().and_then(|url| {
        let rest = url.strip_prefix("https://")?;
        Some(rest.split('/').next()?.to_owned())
    });
    // Connecting a datagram socket sends nothing: it only asks the routes. The fallback is a documentation address (RFC 5737).
    let towards = towards
        .filter(|to| to.contains(':'))
        .unwrap_or_else(|| "192.0.2.1:9".into());
    let chosen = UdpSocket::bind((IpAddr::from([0, 0, 0, 0]), 0)).and_then(|socket| {
        socket.connect(towards)?;
        socket.local_addr()
    });
    match chosen {
        Ok(chosen) if !chosen.ip().is_unspecified() => Ok(chosen.ip().to_string()),
        _ => Err(anyhow!(
            "{address} is everywhere, and this machine has no route to choose from: say where the server is reached, with {flag}"
        )),
    }
}

fn joined(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
