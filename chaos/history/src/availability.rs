//! What users of a cluster see of their pods while servers die: never two where one must be, never fewer than promised by the cluster's
//! own hand.
//!
//! A faulty node takes pods away, and nobody is to blame; what is judged here is what the control plane does itself. A workload that also
//! takes nodes away says when ([`Expectation::excused`]).

use crate::operation::Moment;
use crate::verdict::{Anomaly, Verdict};
use std::collections::BTreeMap;

/// One pod as a watcher saw it from `revision` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The revision that showed it.
    pub revision: u64,
    /// When the watcher received it.
    pub at: Moment,
    /// What it belongs to: a deployment's name.
    pub owner: String,
    /// Its name.
    pub pod: String,
    /// Its uid: another pod of the same name is another pod.
    pub uid: String,
    /// Whether it serves: Ready and not being deleted.
    pub serves: bool,
    /// Whether it is gone.
    pub gone: bool,
}

/// What an owner was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Whose pods.
    pub owner: String,
    /// How many must serve at any time after as many once did.
    pub at_least: usize,
    /// How many pods may exist at most, with those on their way out.
    pub at_most: usize,
    /// Whether two pods of one name may never run at once: a stateful set's.
    pub identity: bool,
    /// From and to when nodes were taken away by the test.
    pub excused: Vec<(Moment, Moment)>,
}

/// A process of a pod as its node's own witness tells, not the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The pod's name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// When it began.
    pub from: Moment,
    /// When it ended; [`Moment::NEVER`] when it goes on.
    pub to: Moment,
}

/// Judges what was seen, in order of revision. Revisions are those of one stream without gaps.
#[must_use]
pub fn check(expectations: &[Expectation], sights: &[Sight], runs: &[Run]) -> Verdict {
    let mut anomalies = Vec::new();
    for expected in expectations {
        let own: Vec<&Sight> = sights
            .iter()
            .filter(|one| one.owner == expected.owner)
            .collect();
        if own.is_empty() {
            return Verdict::Unknown(format!("no pod of {} was ever seen", expected.owner));
        }
        numbers(expected, &own, &mut anomalies);
        if expected.identity {
            identities(expected, &own, runs, &mut anomalies);
        }
    }
    Verdict::of(anomalies)
}

fn numbers(expected: &Expectation, sights: &[&Sight], anomalies: &mut Vec<Anomaly>) {
    let mut pods: BTreeMap<&str, bool> = BTreeMap::new();
    let mut reached = false;
    let mut below = false;
    let mut at = 0;
    while at < sights.len() {
        // A transaction changes several pods at once; between its changes nothing is to be judged.
        let revision = sights[at].revision;
        let moment = sights[at].at;
        while at < sights.len() && sights[at].revision == revision {
            let sight = sights[at];
            if sight.gone {
                pods.remove(sight.uid.as_str());
            } else {
                pods.insert(&sight.uid, sight.serves);
            }
            at += 1;
        }
        let serving = pods.values().filter(|serves| **serves).count();
        reached |= serving >= expected.at_least;
        let excused = expected
            .excused
            .iter()
            .any(|(from, to)| *from <= moment && moment <= *to);
        if reached && serving < expected.at_least && !below && !excused {
            anomalies.push(Anomaly::new(
                "below-minimum",
                format!(
                    "{} had {serving} serving pods at revision {revision}, {} are promised",
                    expected.owner, expected.at_least
                ),
            ));
        }
        below = serving < expected.at_least;
        if pods.len() > expected.at_most {
            anomalies.push(Anomaly::new(
                "above-maximum",
                format!(
                    "{} had {} pods at revision {revision}, at most {} are allowed",
                    expected.owner,
                    pods.len(),
                    expected.at_most
                ),
            ));
        }
    }
}

fn identities(
    expected: &Expectation,
    sights: &[&Sight],
    runs: &[Run],
    anomalies: &mut Vec<Anomaly>,
) {
    let mut alive: BTreeMap<&str, &str> = BTreeMap::new();
    for sight in sights {
        if sight.gone {
            alive.retain(|_, uid| *uid != sight.uid);
        } else if let Some(other) = alive.insert(&sight.pod, &sight.uid)
            && other != sight.uid
        {
            anomalies.push(Anomaly::new(
                "identity-twice",
                format!(
                    "{} of {} is {} at revision {}, and was {other}, which is not gone",
                    sight.pod, expected.owner, sight.uid, sight.revision
                ),
            ));
        }
    }
    let names: std::collections::BTreeSet<&str> =
        sights.iter().map(|sight| sight.pod.as_str()).collect();
    let mut own: Vec<&Run> = runs
        .iter()
        .filter(|run| names.contains(run.pod.as_str()))
        .collect();
    own.sort_by_key(|run| (&run.pod, run.from));
    for pair in own.windows(2) {
        if pair[0].pod == pair[1].pod && pair[1].from < pair[0].to {
            anomalies.push(Anomaly::new(
                "two-processes",
                format!(
                    "{} ran as {} until {} and as {} from {}",
                    pair[0].pod, pair[0].uid, pair[0].to, pair[1].uid, pair[1].from
                ),
            ));
        }
    }
}
