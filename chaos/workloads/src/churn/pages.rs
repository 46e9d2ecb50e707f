//! A reader of lists in small pages, of the present and of the past.

use super::{Churn, NAMESPACE, key};
use crate::limits::{CALL_DEADLINE, PACE, PACE_OF_FAILURE, PAGE_ITEMS};
use crate::objects::{Servers, Stop, number as value_of, target};
use crate::{Dot, DotEnd};
use pontoon_client::messages::{ListRequest, ListResponse, objects_client::ObjectsClient};
use pontoon_client::transport::Trace;
use pontoon_client::{ClientError, Transport};
use pontoon_history::ledger::Version;
use pontoon_history::paging::{End, List, Page};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::Ordering;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

type Objects = ObjectsClient<InterceptedService<Channel, Trace>>;

pub(super) async fn list(
    churn: &Churn,
    servers: &Servers,
    number: u32,
    seed: u64,
    stop: &Stop,
) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let transport: Transport = servers.transport(number as usize)?;
    let mut client = ObjectsClient::new(transport.channel());
    let mut count = 0;
    while !stop.said() {
        count += 1;
        let latest = churn.latest.load(Ordering::SeqCst);
        let past = latest.saturating_sub(random.random_range(0..200));
        let mut list = List {
            name: format!("lister {number}, list {count}"),
            invoked: churn.now(),
            at: (past > 0 && random.random_ratio(1, 3)).then_some(past),
            pages: Vec::new(),
            end: End::Complete,
        };
        read(&mut client, &mut list).await;
        let end = match list.end {
            End::Complete | End::Expired => DotEnd::Done,
            End::Broken => DotEnd::Failed,
        };
        let (from, to) = (list.invoked, churn.now());
        churn.seen().reads.push(Dot { from, to, end });
        churn.seen().lists.push(list);
        tokio::time::sleep(if end == DotEnd::Done {
            PACE
        } else {
            PACE_OF_FAILURE
        })
        .await;
    }
    Ok(())
}

/// Reads one page after another, with a pause in which objects change.
async fn read(client: &mut Objects, list: &mut List) {
    let mut token = String::new();
    loop {
        let answered = match page(client, list.at, token).await {
            Ok(answered) => answered,
            Err(end) => {
                list.end = end;
                return;
            }
        };
        let known = answered.items.iter().filter_map(|object| {
            let version = Version {
                revision: object.revision,
                value: value_of(object),
            };
            Some((key(&object.name)?, version))
        });
        list.pages.push(Page {
            revision: answered.revision,
            items: known.collect(),
            // Objects that the cluster itself puts into each namespace are counted there, and not here.
            remaining: None,
        });
        token = answered.continue_token;
        if token.is_empty() {
            return;
        }
        tokio::time::sleep(PACE).await;
    }
}

async fn page(client: &mut Objects, at: Option<u64>, token: String) -> Result<ListResponse, End> {
    let mut request = tonic::Request::new(ListRequest {
        target: Some(target(NAMESPACE, "")),
        limit: PAGE_ITEMS,
        continue_token: token,
        at_revision: at.unwrap_or(0),
        ..ListRequest::default()
    });
    request.set_timeout(CALL_DEADLINE);
    match tokio::time::timeout(CALL_DEADLINE, client.list(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if ClientError::from(status.clone()).is_expired() => Err(End::Expired),
        _ => Err(End::Broken),
    }
}
