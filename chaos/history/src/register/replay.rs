//! The quick way: the writes in order of revision, the reads behind the write that they saw.
//!
//! Steps that saw the same version make a group; groups are in order of revision. Some linear order exists just when no step of a group
//! returned before a step of an earlier group was invoked. The earliest moment at which a write can lie is then the latest invocation up
//! to it.

use super::model::Step;
use crate::operation::Moment;
use crate::search::Interval;
use crate::verdict::Anomaly;
use std::collections::BTreeMap;

/// What is wrong, if anything; `None` when only a search can tell. `tell` puts the operation at a place into words.
pub(super) fn replay(
    steps: &[Interval<Step>],
    tell: &dyn Fn(usize) -> String,
) -> Option<Option<Anomaly>> {
    let groups = Groups::of(steps);
    if let Some(anomaly) = groups
        .broken_chain(tell)
        .or_else(|| groups.against_time(tell))
    {
        return Some(Some(anomaly));
    }
    let earliest = groups.earliest();
    let explained = steps.iter().all(|step| match step.step {
        Step::Refused { over } => groups.can_refuse(step, over, &earliest),
        _ => true,
    });
    explained.then_some(None)
}

/// By revision, zero for "nothing written yet": the write, then the reads that saw it.
struct Groups<'a>(BTreeMap<u64, Vec<&'a Interval<Step>>>);

impl<'a> Groups<'a> {
    fn of(steps: &'a [Interval<Step>]) -> Self {
        let mut groups: BTreeMap<u64, Vec<&Interval<Step>>> = BTreeMap::new();
        groups.insert(0, Vec::new());
        for step in steps {
            match step.step {
                Step::Write { version, .. } => {
                    groups.entry(version.revision).or_default().insert(0, step);
                }
                Step::Read(version) => {
                    let revision = version.map_or(0, |version| version.revision);
                    groups.entry(revision).or_default().push(step);
                }
                Step::Unseen { .. } | Step::Refused { .. } => {}
            }
        }
        Self(groups)
    }

    /// A compare-and-set that succeeded although another revision than its own was the last.
    fn broken_chain(&self, tell: &dyn Fn(usize) -> String) -> Option<Anomaly> {
        let mut last = 0;
        for (revision, group) in &self.0 {
            if let Some(Interval {
                step: Step::Write {
                    over: Some(over), ..
                },
                origin,
                ..
            }) = group.first()
                && *over != last
            {
                let story = match self.0.get(&last).and_then(|group| group.first()) {
                    Some(lost) if *over < last => {
                        format!("{} overwrote {}", tell(*origin), tell(lost.origin))
                    }
                    _ => format!("{}, while the last revision was {last}", tell(*origin)),
                };
                return Some(Anomaly::new("lost-update", story));
            }
            last = *revision;
        }
        None
    }

    /// A step that was over before a step began which revisions put earlier.
    fn against_time(&self, tell: &dyn Fn(usize) -> String) -> Option<Anomaly> {
        let mut latest: Option<&Interval<Step>> = None;
        for group in self.0.values() {
            // The write is a group of its own: its reads come after it.
            let (write, reads) = match group.split_first() {
                Some((first, rest)) if matches!(first.step, Step::Write { .. }) => {
                    (std::slice::from_ref(first), rest)
                }
                _ => (&group[..0], &group[..]),
            };
            for part in [write, reads] {
                for step in part {
                    if let Some(other) = latest.filter(|other| step.returned < other.invoked) {
                        // A newer version was known before an older one was still read, or written.
                        let kind = match other.step {
                            Step::Read(_) => "stale-read",
                            _ => "writes-against-time",
                        };
                        let story = format!(
                            "{} had returned before {} began, which saw an older revision",
                            tell(step.origin),
                            tell(other.origin)
                        );
                        return Some(Anomaly::new(kind, story));
                    }
                }
                for step in part {
                    if latest.is_none_or(|other| step.invoked > other.invoked) {
                        latest = Some(step);
                    }
                }
            }
        }
        None
    }

    /// The earliest moment of each group's write, if everything before it is as early as can be.
    fn earliest(&self) -> BTreeMap<u64, Moment> {
        let mut latest = Moment(0);
        let mut earliest = BTreeMap::new();
        for (revision, group) in &self.0 {
            if let Some(write) = group.first() {
                let own = match write.step {
                    Step::Write { .. } => write.invoked,
                    _ => latest,
                };
                earliest.insert(*revision, latest.max(own));
            }
            latest = group
                .iter()
                .map(|step| step.invoked)
                .fold(latest, Moment::max);
        }
        earliest
    }

    /// Whether a compare-and-set over `over` may be refused within its interval while all writes are as early as can be: before that
    /// revision came to be, or after the next one did.
    fn can_refuse(
        &self,
        step: &Interval<Step>,
        over: u64,
        earliest: &BTreeMap<u64, Moment>,
    ) -> bool {
        if over != 0 && !self.0.contains_key(&over) {
            return true;
        }
        let before = over != 0 && earliest.get(&over).is_some_and(|at| step.invoked <= *at);
        let next = self.0.range(over + 1..).next();
        let after = next
            .and_then(|(revision, _)| earliest.get(revision))
            .is_some_and(|at| *at <= step.returned);
        before || after
    }
}
