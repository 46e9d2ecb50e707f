//! Network namespaces of tests, and what is in them.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace with a name, removed when dropped.
#[derive(Debug)]
pub struct NetworkNamespace {
    name: String,
}

/// What a network namespace holds, in the words of `ip` and `nft`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkTraces {
    /// Each list by its name.
    pub lists: Vec<(&'static str, Vec<String>)>,
}

impl NetworkNamespace {
    /// Makes one whose loopback is up.
    ///
    /// # Panics
    /// When it cannot be made: that needs root and Debian's iproute2.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "pontoon-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        run(namespace.command("ip").args(["link", "set", "lo", "up"]));
        namespace
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// The inode that tells it from others.
    #[must_use]
    pub fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(self.path()).map_or(0, |metadata| metadata.ino())
    }

    /// A program to be run in it. (`ip netns exec` would remount /sys and hide the control groups.)
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs `work` in a thread that is in the namespace; sockets made there belong to it.
    ///
    /// # Panics
    /// When `work` does, or the namespace cannot be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).expect("the namespace is there as long as this is");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What it holds.
    #[must_use]
    pub fn traces(&self) -> NetworkTraces {
        let list = |what: &'static str, command: &mut Command| {
            let lines = run(command)
                .lines()
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect();
            (what, lines)
        };
        let ip = |what: &'static str, arguments: &[&str]| {
            list(what, self.command("ip").arg("-o").args(arguments))
        };
        let lists = vec![
            ip("links", &["link"]),
            ip("addresses", &["address"]),
            ip("routes", &["route", "show", "table", "all"]),
            ip("rules", &["rule"]),
            ip("neighbours", &["neighbour"]),
            list(
                "packet rules",
                self.command("nft").args(["list", "ruleset"]),
            ),
        ];
        NetworkTraces { lists }
    }
}

impl Default for NetworkNamespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; the tests need iproute2, nftables and util-linux")
    });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {error} (clusters in namespaces of their own need root)"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
