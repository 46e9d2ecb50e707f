//! Members of a cluster over a simulated network, disk and clock: one seed, one run, byte for byte.
//!
//! What runs is the real consensus, apply, feed and gRPC between members. What is simulated: connections
//! (`net`), disks (`disk`), time and random numbers (`machine`), processes (`member`). Everything of a run happens on
//! one thread, in turns; every seed runs in a process of its own, so that nothing is left from another.

mod campaign;
mod chance;
mod chronicle;
mod disk;
mod history;
mod invariants;
mod machine;
mod member;
mod nemesis;
mod net;
mod panics;
mod plan;
mod run;
mod trace;
mod workload;

use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;

/// Real time after which a seed is said to hang. It takes seconds.
const LONGEST: Duration = Duration::from_secs(300);

/// Runs seeds until one fails.
#[derive(Debug, Parser)]
#[command(name = "pontoon-sim")]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Stop after so many seconds, however many seeds have run.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many seeds run at once.
    #[arg(long)]
    jobs: Option<usize>,
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// With `--seed`: print every event.
    #[arg(long)]
    trace: bool,
    /// With `--seed`: print the report as JSON, for the campaign.
    #[arg(long)]
    report: bool,
    /// Run every seed twice, and demand the same trace.
    #[arg(long)]
    twice: bool,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// A known mistake to build in; needs the feature `seeded-bugs`.
    #[arg(long)]
    bug: Option<String>,
    /// Print the known mistakes.
    #[arg(long)]
    bugs: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.bugs {
        for bug in pontoon_state::seeded::Bug::ALL {
            println!("{}", bug.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(bug) = &arguments.bug {
        pontoon_state::seeded::build_in(bug).map_err(anyhow::Error::msg)?;
    }
    match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => campaign::run(&arguments),
    }
}

/// Runs one seed on a thread that knows nothing but the simulation.
fn one(seed: u64, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    let told = arguments.trace;
    panics::watch();
    // Simulated time stands still where a member goes round in circles.
    std::thread::spawn(move || {
        std::thread::sleep(LONGEST);
        eprintln!("seed {seed} is not done after {LONGEST:?}");
        std::process::exit(3);
    });
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    let running = thread.spawn(move || {
        machine::enter(seed);
        run::run(seed, told)
    })?;
    let report = running
        .join()
        .map_err(|_| anyhow::anyhow!("the simulator panicked: {:?}", panics::take()))??;
    if arguments.report {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report:#?}");
    }
    Ok(if report.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
