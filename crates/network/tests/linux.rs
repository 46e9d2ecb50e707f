//! The Linux data plane on a real kernel, each test in network and mount namespaces of its own: nothing is added to the machine's.
//!
//! As root the namespaces are plain ones; an ordinary user's tests also get a user namespace. The program `unshare` (util-linux)
//! makes them, and `nft` (nftables) and `conntrack` must be installed.
#![allow(clippy::unwrap_used)]

#[path = "linux/isolation.rs"]
mod isolation;
#[path = "linux/openings.rs"]
mod openings;
#[path = "linux/pods.rs"]
mod pods;
#[path = "linux/services.rs"]
mod services;
