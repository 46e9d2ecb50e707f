//! Deployments and ReplicaSets: how many pods they lack, and why.

use super::{Story, counted, pod, said};
use crate::{fields, output::describe::Related, verbs::rollout::status};
use jiff::Timestamp;
use serde_json::Value;

/// Most pods told one by one.
const PODS_TOLD: usize = 3;

pub(super) fn deployment(deployment: &Value, related: &Related, now: Timestamp) -> Story {
    let paused = fields::is_true(deployment, "/spec/paused");
    let name = fields::name(deployment);
    let story = match status::of_deployment(deployment) {
        Ok(status::Progressed::Done(_)) => {
            let wanted = fields::integer(deployment, "/spec/replicas").unwrap_or(1);
            let pods = counted(usize::try_from(wanted).unwrap_or(0), "pod is", "pods are");
            return Story::well(format!("is well: it is rolled out, and {pods} available."));
        }
        Ok(status::Progressed::Waiting(_)) if paused => Story::new("waits: its rollout is paused.")
            .because("Nothing is rolled out until it is resumed.")
            .next(format!("pontoon rollout resume deploy/{name}")),
        Ok(status::Progressed::Waiting(text)) => {
            // kubectl's sentence begins with what is said already.
            let what = text
                .split_once("rollout to finish: ")
                .map_or(text.as_str(), |(_, what)| what);
            Story::new(format!("is rolling out: {}.", what.trim_end_matches('.')))
        }
        Err(_) => Story::new("is stuck: its rollout made no progress within its deadline.")
            .next(format!("pontoon rollout undo deploy/{name}")),
    };
    let story = replica_failure(story, deployment);
    let story = related.replica_sets.iter().fold(story, replica_failure);
    pods(story, &related.pods, now)
}

pub(super) fn replica_set(set: &Value, related: &Related, now: Timestamp) -> Story {
    let number = |pointer: &str| fields::integer(set, pointer).unwrap_or(0);
    let wanted = fields::integer(set, "/spec/replicas").unwrap_or(1);
    let (made, ready) = (number("/status/replicas"), number("/status/readyReplicas"));
    let story = if wanted == 0 {
        return Story::well("is asked for no pods: it is an old revision, or scaled down.");
    } else if made < wanted {
        Story::new(format!("lacks pods: {made} of {wanted} are made."))
    } else if ready < wanted {
        Story::new(format!(
            "waits for its pods: {ready} of {wanted} are ready."
        ))
    } else {
        return Story::well(format!("is well: {ready} of {wanted} pods are ready."));
    };
    pods(replica_failure(story, set), &related.pods, now)
}

/// That pods cannot even be made.
fn replica_failure(story: Story, object: &Value) -> Story {
    match fields::condition(object, "ReplicaFailure")
        .filter(|found| fields::text(found, "/status") == "True")
    {
        Some(failure) => story.because(format!("Pods cannot be made: {}", said(failure))),
        None => story,
    }
}

/// Those that are not well, in short.
fn pods(mut story: Story, pods: &[Value], now: Timestamp) -> Story {
    if pods.is_empty() {
        return story.because("It has no pods.");
    }
    let told: Vec<(&Value, String)> = pods
        .iter()
        .filter(|found| found.pointer("/metadata/deletionTimestamp").is_none())
        .filter_map(|found| {
            let (text, well) = pod::in_short(found, now);
            (!well).then_some((found, text))
        })
        .collect();
    let more = told.len().saturating_sub(PODS_TOLD);
    for (found, text) in told.iter().take(PODS_TOLD) {
        story = story
            .because(format!("Pod {text}"))
            .next(format!("pontoon why pod/{}", fields::name(found)));
    }
    story.next.truncate(2);
    if more > 0 {
        story = story.because(format!(
            "{} not well either.",
            counted(more, "more pod is", "more pods are")
        ));
    }
    story
}
