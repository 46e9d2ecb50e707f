//! `rollout status`: how far a Deployment has come, in kubectl's words.

use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    globals::duration,
    session::Session,
    subjects::SubjectArgs,
    watching::{self, Watched},
};
use serde_json::Value;
use std::{ops::ControlFlow, time::Duration};

/// Arguments of `rollout status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
    /// Follow it to its end (=false looks once).
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub watch: bool,
    /// Give up after this long (0 for never).
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0")]
    pub timeout: Duration,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progressed {
    /// To the end; in words.
    Done(String),
    /// Not yet; in words.
    Waiting(String),
}

/// How far a Deployment has come; an error when it will not come further.
pub fn of_deployment(deployment: &Value) -> Result<Progressed, String> {
    let name = fields::name(deployment);
    let number = |pointer: &str| fields::integer(deployment, pointer).unwrap_or(0);
    if number("/metadata/generation") > number("/status/observedGeneration") {
        return Ok(Progressed::Waiting(
            "Waiting for deployment spec update to be observed...".to_owned(),
        ));
    }
    let stuck = fields::condition(deployment, "Progressing")
        .is_some_and(|condition| fields::text(condition, "/reason") == "ProgressDeadlineExceeded");
    if stuck {
        return Err(format!(
            "deployment {name:?} exceeded its progress deadline"
        ));
    }
    let wanted = fields::integer(deployment, "/spec/replicas").unwrap_or(1);
    let updated = number("/status/updatedReplicas");
    let available = number("/status/availableReplicas");
    let old = number("/status/replicas") - updated;
    let waiting = |what: String| {
        Ok(Progressed::Waiting(format!(
            "Waiting for deployment {name:?} rollout to finish: {what}..."
        )))
    };
    if updated < wanted {
        return waiting(format!(
            "{updated} out of {wanted} new replicas have been updated"
        ));
    }
    if old > 0 {
        return waiting(format!("{old} old replicas are pending termination"));
    }
    if available < updated {
        return waiting(format!(
            "{available} of {updated} updated replicas are available"
        ));
    }
    Ok(Progressed::Done(format!(
        "deployment {name:?} successfully rolled out"
    )))
}

impl StatusArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let limit = (self.timeout > Duration::ZERO).then_some(self.timeout);
        for subject in super::deployments(&self.subjects, session, console).await? {
            // What does not exist is a mistake, not something to wait for.
            subject.get(session).await?;
            let watched = Watched {
                resource: subject.resource.clone(),
                namespace: subject.namespace.clone(),
                name: subject.name.clone(),
            };
            let mut told = String::new();
            let done = watching::until(session, &watched, limit, |deployment| {
                let Some(deployment) = deployment else {
                    return Err(CliError::usage("object has been deleted"));
                };
                match of_deployment(deployment).map_err(CliError::usage)? {
                    Progressed::Done(text) => {
                        console.line(&text)?;
                        Ok(ControlFlow::Break(()))
                    }
                    Progressed::Waiting(text) => {
                        if text != told {
                            console.line(&text)?;
                            told = text;
                        }
                        Ok(if self.watch {
                            ControlFlow::Continue(())
                        } else {
                            ControlFlow::Break(())
                        })
                    }
                }
            })
            .await?;
            if done.is_none() {
                return Err(CliError::hinted(
                    "timed out waiting for the condition",
                    format!("`pontoon why {}` says why it waits", subject.shown()),
                ));
            }
        }
        Ok(exit::OK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(generation: i64, numbers: [i64; 4]) -> Value {
        let [wanted, replicas, updated, available] = numbers;
        json!({"metadata": {"name": "web", "generation": generation}, "spec": {"replicas": wanted},
               "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": updated,
                          "availableReplicas": available}})
    }

    #[test]
    fn progress_reads_as_kubectl_prints_it() {
        let waiting = |text: &str| Ok(Progressed::Waiting(text.to_owned()));
        assert_eq!(
            of_deployment(&deployment(2, [1, 1, 1, 1])),
            waiting("Waiting for deployment spec update to be observed...")
        );
        assert_eq!(
            of_deployment(&deployment(1, [3, 3, 1, 3])),
            waiting(
                "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated..."
            )
        );
        assert_eq!(
            of_deployment(&deployment(1, [3, 4, 3, 3])),
            waiting(
                "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination..."
            )
        );
        assert_eq!(
            of_deployment(&deployment(1, [3, 3, 3, 2])),
            waiting(
                "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available..."
            )
        );
        assert_eq!(
            of_deployment(&deployment(1, [3, 3, 3, 3])),
            Ok(Progressed::Done(
                "deployment \"web\" successfully rolled out".to_owned()
            ))
        );
    }

    #[test]
    fn a_missed_deadline_is_an_error() {
        let mut stuck = deployment(1, [3, 3, 1, 3]);
        stuck["status"]["conditions"] =
            json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
        assert_eq!(
            of_deployment(&stuck),
            Err("deployment \"web\" exceeded its progress deadline".to_owned())
        );
    }
}
