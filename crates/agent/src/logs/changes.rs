//! Says when a log may have grown: inotify on its directory, which also sees rotation.

use rustix::fs::inotify;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::io::unix::AsyncFd;

pub(super) struct Changes {
    watch: AsyncFd<OwnedFd>,
}

impl Changes {
    /// Watches the directory of `path`, which is made if it is not there.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder)?;
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let watch = inotify::init(flags)?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, folder, events)?;
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd, which stays open and the same while the AsyncFd owns it"
        )]
        let watch = AsyncFd::new(watch)?;
        Ok(Self { watch })
    }

    /// Returns when something changed since the last call.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        let mut ready = self.watch.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(self.watch.get_ref(), &mut buffer);
        // What happened does not matter, only that something did: everything that waits is read away.
        while events.next().is_ok() {}
        ready.clear_ready();
        Ok(())
    }
}
