//! Pods.

use super::{Facts, Story, counted, said};
use crate::fields;
use jiff::Timestamp;
use pontoon_api::kinds::duration::since;
use serde_json::Value;

/// Why a pod is as it is.
pub(super) fn story(pod: &Value, facts: &Facts, now: Timestamp) -> Story {
    let (node, events) = (facts.node.as_ref(), facts.related.events.as_slice());
    let name = fields::name(pod);
    let on = fields::text(pod, "/spec/nodeName");
    let phase = fields::text(pod, "/status/phase");
    if on.is_empty() && phase != "Succeeded" && phase != "Failed" {
        return unplaced(pod);
    }
    let story = match phase {
        "Succeeded" => Story::well("has done its work: every container ended well."),
        "Failed" => failed(pod, now),
        _ => match troubled(pod, &facts.owners, now) {
            Some(story) => story,
            None if phase == "Running" => running(pod, events, now),
            None => starting(pod, on),
        },
    };
    let story = match node {
        Some(node) if phase != "Succeeded" && phase != "Failed" => node_trouble(story, node),
        _ => story,
    };
    let story = placement(story, pod, on, events);
    if phase == "Failed" {
        story.next(format!("pontoon logs {name}"))
    } else {
        story
    }
}

/// The sentence of a pod within its owner's story, and whether it is well.
pub(super) fn in_short(pod: &Value, now: Timestamp) -> (String, bool) {
    let well = fields::condition(pod, "Ready")
        .is_some_and(|ready| fields::text(ready, "/status") == "True");
    let story = story(pod, &Facts::default(), now);
    let detail = story
        .because
        .first()
        .map(|reason| format!(" {}", reason.trim()))
        .unwrap_or_default();
    (
        format!("{} {}{detail}", fields::name(pod), story.headline),
        well,
    )
}

fn unplaced(pod: &Value) -> Story {
    let gates: Vec<&str> = fields::list(pod, "/spec/schedulingGates")
        .iter()
        .map(|gate| fields::text(gate, "/name"))
        .collect();
    if !gates.is_empty() {
        return Story::new("waits: it may not be placed yet.").because(format!(
            "Its scheduling gates must be taken off first: {}.",
            gates.join(", ")
        ));
    }
    let scheduled = fields::condition(pod, "PodScheduled");
    match scheduled.filter(|scheduled| fields::text(scheduled, "/status") == "False") {
        Some(refused) => {
            let mut story = Story::new("waits for a node: none can take it.")
                .because(format!("The scheduler says: {}", said(refused)));
            let wanted = wants(pod);
            if !wanted.is_empty() {
                story = story.because(format!("It asks for {}.", wanted.join(", ")));
            }
            story.next("pontoon describe nodes")
        }
        None => Story::new("waits for a node: the scheduler has not decided yet.").because(
            "That takes moments; when it lasts, the control plane has no leader or is behind.",
        ),
    }
}

/// What narrows the choice of nodes.
fn wants(pod: &Value) -> Vec<String> {
    let mut wants = Vec::new();
    for resource in ["cpu", "memory"] {
        let asked: Vec<String> = fields::list(pod, "/spec/containers")
            .iter()
            .map(|container| fields::text(container, &format!("/resources/requests/{resource}")))
            .filter(|amount| !amount.is_empty())
            .map(str::to_owned)
            .collect();
        if !asked.is_empty() {
            wants.push(format!("{} {resource}", asked.join(" + ")));
        }
    }
    for (key, value) in fields::entries(pod, "/spec/nodeSelector") {
        wants.push(format!("a node labelled {key}={}", fields::plain(value)));
    }
    if pod.pointer("/spec/affinity").is_some() {
        wants.push("what its affinity says".to_owned());
    }
    let class = fields::text(pod, "/spec/runtimeClassName");
    if !class.is_empty() {
        wants.push(format!("the runtime class {class}"));
    }
    wants
}

/// Init containers and containers with their statuses, those that come first first.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .flat_map(|pointer| fields::list(pod, pointer))
}

/// A container that cannot begin or keeps ending, if one does.
fn troubled(pod: &Value, owners: &[Value], now: Timestamp) -> Option<Story> {
    let name = fields::name(pod);
    for status in statuses(pod) {
        let container = fields::text(status, "/name");
        let reason = fields::text(status, "/state/waiting/reason");
        let message = fields::text(status, "/state/waiting/message");
        let ended = status
            .pointer("/lastState/terminated")
            .or(status.pointer("/state/terminated"));
        match reason {
            "" | "ContainerCreating" | "PodInitializing" | "Waiting" => {}
            "CrashLoopBackOff" => {
                let restarts = fields::integer(status, "/restartCount").unwrap_or(0);
                let times = usize::try_from(restarts).unwrap_or(0);
                let story = Story::new(format!(
                    "fails: container {container} keeps ending and waits before its next start."
                ));
                let story = ended
                    .into_iter()
                    .fold(story, |story, ended| story.because(end(ended, now)));
                return Some(
                    story
                        .because(format!(
                            "It was restarted {}. {message}",
                            counted(times, "time", "times")
                        ))
                        .next(format!("pontoon logs {name} -c {container} --previous")),
                );
            }
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                let pointer = fields::text(status, "/image");
                return Some(
                    Story::new(format!(
                        "waits: the image of container {container} cannot be had."
                    ))
                    .because(format!("{reason} of {pointer:?}: {message}"))
                    .next(format!(
                        "pontoon set image {} {container}=IMAGE",
                        changeable(pod, owners)
                    )),
                );
            }
            "CreateContainerConfigError" => {
                return Some(
                    Story::new(format!(
                        "waits: something that container {container} refers to is missing."
                    ))
                    .because(message)
                    .next("pontoon get configmaps,secrets"),
                );
            }
            other => {
                return Some(
                    Story::new(format!("fails: container {container} cannot be started."))
                        .because(format!("{other}: {message}")),
                );
            }
        }
    }
    None
}

/// What to change for a pod to be another: the outermost that made it.
fn changeable(pod: &Value, owners: &[Value]) -> String {
    let made = owners.last().unwrap_or(pod);
    let kind = match fields::text(made, "/kind") {
        "" => "pod".to_owned(),
        kind => kind.to_lowercase(),
    };
    format!("{kind}/{}", fields::name(made))
}

/// How a container ended.
fn end(ended: &Value, now: Timestamp) -> String {
    let code = fields::integer(ended, "/exitCode").unwrap_or(0);
    let meaning = match (fields::text(ended, "/reason"), code) {
        ("OOMKilled", _) => "; it used more memory than its limit",
        (_, 126) => "; its command cannot be executed",
        (_, 127) => "; its command was not found",
        (_, 137) => "; it was killed",
        (_, 143) => "; it was asked to end",
        (_, 0) => "; it was done, and its restart policy starts it again",
        _ => "",
    };
    let message = fields::text(ended, "/message").trim();
    let ago = fields::time(ended, "/finishedAt")
        .map(|at| format!(" {} ago", since(Some(at), now)))
        .unwrap_or_default();
    let told = if message.is_empty() {
        String::new()
    } else {
        format!(" It said: {message}")
    };
    format!("It last ended{ago} with exit code {code}{meaning}.{told}")
}

fn failed(pod: &Value, now: Timestamp) -> Story {
    let reason = fields::text(pod, "/status/reason");
    let message = fields::text(pod, "/status/message");
    let mut story = match reason {
        "" => Story::new("failed: its containers ended and are not started again."),
        "Evicted" => Story::new("failed: its node put it out."),
        reason => Story::new(format!("failed: {reason}.")),
    }
    .because(message);
    for status in statuses(pod) {
        if let Some(ended) = status.pointer("/state/terminated")
            && fields::integer(ended, "/exitCode").unwrap_or(0) != 0
        {
            story = story.because(format!(
                "Container {}: {}",
                fields::text(status, "/name"),
                end(ended, now)
            ));
        }
    }
    story
}

/// Bound, and not yet running.
fn starting(pod: &Value, on: &str) -> Story {
    let waiting: Vec<&str> = fields::list(pod, "/status/initContainerStatuses")
        .iter()
        .filter(|status| status.pointer("/state/terminated").is_none())
        .map(|status| fields::text(status, "/name"))
        .collect();
    if statuses(pod).next().is_none() {
        return Story::new(format!(
            "waits: node {on} has it and has not yet said how it does."
        ))
        .next(format!("pontoon describe node {on}"));
    }
    match waiting.first() {
        Some(first) => Story::new(format!(
            "is starting: init container {first} has not ended yet."
        ))
        .because("Containers start when every init container has ended well.")
        .next(format!("pontoon logs {} -c {first}", fields::name(pod))),
        None => Story::new(format!("is starting: node {on} is making its containers.")),
    }
}

fn running(pod: &Value, events: &[Value], now: Timestamp) -> Story {
    let ready = fields::condition(pod, "Ready");
    if ready.is_some_and(|ready| fields::text(ready, "/status") == "True") {
        let at = ready.and_then(|ready| fields::time(ready, "/lastTransitionTime"));
        let story = Story::well(format!(
            "is well: it runs, and has been ready for {}.",
            since(at, now)
        ));
        return statuses(pod)
            .filter(|status| fields::integer(status, "/restartCount").unwrap_or(0) > 0)
            .fold(story, |story, status| {
                let times = fields::integer(status, "/restartCount").unwrap_or(0);
                let last = status
                    .pointer("/lastState/terminated")
                    .map(|ended| end(ended, now))
                    .unwrap_or_default();
                let times = counted(usize::try_from(times).unwrap_or(0), "time", "times");
                story.because(format!(
                    "Container {} was restarted {times}. {last}",
                    fields::text(status, "/name")
                ))
            });
    }
    let unready: Vec<&str> = fields::list(pod, "/status/containerStatuses")
        .iter()
        .filter(|status| !fields::is_true(status, "/ready"))
        .map(|status| fields::text(status, "/name"))
        .collect();
    let probe = events
        .iter()
        .rev()
        .find(|event| fields::text(event, "/reason") == "Unhealthy")
        .map(|event| fields::text(event, "/message"));
    let probed = |name: &&&str| {
        fields::find(fields::list(pod, "/spec/containers"), "name", name)
            .is_some_and(|container| container.get("readinessProbe").is_some())
    };
    let name = fields::name(pod);
    match unready.first() {
        Some(first) if unready.iter().any(|name| probed(&name)) => Story::new(format!(
            "runs and is not ready: container {first} does not pass its readiness probe."
        ))
        .because(probe.unwrap_or("The probe has not succeeded yet."))
        .because("Services send it nothing until it passes.")
        .next(format!("pontoon logs {name} -c {first}")),
        Some(first) => Story::new(format!("runs and is not ready: container {first} is not."))
            .next(format!("pontoon logs {name} -c {first}")),
        None => Story::new("runs and is not ready.").because(ready.map(said).unwrap_or_default()),
    }
}

fn node_trouble(story: Story, node: &Value) -> Story {
    let name = fields::name(node);
    match fields::condition(node, "Ready").filter(|ready| fields::text(ready, "/status") != "True")
    {
        Some(ready) => story
            .because(format!("Its node {name} is not ready: {}", said(ready)))
            .next(format!("pontoon why node/{name}")),
        None => story,
    }
}

/// Why it sits where it does.
fn placement(story: Story, pod: &Value, on: &str, events: &[Value]) -> Story {
    if on.is_empty() {
        return story;
    }
    let scheduled = events
        .iter()
        .any(|event| fields::text(event, "/reason") == "Scheduled");
    let wanted = wants(pod);
    let chosen = if scheduled || fields::condition(pod, "PodScheduled").is_some() {
        format!("It sits on node {on}, which the scheduler chose")
    } else {
        format!("It sits on node {on}")
    };
    if wanted.is_empty() {
        story.because(format!("{chosen}."))
    } else {
        story.because(format!("{chosen}; it asks for {}.", wanted.join(", ")))
    }
}
