//! TAP devices in other network namespaces.
#![allow(unsafe_code)]

use crate::ground::{namespace_file, run};
use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

/// `struct ifreq` as `TUNSETIFF` reads it: a name and flags, 40 bytes in all.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// `IFF_TAP | IFF_NO_PI`: whole frames, nothing before them.
const TAP: i16 = 0x0002 | 0x1000;

nix::ioctl_write_ptr_bad!(
    set_interface,
    nix::request_code_write!(b'T', 202, size_of::<i32>()),
    Request
);

/// Makes `eth0` in `namespace` and brings it up with these addresses.
pub(super) fn open(namespace: &str, hardware: [u8; 6], address: &str) -> Result<File> {
    let path = namespace_file(namespace);
    let place = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    // A thread of its own: it ends in the other namespace.
    let device = std::thread::spawn(move || -> Result<File> {
        setns(place, CloneFlags::CLONE_NEWNET)?;
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .context("open /dev/net/tun: is the kernel's tun module there?")?;
        let mut request = Request {
            name: [0; 16],
            flags: TAP,
            rest: [0; 22],
        };
        request.name[..4].copy_from_slice(b"eth0");
        // SAFETY: the descriptor is open, and the request is an ifreq that outlives the call.
        unsafe { set_interface(device.as_raw_fd(), &raw const request) }
            .context("make a TAP device: that takes root")?;
        Ok(device)
    });
    let device = device
        .join()
        .map_err(|_| anyhow!("the thread that makes a TAP device panicked"))??;
    let hardware = hardware.map(|byte| format!("{byte:02x}")).join(":");
    let ip = |words: &[&str]| run(Command::new("ip").args(["-n", namespace]).args(words));
    ip(&["link", "set", "eth0", "address", &hardware])?;
    ip(&["addr", "add", address, "dev", "eth0"])?;
    ip(&["link", "set", "eth0", "up"])?;
    Ok(device)
}
