//! What this process uses, read from `/proc/self` when the metrics are rendered.
//!
//! The names are those of every Prometheus client library. Where `/proc` is missing the
//! metrics keep their last values: they are not worth an error.

use metrics::{describe_gauge, gauge};

/// Clock ticks in a second. Linux shows every architecture's programs 100 (`USER_HZ`) except
/// Alpha's and Itanium's.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes in a page on x86-64.
const PAGE_BYTES: f64 = 4_096.0;

const RESIDENT: &str = "process_resident_memory_bytes";
const VIRTUAL: &str = "process_virtual_memory_bytes";
const CPU: &str = "process_cpu_seconds_total";
const OPEN_FDS: &str = "process_open_fds";
const THREADS: &str = "process_threads";
const STARTED: &str = "process_start_time_seconds";

/// Describes the metrics of [`record`].
pub fn describe() {
    describe_gauge!(RESIDENT, "Resident memory size in bytes.");
    describe_gauge!(VIRTUAL, "Virtual memory size in bytes.");
    // A gauge, because the sum is the kernel's and has a fraction; the exporter's counters are integers.
    describe_gauge!(CPU, "Total user and system CPU time spent in seconds.");
    describe_gauge!(OPEN_FDS, "Number of open file descriptors.");
    describe_gauge!(THREADS, "Number of threads.");
    describe_gauge!(
        STARTED,
        "Start time of the process since the Unix epoch in seconds."
    );
}

/// Reads and sets them.
pub fn record() {
    if let Ok(text) = std::fs::read_to_string("/proc/self/stat")
        && let Some(stat) = Stat::parse(&text)
    {
        gauge!(CPU).set((stat.user_ticks + stat.system_ticks) / TICKS_PER_SECOND);
        gauge!(THREADS).set(stat.threads);
        gauge!(VIRTUAL).set(stat.virtual_bytes);
        gauge!(RESIDENT).set(stat.resident_pages * PAGE_BYTES);
        if let Some(booted) = boot_time_seconds() {
            gauge!(STARTED).set(booted + stat.start_ticks / TICKS_PER_SECOND);
        }
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        let open = u32::try_from(descriptors.count())
            .unwrap_or(u32::MAX)
            .saturating_sub(1);
        gauge!(OPEN_FDS).set(open);
    }
}

/// Fields of proc_pid_stat(5).
#[derive(Debug, PartialEq)]
struct Stat {
    user_ticks: f64,
    system_ticks: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    /// The second field is the program's name, which may hold spaces and parentheses: fields are
    /// counted from its last parenthesis, after which comes the third.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            user_ticks: field(14)?,
            system_ticks: field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_time_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_a_parenthesis_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 14 15 0 0 20 0 3 0 22 23 24 1";
        let want = Stat {
            user_ticks: 14.0,
            system_ticks: 15.0,
            threads: 3.0,
            start_ticks: 22.0,
            virtual_bytes: 23.0,
            resident_pages: 24.0,
        };
        assert_eq!(Stat::parse(text), Some(want));
        assert_eq!(Stat::parse("7 (a"), None);
    }
}
