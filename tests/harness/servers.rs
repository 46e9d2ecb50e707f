//! A cluster of several real servers on addresses of one namespace's loopback, and the clients that talk to it.

use crate::cluster::{code, end_everything, finish};
use crate::netns::NetworkNamespace;
use crate::{Output, binary, client_program, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Servers by the number that a story gives them, which is not their member's id. Number 2 is at 127.0.1.2.
#[derive(Debug)]
pub struct Servers {
    namespace: NetworkNamespace,
    directory: tempfile::TempDir,
    running: BTreeMap<u8, Child>,
    runs: BTreeMap<u8, u32>,
}

impl Default for Servers {
    fn default() -> Self {
        Self::new()
    }
}

impl Servers {
    /// A place for servers. Nothing is started.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("pontoon-test-")
            .tempdir()
            .expect("temporary files can be made");
        Self {
            namespace: NetworkNamespace::new(),
            directory,
            running: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    /// Founds a cluster with server 1, and joins it with as many others as make `count`; each is ready.
    #[must_use]
    pub fn of(count: u8) -> Self {
        let mut servers = Self::new();
        servers.start(1, &[]);
        for number in 2..=count {
            servers.join(number);
        }
        servers
    }

    /// Where a server's API is.
    #[must_use]
    pub fn url(number: u8) -> String {
        format!("https://127.0.1.{number}:6443")
    }

    /// The servers' network.
    #[must_use]
    pub fn namespace(&self) -> &NetworkNamespace {
        &self.namespace
    }

    /// Where everything of the cluster lies, and a place for a story's own files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A server's data directory.
    #[must_use]
    pub fn data_dir(&self, number: u8) -> PathBuf {
        self.directory.path().join(format!("server-{number}"))
    }

    /// Starts a server on its directory, with more flags, and waits until it says that it serves.
    pub fn start(&mut self, number: u8, more: &[&str]) {
        self.launch(number, more);
        eventually(&format!("server {number} serves"), || {
            let log = self.log(number);
            if self.end_of(number).is_some() {
                panic!("server {number} ended:\n{log}");
            }
            log.contains(" serves https://").then_some(()).ok_or(log)
        });
    }

    /// Joins with a fresh token of the cluster of server 1, or of whichever runs.
    pub fn join(&mut self, number: u8) {
        let via = *self.running.keys().next().expect("a server runs");
        let token = self.token(via, "server");
        self.start(number, &["--join", &Self::url(via), "--token", &token]);
    }

    /// A fresh token.
    #[must_use]
    pub fn token(&self, via: u8, role: &str) -> String {
        let made = self.pontoon(via, ["cluster", "token", "create", "--role", role]);
        made.ok().trim().to_owned()
    }

    /// Starts a server and waits for nothing.
    pub fn launch(&mut self, number: u8, more: &[&str]) {
        assert!(
            !self.running.contains_key(&number),
            "server {number} runs already"
        );
        *self.runs.entry(number).or_insert(0) += 1;
        let log = File::create(self.log_path(number)).expect("the directory is ours");
        let error = log.try_clone().expect("a descriptor can be copied");
        let mut command = self.namespace.command(binary());
        command
            .args([
                "server",
                "--listen",
                &format!("127.0.1.{number}:6443"),
                "--data-dir",
            ])
            .arg(self.data_dir(number))
            .args(more)
            .env(
                "RUST_LOG",
                std::env::var("PONTOON_TEST_LOG").unwrap_or_else(|_| "info,openraft=warn".into()),
            )
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error);
        let child = command.spawn().expect("nsenter is there");
        self.running.insert(number, child);
    }

    /// The code with which a server has ended, if it has.
    pub fn end_of(&mut self, number: u8) -> Option<i32> {
        let child = self.running.get_mut(&number)?;
        let status = child.try_wait().expect("it is our child")?;
        self.running.remove(&number);
        Some(code(status))
    }

    /// Waits until a server ends by itself; gives its code.
    #[track_caller]
    pub fn ended(&mut self, number: u8) -> i32 {
        eventually(&format!("server {number} ends"), || {
            self.end_of(number).ok_or_else(|| "it runs".to_owned())
        })
    }

    /// Kills a server with a signal that it cannot catch.
    pub fn kill(&mut self, number: u8) {
        if let Some(mut child) = self.running.remove(&number) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal to a server.
    pub fn signal(&self, number: u8, signal: Signal) {
        let pid = i32::try_from(self.running[&number].id()).expect("a pid fits");
        kill(Pid::from_raw(pid), signal).expect("it is our child and not reaped");
    }

    /// Asks a server to end; gives its code.
    #[track_caller]
    pub fn stop(&mut self, number: u8) -> i32 {
        self.signal(number, Signal::SIGTERM);
        self.ended(number)
    }

    /// The numbers of those that run.
    #[must_use]
    pub fn running(&self) -> Vec<u8> {
        self.running.keys().copied().collect()
    }

    /// What the running or last server of this number wrote.
    #[must_use]
    pub fn log(&self, number: u8) -> String {
        fs::read_to_string(self.log_path(number)).unwrap_or_default()
    }

    fn log_path(&self, number: u8) -> PathBuf {
        let run = self.runs.get(&number).copied().unwrap_or(0);
        self.directory
            .path()
            .join(format!("server-{number}-{run}.log"))
    }

    /// The kubeconfig that a server wrote.
    #[must_use]
    pub fn kubeconfig(&self, number: u8) -> PathBuf {
        self.data_dir(number).join("admin.kubeconfig")
    }

    /// Runs a program to its end, with the kubeconfig of a server.
    #[must_use]
    pub fn call<A: AsRef<OsStr>>(
        &self,
        via: u8,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Output {
        let mut command: Command = self.namespace.command(program);
        command
            .args(arguments)
            .env("HOME", self.directory.path())
            .env("KUBECONFIG", self.kubeconfig(via))
            .env("NO_PROXY", "*")
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        finish(command, input)
    }

    /// Runs the CLI with the kubeconfig of a server.
    #[must_use]
    pub fn pontoon<A: AsRef<OsStr>>(
        &self,
        via: u8,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        self.call(via, binary(), arguments, "")
    }

    /// Runs kubectl with the kubeconfig of a server, which it asks alone.
    #[must_use]
    pub fn kubectl<A: AsRef<OsStr>>(
        &self,
        via: u8,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        self.call(via, client_program("kubectl"), arguments, "")
    }

    /// What `pontoon cluster status` says of the cluster, asked of a server.
    #[must_use]
    pub fn status(&self, via: u8) -> serde_json::Value {
        let text = self
            .pontoon(via, ["cluster", "status", "-o", "json"])
            .stdout;
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The number of the server that leads: its API's address tells.
    #[must_use]
    pub fn leader(&self, via: u8) -> Option<u8> {
        let status = self.status(via);
        let leader = status["leader"].as_u64().filter(|leader| *leader != 0)?;
        let members = status["members"].as_array()?;
        let member = members.iter().find(|member| member["id"] == leader)?;
        let host = member["api"].as_str()?.strip_suffix(":6443")?;
        host.rsplit('.').next()?.parse().ok()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for number in self.running() {
            self.kill(number);
        }
        if std::thread::panicking() {
            for number in self.runs.keys() {
                eprintln!("--- server {number}\n{}", self.log(*number));
            }
        }
        // Pods of agents in this network outlive them.
        end_everything(self.directory.path(), &self.namespace);
    }
}
