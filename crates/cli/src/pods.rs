//! Which pods a person means: `pod/x`, `x`, or those behind a Deployment, ReplicaSet or Service.

use crate::{
    error::CliError,
    fields,
    resources::Resource,
    session::{Found, Session},
};
use pontoon_api::selector::LabelSelector;
use pontoon_client::Selection;
use serde_json::Value;

/// Splits `TYPE/NAME`; a bare name is a pod's.
pub async fn parse(session: &Session, text: &str) -> Result<(Resource, String), CliError> {
    match text.split_once('/') {
        None => Ok((session.builtin("pods"), text.to_owned())),
        Some((word, name)) if !name.is_empty() => {
            Ok((session.resource(word).await?, name.to_owned()))
        }
        Some(_) => Err(CliError::usage(
            "arguments in resource/name form must have a single resource and name",
        )),
    }
}

/// The pods behind an object, running ones that are ready first, then the oldest.
pub async fn behind(
    session: &Session,
    resource: &Resource,
    name: &str,
) -> Result<Vec<Found>, CliError> {
    let object = session.get(resource, name).await?;
    if resource.plural == "pods" {
        return Ok(vec![object]);
    }
    let selector = selector(resource, &object.value)?;
    let selection = Selection {
        labels: selector.to_string(),
        ..Selection::default()
    };
    let namespace = fields::namespace(&object.value).to_owned();
    let (mut pods, _) = session
        .list(&session.builtin("pods"), &namespace, &selection)
        .await?;
    pods.sort_by_key(|pod| {
        let running = fields::text(&pod.value, "/status/phase") == "Running";
        let ready = fields::condition(&pod.value, "Ready")
            .is_some_and(|condition| fields::text(condition, "/status") == "True");
        let going = pod.value.pointer("/metadata/deletionTimestamp").is_some();
        (
            going,
            !running,
            !ready,
            fields::time(&pod.value, "/metadata/creationTimestamp"),
        )
    });
    Ok(pods)
}

/// The one pod to talk to.
pub async fn one(session: &Session, resource: &Resource, name: &str) -> Result<Found, CliError> {
    let mut pods = behind(session, resource, name).await?;
    if pods.is_empty() {
        return Err(CliError::usage(format!(
            "no pods found for {}/{name}",
            resource.qualified_kind()
        )));
    }
    Ok(pods.remove(0))
}

/// The label selector of an object that has pods.
pub fn selector(resource: &Resource, object: &Value) -> Result<LabelSelector, CliError> {
    let nothing = || {
        CliError::usage(format!(
            "cannot attach to {}/{}: it selects no pods",
            resource.qualified_kind(),
            fields::name(object)
        ))
    };
    let selector = object.pointer("/spec/selector").ok_or_else(nothing)?;
    let read = if resource.plural == "services" {
        serde_json::from_value(selector.clone())
            .ok()
            .map(|map| LabelSelector::from_map(&map))
    } else {
        serde_json::from_value(selector.clone())
            .ok()
            .and_then(|typed| LabelSelector::from_typed(&typed).ok())
    };
    read.filter(|selector| !selector.is_empty())
        .ok_or_else(nothing)
}

/// The container that is meant where none is named: the one an annotation names, or else the first.
pub fn default_container(pod: &Value) -> &str {
    let annotated = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get("kubectl.kubernetes.io/default-container"))
        .and_then(Value::as_str)
        .filter(|name| fields::find(fields::list(pod, "/spec/containers"), "name", name).is_some());
    annotated.unwrap_or_else(|| fields::text(pod, "/spec/containers/0/name"))
}

/// Every container's name, init containers first.
pub fn container_names(pod: &Value) -> Vec<&str> {
    ["/spec/initContainers", "/spec/containers"]
        .iter()
        .flat_map(|pointer| fields::list(pod, pointer))
        .map(|container| fields::text(container, "/name"))
        .collect()
}
