//! Runs workloads and faults against real servers, and judges what clients saw.
//!
//! A run is one seed: it chooses what is done to whom and when, and what clients ask. Threads and the network are not under its control,
//! so that the same seed makes a like run, not the same.
//!
//! A run fails when a verdict is not "valid", when a fault had no effect, when too few operations were done, when a server ended by itself
//! or panicked, or when the cluster did not come back after a fault.

mod cluster;
mod faults;
mod limits;
mod load;
mod schedule;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use cluster::Cluster;
use pontoon_report::{Run, page};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Breaks a cluster, and says whether that showed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Servers of the cluster: 1, 3 or 5.
    #[arg(long, default_value_t = 3)]
    servers: usize,
    /// How long to go on.
    #[arg(long, default_value_t = 90)]
    seconds: u64,
    /// What chooses faults and operations.
    #[arg(long)]
    seed: Option<u64>,
    /// The kinds of fault to choose from, by their names; all that fit the number of servers when none is given.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Each kind at least once is demanded unless this is given.
    #[arg(long)]
    some: bool,
    /// The program under test; the one beside this when not given.
    #[arg(long, env = "PONTOON_BIN")]
    program: Option<PathBuf>,
    /// Where reports and histories go.
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
    /// Where servers' disks lie while the run lasts.
    #[arg(long, default_value = "/tmp")]
    ground: PathBuf,
    /// Prints the kinds of fault, and does nothing.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for kind in faults::Kind::ALL {
            println!("{}", kind.name());
        }
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn program(arguments: &Arguments) -> Result<PathBuf> {
    let path = match &arguments.program {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("pontoon"),
    };
    let path = std::path::absolute(path)?;
    if !path.exists() {
        bail!(
            "{} is not there: run `cargo build -p pontoon` first, or set PONTOON_BIN",
            path.display()
        );
    }
    Ok(path)
}

fn run(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let kinds = faults::chosen(&arguments.faults, arguments.servers)?;
    let mut cluster = Cluster::found(
        &arguments.ground,
        arguments.servers,
        seed,
        program(arguments)?,
    )
    .context("found the cluster")?;
    let start = Instant::now();
    println!(
        "seed {seed}: {} servers answer; {} kinds of fault",
        arguments.servers,
        kinds.len()
    );
    let load = load::Load::start(cluster.servers()?, seed, start)?;
    let end = start + std::time::Duration::from_secs(arguments.seconds);
    let scheduled = schedule::run(&mut cluster, &kinds, seed, start, end)?;
    let results = load.finish()?;
    let mut failures = scheduled.failures;
    failures.extend(load::complaints(&results, start.elapsed()));
    failures.extend(cluster.panics()?);
    let missing = kinds.iter().filter(|kind| {
        !scheduled
            .faults
            .iter()
            .any(|fault| fault.kind == kind.name())
    });
    let missing: Vec<&str> = missing.map(|kind| kind.name()).collect();
    if !missing.is_empty() && !arguments.some {
        failures.push(format!(
            "never done, the time was too short: {}",
            missing.join(", ")
        ));
    }
    let report = Run {
        seed,
        servers: arguments.servers,
        length: start.elapsed().as_secs_f64(),
        repeat: repeat(arguments, seed),
        failures,
        faults: scheduled.faults,
        workloads: results.iter().map(load::shown).collect(),
    };
    write(arguments, &report, &results, &cluster)?;
    Ok(report.failures.is_empty())
}

fn repeat(arguments: &Arguments, seed: u64) -> String {
    let mut command = format!(
        "cargo run -p pontoon-campaign -- --servers {} --seconds {} --seed {seed}",
        arguments.servers, arguments.seconds
    );
    if !arguments.faults.is_empty() {
        command.push_str(" --faults ");
        command.push_str(&arguments.faults.join(","));
    }
    command
}

/// Writes the page, the histories and, of a failed run, the servers' logs; prints the summary.
fn write(
    arguments: &Arguments,
    report: &Run,
    results: &[pontoon_workloads::Result],
    cluster: &Cluster,
) -> Result<()> {
    let folder = arguments
        .out
        .join(format!("{}-servers-seed-{}", report.servers, report.seed));
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    std::fs::write(folder.join("report.html"), page(report))?;
    for result in results {
        if let Some(edn) = &result.edn {
            std::fs::write(folder.join(format!("{}.edn", result.name)), edn)?;
        }
    }
    if !report.failures.is_empty() {
        cluster.keep_logs(&folder)?;
    }
    for fault in &report.faults {
        let recovered = fault
            .recovered_after
            .map_or("never".to_owned(), |seconds| format!("{seconds:.2} s"));
        println!(
            "{:7.1}..{:<7.1} {:<18} {} (next write after {recovered})",
            fault.from, fault.to, fault.kind, fault.story
        );
    }
    for workload in &report.workloads {
        println!(
            "{:<9} {:>6} operations, p50 {:.1} ms, p99 {:.1} ms; {}; {}",
            workload.name,
            workload.operations.len(),
            pontoon_report::percentile(workload, 0.5),
            pontoon_report::percentile(workload, 0.99),
            workload.figures,
            workload.verdict
        );
    }
    for failure in &report.failures {
        println!("FAILED: {failure}");
    }
    println!(
        "{}: {}",
        if report.failures.is_empty() {
            "passed"
        } else {
            "failed"
        },
        folder.join("report.html").display()
    );
    Ok(())
}
