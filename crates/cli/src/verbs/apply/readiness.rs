//! `apply --wait`: until what was applied does its work.

use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    progress::Progress,
    session::{Found, Session},
    verbs::rollout::status,
    watching::{self, Watched},
};
use serde_json::Value;
use std::{ops::ControlFlow, time::Duration};
use tokio::time::Instant;

/// Waits for each in turn; all share one time limit.
pub async fn wait(
    session: &Session,
    console: &mut Console,
    applied: &[(Found, &'static str)],
    timeout: Duration,
) -> Result<u8, CliError> {
    let end = Instant::now() + timeout;
    let progress = Progress::new(console.terminal(), "waiting".to_owned());
    for (found, _) in applied {
        let name = fields::name(&found.value);
        let shown = format!("{}/{name}", found.resource.qualified_kind());
        let watched = Watched {
            resource: found.resource.clone(),
            namespace: fields::namespace(&found.value).to_owned(),
            name: name.to_owned(),
        };
        let left = end.saturating_duration_since(Instant::now());
        let mut last = String::new();
        let ready = watching::until(session, &watched, Some(left), |object| {
            let Some(object) = object else {
                return Err(CliError::usage(format!(
                    "{shown} was deleted while it was waited for"
                )));
            };
            match readiness(&found.resource.kind, object)? {
                Readiness::Ready => Ok(ControlFlow::Break(())),
                Readiness::Waiting(why) => {
                    progress.set(format!("{shown}: {why}"));
                    last = why;
                    Ok(ControlFlow::Continue(()))
                }
            }
        })
        .await?;
        if ready.is_none() {
            return Err(CliError::hinted(
                format!("timed out waiting for {shown}: {last}"),
                format!("`pontoon why {shown}` says why it waits"),
            ));
        }
        progress.pause(|| console.line(&format!("{shown} ready")))?;
    }
    Ok(exit::OK)
}

#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    Waiting(String),
}

fn readiness(kind: &str, object: &Value) -> Result<Readiness, CliError> {
    Ok(match kind {
        "Deployment" => match status::of_deployment(object).map_err(CliError::usage)? {
            status::Progressed::Done(_) => Readiness::Ready,
            status::Progressed::Waiting(text) => {
                // kubectl's sentence begins with what is said already.
                let what = text
                    .split_once("rollout to finish: ")
                    .map_or(text.as_str(), |(_, what)| what);
                Readiness::Waiting(what.trim_end_matches('.').to_owned())
            }
        },
        "ReplicaSet" => {
            let wanted = fields::integer(object, "/spec/replicas").unwrap_or(1);
            let ready = fields::integer(object, "/status/readyReplicas").unwrap_or(0);
            if ready >= wanted {
                Readiness::Ready
            } else {
                Readiness::Waiting(format!("{ready} of {wanted} replicas are ready"))
            }
        }
        "Pod" => {
            let ready = fields::condition(object, "Ready")
                .is_some_and(|condition| fields::text(condition, "/status") == "True");
            match fields::text(object, "/status/phase") {
                "Failed" => {
                    return Err(CliError::usage(format!(
                        "pod {:?} failed",
                        fields::name(object)
                    )));
                }
                "Succeeded" => Readiness::Ready,
                _ if ready => Readiness::Ready,
                "" => Readiness::Waiting("pending".to_owned()),
                phase => Readiness::Waiting(phase.to_lowercase()),
            }
        }
        _ => Readiness::Ready,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_is_ready_in_its_own_way() {
        let ready =
            |kind: &str, object: Value| readiness(kind, &object).unwrap() == Readiness::Ready;
        assert!(ready("ConfigMap", json!({})));
        assert!(!ready("Pod", json!({"status": {"phase": "Running"}})));
        assert!(ready(
            "Pod",
            json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        ));
        assert!(ready("Pod", json!({"status": {"phase": "Succeeded"}})));
        assert!(readiness("Pod", &json!({"status": {"phase": "Failed"}})).is_err());
        assert!(!ready(
            "ReplicaSet",
            json!({"spec": {"replicas": 2}, "status": {"readyReplicas": 1}})
        ));
        assert!(ready("ReplicaSet", json!({"spec": {"replicas": 0}})));
    }
}
