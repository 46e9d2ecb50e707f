//! The machine as a reader of the figures needs to know it.

use std::{fs, path::Path, process::Command};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of a `name : value` line of a file of /proc.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value
        .map_or("unknown", |(_, value)| value.trim())
        .to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(pontoon_tests::root())
        .output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The load averages over 1, 5 and 15 minutes.
pub fn load() -> String {
    read("/proc/loadavg")
        .split(' ')
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Prints what the figures depend on.
pub fn describe(binary: &Path, isolated: &str) {
    let processors = read("/proc/cpuinfo");
    let cores = processors
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let directory = crate::server::scratch();
    println!(
        "commit: {}",
        output("git", &["describe", "--always", "--dirty", "--abbrev=12"])
    );
    println!("binary: {}", binary.display());
    println!("processor: {} x {cores}", field(&processors, "model name"));
    println!("memory: {}", field(&read("/proc/meminfo"), "MemTotal"));
    println!("kernel: {}", read("/proc/sys/kernel/osrelease").trim());
    println!(
        "data on: {}",
        output(
            "df",
            &["--output=source,fstype", &directory.to_string_lossy()]
        )
        .lines()
        .last()
        .unwrap_or("unknown")
    );
    println!("network: {isolated}");
    println!("load: {}", load());
    println!("clients: this process, on the same cores as what is measured");
}
