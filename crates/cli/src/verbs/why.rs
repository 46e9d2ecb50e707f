//! `why`: in words, why an object waits, fails or sits where it does.

use super::describe::related;
use crate::{
    console::Console,
    error::CliError,
    exit, fields, pods,
    session::{Found, Session, Wanted},
    why::{Facts, explain},
};
use serde_json::Value;

/// Most owners above an object that are told: a pod's ReplicaSet and its Deployment, and what may stand above.
const OWNERS: usize = 4;

/// Arguments of `why`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// POD or TYPE/NAME such as deploy/web, svc/web, node/one.
    #[arg(value_name = "POD | TYPE/NAME | TYPE NAME", required = true, num_args = 1..)]
    pub targets: Vec<String>,
}

impl WhyArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        // `why pod web` names one object, as everywhere; `why web` a pod.
        let named = if self.targets.len() > 1 {
            match session.asked(&self.targets).await? {
                Wanted::Objects(objects) => objects,
                Wanted::Collections(_) => Vec::new(),
            }
        } else {
            vec![pods::parse(session, &self.targets[0]).await?]
        };
        for (index, (resource, name)) in named.into_iter().enumerate() {
            let found = session.get(&resource, &name).await?;
            let facts = facts(session, found).await?;
            if index > 0 {
                console.line("")?;
            }
            console.print(&explain(&facts, session.now()))?;
        }
        Ok(exit::OK)
    }
}

async fn facts(session: &Session, found: Found) -> Result<Facts, CliError> {
    let related = related(session, &found).await?;
    let owners = owners(session, &found.value).await?;
    let on = fields::text(&found.value, "/spec/nodeName");
    let node = if on.is_empty() {
        None
    } else {
        session
            .find_in(&session.builtin("nodes"), "", on)
            .await?
            .map(|node| node.value)
    };
    Ok(Facts {
        object: found.value,
        owners,
        node,
        related,
    })
}

/// Who controls an object, and who controls that one.
async fn owners(session: &Session, object: &Value) -> Result<Vec<Value>, CliError> {
    let namespace = fields::namespace(object).to_owned();
    let mut owners: Vec<Value> = Vec::new();
    while owners.len() < OWNERS {
        let Some(reference) = fields::controller(owners.last().unwrap_or(object)) else {
            break;
        };
        let (api_version, kind) = (
            fields::text(reference, "/apiVersion"),
            fields::text(reference, "/kind"),
        );
        let Some(resource) = session.of_kind(api_version, kind).await? else {
            break;
        };
        let name = fields::text(reference, "/name").to_owned();
        let Some(owner) = session.find_in(&resource, &namespace, &name).await? else {
            break;
        };
        owners.push(owner.value);
    }
    Ok(owners)
}
