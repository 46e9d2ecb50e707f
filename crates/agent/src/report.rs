//! What waits to be told to a server: the latest status of each pod, and events.
//!
//! A status waits until a server says that it is committed; of two statuses of one pod the later wins, so what waits is
//! bounded by the number of pods. Events are bounded by a count, and the oldest are dropped.

use crate::limits::{
    EVENTS_PER_BATCH_COUNT, EVENTS_REMEMBERED_COUNT, EVENTS_WAITING_COUNT, REPORT_DELAY,
    REPORTS_PER_BATCH_COUNT,
};
use crate::metrics;
use bytes::Bytes;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use parking_lot::Mutex;
use pontoon_api::name::NodeName;
use pontoon_wire::node::v1::{EventBatch, PodReport, StatusBatch};
use pontoon_world::World;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::Notify;

/// Which pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodRef {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

#[derive(Debug)]
struct Waiting {
    pod: PodRef,
    status: Bytes,
    removed: bool,
    /// Not before this time of the monotonic clock.
    due: Duration,
    /// The sequence under which it is on its way.
    sent: Option<u64>,
}

#[derive(Debug, Default)]
struct Events {
    waiting: VecDeque<Bytes>,
    /// Name, first time and count of each event that may be repeated.
    remembered: BTreeMap<EventKey, Remembered>,
    order: VecDeque<EventKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EventKey {
    uid: String,
    reason: String,
    message: String,
    field_path: Option<String>,
}

#[derive(Clone, Debug)]
struct Remembered {
    name: String,
    first: Time,
    count: i32,
}

/// What waits for a server.
#[derive(Debug)]
pub(crate) struct Reporter {
    node: NodeName,
    world: World,
    pods: Mutex<(BTreeMap<String, Waiting>, u64)>,
    events: Mutex<Events>,
    changed: Notify,
}

impl Reporter {
    pub(crate) fn new(node: NodeName, world: World) -> Self {
        Self {
            node,
            world,
            pods: Mutex::default(),
            events: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Hands over a pod's latest status. An urgent one goes out at once.
    pub(crate) fn report(&self, pod: PodRef, status: &PodStatus, removed: bool, urgent: bool) {
        let status = serde_json::to_vec(status).expect("Kubernetes' types can always be written");
        let now = self.world.clock().monotonic();
        let mut due = if urgent || removed {
            now
        } else {
            now + REPORT_DELAY
        };
        let mut pods = self.pods.lock();
        let mut gone = removed;
        if let Some(before) = pods.0.get(&pod.uid) {
            gone |= before.removed;
            if before.sent.is_none() {
                due = due.min(before.due);
            }
        }
        let waiting = Waiting {
            status: status.into(),
            removed: gone,
            due,
            sent: None,
            pod: pod.clone(),
        };
        pods.0.insert(pod.uid, waiting);
        metrics::reports_waiting(pods.0.len());
        drop(pods);
        self.changed.notify_one();
    }

    /// Whether a pod's last report has reached no server yet.
    pub(crate) fn waits(&self, uid: &str) -> bool {
        self.pods.lock().0.contains_key(uid)
    }

    /// Forgets what waits for a pod whose object is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.pods.lock().0.remove(uid);
    }

    /// Notes that a report is committed, or was dropped for good.
    pub(crate) fn acknowledged(&self, sequence: u64) {
        let mut pods = self.pods.lock();
        pods.0.retain(|_, waiting| waiting.sent != Some(sequence));
        metrics::reports_waiting(pods.0.len());
    }

    /// Notes that nothing sent before can be relied on: another session begins.
    pub(crate) fn resend(&self) {
        for waiting in self.pods.lock().0.values_mut() {
            waiting.sent = None;
        }
        self.changed.notify_one();
    }

    /// Returns when there is something to send: a report that is due, or an event.
    pub(crate) async fn ready(&self) {
        loop {
            let changed = self.changed.notified();
            let now = self.world.clock().monotonic();
            if !self.events.lock().waiting.is_empty() {
                return;
            }
            let next = self.next_due();
            match next {
                Some(due) if due <= now => return,
                Some(due) => {
                    let _ = tokio::time::timeout(due - now, changed).await;
                }
                None => changed.await,
            }
        }
    }

    fn next_due(&self) -> Option<Duration> {
        let pods = self.pods.lock();
        let unsent = pods.0.values().filter(|waiting| waiting.sent.is_none());
        unsent.map(|waiting| waiting.due).min()
    }

    /// The reports that are due, if any, marked as sent. What is nearly due goes along.
    pub(crate) fn take_statuses(&self) -> Option<StatusBatch> {
        let now = self.world.clock().monotonic();
        if self.next_due().is_none_or(|due| due > now) {
            return None;
        }
        let mut pods = self.pods.lock();
        let (waiting, sequence) = &mut *pods;
        let mut reports = Vec::new();
        for waiting in waiting.values_mut().filter(|w| w.sent.is_none()) {
            if reports.len() == REPORTS_PER_BATCH_COUNT {
                break;
            }
            *sequence += 1;
            waiting.sent = Some(*sequence);
            reports.push(PodReport {
                namespace: waiting.pod.namespace.clone(),
                name: waiting.pod.name.clone(),
                uid: waiting.pod.uid.clone(),
                status: waiting.status.clone(),
                removed: waiting.removed,
                sequence: *sequence,
            });
        }
        Some(StatusBatch { reports })
    }

    /// The events that wait, if any.
    pub(crate) fn take_events(&self) -> Option<EventBatch> {
        let mut events = self.events.lock();
        let count = events.waiting.len().min(EVENTS_PER_BATCH_COUNT);
        (count > 0).then(|| EventBatch {
            events: events.waiting.drain(..count).collect(),
        })
    }

    /// Hands over an event about a pod. The same event again is the same object with a higher count.
    pub(crate) fn event(&self, pod: &PodRef, event: &pontoon_lifecycle::Event) {
        let key = EventKey {
            uid: pod.uid.clone(),
            reason: event.reason.to_owned(),
            message: event.message.clone(),
            field_path: event.field_path.clone(),
        };
        let now = Time(self.world.now());
        let mut events = self.events.lock();
        let remembered = events.remember(key, &now, || {
            format!("{}.{:016x}", pod.name, self.world.entropy().u64())
        });
        let object = self.object(pod, event, &remembered, now);
        let json = serde_json::to_vec(&object).expect("Kubernetes' types can always be written");
        if events.waiting.len() == EVENTS_WAITING_COUNT {
            events.waiting.pop_front();
            metrics::event_dropped();
        }
        events.waiting.push_back(json.into());
        drop(events);
        self.changed.notify_one();
    }

    fn object(
        &self,
        pod: &PodRef,
        event: &pontoon_lifecycle::Event,
        remembered: &Remembered,
        now: Time,
    ) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(remembered.name.clone()),
                namespace: Some(pod.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(pod.namespace.clone()),
                name: Some(pod.name.clone()),
                uid: Some(pod.uid.clone()),
                field_path: event.field_path.clone(),
                resource_version: None,
            },
            reason: Some(event.reason.to_owned()),
            message: Some(event.message.clone()),
            type_: Some(event.kind.as_str().to_owned()),
            source: Some(EventSource {
                component: Some("kubelet".to_owned()),
                host: Some(self.node.as_str().to_owned()),
            }),
            reporting_component: Some("kubelet".to_owned()),
            reporting_instance: Some(self.node.as_str().to_owned()),
            first_timestamp: Some(remembered.first.clone()),
            last_timestamp: Some(now),
            count: Some(remembered.count),
            ..Event::default()
        }
    }
}

impl Events {
    fn remember(&mut self, key: EventKey, now: &Time, name: impl FnOnce() -> String) -> Remembered {
        if let Some(known) = self.remembered.get_mut(&key) {
            known.count = known.count.saturating_add(1);
            return known.clone();
        }
        if self.order.len() == EVENTS_REMEMBERED_COUNT
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
        let fresh = Remembered {
            name: name(),
            first: now.clone(),
            count: 1,
        };
        self.order.push_back(key.clone());
        self.remembered.insert(key, fresh.clone());
        fresh
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pontoon_world::manual;

    fn pod(uid: &str) -> PodRef {
        PodRef {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: uid.to_owned(),
        }
    }

    fn reporter() -> (Reporter, std::sync::Arc<manual::ManualClock>) {
        let (world, clock) = manual::world(jiff::Timestamp::UNIX_EPOCH, 1);
        (Reporter::new(NodeName::new("n1"), world), clock)
    }

    #[test]
    fn the_latest_status_wins_and_waits_until_it_is_acknowledged() {
        let (reporter, _) = reporter();
        let status = |phase: &str| PodStatus {
            phase: Some(phase.to_owned()),
            ..PodStatus::default()
        };
        reporter.report(pod("u1"), &status("Pending"), false, true);
        let first = reporter.take_statuses().unwrap();
        reporter.report(pod("u1"), &status("Running"), false, true);
        reporter.acknowledged(first.reports[0].sequence);
        assert!(reporter.waits("u1"));
        let second = reporter.take_statuses().unwrap();
        assert!(String::from_utf8_lossy(&second.reports[0].status).contains("Running"));
        assert!(reporter.take_statuses().is_none());
        reporter.resend();
        let third = reporter.take_statuses().unwrap();
        reporter.acknowledged(third.reports[0].sequence);
        assert!(!reporter.waits("u1"));
    }

    #[test]
    fn a_report_that_is_not_urgent_waits_for_a_later_one() {
        let (reporter, clock) = reporter();
        reporter.report(pod("u1"), &PodStatus::default(), false, false);
        assert!(reporter.take_statuses().is_none());
        clock.advance(REPORT_DELAY);
        assert_eq!(reporter.take_statuses().unwrap().reports.len(), 1);
        reporter.report(pod("u1"), &PodStatus::default(), true, false);
        reporter.report(pod("u1"), &PodStatus::default(), false, false);
        assert!(reporter.take_statuses().unwrap().reports[0].removed);
    }

    #[test]
    fn a_repeated_event_is_one_object_with_a_count() {
        let (reporter, _) = reporter();
        let event = pontoon_lifecycle::Event {
            kind: pontoon_lifecycle::EventType::Warning,
            reason: "BackOff",
            message: "again".to_owned(),
            field_path: None,
        };
        reporter.event(&pod("u1"), &event);
        reporter.event(&pod("u1"), &event);
        let batch = reporter.take_events().unwrap();
        let events: Vec<Event> = batch
            .events
            .iter()
            .map(|json| serde_json::from_slice(json).unwrap())
            .collect();
        assert_eq!(events[0].metadata.name, events[1].metadata.name);
        assert_eq!(events[1].count, Some(2));
    }
}
