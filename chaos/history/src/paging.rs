//! Lists that are read in pages, while objects change and old revisions are compacted: one moment, or an honest refusal.

use crate::ledger::{Ledger, Version};
use crate::operation::Moment;
use crate::verdict::{Anomaly, Verdict};
use std::collections::BTreeMap;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The revision that the page says it shows.
    pub revision: u64,
    /// Keys with what they hold.
    pub items: Vec<(u64, Version)>,
    /// How many items the page says come after it.
    pub remaining: Option<u64>,
}

/// How a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its last page.
    Complete,
    /// With the answer that its revision is compacted: fair.
    Expired,
    /// With an error on the way.
    Broken,
}

/// One list from its first page on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Its name in stories.
    pub name: String,
    /// When the first page was asked for.
    pub invoked: Moment,
    /// The revision that was asked for, when the past was.
    pub at: Option<u64>,
    /// What came.
    pub pages: Vec<Page>,
    /// How it ended.
    pub end: End,
}

/// Judges `lists` against `ledger`. `acknowledged` are writes' ends and revisions: a list of the present shows those before it.
#[must_use]
pub fn check(ledger: &mut Ledger, acknowledged: &[(Moment, u64)], lists: &[List]) -> Verdict {
    for list in lists {
        for (key, version) in list.pages.iter().flat_map(|page| &page.items) {
            ledger.learn(
                crate::ledger::Change {
                    revision: version.revision,
                    key: *key,
                    value: Some(version.value),
                },
                &list.name,
            );
        }
    }
    let mut floors: Vec<(Moment, u64)> = acknowledged.to_vec();
    floors.sort_unstable();
    let mut greatest = 0;
    for floor in &mut floors {
        greatest = greatest.max(floor.1);
        floor.1 = greatest;
    }
    let mut anomalies = ledger.anomalies().to_vec();
    for list in lists {
        judge(ledger, &floors, list, &mut anomalies);
    }
    Verdict::of(anomalies)
}

fn judge(ledger: &Ledger, floors: &[(Moment, u64)], list: &List, anomalies: &mut Vec<Anomaly>) {
    let mut blame =
        |kind, what: String| anomalies.push(Anomaly::new(kind, format!("{}: {what}", list.name)));
    let Some(first) = list.pages.first() else {
        return;
    };
    let revision = first.revision;
    if let Some(other) = list.pages.iter().find(|page| page.revision != revision) {
        blame(
            "pages-of-several-moments",
            format!(
                "one page shows revision {revision}, another {}",
                other.revision
            ),
        );
    }
    if let Some(at) = list.at.filter(|at| *at != revision) {
        blame("wrong-past", format!("asked for {at}, shows {revision}"));
    }
    let place = floors.partition_point(|(ended, _)| *ended < list.invoked);
    let floor = place.checked_sub(1).map_or(0, |place| floors[place].1);
    if list.at.is_none() && revision < floor {
        blame(
            "stale-list",
            format!("shows revision {revision}; {floor} was acknowledged before it was asked for"),
        );
    }
    let all: Vec<(u64, Version)> = list
        .pages
        .iter()
        .flat_map(|page| page.items.clone())
        .collect();
    let found: BTreeMap<u64, Version> = all.iter().copied().collect();
    if found.len() != all.len() {
        blame("listed-twice", "a key is on two pages".to_owned());
    }
    let wanted = ledger.state_at(revision);
    if let Some((key, version)) = found
        .iter()
        .find(|(key, version)| wanted.get(key) != Some(version))
    {
        blame(
            "torn-list",
            format!(
                "key {key} is {version:?} in a list of revision {revision}, where it was {:?}",
                wanted.get(key)
            ),
        );
    }
    if list.end == End::Complete {
        if let Some((key, version)) = wanted.iter().find(|(key, _)| !found.contains_key(key)) {
            blame(
                "missing-in-list",
                format!("key {key}, {version:?} at revision {revision}"),
            );
        }
        let mut left = all.len();
        for page in &list.pages {
            left -= page.items.len();
            if let Some(remaining) = page
                .remaining
                .filter(|said| usize::try_from(*said) != Ok(left))
            {
                blame(
                    "wrong-remaining",
                    format!("said {remaining} after a page, {left} came"),
                );
            }
        }
    }
}
