//! What `/proc` says about processes.

use std::fs;
use std::io;

/// One process as `/proc/PID/stat` tells it (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    pub pid: i32,
    pub state: char,
    pub parent: i32,
    pub session: i32,
    /// User and system time in clock ticks.
    pub cpu_ticks: u64,
    /// Clock ticks between boot and start: with the pid it names a process for good.
    pub start: u64,
    /// Resident memory in pages.
    pub resident_pages: u64,
}

/// Reads one process; an error when it is gone.
pub(crate) fn stat(pid: i32) -> io::Result<ProcessStat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
}

fn parse_stat(text: &str) -> Option<ProcessStat> {
    let pid = text.split_once(' ')?.0.parse().ok()?;
    // The name in parentheses may itself contain spaces and parentheses; the fields begin after the last one.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
    };
    Some(ProcessStat {
        pid,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        cpu_ticks: number(11)? + number(12)?,
        start: number(19)?,
        resident_pages: number(21)?,
    })
}

/// All processes that can be read at this moment.
pub(crate) fn all() -> impl Iterator<Item = ProcessStat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?).ok())
}

/// Whether this very process, not a later one of the same number, is alive.
pub(crate) fn is_alive(pid: i32, start: u64) -> bool {
    stat(pid).is_ok_and(|stat| stat.start == start && stat.state != 'Z' && stat.state != 'X')
}

/// The number by which the mounted `/proc` knows the caller. It is the node's even inside a pid namespace, as long
/// as the node's `/proc` is mounted.
pub(crate) fn own_pid() -> io::Result<i32> {
    let target = fs::read_link("/proc/self")?;
    let number = target.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/self"))
}

/// Names the running kernel instance: pids of another boot mean nothing.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let line = "42 (a) b (c)) S 1 42 41 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 9999 1000 250 18446744073709551615";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.session), (42, 1, 41));
        assert_eq!(
            (stat.cpu_ticks, stat.start, stat.resident_pages),
            (12, 9999, 250)
        );
    }

    #[test]
    fn the_test_itself_is_alive_and_its_number_with_another_start_is_not() {
        let own = stat(own_pid().unwrap()).unwrap();
        assert!(is_alive(own.pid, own.start));
        assert!(!is_alive(own.pid, own.start + 1));
        assert!(all().any(|process| process.pid == own.pid));
    }
}
