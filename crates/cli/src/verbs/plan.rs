//! `plan`: what apply would change, without doing it: the server goes through with it and keeps nothing.

mod changes;

use super::apply;
use crate::{
    console::Console, error::CliError, exit, fields, manifests::FileArgs, session::Session,
};
use changes::unified;
use pontoon_client::messages::WriteOptions;
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
        let after = apply::send(session, console, &manifests, options).await?;
        let (mut created, mut changed, mut unchanged) = (0, 0, 0);
        let mut pods = false;
        for (before, (after, _)) in before.iter().zip(&after) {
            let old = before.as_ref().map_or(&Value::Null, |before| &before.value);
            let difference = unified(old, &after.value);
            let (count, action) = match (before, &difference) {
                (None, _) => (&mut created, "would be created"),
                (Some(_), Some(_)) => (&mut changed, "would be changed"),
                (Some(_), None) => (&mut unchanged, "would stay as it is"),
            };
            *count += 1;
            pods |= difference.is_some()
                && ["Deployment", "ReplicaSet", "Pod"].contains(&after.resource.kind.as_str());
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
        if pods {
            console.note(
                "note: the plan does not tell where pods would land, nor what controllers would do because of these changes.",
            );
        }
        Ok(if created + changed > 0 {
            exit::DIFFERENT
        } else {
            exit::OK
        })
    }
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
