//! Why an object waits, fails or sits where it does, in words. Pure: told from objects fetched before.

mod pod;
mod service;
mod workload;

use crate::{
    fields,
    output::describe::{Related, age},
    verbs::events::last_seen,
};
use jiff::Timestamp;
use pontoon_api::kinds::duration::since;
use serde_json::Value;

/// What is told of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The object itself.
    pub object: Value,
    /// Who controls it, and who controls that one.
    pub owners: Vec<Value>,
    /// The node that a pod is on.
    pub node: Option<Value>,
    /// What stands around it.
    pub related: Related,
}

/// The answer: one sentence, what it rests on, and what to type next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Story {
    /// Nothing is wrong: what went wrong earlier is not told.
    well: bool,
    headline: String,
    because: Vec<String>,
    next: Vec<String>,
}

impl Story {
    fn new(headline: impl Into<String>) -> Self {
        Self {
            headline: headline.into(),
            ..Self::default()
        }
    }

    fn well(headline: impl Into<String>) -> Self {
        Self {
            well: true,
            ..Self::new(headline)
        }
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        if !reason.is_empty() && !self.because.contains(&reason) {
            self.because.push(reason);
        }
        self
    }

    fn next(mut self, command: impl Into<String>) -> Self {
        let command = command.into();
        if !self.next.contains(&command) {
            self.next.push(command);
        }
        self
    }
}

/// The whole answer, as text.
pub fn explain(facts: &Facts, now: Timestamp) -> String {
    let object = &facts.object;
    let kind = fields::text(object, "/kind");
    let story = match kind {
        _ if object.pointer("/metadata/deletionTimestamp").is_some() => ending(object, now),
        "Pod" => pod::story(object, facts, now),
        "Deployment" => workload::deployment(object, &facts.related, now),
        "ReplicaSet" => workload::replica_set(object, &facts.related, now),
        "Service" => service::story(object, &facts.related, now),
        "Node" => node(object, now),
        _ => conditions(object),
    };
    let story = owners(story, &facts.owners);
    let story = warnings(story, &facts.related.events, now);
    let place = match fields::namespace(object) {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    };
    let mut text = format!(
        "{kind} {place}{} {}\n",
        fields::name(object),
        story.headline
    );
    for reason in &story.because {
        text.push_str(&format!("  - {}\n", reason.trim()));
    }
    for (index, command) in story.next.iter().enumerate() {
        let label = if index == 0 { "Next:" } else { "     " };
        text.push_str(&format!("{label} {command}\n"));
    }
    text
}

/// What is deleted and still there.
fn ending(object: &Value, now: Timestamp) -> Story {
    let asked = fields::time(object, "/metadata/deletionTimestamp");
    let finalizers: Vec<String> = fields::list(object, "/metadata/finalizers")
        .iter()
        .map(fields::plain)
        .collect();
    let mut story = Story::new(match asked {
        Some(until) if until > now => format!("is ending, within {}.", since(Some(now), until)),
        _ => format!(
            "is ending; it should have been gone {} ago.",
            since(asked, now)
        ),
    });
    if !finalizers.is_empty() {
        story = story.because(format!(
            "It stays until its finalizers are taken off by those who set them: {}.",
            finalizers.join(", ")
        ));
    }
    if fields::text(object, "/kind") == "Pod" {
        let running = fields::list(object, "/status/containerStatuses")
            .iter()
            .filter(|status| status.pointer("/state/running").is_some())
            .count();
        if running > 0 {
            story = story.because(format!(
                "{} still running.",
                counted(running, "container is", "containers are")
            ));
        }
        let node = fields::text(object, "/spec/nodeName");
        if !node.is_empty() {
            story = story.because(format!(
                "It is gone when its node {node} says that its containers have ended."
            ));
        }
    }
    story
}

fn node(node: &Value, now: Timestamp) -> Story {
    let ready = fields::condition(node, "Ready");
    let status = ready
        .map(|ready| fields::text(ready, "/status"))
        .unwrap_or("");
    let mut story = match (status, ready) {
        ("True", Some(ready)) => Story::new(format!(
            "has been ready for {}.",
            since(fields::time(ready, "/lastTransitionTime"), now)
        )),
        ("Unknown", Some(ready)) => Story::new("is not heard of.").because(said(ready)),
        (_, Some(ready)) => Story::new("is not ready.").because(said(ready)),
        (_, None) => Story::new("has not said yet how it does."),
    };
    for kind in [
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "NetworkUnavailable",
    ] {
        if let Some(condition) = fields::condition(node, kind)
            && fields::text(condition, "/status") == "True"
        {
            story = story.because(format!("{kind}: {}", fields::text(condition, "/message")));
        }
    }
    if fields::is_true(node, "/spec/unschedulable") {
        story = story.because("It takes no pods: spec.unschedulable is set.");
    }
    for taint in fields::list(node, "/spec/taints") {
        story = story.because(format!(
            "It is tainted {}: only pods that tolerate that are {}.",
            fields::text(taint, "/key"),
            if fields::text(taint, "/effect") == "NoExecute" {
                "placed and stay"
            } else {
                "placed"
            }
        ));
    }
    story
}

/// Any other kind: what its conditions say.
fn conditions(object: &Value) -> Story {
    let conditions = fields::list(object, "/status/conditions");
    let bad: Vec<&Value> = conditions
        .iter()
        .filter(|condition| fields::text(condition, "/status") != "True")
        .collect();
    let story = match (conditions.is_empty(), bad.is_empty()) {
        (true, _) => Story::well("exists; its kind does not say how it does."),
        (false, true) => Story::well("is well: each of its conditions holds."),
        (false, false) => Story::new("has conditions that do not hold."),
    };
    bad.into_iter().fold(story, |story, condition| {
        story.because(format!(
            "{}: {}",
            fields::text(condition, "/type"),
            said(condition)
        ))
    })
}

/// A condition's reason and message.
fn said(condition: &Value) -> String {
    let (reason, message) = (
        fields::text(condition, "/reason"),
        fields::text(condition, "/message"),
    );
    match (reason.is_empty(), message.is_empty()) {
        (_, false) => message.to_owned(),
        (false, true) => reason.to_owned(),
        (true, true) => "no reason is given".to_owned(),
    }
}

fn owners(story: Story, owners: &[Value]) -> Story {
    let names: Vec<String> = owners
        .iter()
        .map(|owner| format!("{} {}", fields::text(owner, "/kind"), fields::name(owner)))
        .collect();
    if names.is_empty() {
        story
    } else {
        story.because(format!("It belongs to {}.", names.join(" of ")))
    }
}

/// The last warnings, the latest first.
fn warnings(story: Story, events: &[Value], now: Timestamp) -> Story {
    const SHOWN: usize = 3;
    if story.well {
        return story;
    }
    let mut bad: Vec<&Value> = events
        .iter()
        .filter(|event| fields::text(event, "/type") == "Warning")
        .collect();
    bad.sort_by_key(|event| std::cmp::Reverse(last_seen(event)));
    bad.into_iter().take(SHOWN).fold(story, |story, event| {
        let message = fields::text(event, "/message").trim();
        // Behind its first words an event often repeats what a status says.
        let gist = message.split_once(": ").map_or(message, |(_, gist)| gist);
        if story.because.iter().any(|reason| reason.contains(gist)) {
            return story;
        }
        let reason = fields::text(event, "/reason");
        story.because(format!("{} ago, {reason}: {message}", age(event, now)))
    })
}

/// `1 pod is` or `3 pods are`.
fn counted(number: usize, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {many}")
    }
}

#[cfg(test)]
mod tests;
