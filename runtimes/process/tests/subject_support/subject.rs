//! The process runtime as a subject of the conformance suite, with this very test binary as its shim.

#![allow(dead_code)]

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pontoon_process::{ProcessConfig, ProcessRuntime};
use pontoon_runtime::conformance::Subject;
use pontoon_runtime::conformance::program::Program;
use pontoon_runtime::{ContainerId, Runtime};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs before main, in a process with one thread, so that the test binary can be its own shim. libtest's main would
/// take the shim's arguments for filters and start threads.
extern "C" fn be_the_shim_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == "__shim") {
        let code = pontoon_process::shim_main(args);
        // ExitCode does not tell its number; the agent looks at reports, and at exit codes only of exec.
        std::process::exit(number_of(code));
    }
}

fn number_of(code: std::process::ExitCode) -> i32 {
    (0..=255u8)
        .find(|number| std::process::ExitCode::from(*number) == code)
        .map_or(255, i32::from)
}

#[used]
#[unsafe(link_section = ".init_array")]
static SHIM_ENTRY: extern "C" fn() = be_the_shim_if_asked;

static SUBJECTS: AtomicU64 = AtomicU64::new(0);

pub struct ProcessSubject {
    runtime: Option<Arc<ProcessRuntime>>,
    config: ProcessConfig,
    directory: tempfile::TempDir,
}

impl ProcessSubject {
    pub async fn new(cgroups: bool) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("pontoon-process-")
            .tempdir()
            .unwrap();
        // Programs of other users reach their fifos and volumes.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let number = SUBJECTS.fetch_add(1, Ordering::Relaxed);
        let parent = PathBuf::from(format!("pontoon-test-{}-{number}", std::process::id()));
        let config = ProcessConfig {
            state_dir: directory.path().join("state"),
            shim_command: vec![
                std::env::current_exe().unwrap().into_os_string(),
                OsString::from("__shim"),
            ],
            cgroup_parent: cgroups.then_some(parent),
        };
        let runtime = Some(Arc::new(
            ProcessRuntime::open(config.clone()).await.unwrap(),
        ));
        Self {
            runtime,
            config,
            directory,
        }
    }

    pub fn state_dir(&self) -> &Path {
        &self.config.state_dir
    }

    pub fn config(&self) -> &ProcessConfig {
        &self.config
    }

    /// Drops the runtime without making another.
    pub fn close(&mut self) {
        self.runtime = None;
    }

    /// Every shim that was ever started for what is still in the state directory.
    fn shims(&self) -> Vec<(PathBuf, i32)> {
        let Ok(sandboxes) = fs::read_dir(self.config.state_dir.join("sandboxes")) else {
            return Vec::new();
        };
        let containers = sandboxes
            .flatten()
            .filter_map(|sandbox| fs::read_dir(sandbox.path().join("containers")).ok());
        let shim = |directory: PathBuf| {
            let text = fs::read_to_string(directory.join("shim.json")).ok()?;
            let pid = text
                .strip_prefix("{\"pid\":")?
                .split(',')
                .next()?
                .parse()
                .ok()?;
            // A number that has gone to somebody else meanwhile is not killed.
            let ours = fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name == "pontoon-shim\n");
            // An ended one waits to be reaped by somebody else.
            let ours = ours && fs::read_link(format!("/proc/{pid}/cwd")).is_ok();
            ours.then_some((directory, pid))
        };
        containers
            .flatten()
            .flatten()
            .filter_map(|container| shim(container.path()))
            .collect()
    }
}

impl Drop for ProcessSubject {
    /// Also after a failed assertion nothing is left on the machine.
    fn drop(&mut self) {
        for (_, pid) in self.shims() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGUSR1);
        }
        let patience = Instant::now() + Duration::from_secs(5);
        while !self.shims().is_empty() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
        for (_, pid) in self.shims() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let Some(parent) = &self.config.cgroup_parent else {
            return;
        };
        for hierarchy in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            remove_groups(&hierarchy.path().join(parent));
        }
        remove_groups(&Path::new("/sys/fs/cgroup").join(parent));
    }
}

fn remove_groups(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

#[async_trait]
impl Subject for ProcessSubject {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone().unwrap()
    }

    async fn restart(&mut self) {
        self.runtime = None;
        self.runtime = Some(Arc::new(
            ProcessRuntime::open(self.config.clone()).await.unwrap(),
        ));
    }

    fn image(&self) -> String {
        "host".to_owned()
    }

    fn command(&self, program: &Program) -> Vec<String> {
        program.shell()
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    async fn kill_supervisor(&mut self, id: &ContainerId) -> bool {
        let (_, rest) = id.as_str().split_once('_').unwrap();
        let attempt = rest.replace('_', "-");
        let shim = self
            .shims()
            .into_iter()
            .find(|(directory, _)| directory.ends_with(&attempt));
        shim.is_some_and(|(_, pid)| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    }
}

/// The subject of the suite.
pub async fn subject() -> ProcessSubject {
    ProcessSubject::new(true).await
}
