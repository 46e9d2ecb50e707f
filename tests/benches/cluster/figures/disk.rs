//! What the disk itself gives, so that durable writes can be judged by it.

use crate::{
    figures::Effort,
    report::{Figure, Report, Unit},
    samples::Samples,
    server,
};
use anyhow::Result;
use std::{fs::File, io::Write as _, os::fd::AsFd as _, time::Instant};

/// Of one write, in bytes: a small object's log entry.
const WRITE_BYTES: usize = 512;

/// One writer that appends and syncs, as a log without group commit would.
pub fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let directory = server::directory()?;
    let mut file = File::create(directory.path().join("log"))?;
    let (mut rates, mut latencies) = (Samples::default(), Samples::default());
    for repetition in 0..=effort.repetitions {
        let (start, mut count) = (Instant::now(), 0);
        let period = if repetition == 0 {
            effort.warm_up
        } else {
            effort.period
        };
        while start.elapsed() < period {
            let one = Instant::now();
            file.write_all(&[7; WRITE_BYTES])?;
            nix::unistd::fdatasync(file.as_fd())?;
            count += 1;
            if repetition > 0 {
                latencies.add_duration(one.elapsed());
            }
        }
        if repetition > 0 {
            rates.add(f64::from(count) / start.elapsed().as_secs_f64());
        }
    }
    let figure = Figure::new(
        "bare append of 512 B and fdatasync, 1 writer",
        Unit::PerSecond,
        rates,
    );
    report.add(&figure.latencies(latencies));
    Ok(())
}
