//! `pontoon server`: the control plane alone.

use crate::config::Config;
use crate::wiring::{ControlPlane, Process};
use crate::{shutdown, wiring};
use anyhow::Context as _;

/// Runs a server until it is told to end.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let data_dir = wiring::make_data_dir(&config)?;
    let listener = wiring::bind(config.listen)?;
    // Loopback is nobody's way in from elsewhere, and 0.0.0.0 no address to go to.
    let reachable = listener
        .local_addr()
        .ok()
        .filter(|address| !address.ip().is_loopback() && !address.ip().is_unspecified());
    let runtime = wiring::runtime()?;
    let process = runtime.block_on(async { Process::start(&config) })?;
    let ended = runtime.block_on(async {
        let mut control =
            Box::pin(ControlPlane::start(&config, &process, data_dir, reachable)).await?;
        control.serve(listener)?;
        control.bootstrap().await?;
        println!(
            "Pontoon {} serves https://{}; kubeconfig: {}",
            env!("CARGO_PKG_VERSION"),
            control.address(),
            control.kubeconfig().display()
        );
        let ended = tokio::select! {
            asked = shutdown::requested() => asked.context("signals cannot be waited for"),
            why = control.fatal() => Err(anyhow::anyhow!("the replica stopped: {why}")),
        };
        control.stop().await;
        ended
    });
    drop(process);
    ended
}
