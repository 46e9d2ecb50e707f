//! `pontoon agent` processes in the network of a cluster's servers.

use crate::cluster::code;
use crate::{Servers, binary, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// One agent, killed when dropped.
#[derive(Debug)]
pub struct AgentProcess {
    name: String,
    directory: PathBuf,
    child: Option<Child>,
    runs: u32,
}

impl AgentProcess {
    /// Starts an agent with its own data directory and `more` flags, and waits until it says that it has joined.
    #[must_use]
    pub fn start(servers: &Servers, name: &str, more: &[&str]) -> Self {
        let mut agent = Self {
            name: name.to_owned(),
            directory: servers.directory().join(format!("agent-{name}")),
            child: None,
            runs: 0,
        };
        agent.run(servers, more);
        agent
    }

    /// Starts it again on what it has.
    pub fn run(&mut self, servers: &Servers, more: &[&str]) {
        assert!(self.child.is_none(), "agent {} runs already", self.name);
        self.runs += 1;
        fs::create_dir_all(&self.directory).expect("the directory is ours");
        let log = File::create(self.log_path()).expect("the directory is ours");
        let error = log.try_clone().expect("a descriptor can be copied");
        let mut command = servers.namespace().command(binary());
        command
            .args(["agent", "--node-name", &self.name, "--data-dir"])
            .arg(self.data_dir())
            .args(more)
            .env_remove("PONTOON_TOKEN")
            .env(
                "RUST_LOG",
                std::env::var("PONTOON_TEST_LOG").unwrap_or_else(|_| "info".into()),
            )
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error);
        self.child = Some(command.spawn().expect("nsenter is there"));
        eventually(&format!("agent {} joins", self.name), || {
            let log = self.log();
            if let Some(ended) = self.end() {
                panic!("agent {} ended with {ended}:\n{log}", self.name);
            }
            log.contains(" joined").then_some(()).ok_or(log)
        });
    }

    fn end(&mut self) -> Option<i32> {
        let status = self.child.as_mut()?.try_wait().expect("it is our child")?;
        self.child = None;
        Some(code(status))
    }

    /// Asks it to end; gives its code.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        let child = self.child.as_ref().expect("it runs");
        let pid = i32::try_from(child.id()).expect("a pid fits");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it is our child and not reaped");
        eventually(&format!("agent {} ends", self.name), || {
            self.end().ok_or_else(|| "it runs".to_owned())
        })
    }

    /// Kills it with a signal that it cannot catch.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What its present or last run wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Where it keeps what it knows.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join(format!("run-{}.log", self.runs))
    }

    /// Every file below its data directory.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.data_dir(), &mut found);
        found
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- agent {}\n{}", self.name, self.log());
        }
        self.kill();
    }
}
