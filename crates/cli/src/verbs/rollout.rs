//! `rollout`: how a Deployment comes from one version to the next, and back.

pub mod history;
pub mod status;
pub mod undo;

use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    session::{Found, Session, found},
    subjects::{Subject, SubjectArgs},
    verbs::written::{self, DryRun},
};
use pontoon_client::api::Patch;
use serde_json::{Value, json};

/// What to do with a rollout.
#[derive(Debug, clap::Subcommand)]
pub enum Rollout {
    /// Follow it to its end.
    Status(status::StatusArgs),
    /// Show its revisions.
    History(history::HistoryArgs),
    /// Go back to an earlier revision.
    Undo(undo::UndoArgs),
    /// Begin no further steps.
    Pause(SteerArgs),
    /// Go on.
    Resume(SteerArgs),
    /// Replace every pod by one of the same kind.
    Restart(SteerArgs),
}

/// Arguments of `pause`, `resume` and `restart`.
#[derive(Debug, clap::Args)]
pub struct SteerArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
}

impl Rollout {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        match self {
            Self::Status(args) => args.run(session, console).await,
            Self::History(args) => args.run(session, console).await,
            Self::Undo(args) => args.run(session, console).await,
            Self::Pause(args) => args.steer(session, console, pause).await,
            Self::Resume(args) => args.steer(session, console, resume).await,
            Self::Restart(args) => {
                let now = session.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                args.steer(session, console, |deployment| restart(deployment, &now))
                    .await
            }
        }
    }
}

impl SteerArgs {
    async fn steer(
        self,
        session: &Session,
        console: &mut Console,
        change: impl Fn(&Value) -> Result<(Value, &'static str), &'static str>,
    ) -> Result<u8, CliError> {
        let mut code = exit::OK;
        for subject in deployments(&self.subjects, session, console).await? {
            let before = subject.get(session).await?;
            match change(&before.value) {
                Ok((patch, done)) => {
                    let after = merge(session, &subject, patch).await?;
                    written::report(console, None, &[(after, done)], DryRun::None)?;
                }
                Err(why) => {
                    console.note(&format!(
                        "error: {} {:?} {why}",
                        subject.resource.qualified_plural(),
                        subject.name
                    ));
                    code = exit::ERROR;
                }
            }
        }
        Ok(code)
    }
}

fn pause(deployment: &Value) -> Result<(Value, &'static str), &'static str> {
    if fields::is_true(deployment, "/spec/paused") {
        return Err("is already paused");
    }
    Ok((json!({"spec": {"paused": true}}), "paused"))
}

fn resume(deployment: &Value) -> Result<(Value, &'static str), &'static str> {
    if !fields::is_true(deployment, "/spec/paused") {
        return Err("is not paused");
    }
    Ok((json!({"spec": {"paused": null}}), "resumed"))
}

fn restart(deployment: &Value, now: &str) -> Result<(Value, &'static str), &'static str> {
    if fields::is_true(deployment, "/spec/paused") {
        return Err("can't restart paused deployment (run rollout resume first)");
    }
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
    Ok((
        json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}),
        "restarted",
    ))
}

/// The Deployments that are named: nothing else rolls out.
async fn deployments(
    subjects: &SubjectArgs,
    session: &Session,
    console: &mut Console,
) -> Result<Vec<Subject>, CliError> {
    let found = subjects.find(session, console).await?;
    match found
        .iter()
        .find(|subject| subject.resource.kind != "Deployment")
    {
        None => Ok(found),
        Some(other) => Err(CliError::usage(format!(
            "{} {:?} has no rollout: only deployments have",
            other.resource.qualified_plural(),
            other.name
        ))),
    }
}

async fn merge(session: &Session, subject: &Subject, patch: Value) -> Result<Found, CliError> {
    let target = subject.resource.target(&subject.namespace, &subject.name);
    let patch = Patch::Merge(patch.to_string().into());
    let response = session
        .client
        .patch(target, patch, session.write_options(false))
        .await?;
    found(&subject.resource, &response.object.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_deployment_is_neither_paused_nor_restarted() {
        let paused = json!({"spec": {"paused": true}});
        assert_eq!(pause(&paused), Err("is already paused"));
        assert!(restart(&paused, "").is_err());
        assert_eq!(resume(&json!({})), Err("is not paused"));
        assert_eq!(resume(&paused).map(|(_, done)| done), Ok("resumed"));
    }
}
