//! What a container says of its own end: the file at its `terminationMessagePath`, or the end of its log.
//!
//! The file is made outside the container, one for each attempt, and shown inside it at its path. It is read when the container has ended,
//! and goes with the pod's directory.

use crate::limits::{TERMINATION_LOG_BYTES, TERMINATION_LOG_LINES, TERMINATION_MESSAGE_BYTES};
use k8s_openapi::api::core::v1::Container;
use pontoon_runtime::Mount;
use pontoon_runtime::log::parse_entry;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where Kubernetes' default lies.
const DEFAULT_PATH: &str = "/dev/termination-log";

/// The file of one attempt, below the pod's own directory.
pub(crate) fn file(pod_directory: &Path, container: &str, attempt: u32) -> PathBuf {
    let folder = pod_directory.join("termination").join(container);
    folder.join(attempt.to_string())
}

/// Makes the file, empty and open to all as kubelet's is, and says where it is shown.
///
/// # Errors
/// What the disk says.
pub(crate) fn prepare(file: &Path, container: &Container) -> io::Result<Mount> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create(file)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o666))?;
    let path = container.termination_message_path.as_deref();
    Ok(Mount {
        host_path: file.to_owned(),
        container_path: PathBuf::from(path.filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH)),
        read_only: false,
    })
}

/// What the container said. Empty when it said nothing; a program that failed may be answered for by the end of its log.
pub(crate) fn message(file: &Path, log: &Path, container: &Container, exit_code: i32) -> String {
    let said = end_of(file, TERMINATION_MESSAGE_BYTES, false).unwrap_or_default();
    let policy = container.termination_message_policy.as_deref();
    if !said.is_empty() || exit_code == 0 || policy != Some("FallbackToLogsOnError") {
        return String::from_utf8_lossy(&said).into_owned();
    }
    // An entry begins with its time, stream and tag, some 40 bytes; short lines make the text the smaller part.
    let tail = end_of(log, TERMINATION_LOG_BYTES * 8, true).unwrap_or_default();
    last_lines(&tail)
}

/// The beginning of a small file, or the end of any.
fn end_of(path: &Path, bytes: usize, from_end: bool) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    if from_end {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes as u64)))?;
    }
    let mut read = Vec::new();
    file.take(bytes as u64).read_to_end(&mut read)?;
    Ok(read)
}

/// The last lines of a log in CRI format, as text, within kubelet's bounds.
fn last_lines(log: &[u8]) -> String {
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    for entry in log.split(|byte| *byte == b'\n').filter_map(parse_entry) {
        if let Some(line) = lines.last_mut() {
            line.extend_from_slice(entry.text);
        }
        if !entry.partial {
            lines.push(Vec::new());
        }
    }
    let whole: Vec<u8> = lines
        .iter()
        .filter(|line| !line.is_empty())
        .rev()
        .take(TERMINATION_LOG_LINES)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .flat_map(|line| line.iter().copied().chain([b'\n']))
        .collect();
    let start = whole.len().saturating_sub(TERMINATION_LOG_BYTES);
    String::from_utf8_lossy(&whole[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn container(more: serde_json::Value) -> Container {
        let mut container = json!({"name": "main"});
        container
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(container).unwrap()
    }

    #[test]
    fn what_a_container_writes_is_read_up_to_kubelets_bound() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(directory.path(), "main", 3);
        let own = container(json!({"terminationMessagePath": "/tmp/why"}));
        let mount = prepare(&file, &own).unwrap();
        assert_eq!(mount.container_path, Path::new("/tmp/why"));
        let log = directory.path().join("0.log");
        assert_eq!(message(&file, &log, &own, 1), "");
        fs::write(&file, "x".repeat(5_000)).unwrap();
        assert_eq!(message(&file, &log, &own, 0).len(), 4_096);
        assert_eq!(
            prepare(&file, &container(json!({})))
                .unwrap()
                .container_path,
            Path::new("/dev/termination-log")
        );
        assert_eq!(
            message(&file, &log, &own, 0),
            "",
            "each attempt begins anew"
        );
    }

    #[test]
    fn the_end_of_the_log_answers_for_a_program_that_failed_and_said_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("none");
        let log = directory.path().join("0.log");
        let mut text = String::new();
        for line in 0..100 {
            text.push_str(&format!("2026-01-01T00:00:00Z stderr F line {line}\n"));
        }
        text.push_str(
            "2026-01-01T00:00:00Z stderr P half \n2026-01-01T00:00:00Z stderr F and half\n",
        );
        fs::write(&log, text).unwrap();
        let falls_back = container(json!({"terminationMessagePolicy": "FallbackToLogsOnError"}));
        let said = message(&file, &log, &falls_back, 2);
        assert_eq!(said.lines().count(), 80);
        assert!(
            said.starts_with("line 21\n") && said.ends_with("line 99\nhalf and half\n"),
            "{said}"
        );
        assert_eq!(message(&file, &log, &falls_back, 0), "");
        assert_eq!(message(&file, &log, &container(json!({})), 2), "");
        fs::write(
            &log,
            format!("2026-01-01T00:00:00Z stdout F {}\n", "y".repeat(9_000)),
        )
        .unwrap();
        assert_eq!(message(&file, &log, &falls_back, 2).len(), 2_048);
    }
}
