//! `describe`: objects in detail, with what happened to them.

use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    manifests::FileArgs,
    output::describe::{self, Related},
    pods,
    resources::Resource,
    session::{Found, Session, Wanted},
    subjects::{self, SelectArgs},
};
use pontoon_client::Selection;
use serde_json::Value;

/// Arguments of `describe`.
#[derive(Debug, clap::Args)]
pub struct DescribeArgs {
    /// TYPE, TYPE NAME... (or how names begin), or TYPE/NAME...
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
    /// With the events about them.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub show_events: bool,
}

impl DescribeArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let objects = self.objects(session, console).await?;
        for (index, found) in objects.iter().enumerate() {
            let mut related = related(session, found).await?;
            if !self.show_events {
                related.events.clear();
            }
            if index > 0 {
                console.print("\n\n")?;
            }
            console.print(&describe::object(&found.value, &related, session.now()))?;
        }
        Ok(exit::OK)
    }

    async fn objects(
        &self,
        session: &Session,
        console: &mut Console,
    ) -> Result<Vec<Found>, CliError> {
        let mut objects = Vec::new();
        if !self.files.is_empty() {
            for manifest in self.files.read(session, console).await? {
                objects.push(
                    session
                        .get_in(&manifest.resource, manifest.namespace(), manifest.name())
                        .await?,
                );
            }
            return Ok(objects);
        }
        match session.asked(&self.resources).await? {
            Wanted::Collections(kinds) => {
                for kind in &kinds {
                    let namespace = self.select.namespace(session);
                    objects.extend(
                        session
                            .list(kind, namespace, &self.select.selection())
                            .await?
                            .0,
                    );
                }
                if objects.is_empty() {
                    let namespaced = kinds.iter().any(|kind| kind.namespaced);
                    subjects::nothing_found(console, session, &self.select, namespaced);
                }
            }
            Wanted::Objects(named) => {
                for (kind, name) in &named {
                    match session.get(kind, name).await {
                        Ok(found) => objects.push(found),
                        Err(error) if error.is_not_found() => {
                            let begun = beginning_with(session, kind, name).await?;
                            if begun.is_empty() {
                                return Err(error);
                            }
                            objects.extend(begun);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(objects)
    }
}

/// As in kubectl, a name that is none stands for those that begin with it.
async fn beginning_with(
    session: &Session,
    kind: &Resource,
    name: &str,
) -> Result<Vec<Found>, CliError> {
    let (mut found, _) = session
        .list(kind, &session.namespace, &Selection::default())
        .await?;
    found.retain(|found| fields::name(&found.value).starts_with(name));
    Ok(found)
}

/// What stands around an object: its events for every kind, and what its own kind needs.
pub(super) async fn related(session: &Session, found: &Found) -> Result<Related, CliError> {
    let object = &found.value;
    let namespace = fields::namespace(object);
    let mut related = Related {
        events: events(session, found).await?,
        ..Related::default()
    };
    let listed = async |word: &str, namespace: &str, labels: String, selected: String| {
        let selection = Selection {
            labels,
            fields: selected,
            at_revision: 0,
        };
        let (items, _) = session
            .list(&session.builtin(word), namespace, &selection)
            .await?;
        Ok::<Vec<Value>, CliError>(items.into_iter().map(|item| item.value).collect())
    };
    match found.resource.kind.as_str() {
        "Deployment" | "ReplicaSet" => {
            let labels =
                pods::selector(&found.resource, object).map(|selector| selector.to_string());
            let labels = labels.unwrap_or_default();
            related.pods = listed("pods", namespace, labels.clone(), String::new()).await?;
            if found.resource.kind == "Deployment" {
                related.replica_sets =
                    listed("replicasets", namespace, labels, String::new()).await?;
            }
        }
        "Service" => {
            let labels = format!("kubernetes.io/service-name={}", fields::name(object));
            related.slices = listed("endpointslices", namespace, labels, String::new()).await?;
            if let Ok(selector) = pods::selector(&found.resource, object) {
                related.pods =
                    listed("pods", namespace, selector.to_string(), String::new()).await?;
            }
        }
        "Node" => {
            let on_it = format!("spec.nodeName={}", fields::name(object));
            related.pods = listed("pods", "", String::new(), on_it).await?;
        }
        _ => {}
    }
    Ok(related)
}

/// Events about an object. Those about what lives in no namespace are kept in the default one.
pub(super) async fn events(session: &Session, found: &Found) -> Result<Vec<Value>, CliError> {
    let selection = Selection {
        fields: format!(
            "involvedObject.kind={},involvedObject.name={}",
            found.resource.kind,
            fields::name(&found.value)
        ),
        ..Selection::default()
    };
    let namespace = if found.resource.namespaced {
        fields::namespace(&found.value)
    } else {
        ""
    };
    let (events, _) = session
        .list(&session.builtin("events"), namespace, &selection)
        .await?;
    let uid = fields::text(&found.value, "/metadata/uid");
    // Of a name's former bearer nothing is told. A node's events carry its name as uid.
    let about = |event: &Value| {
        let other = fields::text(event, "/involvedObject/uid");
        other.is_empty() || other == uid || !found.resource.namespaced
    };
    Ok(events
        .into_iter()
        .map(|event| event.value)
        .filter(about)
        .collect())
}
