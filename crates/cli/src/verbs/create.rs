//! `create`: objects from files, or made of flags.

mod config;
mod workload;

use super::apply::Validate;
use super::written::{self, DryRun, DryRunArgs};
use crate::{
    console::Console,
    error::CliError,
    exit,
    manifests::{FileArgs, Manifest},
    output::OutputArgs,
    session::{Found, Session, found},
};
use pontoon_client::messages::WriteOptions;
use serde_json::{Value, json};

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CreateArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub files: FileArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub writing: WritingArgs,
    /// Make one object of flags.
    #[command(subcommand)]
    pub generator: Option<Generator>,
}

/// How to write what is created.
#[derive(Debug, Clone, clap::Args)]
pub struct WritingArgs {
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
    /// What to do about unknown fields.
    #[arg(long, value_enum, default_value = "strict")]
    pub validate: Validate,
    /// Who creates, for metadata.managedFields.
    #[arg(long, default_value = "pontoon", value_name = "NAME")]
    pub field_manager: String,
}

/// What can be made of flags.
#[derive(Debug, clap::Subcommand)]
pub enum Generator {
    /// A namespace.
    #[command(visible_alias = "ns")]
    Namespace(NameArgs),
    /// A ServiceAccount.
    #[command(name = "serviceaccount", visible_alias = "sa")]
    ServiceAccount(NameArgs),
    /// A ConfigMap of texts and files.
    #[command(name = "configmap", visible_alias = "cm")]
    ConfigMap(config::ConfigMapArgs),
    /// A Secret.
    #[command(subcommand)]
    Secret(config::SecretKind),
    /// A Deployment of one or more images.
    #[command(visible_alias = "deploy")]
    Deployment(workload::DeploymentArgs),
    /// A Service.
    #[command(subcommand, visible_alias = "svc")]
    Service(workload::ServiceKind),
}

/// Arguments of kinds that need nothing but a name.
#[derive(Debug, clap::Args)]
pub struct NameArgs {
    /// Its name.
    pub name: String,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub writing: WritingArgs,
}

impl CreateArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let (manifests, writing) = match self.generator {
            None => (self.files.read(session, console).await?, self.writing),
            Some(generator) => {
                let (value, writing) = generator.make()?;
                (vec![placed(session, value).await?], writing)
            }
        };
        let mut code = exit::OK;
        for manifest in manifests {
            match create(session, console, &manifest, &writing).await {
                Ok(()) => {}
                // As kubectl: one refusal does not keep the others from being tried.
                Err(error @ (CliError::Server(_) | CliError::Manifest { .. })) => {
                    console.note(&error.report().unwrap_or_default());
                    code = exit::ERROR;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(code)
    }
}

impl Generator {
    fn make(self) -> Result<(Value, WritingArgs), CliError> {
        Ok(match self {
            Self::Namespace(args) => (bare("v1", "Namespace", &args.name), args.writing),
            Self::ServiceAccount(args) => (bare("v1", "ServiceAccount", &args.name), args.writing),
            Self::ConfigMap(args) => args.make()?,
            Self::Secret(kind) => kind.make()?,
            Self::Deployment(args) => args.make()?,
            Self::Service(kind) => kind.make()?,
        })
    }
}

/// An object with nothing but its name.
fn bare(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})
}

async fn placed(session: &Session, mut value: Value) -> Result<Manifest, CliError> {
    let kind = value["kind"].as_str().unwrap_or("").to_owned();
    let resource = session.resource(&kind).await?;
    if resource.namespaced {
        value["metadata"]["namespace"] = session.namespace.clone().into();
    }
    Ok(Manifest {
        source: String::new(),
        resource,
        value,
    })
}

async fn create(
    session: &Session,
    console: &mut Console,
    manifest: &Manifest,
    writing: &WritingArgs,
) -> Result<(), CliError> {
    let dry_run = writing.dry_run.dry_run;
    let created = if dry_run == DryRun::Client {
        Found {
            resource: manifest.resource.clone(),
            value: manifest.value.clone(),
            revision: 0,
        }
    } else {
        let options = WriteOptions {
            dry_run: dry_run == DryRun::Server,
            field_validation: writing.validate.field_validation().to_owned(),
            field_manager: writing.field_manager.clone(),
        };
        let target = manifest.resource.target(manifest.namespace(), "");
        let body = manifest.value.to_string().into();
        let response = session
            .client
            .create(target, body, options)
            .await
            .map_err(|error| {
                if manifest.source.is_empty() {
                    CliError::Server(error)
                } else {
                    CliError::Manifest {
                        doing: "creating",
                        source_name: manifest.source.clone(),
                        error,
                    }
                }
            })?;
        written::warn(console, &response.warnings);
        found(&manifest.resource, &response.object.unwrap_or_default())?
    };
    written::report(
        console,
        writing.output.output.as_ref(),
        &[(created, "created")],
        dry_run,
    )
}
