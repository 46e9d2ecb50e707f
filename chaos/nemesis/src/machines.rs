//! Machines: a network namespace, a disk and a clock each, with one program on it.

use crate::disk::{Cut, Disk};
use crate::ground::{Ground, namespace_file};
use crate::limits::END_PATIENCE;
use crate::switch::Switch;
use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Where Debian's `faketime` has the library that tells programs another time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Several machines on one switch, and a port for those who talk to them.
///
/// Fields are dropped in this order: programs, disks, switch, and what they stand on.
#[derive(Debug)]
pub struct Machines {
    machines: Vec<Machine>,
    switch: Switch,
    clients: String,
    ground: Ground,
}

/// One machine.
#[derive(Debug)]
pub struct Machine {
    program: Option<Child>,
    disk: Disk,
    namespace: String,
    log: PathBuf,
    /// What `FAKETIME` is for the next start: `+3600s`, `+0 x2`; empty for the true time.
    pub clock: String,
    /// Whether the program's own monotonic clock is wrong too: needed for another rate.
    pub monotonic_too: bool,
    starts: u32,
}

impl Machines {
    /// Makes `count` machines below `parent`. Nothing runs on them.
    ///
    /// # Errors
    /// When namespaces, devices or file systems cannot be made: that takes root.
    pub fn new(parent: &Path, label: &str, count: usize, seed: u64) -> Result<Self> {
        let ground = Ground::new(parent, label)?;
        let clients = ground.namespace("clients")?;
        let mut namespaces = Vec::new();
        for number in 0..count {
            namespaces.push(ground.namespace(&number.to_string())?);
        }
        // Clients have the last port, so that a machine's number is its port.
        let mut ports = namespaces.clone();
        ports.push(clients.clone());
        let switch = Switch::new(&ports, seed)?;
        let mut machines = Vec::new();
        for (number, namespace) in namespaces.into_iter().enumerate() {
            let place = ground.directory().join(format!("disk-{number}"));
            machines.push(Machine {
                program: None,
                disk: Disk::new(&place, seed.wrapping_mul(31).wrapping_add(number as u64))?,
                namespace,
                log: ground.directory().join(format!("server-{number}.log")),
                clock: String::new(),
                monotonic_too: false,
                starts: 0,
            });
        }
        Ok(Self {
            machines,
            switch,
            clients,
            ground,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.machines.len()
    }

    /// The address of a machine.
    #[must_use]
    pub fn address(&self, number: usize) -> String {
        format!("10.77.0.{}", number + 1)
    }

    /// The switch between them. Clients have the port after the last machine's.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// One of them.
    #[must_use]
    pub fn machine(&self, number: usize) -> &Machine {
        &self.machines[number]
    }

    /// One of them, to do something to it.
    pub fn machine_mut(&mut self, number: usize) -> &mut Machine {
        &mut self.machines[number]
    }

    /// The directory of the run: logs and disks.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.ground.directory()
    }

    /// Puts the calling thread where clients are; sockets that it makes from then on are theirs.
    ///
    /// # Errors
    /// Without root.
    pub fn enter_clients(&self) -> Result<()> {
        let file = File::open(namespace_file(&self.clients))?;
        setns(file, CloneFlags::CLONE_NEWNET).context("enter the clients' network namespace")
    }

    /// The file that stands for the clients' network.
    #[must_use]
    pub fn clients_namespace(&self) -> PathBuf {
        namespace_file(&self.clients)
    }

    /// Cuts the power of these machines at one moment: programs end, and what was not synced is lost or torn.
    ///
    /// # Errors
    /// When a file system cannot be brought back.
    pub fn cut_power(&mut self, numbers: &[usize]) -> Result<Cut> {
        for number in numbers {
            self.machines[*number].disk.freeze();
        }
        for number in numbers {
            self.machines[*number].kill()?;
        }
        let mut total = Cut::default();
        for number in numbers {
            let cut = self.machines[*number].disk.lose_unsynced()?;
            total.lost += cut.lost;
            total.torn += cut.torn;
        }
        Ok(total)
    }
}

impl Machine {
    /// The directory that a program's data belongs in: on the disk that can be spoilt.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.disk.mount_point().join("data")
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Forgets what the kernel keeps of its disk's files, after they were changed underneath. No program may use it.
    ///
    /// # Errors
    /// When it cannot be unmounted or mounted.
    pub fn remount_disk(&mut self) -> Result<()> {
        self.disk.remount()
    }

    /// What the program wrote on its outputs since the machine was made.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How often a program was started.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Starts `program`, which must not run already.
    ///
    /// # Errors
    /// When it cannot be started, or one runs.
    pub fn start(&mut self, program: &Path, arguments: &[String]) -> Result<()> {
        if self.is_running() {
            bail!("{} runs already", self.namespace);
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!(
                "--net={}",
                namespace_file(&self.namespace).display()
            ))
            // The program ends with the thread that started it, so that nothing outlives a killed run.
            .args(["--", "setpriv", "--pdeathsig", "KILL", "--"]);
        if !self.clock.is_empty() {
            if !Path::new(FAKETIME).exists() {
                bail!("{FAKETIME} is not there: install Debian's package faketime");
            }
            let monotonic = if self.monotonic_too { "0" } else { "1" };
            command.args([
                "env",
                &format!("LD_PRELOAD={FAKETIME}"),
                &format!("FAKETIME={}", self.clock),
                &format!("FAKETIME_DONT_FAKE_MONOTONIC={monotonic}"),
                &format!("DONT_FAKE_MONOTONIC={monotonic}"),
            ]);
        }
        command.arg(program).args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.program = Some(
            command
                .spawn()
                .with_context(|| format!("start {}", program.display()))?,
        );
        self.starts += 1;
        Ok(())
    }

    /// Whether the program runs, paused or not.
    pub fn is_running(&mut self) -> bool {
        match &mut self.program {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// How the program ended by itself, if it did.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.program
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
    }

    /// Ends the program with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end: it hangs in the kernel.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL);
        let Some(mut child) = self.program.take() else {
            return Ok(());
        };
        let since = Instant::now();
        while child.try_wait()?.is_none() {
            if since.elapsed() > END_PATIENCE {
                bail!("{} does not end", self.namespace);
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Ok(())
    }

    /// Stops the program where it is.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.program
            && let Ok(pid) = i32::try_from(child.id())
        {
            // A program that has ended is not there to be signalled.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
