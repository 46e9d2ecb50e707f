//! A watcher: follows one stream after another, each from where the last was whole.

use super::{Churn, DIVISOR, NAMESPACE, key};
use crate::limits::PACE_OF_FAILURE;
use crate::objects::{Servers, Stop, number as value_of, target};
use futures::StreamExt as _;
use pontoon_client::api::Selection;
use pontoon_client::messages::{WatchEvent, watch_event::Type};
use pontoon_client::{Client, ClientError};
use pontoon_history::ledger::Version;
use pontoon_history::watch::{Item, Kind, Scope, Stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After so many messages a watcher may leave a good stream and come back, as clients do.
const LEAVES_AFTER: usize = 400;

/// How often a watcher looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn follow(
    churn: &Churn,
    servers: &Servers,
    number: u32,
    scope: Scope,
    seed: u64,
    stop: &Stop,
) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut from = 0;
    let mut attempt = 0;
    while !stop.said() {
        attempt += 1;
        // Another server each time: time must not go backwards between them.
        let server = random.random_range(0..servers.count());
        let mut stream = Stream {
            name: format!("watcher {number}, stream {attempt} from {from}, server {server}"),
            scope: scope.clone(),
            from,
            present: None,
            items: Vec::new(),
            until: 0,
        };
        let leave_after = random.random_range(LEAVES_AFTER / 4..LEAVES_AFTER);
        let ended = read(&servers.client(server)?, &mut stream, leave_after, stop).await;
        // Whoever was still there when all was over must have seen everything.
        if matches!(ended, Ok(End::Stopped)) {
            stream.until = churn.latest.load(Ordering::SeqCst);
        }
        let expired = ended.as_ref().is_err_and(ClientError::is_expired);
        let begun = stream.present.is_some() || from != 0;
        if begun {
            from = if expired { 0 } else { stream.resume_from() };
            churn.seen().streams.push(stream);
        }
        if ended.is_err() {
            tokio::time::sleep(PACE_OF_FAILURE).await;
        }
    }
    Ok(())
}

enum End {
    /// The stream was closed, or the watcher left it.
    Left,
    /// It was told to stop while the stream was good.
    Stopped,
}

fn selection(scope: &Scope) -> Selection {
    let (labels, fields) = match scope {
        Scope::All => (
            format!(
                "chaos in ({})",
                (0..DIVISOR).map(super::label).collect::<Vec<_>>().join(",")
            ),
            String::new(),
        ),
        Scope::Key(key) => (
            String::new(),
            format!("metadata.name={}", super::name(*key)),
        ),
        Scope::Residue { remainder, .. } => {
            (format!("chaos={}", super::label(*remainder)), String::new())
        }
    };
    Selection {
        labels,
        fields,
        ..Selection::default()
    }
}

async fn read(
    client: &Client,
    stream: &mut Stream,
    leave_after: usize,
    stop: &Stop,
) -> Result<End, ClientError> {
    let events = client
        .watch(
            &target(NAMESPACE, ""),
            &selection(&stream.scope),
            stream.from,
        )
        .await?;
    let mut events = std::pin::pin!(events);
    let mut present: Option<Vec<(u64, Version)>> = (stream.from == 0).then(Vec::new);
    while stream.items.len() < leave_after {
        let event = match tokio::time::timeout(LOOK, events.next()).await {
            Err(_) if stop.said() => return Ok(End::Stopped),
            Err(_) => continue,
            Ok(None) => return Ok(End::Left),
            Ok(Some(event)) => event?,
        };
        match (&mut present, event.r#type()) {
            (Some(found), Type::Bookmark) => {
                stream.from = event.revision;
                stream.present = Some(std::mem::take(found));
                present = None;
            }
            (Some(found), _) => {
                if let Some((key, object)) = event
                    .object
                    .as_ref()
                    .and_then(|object| Some((key(&object.name)?, object)))
                {
                    found.push((
                        key,
                        Version {
                            revision: object.revision,
                            value: value_of(object),
                        },
                    ));
                }
            }
            (None, _) => stream.items.extend(item(&event)),
        }
    }
    Ok(End::Left)
}

fn item(event: &WatchEvent) -> Option<Item> {
    let kind = match event.r#type() {
        Type::Bookmark => return Some(Item::Bookmark(event.revision)),
        Type::Added => Kind::Added,
        Type::Modified => Kind::Modified,
        Type::Deleted => Kind::Deleted,
        Type::Unspecified => return None,
    };
    let object = event.object.as_ref()?;
    Some(Item::Event {
        kind,
        key: key(&object.name)?,
        value: value_of(object),
        revision: event.revision,
    })
}
