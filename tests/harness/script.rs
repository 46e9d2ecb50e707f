//! Scripts of shell commands and what they print.
//!
//! A case is a line `$ command` (with the lines of its here-documents) and the output below it, standard output and error together, up to
//! an empty line. `~ command` is asked again until it prints that: for what takes time. A line `[exit N]` ends the output of a
//! command that fails. Lines that begin with `#` between cases are comments.
//!
//! What differs from run to run is replaced by words before comparing: ages, uids, times, revisions, generated names, addresses. Runs
//! of spaces count as three, because a column is as wide as its widest cell.
//!
//! With `UPDATE=1` the file is written anew from what was printed.

use crate::{Cluster, Output};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A script read from a file.
#[derive(Debug)]
pub struct Script {
    path: std::path::PathBuf,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Comment(String),
    Case(Case),
}

#[derive(Debug)]
struct Case {
    line: usize,
    patient: bool,
    command: String,
    expected: String,
}

/// How long a command marked with `~` may be asked again.
const PATIENCE: Duration = Duration::from_secs(40);

impl Script {
    /// Reads a script.
    ///
    /// # Panics
    /// When the file cannot be read or does not have the form above.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lines = text.lines().enumerate().peekable();
        let mut parts = Vec::new();
        while let Some((number, line)) = lines.next() {
            let patient = line.starts_with("~ ");
            if !patient && !line.starts_with("$ ") {
                assert!(
                    line.is_empty() || line.starts_with('#'),
                    "{}:{}: neither command nor comment: {line}",
                    path.display(),
                    number + 1
                );
                parts.push(Part::Comment(line.to_owned()));
                continue;
            }
            let mut command = line[2..].to_owned();
            if command.contains("<<") {
                for (_, line) in lines.by_ref() {
                    command.push('\n');
                    command.push_str(line);
                    if line == "EOF" {
                        break;
                    }
                }
            }
            let mut expected = String::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
                expected.push_str(line);
                expected.push('\n');
            }
            parts.push(Part::Case(Case {
                line: number + 1,
                patient,
                command,
                expected,
            }));
        }
        Self {
            path: path.to_owned(),
            parts,
        }
    }

    /// How many commands contain `word`.
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.parts
            .iter()
            .filter_map(|part| {
                if let Part::Case(case) = part {
                    Some(case.command.matches(word).count())
                } else {
                    None
                }
            })
            .sum()
    }

    /// Runs every command in turn and compares; or, with `UPDATE=1`, writes down what they print.
    ///
    /// # Panics
    /// After the last command, when any printed something else.
    pub fn run(&self, cluster: &Cluster) {
        let update = std::env::var_os("UPDATE").is_some();
        let (mut written, mut wrong) = (String::new(), String::new());
        for part in &self.parts {
            match part {
                Part::Comment(text) => written.extend([text.as_str(), "\n"]),
                Part::Case(case) => {
                    let patience = if !case.patient {
                        Duration::ZERO
                    } else if update {
                        Duration::from_secs(4)
                    } else {
                        PATIENCE
                    };
                    let printed = case.ask(cluster, patience);
                    let mark = if case.patient { '~' } else { '$' };
                    let _ = write!(written, "{mark} {}\n{printed}", case.command);
                    if printed != case.expected {
                        let place = format!("{}:{}", self.path.display(), case.line);
                        let _ = write!(
                            wrong,
                            "\n{place}: {}\nexpected:\n{}printed:\n{printed}",
                            case.command, case.expected
                        );
                    }
                }
            }
        }
        if update {
            std::fs::write(&self.path, written).expect("the repository can be written to");
        } else {
            assert!(wrong.is_empty(), "{wrong}");
        }
    }
}

impl Case {
    fn ask(&self, cluster: &Cluster, patience: Duration) -> String {
        let start = Instant::now();
        loop {
            let Output { code, stdout, .. } =
                cluster.call("bash", ["-c", &format!("exec 2>&1\n{}", self.command)], "");
            let mut printed = normal(&stdout);
            if code != 0 {
                let _ = writeln!(printed, "[exit {code}]");
            }
            if printed == self.expected || start.elapsed() >= patience {
                return printed;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Output with what differs from run to run replaced. An empty line would end a case, so it shows as `.`.
fn normal(text: &str) -> String {
    let mut result = String::new();
    for line in text.lines() {
        let line = line.trim_end();
        let indent = &line[..line.len() - line.trim_start().len()];
        let columns = line.trim_start().replace('\t', "   ");
        let columns: Vec<String> = split_columns(&columns)
            .into_iter()
            .map(|column| words(&column))
            .collect();
        result.push_str(if line.is_empty() { "." } else { indent });
        result.push_str(&columns.join("   "));
        result.push('\n');
    }
    result
}

fn split_columns(line: &str) -> Vec<String> {
    line.split("  ")
        .map(str::trim)
        .filter(|column| !column.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Replaces what varies in each word of a column.
fn words(column: &str) -> String {
    let is_separator =
        |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_' | '+'));
    if let Some((name @ "resourceVersion", _)) = column.split_once(": ") {
        return format!("{name}: <revision>");
    }
    let mut result = String::new();
    let mut rest = column;
    while !rest.is_empty() {
        let end = rest.find(is_separator).unwrap_or(rest.len());
        result.push_str(&word(&rest[..end]));
        let next = rest[end..]
            .find(|c| !is_separator(c))
            .map_or(rest.len(), |offset| end + offset);
        result.push_str(&rest[end..next]);
        rest = &rest[next..];
    }
    result
}

fn word(word: &str) -> String {
    let core = word.trim_end_matches([':', '.']);
    let tail = &word[core.len()..];
    let port = |text: &str| text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let replaced = if is_age(core) {
        "<age>".to_owned()
    } else if is_uid(core) {
        "<uid>".to_owned()
    } else if is_time(core) {
        "<time>".to_owned()
    } else if let Some(host) = core
        .rsplit_once(':')
        .filter(|(host, number)| *host == "127.0.0.1" && port(number))
        .map(|(host, _)| host)
    {
        format!("{host}:<port>")
    } else if core.starts_with("10.244.") {
        address(core, "<pod-ip>")
    } else if core.starts_with("10.96.") && core != "10.96.0.1" && core != "10.96.0.10" {
        address(core, "<service-ip>")
    } else {
        generated(core)
    };
    replaced + tail
}

fn address(word: &str, name: &str) -> String {
    match word.split_once(':') {
        Some((_, port)) => format!("{name}:{port}"),
        None => name.to_owned(),
    }
}

/// `12s`, `3m4s`, `2d`: numbers each with a unit.
fn is_age(word: &str) -> bool {
    let units = word.chars().filter(char::is_ascii_alphabetic).count();
    let bytes = word.as_bytes();
    units > 0
        && bytes.first().is_some_and(u8::is_ascii_digit)
        && word
            .chars()
            .all(|c| c.is_ascii_digit() || "smhd".contains(c))
        && bytes.last().is_some_and(u8::is_ascii_alphabetic)
        && !bytes
            .windows(2)
            .any(|pair| pair.iter().all(u8::is_ascii_alphabetic))
        && !word.ends_with("00m")
}

fn is_uid(word: &str) -> bool {
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    (bytes.len() >= 19 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':')
        || (bytes.len() == 8 && bytes[2] == b':' && bytes[5] == b':')
}

/// Names that controllers generate: a template's hash (8 to 10 of Kubernetes' safe alphabet) and a pod's suffix (5 of it).
fn generated(word: &str) -> String {
    const SAFE: &str = "bcdfghjklmnpqrstvwxz2456789";
    let safe = |part: &str| part.chars().all(|c| SAFE.contains(c));
    let hash = |part: &str| {
        (8..=10).contains(&part.len()) && safe(part) && part.chars().any(|c| c.is_ascii_digit())
    };
    let parts: Vec<&str> = word.split('-').collect();
    match parts[..] {
        [.., before, last] if last.len() == 5 && safe(last) && hash(before) => {
            let stem = &word[..word.len() - last.len() - before.len() - 2];
            format!("{stem}-<hash>-<id>")
        }
        [_, .., last] if hash(last) => format!("{}-<hash>", &word[..word.len() - last.len() - 1]),
        [only] if hash(only) => "<hash>".to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_runs_is_replaced() {
        let text = "NAME                    READY   AGE     IP\nweb-7d4b9c8f6d-x2k4z    1/1     3m12s   10.244.0.7\n";
        assert_eq!(
            normal(text),
            "NAME   READY   AGE   IP\nweb-<hash>-<id>   1/1   <age>   <pod-ip>\n"
        );
        assert_eq!(
            normal("uid: 1f0c9b6e-7a1c-4b7e-9f58-f7d2e7c0a001\n\n"),
            "uid: <uid>\n.\n"
        );
        assert_eq!(
            normal("  at https://127.0.0.1:40123/\n"),
            "  at https://127.0.0.1:<port>/\n"
        );
        assert_eq!(
            normal("created 2026-11-23T12:00:01Z with cpu 100m\n"),
            "created <time> with cpu 100m\n"
        );
    }

    #[test]
    fn ordinary_words_stay() {
        for line in [
            "deployment.apps/web created",
            "guestbook-redis",
            "10.96.0.1",
            "64Mi",
            "node-1",
            "cluster.local",
            "a-9-b",
        ] {
            assert_eq!(normal(line), format!("{line}\n"));
        }
    }
}
