//! `postStart` and `preStop` hooks.

use crate::probes::{self, Answer};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use pontoon_runtime::{ContainerId, Runtime};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long an HTTP hook may take when nobody else sets a limit: kubelet's.
const HTTP_HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a hook to its end. `Err` says in words what failed.
pub(crate) async fn run(
    hook: &LifecycleHandler,
    runtime: &Arc<dyn Runtime>,
    id: &ContainerId,
    ip: Option<IpAddr>,
    container: Option<&Container>,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        return match probes::exec(runtime, id, command).await? {
            (0, _) => Ok(()),
            (code, output) => Err(format!("command exited with {code}: {output}")),
        };
    }
    if let Some(sleep) = &hook.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    if let Some(http) = &hook.http_get {
        let get = probes::http_get(http, container, ip);
        let answer = tokio::time::timeout(HTTP_HOOK_TIMEOUT, get).await;
        return match answer.map_err(|_| "no answer in time".to_owned())? {
            Answer::Good => Ok(()),
            Answer::Bad(message) => Err(message),
        };
    }
    // A TCP hook is no longer supported by Kubernetes: validation lets it pass and kubelet does nothing.
    Ok(())
}
