//! Memory and processor time that a cluster takes by being there.

use super::{objects, start};
use crate::{
    figures::Effort,
    report::{Figure, Report, Unit},
    samples::Samples,
    server::{self, Mode, Server},
};
use anyhow::{Context as _, Result};
use std::{fs, time::Duration};

/// After readiness, before memory counts as idle: what starting took is given back by then.
const SETTLE: Duration = Duration::from_secs(5);

pub async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    idle(Mode::Server, "pontoon server", effort, report).await?;
    full(effort, report).await?;
    idle(
        Mode::Dev,
        "pontoon dev (control plane and node)",
        effort,
        report,
    )
    .await
}

async fn idle(mode: Mode, name: &str, effort: Effort, report: &mut Report) -> Result<()> {
    let (mut memory, mut busy) = (Samples::default(), Samples::default());
    for _ in 0..effort.repetitions {
        let directory = server::directory()?;
        let server = Server::start(mode, &directory).await?;
        if mode == Mode::Dev {
            start::node_ready(&server).await?;
        }
        tokio::time::sleep(SETTLE).await;
        let before = processor_time(server.pid())?;
        tokio::time::sleep(effort.idle).await;
        let used = processor_time(server.pid())? - before;
        memory.add(megabytes(server.pid(), "VmRSS")?);
        busy.add(100.0 * used.as_secs_f64() / effort.idle.as_secs_f64());
        server.stop().await?;
    }
    let memory = Figure::new(format!("{name}: resident, idle"), Unit::Megabytes, memory);
    let busy = Figure::new(format!("{name}: idle processor time"), Unit::Percent, busy);
    if mode == Mode::Server {
        report.add(&memory.aim(60.0).peer("495"));
        report.add(&busy.aim(0.5).peer("5.2"));
    } else {
        report.add(&memory);
        report.add(&busy);
    }
    Ok(())
}

/// A control plane that holds pods of about 2 kB each.
async fn full(effort: Effort, report: &mut Report) -> Result<()> {
    let (mut now, mut most) = (Samples::default(), Samples::default());
    let pods = effort.of(10_000);
    for _ in 0..effort.repetitions {
        let directory = server::directory()?;
        let server = Server::start(Mode::Server, &directory).await?;
        let mut rest = server.rest().await?;
        objects::namespace(&mut rest).await?;
        objects::pods(&server, 0, pods).await?;
        objects::quiet(&mut rest).await?;
        tokio::time::sleep(SETTLE).await;
        now.add(megabytes(server.pid(), "VmRSS")?);
        most.add(megabytes(server.pid(), "VmHWM")?);
        server.stop().await?;
    }
    let name = format!("pontoon server: resident with {pods} pods");
    report.add(
        &Figure::new(&name, Unit::Megabytes, now)
            .aim(250.0)
            .peer("1,264 (18,000 objects)"),
    );
    report.add(&Figure::new(
        format!("{name}, at most"),
        Unit::Megabytes,
        most,
    ));
    Ok(())
}

/// A size of /proc/PID/status, in 10^6 bytes.
fn megabytes(pid: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kibibytes = line
        .and_then(|line| line.split_whitespace().next())
        .context("no such size")?;
    Ok(kibibytes.parse::<f64>()? * 1024.0 / 1e6)
}

/// What the process and its ended children have used: fields 14 to 17 of /proc/PID/stat, in ticks of 10 ms (proc(5)).
fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; the fields after it start at the third.
    let (_, fields) = stat.rsplit_once(") ").context("not a stat file")?;
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(10 * ticks))
}
