//! The binary under test as a process, from its start to its end.

use crate::rest::Rest;
use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pontoon_client::{Client, Transport};
use pontoon_identity::Kubeconfig;
use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Between two looks at whether it is ready: short against what is measured.
const LOOK: Duration = Duration::from_millis(2);

/// A binary without optimisation, on a busy machine, is ready within this.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// For pods' grace and the store's last flush.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// Where data lies: in the target directory, that is, on a disk and not in memory.
pub fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// The binary that was built beside this one, or the one that `PONTOON` names.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("PONTOON") {
        return Ok(named.into());
    }
    let this = std::env::current_exe()?;
    let profile = this
        .parent()
        .and_then(Path::parent)
        .context("no target directory")?;
    let binary = profile.join("pontoon");
    ensure!(
        binary.exists(),
        "{} is missing: build it first",
        binary.display()
    );
    Ok(binary)
}

/// What to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The control plane alone.
    Server,
    /// With a node that runs processes.
    Dev,
}

/// A directory for one cluster's data, gone when dropped.
pub fn directory() -> Result<TempDir> {
    fs::create_dir_all(scratch())?;
    Ok(tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(scratch())?)
}

/// A cluster that answers. Dropped without [`Server::stop`] it is killed, and may leave pods.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub kubeconfig: Kubeconfig,
    /// From before the process existed until its API said that it was ready.
    pub ready: Duration,
    started: Instant,
}

impl Server {
    /// Starts one in `directory` and waits until its API is ready.
    pub async fn start(mode: Mode, directory: &TempDir) -> Result<Self> {
        let data = directory.path().join("data");
        let log_path = directory.path().join("log");
        let log = fs::File::create(&log_path)?;
        let kubeconfig = data.join("admin.kubeconfig");
        // One of an earlier start names a port that is gone.
        let _ = fs::remove_file(&kubeconfig);
        let mut command = Command::new(binary()?);
        command
            .arg(match mode {
                Mode::Server => "server",
                Mode::Dev => "dev",
            })
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let started = Instant::now();
        let mut child = command.spawn().context("the binary does not start")?;
        match wait_ready(&mut child, &kubeconfig, started).await {
            Ok(kubeconfig) => Ok(Self {
                child,
                kubeconfig,
                ready: started.elapsed(),
                started,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                Err(error.context(format!("its last words: {tail:?}")))
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Since before the process existed.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub async fn rest(&self) -> Result<Rest> {
        Rest::connect(&self.kubeconfig).await
    }

    /// A gRPC client with a connection of its own.
    pub fn grpc(&self) -> Result<Client> {
        Ok(Client::new(&Transport::from_kubeconfig(
            &self.kubeconfig,
            "pontoon-bench",
        )?))
    }

    /// Ends it as Ctrl-C does, with its pods.
    pub async fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("it did not end within {STOP_TIMEOUT:?}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn wait_ready(child: &mut Child, path: &Path, started: Instant) -> Result<Kubeconfig> {
    let mut last = anyhow::anyhow!("no kubeconfig was written");
    while started.elapsed() < READY_TIMEOUT {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        match ready(path).await {
            Ok(kubeconfig) => return Ok(kubeconfig),
            Err(error) => last = error,
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(last.context(format!("it was not ready within {READY_TIMEOUT:?}")))
}

async fn ready(path: &Path) -> Result<Kubeconfig> {
    let kubeconfig = Kubeconfig::read(path, None)?;
    Rest::connect(&kubeconfig).await?.get("/readyz").await?;
    Ok(kubeconfig)
}
