//! Services: whether anything answers behind them, and if not why.

use super::{Story, counted, pod};
use crate::{fields, output::describe::Related};
use jiff::Timestamp;
use serde_json::Value;

pub(super) fn story(service: &Value, related: &Related, now: Timestamp) -> Story {
    if fields::text(service, "/spec/type") == "ExternalName" {
        return Story::well(format!(
            "is only a name: DNS answers it with {}.",
            fields::text(service, "/spec/externalName")
        ));
    }
    let ready = endpoints(&related.slices, true);
    if ready > 0 {
        let waiting = endpoints(&related.slices, false);
        let story = Story::well(format!(
            "is well: {} ready behind it.",
            counted(ready, "endpoint is", "endpoints are")
        ));
        return if waiting > 0 {
            story.because(format!(
                "{} not ready and gets nothing.",
                counted(waiting, "more is", "more are")
            ))
        } else {
            story
        };
    }
    let story =
        Story::new("reaches nothing: no endpoint is ready behind it; connections are refused.");
    let selector = fields::entries(service, "/spec/selector");
    if selector.is_empty() {
        return story.because(
            "It has no selector: its endpoints are whatever EndpointSlices somebody writes for it.",
        );
    }
    let labels: Vec<String> = selector
        .iter()
        .map(|(key, value)| format!("{key}={}", fields::plain(value)))
        .collect();
    if related.pods.is_empty() {
        return story
            .because(format!(
                "No pod in its namespace has the labels that it selects: {}.",
                labels.join(",")
            ))
            .next(format!(
                "pontoon get pods --show-labels -n {}",
                fields::namespace(service)
            ));
    }
    let story = unready(story, &related.pods, now);
    unnamed_ports(story, service, &related.pods)
}

fn endpoints(slices: &[Value], ready: bool) -> usize {
    slices
        .iter()
        .flat_map(|slice| fields::list(slice, "/endpoints"))
        .filter(|endpoint| {
            (endpoint
                .pointer("/conditions/ready")
                .and_then(Value::as_bool)
                != Some(false))
                == ready
        })
        .count()
}

fn unready(mut story: Story, pods: &[Value], now: Timestamp) -> Story {
    const TOLD: usize = 3;
    let mut well = 0;
    for found in pods {
        let (text, is_well) = pod::in_short(found, now);
        if is_well {
            well += 1;
        } else if story.because.len() < TOLD {
            story = story
                .because(format!("Pod {text}"))
                .next(format!("pontoon why pod/{}", fields::name(found)));
        }
    }
    if well > 0 {
        story = story.because(format!(
            "{} ready: endpoints follow within moments.",
            counted(well, "pod is", "pods are")
        ));
    }
    story
}

/// A target port that goes by a name which no pod has.
fn unnamed_ports(mut story: Story, service: &Value, pods: &[Value]) -> Story {
    for port in fields::list(service, "/spec/ports") {
        let Some(name) = port.get("targetPort").and_then(Value::as_str) else {
            continue;
        };
        let known = pods.iter().any(|pod| {
            fields::list(pod, "/spec/containers")
                .iter()
                .flat_map(|container| fields::list(container, "/ports"))
                .any(|port| fields::text(port, "/name") == name)
        });
        if !known {
            story = story.because(format!(
                "Its target port {name:?} is no port of these pods."
            ));
        }
    }
    story
}
