//! The servers under test.

use crate::limits::{LOOK, PROBE_DEADLINE, START_PATIENCE};
use anyhow::{Context as _, Result, anyhow, bail};
use pontoon_client::messages::StatusResponse;
use pontoon_identity::Kubeconfig;
use pontoon_nemesis::machines::Machines;
use pontoon_workloads::Servers;
use pontoon_workloads::objects::{body, options, target};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Servers on machines, found as one cluster.
pub(crate) struct Cluster {
    pub(crate) machines: Machines,
    program: PathBuf,
    kubeconfig: PathBuf,
    runtime: tokio::runtime::Runtime,
    /// Member ids by machine.
    pub(crate) members: BTreeMap<usize, u64>,
    probes: u64,
}

impl Cluster {
    /// Starts `count` servers and waits until all of them are members. The calling thread is in the clients' network from then on.
    pub(crate) fn found(ground: &Path, count: usize, seed: u64, program: PathBuf) -> Result<Self> {
        let machines = Machines::new(ground, "campaign", count, seed)?;
        machines.enter_clients()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let kubeconfig = machines.directory().join("admin.kubeconfig");
        let mut cluster = Self {
            machines,
            program,
            kubeconfig,
            runtime,
            members: BTreeMap::new(),
            probes: 0,
        };
        cluster.start(0)?;
        let written = cluster.machines.machine(0).data().join("admin.kubeconfig");
        cluster.eventually("the first server answers", |cluster| {
            fs::copy(&written, &cluster.kubeconfig).map_err(|error| error.to_string())?;
            cluster.status(0).map(|_| ())
        })?;
        for number in 1..count {
            cluster.join(number)?;
        }
        for number in 0..count {
            cluster.learn_member(number)?;
        }
        Ok(cluster)
    }

    fn url(&self, number: usize) -> String {
        format!("https://{}:6443", self.machines.address(number))
    }

    /// Every server, for clients.
    pub(crate) fn servers(&self) -> Result<Servers> {
        let kubeconfig = Kubeconfig::read(&self.kubeconfig, None)?;
        let urls = (0..self.machines.count()).map(|number| self.url(number));
        Ok(Servers::new(kubeconfig, urls.collect()))
    }

    /// Starts a server on what its machine has.
    pub(crate) fn start(&mut self, number: usize) -> Result<()> {
        self.start_with(number, &[])
    }

    fn start_with(&mut self, number: usize, more: &[String]) -> Result<()> {
        let data = self.machines.machine(number).data();
        let listen = format!("{}:6443", self.machines.address(number));
        let mut arguments = vec![
            "server".to_owned(),
            "--data-dir".to_owned(),
            data.display().to_string(),
        ];
        arguments.extend(["--listen".to_owned(), listen]);
        arguments.extend_from_slice(more);
        let program = self.program.clone();
        self.machines
            .machine_mut(number)
            .start(&program, &arguments)
    }

    /// Makes an empty machine a member.
    pub(crate) fn join(&mut self, number: usize) -> Result<()> {
        let told = self.administer(&["cluster", "token", "create", "--role", "server"])?;
        let token = told
            .split_whitespace()
            .find(|word| word.starts_with("pontoon."))
            .with_context(|| format!("no token in {told:?}"))?;
        let join = [
            "--join".to_owned(),
            self.url(0),
            "--token".to_owned(),
            token.to_owned(),
        ];
        self.start_with(number, &join)?;
        self.eventually(&format!("server {number} votes"), |cluster| {
            let own = cluster.status(number)?;
            let voter = own
                .members
                .iter()
                .any(|member| member.id == own.answered_by && member.voter);
            voter
                .then_some(())
                .ok_or_else(|| format!("{:?}", own.members))
        })?;
        self.learn_member(number)
    }

    fn learn_member(&mut self, number: usize) -> Result<()> {
        let mut id = 0;
        self.eventually(&format!("server {number} says who it is"), |cluster| {
            id = cluster.status(number)?.answered_by;
            Ok(())
        })?;
        self.members.insert(number, id);
        Ok(())
    }

    /// Runs a verb of the program as the administrator; gives what it wrote.
    pub(crate) fn administer(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(words)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .output()?;
        if !output.status.success() {
            bail!(
                "pontoon {}: {}",
                words.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What a server says of the cluster.
    pub(crate) fn status(&self, number: usize) -> Result<StatusResponse, String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let servers = self.servers().map_err(|error| format!("{error:#}"))?;
        let client = servers
            .client(number)
            .map_err(|error| format!("{error:#}"))?;
        let client = client.with_deadline(PROBE_DEADLINE);
        let asked = async { tokio::time::timeout(PROBE_DEADLINE, client.status()).await };
        match self.runtime.block_on(asked) {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// The machine whose server leads, as far as any says.
    pub(crate) fn leader(&self) -> Option<usize> {
        let said = (0..self.machines.count()).filter_map(|number| self.status(number).ok());
        let newest = said.max_by_key(|status| status.term)?;
        self.members
            .iter()
            .find(|(_, id)| **id == newest.leader_id)
            .map(|(number, _)| *number)
    }

    /// Writes through the servers in turn until one acknowledges; gives the time that took.
    pub(crate) fn recover(&mut self, patience: Duration) -> Option<Duration> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let since = Instant::now();
        let servers = self.servers().ok()?;
        while since.elapsed() < patience {
            self.probes += 1;
            let number = usize::try_from(self.probes).unwrap_or(0) % self.machines.count();
            let Ok(client) = servers.client(number) else {
                continue;
            };
            let client = client.with_deadline(PROBE_DEADLINE);
            let text = self.probes.to_string();
            let write = async {
                let objects = vec![body("default", "probe", "probe", &text, None)];
                tokio::time::timeout(PROBE_DEADLINE, client.apply(objects, "default", options()))
                    .await
            };
            if matches!(self.runtime.block_on(write), Ok(Ok(_))) {
                return Some(since.elapsed());
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    /// Whether every server that runs gives the last probe's text: all have caught up and read what is current.
    pub(crate) fn all_caught_up(&self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let servers = self.servers().map_err(|error| format!("{error:#}"))?;
        for number in 0..self.machines.count() {
            let client = servers
                .client(number)
                .map_err(|error| format!("{error:#}"))?;
            let client = client.with_deadline(PROBE_DEADLINE);
            let get = async {
                tokio::time::timeout(PROBE_DEADLINE, client.get(target("default", "probe"), 0))
                    .await
            };
            match self.runtime.block_on(get) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(format!("server {number}: {error}")),
                Err(_) => return Err(format!("server {number} does not answer")),
            }
        }
        Ok(())
    }

    /// Asks until it holds, for [`START_PATIENCE`].
    pub(crate) fn eventually(
        &mut self,
        what: &str,
        mut probe: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<()> {
        let since = Instant::now();
        loop {
            match probe(self) {
                Ok(()) => return Ok(()),
                Err(why) if since.elapsed() > START_PATIENCE => {
                    return Err(anyhow!(
                        "{what}: not within {START_PATIENCE:?}: {why}\n{}",
                        self.log_ends()
                    ));
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// The last lines of each server's log.
    pub(crate) fn log_ends(&self) -> String {
        let mut text = String::new();
        for number in 0..self.machines.count() {
            let log = fs::read_to_string(self.machines.machine(number).log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!(
                "server {number}:\n  {}\n",
                lines[lines.len().saturating_sub(6)..].join("\n  ")
            ));
        }
        text
    }

    /// Lines of logs that tell of a panic.
    pub(crate) fn panics(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for number in 0..self.machines.count() {
            let log = fs::read_to_string(self.machines.machine(number).log())?;
            let lines: Vec<&str> = log.lines().collect();
            for (at, line) in lines
                .iter()
                .enumerate()
                .filter(|(_, line)| line.contains("panicked at"))
            {
                let next = lines.get(at + 1).copied().unwrap_or_default();
                found.push(format!("server {number}: {line} {next}"));
            }
        }
        found.sort();
        found.dedup();
        found.truncate(20);
        Ok(found)
    }

    /// Copies the servers' logs.
    pub(crate) fn keep_logs(&self, folder: &Path) -> Result<()> {
        for number in 0..self.machines.count() {
            fs::copy(
                self.machines.machine(number).log(),
                folder.join(format!("server-{number}.log")),
            )?;
        }
        Ok(())
    }
}
