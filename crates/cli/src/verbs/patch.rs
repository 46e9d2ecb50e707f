//! `patch`: a change in one of three languages.

use super::written::{self, DryRun, DryRunArgs};
use crate::{
    console::Console,
    error::CliError,
    exit, limits, manifests,
    output::OutputArgs,
    session::{Found, Session, found},
    subjects::SubjectArgs,
};
use pontoon_api::patch::{PatchType, apply};
use pontoon_client::{api::Patch, target::subresource};
use std::path::PathBuf;

/// The language of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// Kubernetes' merge patch that knows the keys of lists.
    Strategic,
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
}

/// Arguments of `patch`.
#[derive(Debug, clap::Args)]
pub struct PatchArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
    /// The patch, as JSON or YAML.
    #[arg(short, long, value_name = "PATCH", conflicts_with = "patch_file")]
    pub patch: Option<String>,
    /// A file with the patch, or - for standard input.
    #[arg(long, value_name = "FILE")]
    pub patch_file: Option<PathBuf>,
    /// Its language.
    #[arg(long = "type", value_enum, default_value = "strategic")]
    pub language: Language,
    /// Change a part of the object, such as status or scale.
    #[arg(long, value_name = "NAME")]
    pub subresource: Option<String>,
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

impl PatchArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let patch = self.read(console).await?;
        let subjects = self.subjects.find(session, console).await?;
        for subject in subjects {
            let before = subject.get(session).await?;
            let after = if self.dry_run.dry_run == DryRun::Client {
                let how = match self.language {
                    Language::Strategic => PatchType::Strategic,
                    Language::Merge => PatchType::Merge,
                    Language::Json => PatchType::Json,
                };
                let value = apply(&before.resource.kind, &before.value, &patch, how)
                    .map_err(|error| CliError::usage(error.to_string()))?;
                Found {
                    value,
                    ..before.clone()
                }
            } else {
                let mut target = subject.resource.target(&subject.namespace, &subject.name);
                if let Some(name) = &self.subresource {
                    target = subresource(target, name);
                }
                let bytes = patch.to_string().into();
                let body = match self.language {
                    Language::Strategic => Patch::Strategic(bytes),
                    Language::Merge => Patch::Merge(bytes),
                    Language::Json => Patch::Json(bytes),
                };
                let options = session.write_options(self.dry_run.dry_run == DryRun::Server);
                let response = session.client.patch(target, body, options).await?;
                written::warn(console, &response.warnings);
                match response.object {
                    Some(object) if self.subresource.is_none() => {
                        found(&subject.resource, &object)?
                    }
                    _ => {
                        session
                            .get_in(&subject.resource, &subject.namespace, &subject.name)
                            .await?
                    }
                }
            };
            let action = if after.value == before.value {
                "patched (no change)"
            } else {
                "patched"
            };
            written::report(
                console,
                self.output.output.as_ref(),
                &[(after, action)],
                self.dry_run.dry_run,
            )?;
        }
        Ok(exit::OK)
    }

    async fn read(&self, console: &mut Console) -> Result<serde_json::Value, CliError> {
        let text = match (&self.patch, &self.patch_file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(path)) if path.as_os_str() == "-" => console
                .read_input(limits::MANIFEST_BYTES)
                .await
                .map_err(|error| CliError::File {
                    path: path.clone(),
                    error,
                })?,
            (None, Some(path)) => std::fs::read(path).map_err(|error| CliError::File {
                path: path.clone(),
                error,
            })?,
            (None, None) => {
                return Err(CliError::usage(
                    "must specify --patch or --patch-file containing the contents of the patch",
                ));
            }
        };
        let mut documents = manifests::parse("the patch", &text)?;
        match documents.len() {
            1 => Ok(documents.remove(0)),
            _ => Err(CliError::usage("the patch must be one document")),
        }
    }
}
