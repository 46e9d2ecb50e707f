//! What a forecast came to: the difference between the pods of today and those at its end.

use super::Trial;
use pontoon_state::{Key, Object, View};
use std::sync::Arc;

/// Owners of owners looked through for a name: a Deployment's ReplicaSet's pod needs two.
const OWNERS: usize = 8;

/// What would become of pods, as far as every pod that starts turns ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Only those that something would become of.
    pub pods: Vec<PodForecast>,
    /// What controllers would complain about.
    pub warnings: Vec<String>,
    /// Whether it was followed to where nothing more happens.
    pub complete: bool,
}

/// What would become of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodForecast {
    /// Its namespace.
    pub namespace: String,
    /// Its name; where that would be generated, the outermost owner's and `-*`.
    pub name: String,
    /// What would happen to it.
    pub fate: Fate,
}

/// What would happen to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It would be made, and get this node, or none for the reason told.
    Made(Result<String, String>),
    /// It waits today, and would get this node.
    Placed(String),
    /// It would be removed from this node, if it had one.
    Removed(Option<String>),
}

pub(super) fn tell(trial: &Trial<'_>) -> Forecast {
    Forecast {
        pods: trial
            .touched
            .iter()
            .flat_map(|key| fates(trial, key))
            .collect(),
        warnings: trial.warnings.iter().cloned().collect(),
        complete: trial.complete,
    }
}

/// A pod that makes way for another of its name has two.
fn fates(trial: &Trial<'_>, key: &Key) -> Vec<PodForecast> {
    let before = trial.given.view.get(key);
    let after = trial.view.get(key);
    let told = |name: String, fate| PodForecast {
        namespace: key.namespace.to_string(),
        name,
        fate,
    };
    let same =
        matches!((before, after), (Some(before), Some(after)) if before.meta.uid == after.meta.uid);
    if same {
        let node = |pod: Option<&Arc<Object>>| pod.and_then(|pod| pod.meta.node.clone());
        return match (node(before), node(after)) {
            (None, Some(node)) => vec![told(key.name.to_string(), Fate::Placed(node.to_string()))],
            _ => Vec::new(),
        };
    }
    let removed = before.filter(|pod| !pod.meta.deleting).map(|pod| {
        let node = pod.meta.node.as_ref().map(ToString::to_string);
        told(key.name.to_string(), Fate::Removed(node))
    });
    let made = after.map(|pod| told(shown(&trial.view, pod), Fate::Made(place(trial, pod))));
    removed.into_iter().chain(made).collect()
}

fn place(trial: &Trial<'_>, pod: &Object) -> Result<String, String> {
    match (&pod.meta.node, trial.reasons.get(&pod.key)) {
        (Some(node), _) => Ok(node.to_string()),
        (None, Some(reason)) => Err(reason.clone()),
        (None, None) if trial.complete => {
            Err("another scheduler places it, or it has scheduling gates".to_owned())
        }
        (None, None) => Err("it was not tried".to_owned()),
    }
}

/// The name that people know a pod by before it is there.
fn shown(view: &View, pod: &Arc<Object>) -> String {
    let generated = pod
        .value()
        .is_ok_and(|pod| pod["metadata"]["generateName"].is_string());
    if !generated {
        return pod.key.name.to_string();
    }
    let mut outermost = pod.clone();
    for _ in 0..OWNERS {
        let Some(owner) = outermost.controller().cloned() else {
            break;
        };
        let resource = pontoon_api::kinds::by_kind(&owner.api_version, &owner.kind)
            .map(|kind| kind.descriptor().resource());
        let found = resource
            .and_then(|resource| view.get(&Key::new(&resource, &pod.key.namespace, &owner.name)));
        let Some(found) = found.filter(|found| found.meta.uid == owner.uid) else {
            break;
        };
        outermost = found.clone();
    }
    format!("{}-*", outermost.key.name)
}
