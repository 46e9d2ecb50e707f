//! Waiting for an object to be as wished: by watching it, never by asking again and again.

use crate::{
    error::CliError,
    resources::Resource,
    session::{Session, found},
};
use futures::StreamExt as _;
use pontoon_client::{
    Selection,
    watcher::{self, Event},
};
use serde_json::Value;
use std::{ops::ControlFlow, pin::pin, time::Duration};

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its kind.
    pub resource: Resource,
    /// Empty for kinds that have none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Watches until `decide`, which is given each state of the object (none while there is no such), breaks; none when
/// that took longer than `timeout`. A lost connection is made again, but one that never was is an error.
pub async fn until<T>(
    session: &Session,
    watched: &Watched,
    timeout: Option<Duration>,
    mut decide: impl FnMut(Option<&Value>) -> Result<ControlFlow<T>, CliError>,
) -> Result<Option<T>, CliError> {
    let selection = Selection {
        fields: format!("metadata.name={}", watched.name),
        ..Selection::default()
    };
    let target = watched.resource.target(&watched.namespace, "");
    session.learn_servers();
    let watching = async {
        let mut events = pin!(watcher::watch(
            session.client.clone(),
            target,
            selection,
            |delay| delay
        ));
        let mut present: Option<Value> = None;
        let mut known = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    present = None;
                    known = false;
                }
                Ok(Event::Apply(object)) => {
                    present = Some(found(&watched.resource, &object)?.value)
                }
                Ok(Event::Delete(_)) => present = None,
                Ok(Event::InitDone { .. }) => known = true,
                Err(error) if known && error.is_transient() => continue,
                Err(error) => return Err(error.into()),
            }
            if known && let ControlFlow::Break(done) = decide(present.as_ref())? {
                return Ok(Some(done));
            }
        }
        Ok(None)
    };
    match timeout {
        None => watching.await,
        Some(timeout) => tokio::time::timeout(timeout, watching)
            .await
            .unwrap_or(Ok(None)),
    }
}
