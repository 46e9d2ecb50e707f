//! Names of what we make in the kernel. They carry the instance, so that two clusters on one machine do not meet.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::dataplane::DataplaneError;

/// The node's end of every pod's link. One constant will do: each link is a network of its own.
pub(super) const HOST_MAC: [u8; 6] = [0xee; 6];

/// The address that pods have as their gateway; it exists nowhere but in their neighbour tables (Calico's choice, RFC 3927).
pub(super) const LINK_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The longest instance name: a table's name may have 128 bytes, and people read it.
const INSTANCE_BYTES: usize = 32;

/// The names of one instance.
#[derive(Debug, Clone)]
pub(super) struct Names {
    instance: String,
    link_prefix: String,
    netns_dir: PathBuf,
}

impl Names {
    /// # Errors
    /// [`DataplaneError::Config`] when the instance is empty, too long, or holds anything but `a-z`, `0-9` and `_`.
    pub(super) fn new(instance: &str, state_dir: &Path) -> Result<Self, DataplaneError> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if instance.is_empty() || instance.len() > INSTANCE_BYTES || !instance.bytes().all(good) {
            let detail =
                format!("instance {instance:?} must be 1 to {INSTANCE_BYTES} of a-z, 0-9 and _");
            return Err(DataplaneError::Config { detail });
        }
        Ok(Self {
            instance: instance.to_owned(),
            link_prefix: format!("p{:06x}", hash(instance) & 0xff_ffff),
            netns_dir: state_dir.join("netns"),
        })
    }

    /// The nftables table.
    pub(super) fn table(&self) -> String {
        format!("{TABLE_PREFIX}{}", self.instance)
    }

    /// What the node's ends of all pods' links begin with.
    pub(super) fn link_prefix(&self) -> &str {
        &self.link_prefix
    }

    /// The node's end of a pod's link: 15 bytes, the most an interface name may have.
    pub(super) fn link(&self, uid: &str) -> String {
        format!("{}{:08x}", self.link_prefix, hash(uid) & 0xffff_ffff)
    }

    /// The directory of the files that name pods' namespaces.
    pub(super) fn netns_dir(&self) -> &Path {
        &self.netns_dir
    }

    /// The group of the node's ends of all pods' links. Group 0 is the kernel's default and is never ours.
    pub(super) fn link_group(&self) -> u32 {
        u32::try_from(hash(&self.instance) >> 32)
            .expect("32 bits are left")
            .max(1)
    }

    /// The file that names a pod's namespace.
    pub(super) fn netns(&self, uid: &str) -> PathBuf {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !uid.is_empty() && uid.len() <= 64 && uid.bytes().all(plain) {
            self.netns_dir.join(uid)
        } else {
            self.netns_dir.join(format!("uid-{:016x}", hash(uid)))
        }
    }
}

/// What the tables of every instance begin with.
pub(super) const TABLE_PREFIX: &str = "pontoon_";

/// The pod's hardware address, derived from its address: a peer's memory of an address that is given to another pod then stays right.
pub(super) fn pod_mac(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo). Names in the kernel are made of it, so it must never change.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ_between_instances() {
        let a = Names::new("dev_1", Path::new("/s")).unwrap();
        let b = Names::new("dev_2", Path::new("/s")).unwrap();
        let uid = "1f0c9b6e-7a1c-4b7e-9f58-f7d2e7c0a001";
        assert_eq!(a.link(uid).len(), 15);
        assert_ne!(a.link(uid), b.link(uid));
        assert_ne!(a.table(), b.table());
        assert_eq!(a.netns(uid), Path::new("/s/netns").join(uid));
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn a_uid_cannot_leave_its_directory() {
        let names = Names::new("dev", Path::new("/s")).unwrap();
        for uid in ["../../etc/passwd", "", ".", "a/b"] {
            assert_eq!(names.netns(uid).parent().unwrap(), Path::new("/s/netns"));
            assert!(
                names
                    .netns(uid)
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with("uid-")
            );
        }
    }

    #[test]
    fn an_instance_that_would_need_quoting_is_refused() {
        for instance in ["", "a b", "x;flush ruleset", "UPPER", &"a".repeat(33)] {
            assert!(Names::new(instance, Path::new("/s")).is_err(), "{instance}");
        }
    }
}
