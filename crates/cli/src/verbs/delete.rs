//! `delete`: objects by name, file or selector; by default until they are gone.

use super::written::{DryRun, DryRunArgs};
use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    globals::duration,
    progress::Progress,
    session::Session,
    subjects::{self, Subject, SubjectArgs},
    watching::{self, Watched},
};
use pontoon_client::DeleteOptions;
use std::{ops::ControlFlow, time::Duration};

/// What becomes of the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Cascade {
    /// They are deleted afterwards.
    #[value(alias = "true")]
    Background,
    /// They are deleted first.
    Foreground,
    /// They are left alone.
    #[value(alias = "false")]
    Orphan,
}

/// Arguments of `delete`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
    /// Seconds that pods have to end; 0 with --force ends them at once.
    #[arg(
        long,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        default_value = "-1"
    )]
    pub grace_period: i64,
    /// Do not wait for pods to end.
    #[arg(long)]
    pub force: bool,
    /// Give pods one second to end.
    #[arg(long)]
    pub now: bool,
    /// What becomes of owned objects.
    #[arg(long, value_enum, default_value = "background", num_args = 0..=1, require_equals = true, default_missing_value = "background")]
    pub cascade: Cascade,
    /// Wait until the objects are gone.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub wait: bool,
    /// Give up waiting after this long (0 for never).
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0")]
    pub timeout: Duration,
    /// What does not exist is no error.
    #[arg(long)]
    pub ignore_not_found: bool,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub dry_run: DryRunArgs,
    /// name prints only what was deleted.
    #[arg(short, long, value_parser = ["name"])]
    pub output: Option<String>,
}

impl DeleteArgs {
    pub(crate) async fn run(
        mut self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        self.settle(console)?;
        let subjects = self.subjects.find(session, console).await?;
        if subjects.is_empty() {
            if !self.ignore_not_found {
                subjects::nothing_found(console, session, &self.subjects.select, false);
            }
            return Ok(exit::OK);
        }
        let selected = self.subjects.all || !self.subjects.select.is_empty();
        let mut code = exit::OK;
        let mut deleted = Vec::new();
        for subject in subjects {
            match self.delete(session, &subject).await {
                Ok(uid) => {
                    self.tell(console, &subject)?;
                    deleted.push((subject, uid));
                }
                // Of a selection, another may have deleted it since it was listed.
                Err(error) if error.is_not_found() && (self.ignore_not_found || selected) => {}
                Err(error @ CliError::Server(_)) => {
                    console.note(&error.report().unwrap_or_default());
                    code = exit::ERROR;
                }
                Err(error) => return Err(error),
            }
        }
        if self.wait && self.dry_run.dry_run == DryRun::None {
            self.wait_until_gone(session, console, &deleted).await?;
        }
        Ok(code)
    }

    /// Makes one of the flags about grace, as kubectl does.
    fn settle(&mut self, console: &mut Console) -> Result<(), CliError> {
        if self.now {
            if self.grace_period != -1 {
                return Err(CliError::usage(
                    "--now and --grace-period cannot be specified together",
                ));
            }
            self.grace_period = 1;
        }
        if self.force && self.grace_period > 0 {
            return Err(CliError::usage(
                "--force and --grace-period greater than 0 cannot be specified together",
            ));
        }
        if self.force {
            self.grace_period = 0;
            console.note(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been \
                 terminated. The resource may continue to run on the cluster indefinitely.",
            );
        } else if self.grace_period == 0 {
            // Without --force nobody means to lose track of a running process.
            self.grace_period = 1;
        }
        Ok(())
    }

    /// Deletes one; gives its uid.
    async fn delete(&self, session: &Session, subject: &Subject) -> Result<String, CliError> {
        let policy = match self.cascade {
            Cascade::Background => "Background",
            Cascade::Foreground => "Foreground",
            Cascade::Orphan => "Orphan",
        };
        let uid = subject
            .found
            .as_ref()
            .map(|found| fields::text(&found.value, "/metadata/uid"))
            .unwrap_or("");
        if self.dry_run.dry_run == DryRun::Client {
            subject.get(session).await?;
            return Ok(uid.to_owned());
        }
        let options = DeleteOptions {
            grace_period_seconds: (self.grace_period >= 0).then_some(self.grace_period),
            propagation_policy: policy.to_owned(),
            // What was selected is deleted, not what came to its name since.
            uid: uid.to_owned(),
            dry_run: self.dry_run.dry_run == DryRun::Server,
            ..DeleteOptions::default()
        };
        let target = subject.resource.target(&subject.namespace, &subject.name);
        let deleted = session.client.delete(target, options).await?;
        Ok(deleted
            .first()
            .map(|object| object.uid.clone())
            .unwrap_or_default())
    }

    fn tell(&self, console: &mut Console, subject: &Subject) -> Result<(), CliError> {
        if self.output.is_some() {
            console.line(&subject.shown())?;
            return Ok(());
        }
        let action = if self.grace_period == 0 {
            "force deleted"
        } else {
            "deleted"
        };
        let place = if subject.resource.namespaced {
            format!(" from {} namespace", subject.namespace)
        } else {
            String::new()
        };
        console.line(&format!(
            "{} {:?} {action}{}{place}",
            subject.resource.qualified_kind(),
            subject.name,
            self.dry_run.dry_run.suffix()
        ))?;
        Ok(())
    }

    async fn wait_until_gone(
        &self,
        session: &Session,
        console: &mut Console,
        deleted: &[(Subject, String)],
    ) -> Result<(), CliError> {
        let limit = (self.timeout > Duration::ZERO).then_some(self.timeout);
        let progress = Progress::new(console.terminal(), "waiting".to_owned());
        for (subject, uid) in deleted {
            progress.set(format!("waiting until {} is gone", subject.shown()));
            let watched = Watched {
                resource: subject.resource.clone(),
                namespace: subject.namespace.clone(),
                name: subject.name.clone(),
            };
            let gone = watching::until(session, &watched, limit, |object| {
                Ok(match object {
                    Some(object)
                        if uid.is_empty() || fields::text(object, "/metadata/uid") == uid =>
                    {
                        ControlFlow::Continue(())
                    }
                    _ => ControlFlow::Break(()),
                })
            })
            .await?;
            if gone.is_none() {
                return Err(CliError::hinted(
                    format!(
                        "timed out waiting for the condition on {}/{}",
                        subject.resource.plural, subject.name
                    ),
                    "a finalizer may hold it: `pontoon get -o yaml` shows metadata.finalizers",
                ));
            }
        }
        Ok(())
    }
}
