//! `events`: what happened, the latest last.

use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    output::{
        self, Format,
        table::{Layout, Table},
    },
    pods,
    session::{Found, Session, found},
    subjects,
};
use futures::StreamExt as _;
use jiff::Timestamp;
use pontoon_client::{Selection, messages::watch_event};
use serde_json::Value;

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// Only about this object.
    #[arg(long = "for", value_name = "TYPE/NAME")]
    pub about: Option<String>,
    /// Only of these types: Normal, Warning.
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    pub types: Vec<String>,
    /// In every namespace.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Go on printing.
    #[arg(short, long)]
    pub watch: bool,
    /// No headings.
    #[arg(long)]
    pub no_headers: bool,
    /// json, yaml, name, wide, jsonpath=TEMPLATE.
    #[arg(short, long, value_name = "FORMAT", value_parser = Format::parse)]
    pub output: Option<Format>,
}

/// What is told from here on.
struct After {
    revision: u64,
    selection: Selection,
    /// Whether the table still lacks them.
    headings: bool,
}

impl EventsArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let kind = session.builtin("events");
        let namespace = self.namespace(session);
        let selection = Selection {
            fields: self.fields(session).await?,
            ..Selection::default()
        };
        let (mut events, revision) = session.list(&kind, namespace, &selection).await?;
        events.retain(|event| self.wants(&event.value));
        events.sort_by_key(|event| (last_seen(&event.value), event.revision));
        let mut table = Table::new(
            &kind,
            Layout {
                wide: self.output == Some(Format::Wide),
                namespace: self.all_namespaces,
                colour: console.colours(),
                ..Layout::default()
            },
        );
        let mut headings = !self.no_headers;
        if events.is_empty() && !self.watch {
            let select = subjects::SelectArgs {
                all_namespaces: self.all_namespaces,
                ..Default::default()
            };
            subjects::nothing_found(console, session, &select, true);
            return Ok(exit::OK);
        }
        if !events.is_empty() {
            self.print(session, console, &mut table, &events, headings)?;
            headings = false;
        }
        if !self.watch {
            return Ok(exit::OK);
        }
        let after = After {
            revision,
            selection,
            headings,
        };
        self.follow(session, console, &mut table, after).await
    }

    async fn follow(
        &self,
        session: &Session,
        console: &mut Console,
        table: &mut Table,
        after: After,
    ) -> Result<u8, CliError> {
        let kind = session.builtin("events");
        let namespace = self.namespace(session);
        let After {
            revision,
            selection,
            mut headings,
        } = after;
        let mut changes = session
            .client
            .watch(&kind.target(namespace, ""), &selection, revision)
            .await?;
        while let Some(change) = changes.next().await {
            let change = change?;
            let Some(object) = change.object.as_ref() else {
                continue;
            };
            if !matches!(
                change.r#type(),
                watch_event::Type::Added | watch_event::Type::Modified
            ) {
                continue;
            }
            let event = found(&kind, object)?;
            if self.wants(&event.value) {
                self.print(
                    session,
                    console,
                    table,
                    std::slice::from_ref(&event),
                    headings,
                )?;
                headings = false;
            }
        }
        Ok(exit::OK)
    }

    fn namespace<'s>(&self, session: &'s Session) -> &'s str {
        if self.all_namespaces {
            ""
        } else {
            &session.namespace
        }
    }

    async fn fields(&self, session: &Session) -> Result<String, CliError> {
        let Some(about) = &self.about else {
            return Ok(String::new());
        };
        if !about.contains('/') {
            return Err(CliError::usage("--for must be in resource/name form"));
        }
        let (resource, name) = pods::parse(session, about).await?;
        Ok(format!(
            "involvedObject.kind={},involvedObject.name={name}",
            resource.kind
        ))
    }

    fn wants(&self, event: &Value) -> bool {
        let kind = fields::text(event, "/type");
        self.types.is_empty()
            || self
                .types
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(kind))
    }

    fn print(
        &self,
        session: &Session,
        console: &mut Console,
        table: &mut Table,
        events: &[Found],
        headings: bool,
    ) -> Result<(), CliError> {
        match self
            .output
            .as_ref()
            .filter(|format| !matches!(format, Format::Table | Format::Wide))
        {
            None => console.print(&table.rows(events, headings, session.now()))?,
            Some(format) => console.print(&output::documents(format, events)?)?,
        }
        Ok(())
    }
}

/// When it last happened.
pub fn last_seen(event: &Value) -> Option<Timestamp> {
    [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ]
    .iter()
    .find_map(|pointer| fields::time(event, pointer))
}

/// When it first happened, and how often since.
pub fn first_seen(event: &Value) -> (Option<Timestamp>, i64) {
    let first = [
        "/firstTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ]
    .iter()
    .find_map(|pointer| fields::time(event, pointer));
    let count = fields::integer(event, "/series/count")
        .or(fields::integer(event, "/count"))
        .unwrap_or(1);
    (first, count.max(1))
}
