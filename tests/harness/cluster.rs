//! A cluster of the real binary, and the clients that talk to it.

use crate::netns::NetworkNamespace;
use crate::processes::{control_groups_of, mounts_below, processes_of};
use crate::{PATIENCE, binary, client_program, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Who runs the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Root: the node's own network namespace is used.
    Root,
    /// `nobody`: the cluster makes namespaces of its own.
    Ordinary,
}

/// The id of the ordinary user, Debian's `nobody`.
const NOBODY: u32 = 65_534;

/// `pontoon dev`, running or not, with its directory.
#[derive(Debug)]
pub struct Cluster {
    namespace: NetworkNamespace,
    user: User,
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    dev: Option<Child>,
    runs: u32,
}

/// What a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// What was run.
    pub command: String,
}

impl Output {
    /// Standard output of a program that has to succeed.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(
            self.code, 0,
            "{}\nstdout: {}\nstderr: {}",
            self.command, self.stdout, self.stderr
        );
        self.stdout
    }

    /// The complaint of a program that has to fail.
    ///
    /// # Panics
    /// When it succeeded.
    #[track_caller]
    #[must_use]
    pub fn failed(self) -> String {
        assert_ne!(
            self.code, 0,
            "{} succeeded\nstdout: {}",
            self.command, self.stdout
        );
        self.stderr
    }
}

impl Cluster {
    /// Makes a place for a cluster, and starts nothing.
    #[must_use]
    pub fn new(user: User, arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("pontoon-test-")
            .tempdir()
            .expect("temporary files can be made");
        let cluster = Self {
            namespace: NetworkNamespace::new(),
            user,
            directory,
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            dev: None,
            runs: 0,
        };
        fs::create_dir(cluster.home()).expect("the directory is ours");
        if user == User::Ordinary {
            for path in [cluster.directory().to_owned(), cluster.home()] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))
                    .expect("root may give files away");
            }
        }
        cluster
    }

    /// A cluster of one node named `node-1`, whose API answers and whose node is ready.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(User::Root)
    }

    /// More settings for `pontoon dev`, such as are known only once the cluster's network is there.
    pub fn add_arguments(&mut self, more: &[&str]) {
        self.arguments
            .extend(more.iter().map(|word| (*word).to_owned()));
    }

    /// [`Cluster::start`], run by `user`.
    #[must_use]
    pub fn start_as(user: User) -> Self {
        let mut cluster = Self::new(user, &[]);
        cluster.run();
        cluster.wait_for_node();
        cluster
    }

    /// Starts `pontoon dev` on the cluster's directory and waits until its API says that it is ready.
    pub fn run(&mut self) {
        let before = SystemTime::now();
        self.launch();
        let path = self.kubeconfig();
        eventually("pontoon dev writes its kubeconfig", || {
            self.still_runs()?;
            let written = fs::metadata(&path)
                .and_then(|metadata| metadata.modified())
                .map_err(|error| error.to_string())?;
            // File times have the kernel's tick as their grain, a few milliseconds.
            if written + Duration::from_millis(20) < before {
                Err("an old kubeconfig".to_owned())
            } else {
                Ok(())
            }
        });
        eventually("the API is ready", || {
            self.still_runs()?;
            let answer = self.kubectl(["get", "--raw", "/readyz"]);
            if answer.code == 0 {
                Ok(())
            } else {
                Err(answer.stderr)
            }
        });
    }

    /// Starts `pontoon dev` and waits for nothing.
    pub fn launch(&mut self) {
        assert!(self.dev.is_none(), "the cluster runs already");
        self.runs += 1;
        let log = File::create(self.log_path(self.runs)).expect("the directory is ours");
        let error = log.try_clone().expect("a descriptor can be copied");
        let mut command = self.dev_command(&[]);
        command.stdin(Stdio::null()).stdout(log).stderr(error);
        self.dev = Some(command.spawn().expect("nsenter is there"));
    }

    /// `pontoon dev` with the cluster's settings and `more`.
    #[must_use]
    pub fn dev_command(&self, more: &[&str]) -> Command {
        let mut command = self.command(binary());
        command
            .args([
                "dev",
                "--listen",
                "127.0.0.1:0",
                "--node-name",
                "node-1",
                "--data-dir",
            ])
            .arg(self.data_dir());
        command.args(&self.arguments).args(more).env(
            "RUST_LOG",
            std::env::var("PONTOON_TEST_LOG").unwrap_or_else(|_| "info,openraft=warn".into()),
        );
        command
    }

    /// A program as the cluster's user, in its network, with its kubeconfig.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.user {
            User::Root => self.namespace.command(program),
            User::Ordinary => {
                let mut command = self.namespace.command("setpriv");
                command
                    .args([
                        "--reuid",
                        "65534",
                        "--regid",
                        "65534",
                        "--clear-groups",
                        "--",
                    ])
                    .arg(program);
                command
            }
        };
        let clients = client_program("kubectl");
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = clients
            .parent()
            .expect("a program lies in a folder")
            .display();
        let product = binary();
        let product = product
            .parent()
            .expect("a program lies in a folder")
            .display();
        command
            .env("HOME", self.home())
            .env("KUBECONFIG", self.kubeconfig())
            .env("PATH", format!("{bin}:{product}:{path}"))
            .env("NO_PROXY", "*")
            .env_remove("XDG_DATA_HOME")
            .current_dir(self.home());
        command
    }

    /// Runs a program to its end with `input` as its standard input.
    #[must_use]
    pub fn call<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Output {
        let mut command = self.command(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        finish(command, input)
    }

    /// Runs `kubectl`.
    #[must_use]
    pub fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.call(client_program("kubectl"), arguments, "")
    }

    /// Runs `kubectl apply` on a manifest, which has to succeed.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.call(client_program("kubectl"), ["apply", "-f", "-"], manifest)
            .ok()
    }

    /// Runs the CLI.
    #[must_use]
    pub fn pontoon<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.call(binary(), arguments, "")
    }

    /// Runs a program inside a pod's first container.
    #[must_use]
    pub fn exec(&self, pod: &str, words: &[&str]) -> Output {
        self.pontoon(["exec", pod, "--"].iter().chain(words))
    }

    /// Runs a file of `testdata/` with the clients' Python.
    #[must_use]
    pub fn python(&self, script: &Path, arguments: &[&str]) -> Output {
        let script = script.to_str().expect("the repository's path is text");
        self.call(
            client_program("python3"),
            [script].iter().chain(arguments),
            "",
        )
    }

    /// Waits until the node is ready.
    #[track_caller]
    pub fn wait_for_node(&self) {
        eventually("the node is ready", || {
            let answer = self.kubectl([
                "wait",
                "--for=condition=Ready",
                "node/node-1",
                "--timeout=10s",
            ]);
            if answer.code == 0 {
                Ok(())
            } else {
                Err(answer.stderr)
            }
        });
    }

    /// Waits until a `kubectl wait --for` condition holds.
    #[track_caller]
    pub fn wait(&self, condition: &str, what: &str) {
        let seconds = format!("--timeout={}s", PATIENCE.as_secs());
        let answer = self.kubectl(["wait", "--for", condition, what, &seconds]);
        if answer.code != 0 {
            let described = self.kubectl(["describe", what]).stdout;
            panic!("{what} is not {condition}: {}\n{described}", answer.stderr);
        }
    }

    /// Sends a signal to `pontoon dev`.
    pub fn signal(&self, signal: Signal) {
        if let Some(dev) = &self.dev {
            let pid = i32::try_from(dev.id()).expect("a pid fits");
            kill(Pid::from_raw(pid), signal).expect("it is our child and not reaped");
        }
    }

    /// Sends a signal and waits for the end; answers the exit code.
    #[track_caller]
    pub fn stop(&mut self, signal: Signal) -> i32 {
        self.signal(signal);
        let mut dev = self.dev.take().expect("the cluster runs");
        eventually("pontoon dev ends", || match dev.try_wait() {
            Ok(Some(status)) => Ok(code(status)),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Kills `pontoon dev` with a signal that it cannot catch.
    pub fn kill(&mut self) {
        if let Some(mut dev) = self.dev.take() {
            let _ = dev.kill();
            let _ = dev.wait();
        }
    }

    /// What the running or last `pontoon dev` wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path(self.runs)).unwrap_or_default()
    }

    /// The cluster's network.
    #[must_use]
    pub fn namespace(&self) -> &NetworkNamespace {
        &self.namespace
    }

    /// The process id of `pontoon dev`.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.dev.as_ref().map(Child::id)
    }

    /// Where everything of this cluster lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What `--data-dir` says.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory().join("data")
    }

    /// The file that clients use.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("admin.kubeconfig")
    }

    /// The clients' home, and a place for a story's own files.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.directory().join("home")
    }

    fn log_path(&self, run: u32) -> PathBuf {
        self.directory().join(format!("dev-{run}.log"))
    }

    fn still_runs(&mut self) -> Result<(), String> {
        let dev = self.dev.as_mut().ok_or("it was not started")?;
        match dev.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => panic!("pontoon dev ended with {status}:\n{}", self.log()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Asks `pontoon dev` to end, pods and all, and kills it when it does not.
    fn end_kindly(&mut self) {
        let asked = Instant::now();
        if self
            .dev
            .as_mut()
            .is_some_and(|dev| matches!(dev.try_wait(), Ok(None)))
        {
            self.signal(Signal::SIGTERM);
        }
        while let Some(dev) = &mut self.dev {
            if !matches!(dev.try_wait(), Ok(None)) || asked.elapsed() > Duration::from_secs(10) {
                self.kill();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends every process of the cluster, pods too.
    fn end_everything(&mut self) {
        self.end_kindly();
        end_everything(self.directory.path(), &self.namespace);
    }
}

/// Kills every process of a directory and a network, and lets go of what they held.
pub(crate) fn end_everything(directory: &Path, namespace: &NetworkNamespace) {
    let present = || processes_of(directory, Some(namespace.inode()));
    let groups = control_groups_of(&present());
    // What is killed may leave children that are found only then, so look again until there is nothing.
    for _ in 0..200 {
        let left = present();
        if left.is_empty() {
            break;
        }
        for process in &left {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for point in mounts_below(directory) {
        let _ = nix::mount::umount2(point.as_str(), nix::mount::MntFlags::MNT_DETACH);
    }
    remove_control_groups(&groups);
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for run in self.runs.saturating_sub(1).max(1)..=self.runs {
                let log = fs::read_to_string(self.log_path(run)).unwrap_or_default();
                let from = log.lines().count().saturating_sub(80);
                let tail: Vec<&str> = log.lines().skip(from).collect();
                eprintln!(
                    "the end of what run {run} of pontoon dev wrote:\n{}",
                    tail.join("\n")
                );
            }
            if let Some(keep) = std::env::var_os("PONTOON_TEST_KEEP") {
                let _ = Command::new("cp")
                    .arg("-r")
                    .arg(self.directory.path())
                    .arg(keep)
                    .output();
            }
        }
        self.end_everything();
    }
}

/// Removes groups whose processes were just killed; the kernel lets go of them a moment later.
fn remove_control_groups(groups: &[PathBuf]) {
    for _ in 0..100 {
        // Deepest first; what is in use or gone already says so.
        groups.iter().for_each(|group| drop(fs::remove_dir(group)));
        if !groups.iter().any(|group| group.exists()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a prepared command to its end.
pub(crate) fn finish(mut command: Command, input: &str) -> Output {
    let shown = format!("{command:?}");
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut stdin = child.stdin.take().expect("it was piped");
    let output = std::thread::scope(|scope| {
        // A program that does not read its input to the end has its reasons.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().expect("a child can be waited for")
    });
    Output {
        code: code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        command: shown,
    }
}

pub(crate) fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
