//! The two programs we lean on: `nft` writes rules, `conntrack` ends flows. Each runs for one batch and is waited for.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::rules::{Flow, Present};
use crate::dataplane::DataplaneError;
use crate::limits::{RULES_TIMEOUT, TOOL_OUTPUT_BYTES};

/// Where system programs live when an ordinary user's PATH does not say.
const SYSTEM_DIRS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Finds a program on PATH or in the directories of system programs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The `nft` program.
#[derive(Debug, Clone)]
pub(super) struct Nft {
    path: PathBuf,
}

impl Nft {
    /// # Errors
    /// [`DataplaneError::ProgramMissing`].
    pub(super) fn find() -> Result<Self, DataplaneError> {
        let missing = DataplaneError::ProgramMissing {
            program: "nft",
            package: "nftables",
        };
        find("nft").map(|path| Self { path }).ok_or(missing)
    }

    /// Runs a script as one transaction: the kernel takes all of it or nothing.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn run(&self, script: &str) -> Result<(), DataplaneError> {
        run(&self.path, &["-f", "-"], script.as_bytes())
            .await
            .map(drop)
    }

    /// The names of what the table holds; `None` when there is no such table.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn present(&self, table: &str) -> Result<Option<Present>, DataplaneError> {
        if !self.tables().await?.contains(table) {
            return Ok(None);
        }
        let output = run(&self.path, &["-j", "-t", "list", "table", "ip", table], b"").await?;
        let mut present = Present::default();
        for item in items(&output)? {
            if let Some(name) = name_of(&item, "chain") {
                present.chains.insert(name);
            }
            if let Some(name) = name_of(&item, "set").or_else(|| name_of(&item, "map")) {
                present.sets.insert(name);
            }
        }
        Ok(Some(present))
    }

    /// What a `list` command answers, as JSON.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn list(
        &self,
        words: &[&str],
    ) -> Result<Vec<serde_json::Value>, DataplaneError> {
        let words: Vec<&str> = ["-j"].iter().chain(words).copied().collect();
        items(&run(&self.path, &words, b"").await?)
    }

    /// The names of all IPv4 tables.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn tables(&self) -> Result<BTreeSet<String>, DataplaneError> {
        let output = run(&self.path, &["-j", "list", "tables", "ip"], b"").await?;
        Ok(items(&output)?
            .iter()
            .filter_map(|item| name_of(item, "table"))
            .collect())
    }
}

fn items(output: &[u8]) -> Result<Vec<serde_json::Value>, DataplaneError> {
    let odd = |detail: String| DataplaneError::Kernel {
        operation: "read nft's listing".to_owned(),
        detail,
    };
    let mut listing: serde_json::Value =
        serde_json::from_slice(output).map_err(|error| odd(error.to_string()))?;
    match listing.get_mut("nftables").map(serde_json::Value::take) {
        Some(serde_json::Value::Array(items)) => Ok(items),
        _ => Err(odd("it holds no list".to_owned())),
    }
}

fn name_of(item: &serde_json::Value, kind: &str) -> Option<String> {
    Some(item.get(kind)?.get("name")?.as_str()?.to_owned())
}

/// The `conntrack` program, where it is installed.
#[derive(Debug)]
pub(super) struct Conntrack {
    path: Option<PathBuf>,
}

impl Conntrack {
    pub(super) fn find() -> Self {
        Self {
            path: find("conntrack"),
        }
    }

    /// Whether flows can be ended at all.
    pub(super) fn is_present(&self) -> bool {
        self.path.is_some()
    }

    /// Ends UDP flows, so that their clients' next packet goes to an endpoint that is there. A flow that is not tracked
    /// is no error; a failure is logged, since the flow ends by itself after its timeout.
    pub(super) async fn end(&self, flows: &[Flow]) {
        let Some(path) = &self.path else { return };
        for flow in flows {
            let port = flow.port.to_string();
            let endpoint = flow.endpoint.to_string();
            let address = flow.address.map(|address| address.to_string());
            let mut words = vec![
                "-D",
                "-p",
                "udp",
                "--orig-port-dst",
                &port,
                "--reply-src",
                &endpoint,
            ];
            if let Some(address) = &address {
                words.extend(["--orig-dst", address]);
            }
            // The program's exit code is 1 when nothing matched.
            if let Err(error) = run(path, &words, b"").await
                && !error.to_string().contains("0 flow entries")
            {
                tracing::warn!(%error, ?flow, "a UDP flow to an endpoint that is gone could not be ended");
            }
        }
    }
}

async fn run(path: &Path, words: &[&str], input: &[u8]) -> Result<Vec<u8>, DataplaneError> {
    let name = path
        .file_name()
        .unwrap_or(OsStr::new("a program"))
        .to_string_lossy()
        .into_owned();
    let operation = format!("run {name} {}", words.join(" "));
    let fail = |detail: String| DataplaneError::Kernel {
        operation: operation.clone(),
        detail,
    };
    let output = tokio::time::timeout(RULES_TIMEOUT, converse(path, words, input))
        .await
        .map_err(|_| fail(format!("no answer within {} s", RULES_TIMEOUT.as_secs())))?
        .map_err(|error| fail(error.to_string()))?;
    if output.status.success() {
        if output.stdout.len() > TOOL_OUTPUT_BYTES {
            return Err(fail("the answer is too long".to_owned()));
        }
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let detail: String = words.trim().chars().take(2_000).collect();
    if detail.contains("Operation not permitted") {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, detail);
        return Err(DataplaneError::NotPermitted { operation, source });
    }
    Err(fail(detail))
}

async fn converse(path: &Path, words: &[&str], input: &[u8]) -> io::Result<std::process::Output> {
    let mut child = Command::new(path)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let write = async move {
        // A program that has seen enough closes its end; its exit code tells the rest.
        let _ = stdin.write_all(input).await;
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    output
}
