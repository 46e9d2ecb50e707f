//! Many seeds, each in a process of its own.

use crate::Arguments;
use crate::run::Report;
use anyhow::Context as _;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What all seeds came to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    simulated_millis: u64,
    slowest_healing: (u64, u64),
    operations: [u64; 4],
    faults: BTreeMap<String, u64>,
    failures: Vec<u64>,
}

/// Runs the seeds that are asked for.
///
/// # Errors
/// Processes cannot be started.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let deadline = arguments
        .seconds
        .map(|seconds| begun + Duration::from_secs(seconds));
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let (sum, stop) = (Mutex::new(Sum::default()), AtomicBool::new(false));
    let jobs = match arguments.jobs {
        Some(jobs) => jobs,
        None => std::thread::available_parallelism()?.get(),
    };
    let work = || -> anyhow::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if seed >= end || late || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let report = judge(seed, arguments)?;
            let failed = !report.violations.is_empty();
            sum.lock().add(&report);
            if failed {
                tell(&report, arguments);
                stop.fetch_or(!arguments.keep_going, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| {
            let ended = thread.join();
            ended.map_err(|_| anyhow::anyhow!("the campaign panicked"))?
        })
    })?;
    let sum = sum.into_inner();
    sum.tell(begun.elapsed());
    Ok(if sum.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a seed, or runs it twice and compares.
fn judge(seed: u64, arguments: &Arguments) -> anyhow::Result<Report> {
    let mut report = child(seed, arguments)?;
    if arguments.twice {
        let again = child(seed, arguments)?;
        if again.hash != report.hash || again.events != report.events {
            report.violations.push(format!(
                "two runs differ: {:x} of {} events, {:x} of {}",
                report.hash, report.events, again.hash, again.events
            ));
        }
    }
    Ok(report)
}

fn child(seed: u64, arguments: &Arguments) -> anyhow::Result<Report> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--report", "--seed", &seed.to_string()]);
    if let Some(bug) = &arguments.bug {
        command.args(["--bug", bug]);
    }
    let output = command.output().context("a seed cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| {
        format!(
            "seed {seed} gave no report ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn tell(report: &Report, arguments: &Arguments) {
    println!("seed {} failed:", report.seed);
    for violation in &report.violations {
        println!("  {violation}");
    }
    let bug = arguments
        .bug
        .as_ref()
        .map_or_else(String::new, |bug| format!(" --bug {bug}"));
    println!(
        "again: cargo run -p pontoon-sim -- --seed {} --trace{bug}",
        report.seed
    );
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.simulated_millis += report.simulated_millis;
        self.slowest_healing = self
            .slowest_healing
            .max((report.healing_millis, report.seed));
        for (sum, count) in self.operations.iter_mut().zip(report.operations) {
            *sum += count;
        }
        for (kind, times) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += times;
        }
        if !report.violations.is_empty() {
            self.failures.push(report.seed);
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "figures to be read")]
    fn tell(&self, took: Duration) {
        let [called, acknowledged, read, unknown] = self.operations;
        println!(
            "{} seeds in {:.0} s ({:.2}/s), {:.2} simulated hours",
            self.seeds,
            took.as_secs_f64(),
            self.seeds as f64 / took.as_secs_f64(),
            self.simulated_millis as f64 / 3_600_000.0
        );
        println!(
            "{called} operations: {acknowledged} writes acknowledged, {read} reads answered, {unknown} of unknown outcome"
        );
        println!(
            "slowest healing: {} ms (seed {})",
            self.slowest_healing.0, self.slowest_healing.1
        );
        println!("faults: {:?}", self.faults);
        if self.failures.is_empty() {
            println!("no seed failed");
        } else {
            println!("failed: {:?}", self.failures);
        }
    }
}
