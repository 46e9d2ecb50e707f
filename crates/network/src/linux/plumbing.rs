//! A pod's namespace and its link to the node: made, found again, taken away.
//!
//! Everything here blocks and must not run on a thread of the async runtime: [`build`] moves its own thread into the new namespace
//! for good, so it takes a thread made for it.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::statfs;
use parking_lot::Mutex;

use super::names::{HOST_MAC, LINK_GATEWAY, pod_mac};
use super::netlink::{
    Netlink, Refused, VethEnd, add_address, add_neighbour, add_route, add_veth, delete_link, set_up,
};
use crate::cidr::Cidr;
use crate::dataplane::DataplaneError;
use crate::limits::{LINK_READY_PAUSE, LINK_READY_PAUSE_MAX, LINK_READY_TIMEOUT};

/// The kernel's magic number of the file system of namespaces (`linux/magic.h`).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// The loopback interface is the first of every namespace (`LOOPBACK_IFINDEX`).
pub(crate) const LOOPBACK: u32 = 1;

/// The pod's end of its link.
const POD_LINK: &str = "eth0";

/// What a pod's link is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) netns: std::path::PathBuf,
    pub(crate) link: String,
    pub(crate) group: u32,
    pub(crate) ip: Ipv4Addr,
    /// The node's address on every pod's link: what pods see the node's own connections come from.
    pub(crate) node_end: Ipv4Addr,
    pub(crate) mtu: u32,
}

/// Whether the namespace and the link are there already, and complete: the namespace is named last.
pub(crate) fn is_built(plan: &Plan) -> bool {
    is_namespace(&plan.netns) && nix::net::if_::if_nametoindex(plan.link.as_str()).is_ok()
}

fn is_namespace(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type().0 == NSFS_MAGIC)
}

/// Makes the namespace and the link. The calling thread ends up in the new namespace and should end.
///
/// # Errors
/// What failed; whatever was made is taken away again.
pub(crate) fn build(plan: &Plan, node: &Mutex<Netlink>) -> Result<(), DataplaneError> {
    let result = build_steps(plan, node);
    if result.is_err() {
        // The first error is the one to tell; what cannot be undone is swept at the next start.
        let _ = demolish(&plan.netns, &plan.link, node);
    }
    result
}

fn build_steps(plan: &Plan, node: &Mutex<Netlink>) -> Result<(), DataplaneError> {
    demolish(&plan.netns, &plan.link, node)?;
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|errno| failed("make a network namespace", errno.into()))?;
    let netns = File::open("/proc/thread-self/ns/net")
        .map_err(|error| failed("open the new namespace", error))?;
    // Any container may serve on port 80, as with other runtimes: the namespace is the pod's own.
    if let Err(error) = write_sysctl("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0") {
        tracing::warn!(%error, "only root may serve on ports below 1024 in this pod");
    }
    let mut inside = Netlink::open().map_err(|error| failed("open the routing socket", error))?;

    let here = VethEnd {
        name: &plan.link,
        mac: HOST_MAC,
        group: plan.group,
    };
    let there = VethEnd {
        name: POD_LINK,
        mac: pod_mac(plan.ip),
        group: 0,
    };
    let node_index = {
        let mut node = node.lock();
        node.change(vec![add_veth(&here, &there, netns.as_fd(), plan.mtu)])
            .map_err(refused)?;
        let index = node
            .link_index(&plan.link)
            .map_err(|error| failed("find the new interface", error))?;
        let pod = Cidr::new(plan.ip, 32).expect("32 is a prefix length");
        // The route names the pod as its own gateway: a packet that goes back out where it came from (a pod reaching
        // itself through a service) would otherwise be answered with an ICMP redirect, which uses up the rate limit
        // that refusals need.
        let route = add_route(pod, plan.ip, index, Some(plan.node_end));
        node.change(vec![route, add_neighbour(index, plan.ip, there.mac)])
            .map_err(refused)?;
        index
    };
    tracing::trace!(index = node_index, link = %plan.link, "pod link made");

    let eth0 = inside
        .link_index(POD_LINK)
        .map_err(|error| failed("find the pod's interface", error))?;
    let everywhere = Cidr::new(Ipv4Addr::UNSPECIFIED, 0).expect("0 is a prefix length");
    let steps = vec![
        set_up(LOOPBACK),
        set_up(eth0),
        add_address(eth0, plan.ip),
        add_neighbour(eth0, LINK_GATEWAY, HOST_MAC),
        add_route(everywhere, LINK_GATEWAY, eth0, None),
    ];
    inside.change(steps).map_err(refused)?;
    await_link(|| inside.takes_packets(eth0))?;
    await_link(|| node.lock().takes_packets(node_index))?;
    // The name comes last: a namespace that has one is complete. One without ends with this thread, and its link with it.
    File::create(&plan.netns).map_err(|error| failed("name the new namespace", error))?;
    bind("/proc/thread-self/ns/net", &plan.netns)
}

/// Waits until one end of a link takes packets: what is sent before is lost without a trace. This is a thread of its own, so it may sleep.
fn await_link(mut ready: impl FnMut() -> io::Result<bool>) -> Result<(), DataplaneError> {
    let begun = Instant::now();
    let mut pause = LINK_READY_PAUSE;
    while !ready().map_err(|error| failed("ask for the state of an interface", error))? {
        if begun.elapsed() > LINK_READY_TIMEOUT {
            tracing::warn!("a pod's link is not ready; its first packets may be lost");
            return Ok(());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LINK_READY_PAUSE_MAX);
    }
    Ok(())
}

/// Takes the link and the namespace's name away; the namespace itself ends with its last process. What is not there is passed over.
///
/// # Errors
/// What could not be removed.
pub(crate) fn demolish(
    netns: &Path,
    link: &str,
    node: &Mutex<Netlink>,
) -> Result<(), DataplaneError> {
    node.lock()
        .change(vec![delete_link(link)])
        .map_err(refused)?;
    unname(netns)
}

/// Unmounts and removes the file that names a namespace.
///
/// # Errors
/// What could not be removed.
pub(crate) fn unname(netns: &Path) -> Result<(), DataplaneError> {
    loop {
        match umount2(netns, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            // EINVAL: nothing is mounted there.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(failed("unmount a namespace", errno.into())),
        }
    }
    match fs::remove_file(netns) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove a namespace's name", error))
        }
        _ => Ok(()),
    }
}

fn bind(source: &str, target: &Path) -> Result<(), DataplaneError> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(|errno| failed("mount the new namespace", errno.into()))
}

/// Writes a kernel setting of the calling thread's namespace.
///
/// # Errors
/// What the kernel said.
pub(crate) fn write_sysctl(path: &str, value: &str) -> Result<(), DataplaneError> {
    fs::write(path, value).map_err(|error| failed(&format!("write {path}"), error))
}

/// An error of the kernel as the port tells it.
pub(crate) fn failed(operation: &str, source: io::Error) -> DataplaneError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => DataplaneError::NotPermitted {
            operation: operation.to_owned(),
            source,
        },
        _ => DataplaneError::Kernel {
            operation: operation.to_owned(),
            detail: source.to_string(),
        },
    }
}

/// A refused batch as the port tells it.
pub(crate) fn refused(refused: Refused) -> DataplaneError {
    failed(refused.what, refused.source)
}
