//! How fast a cluster is, and what it costs: the figures of docs/benchmarks.md.
//!
//! `cargo bench -p pontoon-tests --bench cluster -- [FILTER...] [--quick]`. Each figure warms up, is
//! repeated, and is printed with its spread; percentiles are over all samples. Nothing here judges
//! by exit code: a slow machine is a number, not a failure.
//!
//! Clients and servers share the machine, and the clients are this process. With root everything
//! runs in a network namespace of its own.
#![allow(missing_docs)]

mod etcd;
mod figures;
mod isolation;
mod load;
mod machine;
mod report;
mod rest;
mod samples;
mod server;

use anyhow::{Context as _, Result};
use figures::{Effort, Figures};
use report::Report;

/// Room for two thousand connections with both of their ends.
const WORKERS: usize = 2;

fn main() -> Result<()> {
    // Cargo adds `--bench` to what a person typed.
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let effort = if given.iter().any(|argument| argument == "--quick") {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let filters: Vec<&String> = given
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let isolated = isolation::enter();
    let binary = server::binary()?;
    machine::describe(&binary, &isolated);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("no runtime")?;
    let mut report = Report::default();
    for (name, figures) in figures::ALL {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        println!(
            "\n# {name} (load of the machine before: {})",
            machine::load()
        );
        if let Err(error) = run(&runtime, *figures, effort, &mut report) {
            println!("{name} could not be measured: {error:#}");
            report.failed(name, &error);
        }
    }
    println!("\n{}", report.table());
    Ok(())
}

fn run(
    runtime: &tokio::runtime::Runtime,
    figures: Figures,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    match figures {
        Figures::Disk => figures::disk::measure(effort, report),
        Figures::Etcd => runtime.block_on(figures::etcd::measure(effort, report)),
        Figures::Start => runtime.block_on(figures::start::measure(effort, report)),
        Figures::Writes => runtime.block_on(figures::writes::measure(effort, report)),
        Figures::Reads => runtime.block_on(figures::reads::measure(effort, report)),
        Figures::Watch => runtime.block_on(figures::watch::measure(effort, report)),
        Figures::Bind => runtime.block_on(figures::bind::measure(effort, report)),
        Figures::Pods => runtime.block_on(figures::pods::measure(effort, report)),
        Figures::Footprint => runtime.block_on(figures::footprint::measure(effort, report)),
    }
}
