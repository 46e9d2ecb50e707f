//! `pontoon dev`: a whole cluster in this process.
//!
//! With root the node is the machine itself. Without, it lies in namespaces of our own: they are entered before any thread
//! exists, after the API's listener was bound outside, so that it is reached from outside all the same (see
//! `pontoon_network::rootless`). Where that is forbidden, pods share the machine's network, and we say what that costs.

use crate::config::Config;
use crate::node::{Ground, Network, Node, Place, USER_AGENT};
use crate::wiring::{ControlPlane, Process, Reached};
use crate::{HOLD, lock, myself, place, shutdown, wiring};
use anyhow::{Context as _, anyhow};
use pontoon_client::transport::{self, Transport};
use pontoon_network::rootless::{self, EnterError};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Runs a cluster until it is told to end.
pub(crate) fn run(config: Config, keep_pods: bool) -> anyhow::Result<()> {
    let began = Instant::now();
    let data_dir = wiring::make_data_dir(&config)?;
    let lock = lock::take(&data_dir, "dev.lock")?;
    let listener = wiring::bind(config.listen, "--listen")?;
    let holder_dir = data_dir.join("holder");
    let place = enter(&holder_dir)?;
    let inside = matches!(place, Place::Inside(_));
    let runtime = wiring::runtime()?;
    let process = runtime.block_on(async { Process::start(&config) })?;
    let ended = runtime.block_on(Box::pin(cluster(
        &config, &process, data_dir, listener, place, keep_pods, began,
    )));
    drop(process);
    drop(runtime);
    // After an error pods of an earlier run may still be inside: they stay.
    if inside && !keep_pods && ended.is_ok() {
        rootless::dissolve(&holder_dir).context("the node's namespaces cannot be taken down")?;
    }
    drop(lock);
    ended
}

/// Finds the place for the node. Must run before any thread exists.
fn enter(holder_dir: &Path) -> anyhow::Result<Place> {
    if nix::unistd::geteuid().is_root() {
        return Ok(Place::Machine);
    }
    let options = rootless::Options {
        state_dir: holder_dir.to_owned(),
        holder_command: myself(HOLD),
    };
    match rootless::enter(&options) {
        Ok(entered) => Ok(Place::Inside(entered)),
        Err(error @ EnterError::Forbidden { .. }) => Ok(Place::Shared(format!("{error}."))),
        Err(error) => Err(error).context("namespaces for the node cannot be entered"),
    }
}

async fn cluster(
    config: &Config,
    process: &Process,
    data_dir: PathBuf,
    listener: TcpListener,
    node_place: Place,
    keep_pods: bool,
    began: Instant,
) -> anyhow::Result<()> {
    let outside = listener
        .local_addr()
        .context("the listener has no address")?;
    let ground = Ground::of_dev(config)?;
    let network = Network::start(&ground, &data_dir, node_place).await?;
    let inside = network
        .api_address(outside.port())
        .filter(|_| !outside.ip().is_unspecified() || nix::unistd::geteuid().is_root());
    let place = place::found_or_open(&data_dir.join("server"), &process.world)?;
    let reached = Reached {
        inside,
        addresses: None,
    };
    let mut control = Box::pin(ControlPlane::start(
        config,
        process,
        data_dir.clone(),
        place,
        reached,
    ))
    .await?;
    control.admission().await?;
    control.serve(listener)?;
    if let Some(inside) = inside {
        serve_inside(&mut control, inside, outside)?;
    }
    control.bootstrap().await?;
    let tls = control.node_tls(&config.node_name)?;
    let dial = Transport::new(&transport::Config {
        servers: vec![format!("https://{}", inside.unwrap_or(outside))],
        server_name: None,
        tls,
        user_agent: USER_AGENT.into(),
    })?;
    let node = Box::pin(Node::start(
        &ground,
        &data_dir,
        network,
        Arc::new(dial),
        &process.world,
    ))
    .await?;
    let run = async {
        node.joined().await;
        announce(config, &control, &node, keep_pods, began);
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        asked = shutdown::requested() => asked.context("signals cannot be waited for"),
        why = control.fatal() => Err(anyhow!("the replica stopped: {why}")),
        () = run => Ok(()),
    };
    // A store that failed says nothing about the pods: they stay.
    let stopped = node.stop(keep_pods || ended.is_err()).await;
    control.stop().await;
    ended.and(stopped)
}

/// The way in for the node and its pods. Where everything is listened on already, there is one.
fn serve_inside(
    control: &mut ControlPlane,
    inside: std::net::SocketAddr,
    outside: std::net::SocketAddr,
) -> anyhow::Result<()> {
    match wiring::bind(inside, "--listen") {
        Ok(listener) => control.serve(listener),
        Err(_) if outside.ip().is_unspecified() => Ok(()),
        Err(error) => Err(error),
    }
}

fn announce(config: &Config, control: &ControlPlane, node: &Node, keep_pods: bool, began: Instant) {
    let kubeconfig = control.kubeconfig();
    println!(
        "Pontoon {} is ready after {:.2} s.",
        env!("CARGO_PKG_VERSION"),
        began.elapsed().as_secs_f64()
    );
    println!(
        "  API         https://{} (Kubernetes v1.36)",
        control.address()
    );
    println!("  kubeconfig  {}", kubeconfig.display());
    println!("  data        {}", config.data_dir.display());
    println!(
        "  node        {}: pods in {}, services in {}, names in {}",
        config.node_name, config.pod_cidr, config.service_cidr, config.cluster_domain
    );
    for word in node.words() {
        println!("  - {word}");
    }
    println!(
        "Try:  pontoon --kubeconfig {0} get nodes   or   export KUBECONFIG={0}",
        kubeconfig.display()
    );
    let pods = if keep_pods {
        "leaves its pods running"
    } else {
        "ends its pods too (--keep-pods leaves them)"
    };
    println!("Ctrl-C ends the cluster; it {pods}.");
}
