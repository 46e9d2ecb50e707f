//! A network namespace of this run's own, so that a node's interfaces and rules touch nothing else
//! and end with it.

use nix::sched::{CloneFlags, unshare};
use std::process::Command;

/// Enters one, before any thread exists. Says in words where the run takes place.
pub fn enter() -> String {
    if !nix::unistd::Uid::effective().is_root() {
        return "the host's network (no root)".to_owned();
    }
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        return format!("the host's network (no namespace: {error})");
    }
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    match up {
        Ok(status) if status.success() => "a network namespace of its own".to_owned(),
        _ => "a network namespace of its own, whose loopback could not be set up".to_owned(),
    }
}
