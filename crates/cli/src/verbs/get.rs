//! `get`: objects as tables and documents, once or as they change.

mod sort;
mod watch;

use crate::{
    console::Console,
    error::CliError,
    exit,
    manifests::FileArgs,
    output::{
        self, Format,
        jsonpath::Template,
        table::{Layout, Table},
    },
    resources::Resource,
    session::{Found, Session, Wanted, found},
    subjects::{self, SelectArgs},
};
use pontoon_client::Selection;

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// TYPE[,TYPE...], TYPE NAME... or TYPE/NAME...
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
    /// json, yaml, name, wide, jsonpath=TEMPLATE, custom-columns=SPEC.
    #[arg(short, long, value_name = "FORMAT", value_parser = Format::parse)]
    pub output: Option<Format>,
    /// Go on printing what changes.
    #[arg(short, long)]
    pub watch: bool,
    /// Print what changes, not what is there already.
    #[arg(long)]
    pub watch_only: bool,
    /// No headings.
    #[arg(long)]
    pub no_headers: bool,
    /// All labels in a last column.
    #[arg(long)]
    pub show_labels: bool,
    /// The type in front of each name.
    #[arg(long)]
    pub show_kind: bool,
    /// These labels in columns of their own.
    #[arg(
        short = 'L',
        long = "label-columns",
        value_name = "LABEL",
        value_delimiter = ','
    )]
    pub label_columns: Vec<String>,
    /// In the order of a field, such as .metadata.creationTimestamp.
    #[arg(long, value_name = "PATH", value_parser = |text: &str| Template::relaxed(text).map_err(|error| error.to_string()))]
    pub sort_by: Option<Template>,
    /// What does not exist is no error.
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Read the past: as of this revision.
    #[arg(long, value_name = "REVISION")]
    pub at: Option<u64>,
    /// Objects asked for at once (accepted for kubectl's sake; pages are read anyway).
    #[arg(long, hide = true)]
    pub chunk_size: Option<u64>,
}

/// What was found of one kind, and at which revision.
struct Group {
    resource: Resource,
    items: Vec<Found>,
    revision: u64,
}

impl GetArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let wanted = self.wanted(session, console).await?;
        let single = matches!(&wanted, Wanted::Objects(objects) if objects.len() == 1);
        let (mut groups, failed) = self.fetch(session, console, &wanted).await?;
        if let Some(path) = &self.sort_by {
            for group in &mut groups {
                sort::by(path, &mut group.items)?;
            }
        }
        if self.watch || self.watch_only {
            let code = self.follow(session, console, groups, &wanted).await?;
            return Ok(code);
        }
        let code = if failed { exit::ERROR } else { exit::OK };
        match self
            .output
            .as_ref()
            .filter(|format| !matches!(format, Format::Table | Format::Wide))
        {
            Some(format) => self.print_documents(console, format, groups, single)?,
            None => self.print_tables(session, console, &groups, failed)?,
        }
        Ok(code)
    }

    async fn wanted(&self, session: &Session, console: &mut Console) -> Result<Wanted, CliError> {
        if self.files.is_empty() {
            return session.asked(&self.resources).await;
        }
        let manifests = self.files.read(session, console).await?;
        Ok(Wanted::Objects(
            manifests
                .into_iter()
                .map(|manifest| (manifest.resource.clone(), manifest.name().to_owned()))
                .collect(),
        ))
    }

    /// Fetches what is wanted. What does not exist is told, and the rest still shown.
    async fn fetch(
        &self,
        session: &Session,
        console: &mut Console,
        wanted: &Wanted,
    ) -> Result<(Vec<Group>, bool), CliError> {
        let selection = Selection {
            at_revision: self.at.unwrap_or(0),
            ..self.select.selection()
        };
        let mut groups: Vec<Group> = Vec::new();
        let mut failed = false;
        match wanted {
            Wanted::Collections(kinds) => {
                let namespace = self.select.namespace(session);
                for kind in kinds {
                    let (items, revision) = session.list(kind, namespace, &selection).await?;
                    groups.push(Group {
                        resource: kind.clone(),
                        items,
                        revision,
                    });
                }
            }
            Wanted::Objects(objects) => {
                if self.select.all_namespaces {
                    return Err(CliError::usage(
                        "a resource cannot be retrieved by name across all namespaces",
                    ));
                }
                if !self.select.is_empty() {
                    return Err(CliError::usage(
                        "name cannot be provided when a selector is specified",
                    ));
                }
                for (kind, name) in objects {
                    let target = kind.target(&session.namespace, name);
                    let object = match session.client.get(target, selection.at_revision).await {
                        Ok(object) => found(kind, &object)?,
                        Err(error) if error.is_not_found() && self.ignore_not_found => continue,
                        Err(error) if error.reason().is_some() && objects.len() > 1 => {
                            console.note(&CliError::from(error).report().unwrap_or_default());
                            failed = true;
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    };
                    let revision = object.revision;
                    match groups.last_mut().filter(|group| group.resource == *kind) {
                        Some(group) => group.items.push(object),
                        None => groups.push(Group {
                            resource: kind.clone(),
                            items: vec![object],
                            revision,
                        }),
                    }
                }
            }
        }
        Ok((groups, failed))
    }

    fn print_documents(
        &self,
        console: &mut Console,
        format: &Format,
        groups: Vec<Group>,
        single: bool,
    ) -> Result<(), CliError> {
        let items: Vec<Found> = groups.into_iter().flat_map(|group| group.items).collect();
        let text = match items.as_slice() {
            [] if single => return Ok(()),
            [only] if single => output::document(format, only)?,
            many => output::documents(format, many)?,
        };
        console.print(&text)?;
        Ok(())
    }

    fn print_tables(
        &self,
        session: &Session,
        console: &mut Console,
        groups: &[Group],
        failed: bool,
    ) -> Result<(), CliError> {
        let shown: Vec<&Group> = groups
            .iter()
            .filter(|group| !group.items.is_empty())
            .collect();
        if shown.is_empty() {
            if !failed && !self.ignore_not_found {
                let namespaced = groups.iter().any(|group| group.resource.namespaced);
                subjects::nothing_found(console, session, &self.select, namespaced);
            }
            return Ok(());
        }
        // Types are told apart by name where there are several, also when only one has objects.
        let several = groups.len() > 1;
        for (index, group) in shown.iter().enumerate() {
            let mut table = self.table(console, &group.resource, several);
            let text = table.rows(&group.items, !self.no_headers, session.now());
            if index > 0 {
                console.line("")?;
            }
            console.print(&text)?;
        }
        Ok(())
    }

    fn table(&self, console: &Console, resource: &Resource, several: bool) -> Table {
        Table::new(
            resource,
            Layout {
                wide: self.output == Some(Format::Wide),
                namespace: self.select.all_namespaces && resource.namespaced,
                kind: self.show_kind || several,
                labels: self.show_labels,
                label_columns: self.label_columns.clone(),
                colour: console.colours(),
            },
        )
    }
}
