//! One runtime under test, and the short way to say things about it.

use async_trait::async_trait;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::program::Program;
use crate::contract::Runtime;
use crate::contract::id::{ContainerId, SandboxId};
use crate::contract::spec::{ContainerSpec, PodIdentity, ResourceLimits, SandboxSpec};
use crate::contract::status::{ContainerState, ContainerStatus, Exit, RuntimeEvent};
use crate::error::RuntimeError;
use crate::limits::CONFORMANCE_WAIT_SECONDS;
use crate::log::{LogEntry, parse_entry};

/// A runtime under test. Dropping it removes everything it made.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The runtime.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// Drops the runtime and makes it anew over the same node, as a restart of the agent does.
    async fn restart(&mut self);

    /// An image that has `/bin/sh` and the usual tools (or the fake's).
    fn image(&self) -> String;

    /// The command that does this in such an image.
    fn command(&self, program: &Program) -> Vec<String>;

    /// A directory that containers see at the same path, for marks and fifos.
    fn directory(&self) -> &Path;

    /// Kills whatever supervises a container, without warning. False when there is no such thing.
    async fn kill_supervisor(&mut self, id: &ContainerId) -> bool;
}

static POD: AtomicU64 = AtomicU64::new(0);

/// One case: a subject with one sandbox.
pub struct Case<S: Subject> {
    /// The runtime under test.
    pub subject: S,
    /// Its sandbox.
    pub sandbox: SandboxId,
    /// What the sandbox was made from.
    pub sandbox_spec: SandboxSpec,
}

/// The end of a wait for something that must happen.
///
/// # Panics
/// When it did not happen in time.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(CONFORMANCE_WAIT_SECONDS);
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in {limit:?}"))
}

impl<S: Subject> Case<S> {
    /// Makes a sandbox for a pod of its own.
    pub async fn new(subject: S) -> Self {
        let number = POD.fetch_add(1, Ordering::Relaxed);
        let pod = PodIdentity {
            namespace: "default".to_owned(),
            name: format!("pod-{number}"),
            uid: format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id()),
        };
        let log_dir = subject.directory().join("logs");
        std::fs::create_dir_all(&log_dir).expect("the subject's directory is writable");
        let sandbox_spec = SandboxSpec {
            pod,
            attempt: 0,
            labels: BTreeMap::new(),
            hostname: "conformance".to_owned(),
            netns: None,
            resolv_conf: Some("nameserver 192.0.2.53\n".to_owned()),
            hosts: Some("192.0.2.1 conformance\n".to_owned()),
            limits: ResourceLimits::UNLIMITED,
            log_dir,
        };
        let sandbox = subject
            .runtime()
            .create_sandbox(&sandbox_spec)
            .await
            .expect("a sandbox is made");
        Self {
            subject,
            sandbox,
            sandbox_spec,
        }
    }

    /// The runtime under test.
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        self.subject.runtime()
    }

    /// A container that does this, with nothing special.
    pub fn container(&self, program: &Program) -> ContainerSpec {
        ContainerSpec {
            name: "main".to_owned(),
            attempt: 0,
            image: self.subject.image(),
            command: self.subject.command(program),
            args: Vec::new(),
            env: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())],
            working_dir: None,
            mounts: Vec::new(),
            limits: ResourceLimits::UNLIMITED,
            oom_score_adj: 0,
            tty: false,
            stdin: false,
            log_path: self.sandbox_spec.log_dir.join("main-0.log"),
            run_as: None,
        }
    }

    /// Starts a container.
    pub async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        in_time("start", self.runtime().start_container(&self.sandbox, spec)).await
    }

    /// Starts a container that must start.
    pub async fn run(&self, program: &Program) -> ContainerStatus {
        self.start(&self.container(program))
            .await
            .expect("the container starts")
    }

    /// Starts a container and waits until it has ended.
    pub async fn run_to_end(&self, spec: &ContainerSpec) -> Exit {
        let status = self.start(spec).await.expect("the container starts");
        self.exit_of(&status.id).await
    }

    /// Waits until a container has ended: by its event, or because it has.
    pub async fn exit_of(&self, id: &ContainerId) -> Exit {
        exit_of(self.runtime(), id).await
    }

    /// Stops a container.
    pub async fn stop(&self, id: &ContainerId, grace: Duration) -> Exit {
        let stopped = in_time("stop", self.runtime().stop_container(id, grace))
            .await
            .expect("the container stops");
        match stopped.state {
            ContainerState::Exited(exit) => exit,
            state => panic!("stopped container is {state:?}"),
        }
    }

    /// The log of a container as raw bytes.
    pub fn log(&self, spec: &ContainerSpec) -> Vec<u8> {
        std::fs::read(&spec.log_path).unwrap_or_default()
    }

    /// What a program that ends wrote to its streams, joined.
    pub async fn output_of(&self, spec: &ContainerSpec) -> (String, Exit) {
        let exit = self.run_to_end(spec).await;
        let log = self.log(spec);
        let text: Vec<u8> = entries(&log).iter().flat_map(joined).collect();
        (String::from_utf8_lossy(&text).into_owned(), exit)
    }

    /// A fifo that containers can reach.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.subject.directory().join(name);
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "666"])
            .arg(&path)
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "mkfifo {}",
            path.display()
        );
        path
    }

    /// Ends the case: nothing of the sandbox remains.
    pub async fn finish(self) {
        let runtime = self.runtime();
        in_time("removal", runtime.remove_sandbox(&self.sandbox))
            .await
            .expect("the sandbox is removed");
        let left = runtime.list().await.expect("a list");
        assert!(
            left.sandboxes.is_empty() && left.containers.is_empty(),
            "left behind: {left:?}"
        );
    }
}

/// Waits until a container has ended.
pub async fn exit_of(runtime: Arc<dyn Runtime>, id: &ContainerId) -> Exit {
    let mut events = runtime.events();
    let wait = async {
        loop {
            let status = runtime
                .container_status(id)
                .await
                .expect("the container is listed");
            if let ContainerState::Exited(exit) = status.state {
                return exit;
            }
            loop {
                match events
                    .next()
                    .await
                    .expect("events last as long as the runtime")
                {
                    RuntimeEvent::ContainerExited(status) if status.id == *id => break,
                    RuntimeEvent::Lost => break,
                    _ => {}
                }
            }
        }
    };
    in_time("exit", wait).await
}

/// The entries of a log file; each must be in the format.
pub fn entries(log: &[u8]) -> Vec<LogEntry<'_>> {
    let lines = log.split_inclusive(|byte| *byte == b'\n');
    let parse =
        |line| parse_entry(line).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(line)));
    lines.map(parse).collect()
}

/// The bytes an entry stands for.
pub fn joined(entry: &LogEntry<'_>) -> Vec<u8> {
    let mut bytes = entry.text.to_vec();
    if !entry.partial {
        bytes.push(b'\n');
    }
    bytes
}

/// The reading end of a fifo. Opening it does not wait for a writer, and neither does dropping it: a case that fails
/// must not hang.
#[derive(Debug)]
pub struct FifoReader(pipe::Receiver);

impl FifoReader {
    /// Opens the fifo.
    pub fn open(path: &Path) -> Self {
        Self(
            pipe::OpenOptions::new()
                .open_receiver(path)
                .expect("the fifo can be opened"),
        )
    }

    /// Waits for something to be written.
    pub async fn await_writer(&mut self) {
        let mut byte = [0];
        let read = in_time("a word through the fifo", self.0.read(&mut byte)).await;
        assert_eq!(
            read.expect("the fifo is readable"),
            1,
            "the writer had nothing to say"
        );
    }

    /// Waits until every writer has gone.
    pub async fn await_end(mut self) {
        let mut rest = Vec::new();
        in_time("end of the fifo", self.0.read_to_end(&mut rest))
            .await
            .expect("the fifo is readable");
    }
}

/// Writes a line into a fifo for whoever reads or will read it. What is returned must live until it has been read.
pub fn tell_fifo(path: &Path) -> File {
    // Opened for both, which Linux permits, so that it does not wait for a reader.
    let mut fifo = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("the fifo can be opened");
    fifo.write_all(b"go\n").expect("an empty fifo takes a line");
    fifo
}
