//! Which objects a verb is about: arguments, files, selectors.

use crate::{
    console::Console,
    error::CliError,
    fields,
    manifests::FileArgs,
    resources::Resource,
    session::{Found, Session, Wanted},
};
use pontoon_client::Selection;

/// Which objects of a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct SelectArgs {
    /// Only objects with these labels, such as app=web,tier!=cache.
    #[arg(short = 'l', long = "selector", value_name = "SELECTOR")]
    pub labels: Option<String>,
    /// Only objects with these fields, such as status.phase=Running.
    #[arg(long = "field-selector", value_name = "SELECTOR")]
    pub fields: Option<String>,
    /// In every namespace.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

impl SelectArgs {
    /// Whether nothing is selected by it.
    pub fn is_empty(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// As a list takes it.
    pub fn selection(&self) -> Selection {
        Selection {
            labels: self.labels.clone().unwrap_or_default(),
            fields: self.fields.clone().unwrap_or_default(),
            at_revision: 0,
        }
    }

    /// The namespace to list; empty for all.
    pub fn namespace<'s>(&self, session: &'s Session) -> &'s str {
        if self.all_namespaces {
            ""
        } else {
            &session.namespace
        }
    }
}

/// Arguments, files and selectors.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct SubjectArgs {
    /// TYPE NAME..., TYPE/NAME..., or TYPE[,TYPE...] with a selector.
    #[arg(value_name = "TYPE[/NAME]")]
    pub resources: Vec<String>,
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
    pub select: SelectArgs,
    /// Every object of the types.
    #[arg(long)]
    pub all: bool,
}

/// One object that a verb is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Its kind.
    pub resource: Resource,
    /// Empty for kinds that have none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it was read from: a file's name, or nothing.
    pub source: String,
    /// The object, where it had to be read to find it.
    pub found: Option<Found>,
}

impl Subject {
    /// `deployment.apps/web`.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.resource.qualified_kind(), self.name)
    }

    /// The object as it is.
    pub async fn get(&self, session: &Session) -> Result<Found, CliError> {
        match &self.found {
            Some(found) => Ok(found.clone()),
            None => {
                session
                    .get_in(&self.resource, &self.namespace, &self.name)
                    .await
            }
        }
    }
}

impl SubjectArgs {
    /// What is named. Collections are listed; they need a selector or `--all`.
    pub async fn find(
        &self,
        session: &Session,
        console: &mut Console,
    ) -> Result<Vec<Subject>, CliError> {
        if !self.files.is_empty() {
            if !self.resources.is_empty() {
                return Err(CliError::usage(
                    "when paths are provided as input, you may not specify resource arguments as well",
                ));
            }
            let manifests = self.files.read(session, console).await?;
            return Ok(manifests
                .into_iter()
                .map(|manifest| Subject {
                    namespace: manifest.namespace().to_owned(),
                    name: manifest.name().to_owned(),
                    resource: manifest.resource,
                    source: manifest.source,
                    found: None,
                })
                .collect());
        }
        match session.asked(&self.resources).await? {
            Wanted::Objects(named) => {
                if self.all || !self.select.is_empty() {
                    return Err(CliError::usage(
                        "name cannot be provided when a selector is specified",
                    ));
                }
                if self.select.all_namespaces {
                    return Err(CliError::usage(
                        "a resource cannot be retrieved by name across all namespaces",
                    ));
                }
                Ok(named
                    .into_iter()
                    .map(|(resource, name)| Subject {
                        namespace: if resource.namespaced {
                            session.namespace.clone()
                        } else {
                            String::new()
                        },
                        resource,
                        name,
                        source: String::new(),
                        found: None,
                    })
                    .collect())
            }
            Wanted::Collections(_) if !self.all && self.select.is_empty() => Err(CliError::hinted(
                "resource(s) were provided, but no name was specified",
                "name objects, select them with -l, or say --all",
            )),
            Wanted::Collections(kinds) => self.list(session, &kinds).await,
        }
    }

    async fn list(&self, session: &Session, kinds: &[Resource]) -> Result<Vec<Subject>, CliError> {
        let mut subjects = Vec::new();
        for kind in kinds {
            let namespace = self.select.namespace(session);
            let (found, _) = session
                .list(kind, namespace, &self.select.selection())
                .await?;
            subjects.extend(found.into_iter().map(|found| Subject {
                resource: kind.clone(),
                namespace: fields::namespace(&found.value).to_owned(),
                name: fields::name(&found.value).to_owned(),
                source: String::new(),
                found: Some(found),
            }));
        }
        Ok(subjects)
    }
}

/// Tells that a selection found nothing, as kubectl does.
pub fn nothing_found(
    console: &mut Console,
    session: &Session,
    select: &SelectArgs,
    namespaced: bool,
) {
    if select.all_namespaces || !namespaced {
        console.note("No resources found");
    } else {
        console.note(&format!(
            "No resources found in {} namespace.",
            session.namespace
        ));
    }
}
