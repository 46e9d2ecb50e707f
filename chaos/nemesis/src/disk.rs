//! A disk that can be spoilt: a FUSE file system over a directory, which knows what was synced.
//!
//! What is written goes to the directory at once, and what it replaced is remembered until a sync. At a power cut everything that was not
//! synced is undone, but for a few writes which are torn at a sector: any subset of them may have reached the disk. A name is durable when
//! its directory was synced, as POSIX has it. A sync that failed is final: what it was to make durable is lost at the next power cut even if a
//! later sync succeeds, as Linux' page cache has it. These are lazyfs' semantics, with names added.

mod journal;
mod passthrough;

use crate::limits::{IDLE_LIMIT, IDLE_POLL};
use anyhow::{Context as _, Result};
use fuser::{BackgroundSession, Config, MountOption};
use passthrough::Passthrough;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use journal::Cut;

/// A mounted disk. Dropping it unmounts.
pub struct Disk {
    backing: PathBuf,
    mount_point: PathBuf,
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    random: StdRng,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("mount_point", &self.mount_point)
            .finish_non_exhaustive()
    }
}

/// What is to go wrong, and what did.
#[derive(Debug, Default)]
pub struct Wishes {
    frozen: AtomicBool,
    fail_writes: AtomicBool,
    fail_syncs: AtomicBool,
    full: AtomicBool,
    sync_millis: AtomicU64,
    injected: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
}

#[derive(Debug, Default)]
struct Shared {
    wishes: Wishes,
    journal: Mutex<journal::Journal>,
}

impl Wishes {
    /// Every write fails with EIO from here on, or none.
    pub fn fail_writes(&self, fail: bool) {
        self.fail_writes.store(fail, Ordering::SeqCst);
    }

    /// Every sync fails with EIO from here on, or none.
    pub fn fail_syncs(&self, fail: bool) {
        self.fail_syncs.store(fail, Ordering::SeqCst);
    }

    /// Nothing more fits on the disk, or it does.
    pub fn full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Every sync takes this much longer.
    pub fn slow_syncs(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.sync_millis.store(millis, Ordering::SeqCst);
    }

    /// Nothing goes wrong from here on.
    pub fn heal(&self) {
        self.fail_writes(false);
        self.fail_syncs(false);
        self.full(false);
        self.slow_syncs(Duration::ZERO);
    }

    /// How many calls were made to fail or wait so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::SeqCst)
    }

    /// How many writes and syncs there were.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.writes.load(Ordering::SeqCst),
            self.syncs.load(Ordering::SeqCst),
        )
    }
}

impl Disk {
    /// An empty disk; `place` holds what is on it and where it is mounted. `seed` chooses what a power cut tears.
    ///
    /// # Errors
    /// When it cannot be mounted: that takes root and `/dev/fuse`.
    pub fn new(place: &Path, seed: u64) -> Result<Self> {
        let (backing, mount_point) = (place.join("backing"), place.join("mounted"));
        for directory in [&backing, &mount_point, &place.join("removed")] {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("make {}", directory.display()))?;
        }
        let shared = Arc::new(Shared::default());
        let mut disk = Self {
            backing,
            mount_point,
            shared,
            session: None,
            random: StdRng::seed_from_u64(seed),
        };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&mut self) -> Result<()> {
        let removed = self.backing.with_file_name("removed");
        let system = Passthrough::new(&self.backing, &removed, Arc::clone(&self.shared));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("pontoon-chaos".to_owned()),
            MountOption::NoAtime,
        ];
        // A slow sync must not hold up reads.
        config.n_threads = Some(4);
        let session =
            fuser::spawn_mount(system, &self.mount_point, &config).with_context(|| {
                format!(
                    "mount a FUSE file system at {}: that takes root and /dev/fuse",
                    self.mount_point.display()
                )
            })?;
        self.session = Some(session);
        Ok(())
    }

    /// Where programs find it.
    #[must_use]
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// What lies under it: for damage while no program uses it.
    #[must_use]
    pub fn backing(&self) -> &Path {
        &self.backing
    }

    /// What is to go wrong.
    #[must_use]
    pub fn wishes(&self) -> &Wishes {
        &self.shared.wishes
    }

    /// From here on nothing reaches the disk: the moment at which the power goes.
    pub fn freeze(&self) {
        self.shared.wishes.frozen.store(true, Ordering::SeqCst);
    }

    /// Undoes what was not synced, and mounts the disk anew. No program may use it.
    ///
    /// # Errors
    /// When it cannot be unmounted or mounted.
    pub fn lose_unsynced(&mut self) -> Result<Cut> {
        self.freeze();
        self.unmount()?;
        let cut = passthrough::lock(&self.shared.journal).undo(&mut self.random);
        self.shared.wishes.frozen.store(false, Ordering::SeqCst);
        self.mount()?;
        Ok(cut)
    }

    /// Mounts it anew, without losing anything: forgets what the kernel keeps of its files.
    ///
    /// # Errors
    /// When it cannot be unmounted or mounted.
    pub fn remount(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    fn unmount(&mut self) -> Result<()> {
        self.wait_until_idle();
        match self.session.take() {
            Some(session) => session.umount_and_join().context("unmount the disk"),
            None => Ok(()),
        }
    }
}

impl Disk {
    /// Waits until nobody has a file of it open: one that was closed a moment ago may still be with a child that another
    /// thread is just forking. umount(2) tells busy mounts from idle ones when asked to let them expire, and leaves both.
    fn wait_until_idle(&self) {
        let idle = || {
            nix::mount::umount2(&self.mount_point, nix::mount::MntFlags::MNT_EXPIRE)
                != Err(nix::errno::Errno::EBUSY)
        };
        let until = Instant::now() + IDLE_LIMIT;
        while self.session.is_some() && !idle() && Instant::now() < until {
            std::thread::sleep(IDLE_POLL);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.unmount();
        // A file that was closed a moment ago may still keep it busy: then it goes as soon as it can.
        let _ = nix::mount::umount2(&self.mount_point, nix::mount::MntFlags::MNT_DETACH);
    }
}
