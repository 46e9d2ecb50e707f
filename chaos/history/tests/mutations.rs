//! Each checker finds nothing wrong with good histories, and each anomaly that is put into one.
#![allow(clippy::unwrap_used)]

#[path = "mutations/locks.rs"]
mod locks;
#[path = "mutations/registers.rs"]
mod registers;
#[path = "mutations/sets.rs"]
mod sets;
#[path = "mutations/streams.rs"]
mod streams;
#[path = "mutations/transactions.rs"]
mod transactions;

use pontoon_history::Verdict;
use rand::SeedableRng;
use rand::rngs::StdRng;
use registers::registers;
use sets::sets;
use transactions::transactions;

fn random() -> StdRng {
    StdRng::seed_from_u64(7)
}

#[track_caller]
fn finds(verdict: &Verdict, kind: &str) {
    assert!(verdict.has(kind), "expected {kind}, got {verdict}");
}

#[test]
fn histories_are_written_as_jepsen_does_and_adya_reads_them() {
    let history = transactions(&mut random());
    let text = pontoon_history::edn::write(&history);
    let read = adya::History::from_edn(&text).unwrap();
    assert_eq!(read.ops.len(), history.len() * 2);
    let report = adya::check(&read, adya::Workload::ListAppend, &adya::Opts::default());
    assert_eq!(
        report.valid,
        adya::Valid::True,
        "{:?}",
        report.anomaly_types
    );
    let registers = pontoon_history::edn::write(&registers(&mut random()));
    assert!(
        registers
            .lines()
            .all(|line| line.starts_with("{:index ") && line.ends_with("]}")),
        "{registers}"
    );
    assert!(registers.contains(":type :info"));
    let sets = pontoon_history::edn::write(&sets());
    assert!(sets.contains(":f :read, :value #{"));
}
