//! `get -w`: what is there, then each change as it comes.

use super::{GetArgs, Group};
use crate::{
    console::Console,
    error::CliError,
    exit,
    output::{self, Format, table::Table},
    session::{Found, Session, Wanted, found},
};
use futures::StreamExt as _;
use pontoon_client::{Selection, messages::watch_event, watcher};
use std::pin::pin;

impl GetArgs {
    /// Prints until the reader ends, from whichever server has what comes next.
    pub(super) async fn follow(
        &self,
        session: &Session,
        console: &mut Console,
        groups: Vec<Group>,
        wanted: &Wanted,
    ) -> Result<u8, CliError> {
        let [group] = groups.as_slice() else {
            return Err(CliError::usage(
                "you may only specify a single resource type when watching",
            ));
        };
        let mut selection = self.select.selection();
        let mut namespace = self.select.namespace(session);
        if let Wanted::Objects(objects) = wanted {
            let [(_, name)] = objects.as_slice() else {
                return Err(CliError::usage(
                    "watch is only supported on individual resources and resource collections",
                ));
            };
            selection.fields = format!("metadata.name={name}");
            namespace = &session.namespace;
        }
        let mut table = self.table(console, &group.resource, false);
        let mut headings = !self.no_headers;
        if !self.watch_only && !group.items.is_empty() {
            self.print_changed(session, console, &mut table, &group.items, headings)?;
            headings = false;
        }
        let target = group.resource.target(namespace, "");
        let selection = Selection {
            at_revision: 0,
            ..selection
        };
        session.learn_servers();
        let client = session.client.clone();
        let events = watcher::follow(client, target, selection, group.revision, |delay| delay);
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            let event = event?;
            if event.r#type() == watch_event::Type::Bookmark {
                continue;
            }
            let Some(object) = event.object else { continue };
            let item = found(&group.resource, &object)?;
            self.print_changed(
                session,
                console,
                &mut table,
                std::slice::from_ref(&item),
                headings,
            )?;
            headings = false;
        }
        Ok(exit::OK)
    }

    fn print_changed(
        &self,
        session: &Session,
        console: &mut Console,
        table: &mut Table,
        items: &[Found],
        headings: bool,
    ) -> Result<(), CliError> {
        match self
            .output
            .as_ref()
            .filter(|format| !matches!(format, Format::Table | Format::Wide))
        {
            None => console.print(&table.rows(items, headings, session.now()))?,
            Some(format) => {
                for item in items {
                    if *format == Format::Yaml {
                        console.line("---")?;
                    }
                    console.print(&output::document(format, item)?)?;
                }
            }
        }
        Ok(())
    }
}
