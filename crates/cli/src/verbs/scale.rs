//! `scale`: the number of replicas, through the subresource of that name.

use super::written::{self, DryRun, DryRunArgs};
use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    globals::duration,
    output::OutputArgs,
    session::Session,
    subjects::{Subject, SubjectArgs},
    watching::{self, Watched},
};
use pontoon_client::{api::Patch, target::subresource};
use serde_json::json;
use std::{ops::ControlFlow, time::Duration};

/// Arguments of `scale`.
#[derive(Debug, clap::Args)]
pub struct ScaleArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
    /// How many there shall be.
    #[arg(long, value_name = "COUNT")]
    pub replicas: u32,
    /// Only when there are this many.
    #[arg(long, value_name = "COUNT")]
    pub current_replicas: Option<i64>,
    /// Only at this resourceVersion.
    #[arg(long, value_name = "VERSION")]
    pub resource_version: Option<String>,
    /// Wait this long until there are as many.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub dry_run: DryRunArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub output: OutputArgs,
}

impl ScaleArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let subjects = self.subjects.find(session, console).await?;
        if subjects.is_empty() {
            return Err(CliError::usage("no objects passed to scale"));
        }
        for subject in subjects {
            self.scale(session, console, &subject).await?;
        }
        Ok(exit::OK)
    }

    async fn scale(
        &self,
        session: &Session,
        console: &mut Console,
        subject: &Subject,
    ) -> Result<(), CliError> {
        let mut metadata = json!({});
        if let Some(current) = self.current_replicas {
            let found = subject.get(session).await?;
            let actual = fields::integer(&found.value, "/spec/replicas").unwrap_or(1);
            if actual != current {
                return Err(CliError::usage(format!(
                    "Expected replicas to be {current}, was {actual}"
                )));
            }
            metadata["resourceVersion"] =
                fields::text(&found.value, "/metadata/resourceVersion").into();
        }
        if let Some(version) = &self.resource_version {
            metadata["resourceVersion"] = version.clone().into();
        }
        if self.dry_run.dry_run != DryRun::Client {
            let mut patch = json!({"spec": {"replicas": self.replicas}});
            if metadata.get("resourceVersion").is_some() {
                patch["metadata"] = metadata;
            }
            let target = subresource(
                subject.resource.target(&subject.namespace, &subject.name),
                "scale",
            );
            let options = session.write_options(self.dry_run.dry_run == DryRun::Server);
            let response = session
                .client
                .patch(target, Patch::Merge(patch.to_string().into()), options)
                .await?;
            written::warn(console, &response.warnings);
        }
        let scaled = session
            .get_in(&subject.resource, &subject.namespace, &subject.name)
            .await?;
        written::report(
            console,
            self.output.output.as_ref(),
            &[(scaled, "scaled")],
            self.dry_run.dry_run,
        )?;
        match self.timeout {
            Some(timeout) if self.dry_run.dry_run == DryRun::None => {
                self.wait(session, subject, timeout).await
            }
            _ => Ok(()),
        }
    }

    async fn wait(
        &self,
        session: &Session,
        subject: &Subject,
        timeout: Duration,
    ) -> Result<(), CliError> {
        let watched = Watched {
            resource: subject.resource.clone(),
            namespace: subject.namespace.clone(),
            name: subject.name.clone(),
        };
        let wanted = i64::from(self.replicas);
        let done = watching::until(session, &watched, Some(timeout), |object| {
            let replicas = object
                .and_then(|object| fields::integer(object, "/status/replicas"))
                .unwrap_or(0);
            Ok(if replicas == wanted {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
        .await?;
        done.ok_or_else(|| CliError::usage("timed out waiting for the condition"))
    }
}
