//! One fault after another, each kind as often as every other, until the time is over.

use crate::cluster::Cluster;
use crate::faults::{Kind, inject};
use crate::limits::{FAULT_SECONDS, LOOK, QUIET, RECOVERY_PATIENCE};
use anyhow::Result;
use pontoon_report::Fault;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Scheduled {
    pub(crate) faults: Vec<Fault>,
    pub(crate) failures: Vec<String>,
}

/// Injects faults of `kinds` until `end`, and leaves the cluster healthy.
pub(crate) fn run(
    cluster: &mut Cluster,
    kinds: &[Kind],
    seed: u64,
    start: Instant,
    end: Instant,
) -> Result<Scheduled> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut scheduled = Scheduled::default();
    let mut round: Vec<Kind> = Vec::new();
    while Instant::now() < end && !kinds.is_empty() {
        if round.is_empty() {
            round = kinds.to_vec();
            round.shuffle(&mut random);
        }
        let Some(kind) = round.pop() else { break };
        std::thread::sleep(QUIET);
        once(cluster, kind, &mut random, start, &mut scheduled)?;
        if let Some(reason) = scheduled
            .failures
            .last()
            .filter(|reason| reason.contains("did not come back"))
        {
            eprintln!("{reason}");
            break;
        }
    }
    Ok(scheduled)
}

fn once(
    cluster: &mut Cluster,
    kind: Kind,
    random: &mut StdRng,
    start: Instant,
    scheduled: &mut Scheduled,
) -> Result<()> {
    let stopped = cluster.machines.switch().stopped();
    let injected = injections(cluster);
    let from = start.elapsed().as_secs_f64();
    let story = match inject(kind, cluster, random) {
        Ok(story) => story,
        Err(error) => {
            scheduled
                .failures
                .push(format!("{}: could not be done: {error:#}", kind.name()));
            format!("{error:#}")
        }
    };
    println!("{from:7.1} {}: {story}", kind.name());
    std::thread::sleep(Duration::from_secs_f64(random.random_range(FAULT_SECONDS)));
    let fired = match kind {
        _ if kind.is_of_the_network() => cluster.machines.switch().stopped() > stopped,
        _ if kind.is_of_the_disk() => injections(cluster) > injected,
        _ => true,
    };
    let ended = cluster.heal(kind, random)?;
    let to = start.elapsed().as_secs_f64();
    let recovered = cluster.recover(RECOVERY_PATIENCE);
    if !fired {
        scheduled.failures.push(format!(
            "{} at {from:.1} s had no effect: {story}",
            kind.name()
        ));
    }
    if !ended.is_empty() && !kind.may_end_servers() {
        scheduled.failures.push(format!(
            "{} at {from:.1} s: servers {ended:?} ended by themselves\n{}",
            kind.name(),
            cluster.log_ends()
        ));
    }
    let back = recovered.is_some() && all_back(cluster);
    if !back {
        let why = cluster.all_caught_up().err().unwrap_or_default();
        scheduled.failures.push(format!(
            "the cluster did not come back within {RECOVERY_PATIENCE:?} after {} ({story}): {why}\n{}",
            kind.name(),
            cluster.log_ends()
        ));
    }
    scheduled.faults.push(Fault {
        kind: kind.name().to_owned(),
        story,
        from,
        to,
        recovered_after: recovered.map(|time| time.as_secs_f64()),
        fired,
    });
    Ok(())
}

/// Waits until every server answers a read.
fn all_back(cluster: &Cluster) -> bool {
    let since = Instant::now();
    while since.elapsed() < RECOVERY_PATIENCE {
        if cluster.all_caught_up().is_ok() {
            return true;
        }
        std::thread::sleep(LOOK);
    }
    false
}

fn injections(cluster: &Cluster) -> u64 {
    let numbers = 0..cluster.machines.count();
    numbers
        .map(|number| cluster.machines.machine(number).disk().wishes().injected())
        .sum()
}
