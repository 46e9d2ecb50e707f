//! When to end.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for a request to end: SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal went).
pub(crate) async fn requested() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}
