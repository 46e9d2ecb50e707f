//! `plan`: what apply would change and where pods would land, without doing it: the server goes through with it and keeps nothing.

mod changes;
mod pods;

use super::apply;
use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    manifests::{FileArgs, Manifest},
    session::{Found, Session},
};
use changes::unified;
use pontoon_client::messages::{PlanResponse, WriteOptions};
use serde_json::Value;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub files: FileArgs,
    /// Only count: no differences.
    #[arg(long)]
    pub summary: bool,
}

impl PlanArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let manifests = self.files.read(session, console).await?;
        let mut before = Vec::with_capacity(manifests.len());
        for manifest in &manifests {
            before.push(
                session
                    .find_in(&manifest.resource, manifest.namespace(), manifest.name())
                    .await?,
            );
        }
        let options = WriteOptions {
            dry_run: true,
            field_validation: "Strict".to_owned(),
            field_manager: "pontoon".to_owned(),
        };
        let (after, planned) = ask(session, console, &manifests, options).await?;
        let (mut created, mut changed, mut unchanged) = (0, 0, 0);
        for (before, after) in before.iter().zip(&after) {
            let old = before.as_ref().map_or(&Value::Null, |before| &before.value);
            let difference = unified(old, &after.value);
            let (count, action) = match (before, &difference) {
                (None, _) => (&mut created, "would be created"),
                (Some(_), Some(_)) => (&mut changed, "would be changed"),
                (Some(_), None) => (&mut unchanged, "would stay as it is"),
            };
            *count += 1;
            console.line(&format!(
                "{}/{} {action}",
                after.resource.qualified_kind(),
                fields::name(&after.value)
            ))?;
            if let Some(difference) = difference.filter(|_| !self.summary) {
                console.print(&coloured(&difference, console.colours()))?;
            }
        }
        console.line(&format!(
            "Plan: {created} to create, {changed} to change, {unchanged} unchanged."
        ))?;
        self.tell_pods(session, console, &planned)?;
        Ok(if created + changed > 0 {
            exit::DIFFERENT
        } else {
            exit::OK
        })
    }

    fn tell_pods(
        &self,
        session: &Session,
        console: &mut Console,
        planned: &PlanResponse,
    ) -> Result<(), CliError> {
        let (table, summary) = pods::table(&planned.pods, &session.namespace);
        if !table.is_empty() {
            if !self.summary {
                console.print(&table)?;
            }
            console.line(&summary)?;
        }
        for warning in &planned.warnings {
            console.note(&format!("warning: {warning}"));
        }
        if !planned.complete {
            console
                .note("note: what becomes of pods was not followed to its end; there may be more.");
        }
        Ok(())
    }
}

/// What the server would make of the manifests, and of pods because of them.
async fn ask(
    session: &Session,
    console: &mut Console,
    manifests: &[Manifest],
    options: WriteOptions,
) -> Result<(Vec<Found>, PlanResponse), CliError> {
    let planned = session
        .client
        .plan(apply::bodies(manifests), &session.namespace, options)
        .await
        .map_err(|error| apply::failed(manifests, error))?;
    let after = apply::results(console, manifests, &planned.results)?;
    let after = after.into_iter().map(|(found, _)| found).collect();
    Ok((after, planned))
}

fn coloured(difference: &str, colour: bool) -> String {
    difference
        .lines()
        .map(|line| {
            let code = match line.as_bytes().first() {
                Some(b'+') => "32",
                Some(b'-') => "31",
                Some(b'@') => "36",
                _ => "",
            };
            if colour && !code.is_empty() {
                format!("  \u{1b}[{code}m{line}\u{1b}[0m\n")
            } else {
                format!("  {line}\n")
            }
        })
        .collect()
}
