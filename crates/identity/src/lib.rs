//! Who is who: Pontoon's certificate authorities, the certificates they issue, the TLS
//! configurations made of them, and who a verified certificate says its bearer is.
//!
//! There are two authorities. The cluster's issues what clients and the API server show each
//! other; the peers' issues what replicas show each other. A client's certificate therefore
//! opens no door between replicas, whatever its name.
//!
//! Not here: what an identity may do (that is the API server's), and sockets (callers run the
//! handshake). The only user of rcgen and x509-parser; every configuration names ring as its
//! provider, never the process's default.
//!
//! Invariants:
//! - TLS 1.3 or nothing;
//! - a private key is written with mode 0600, atomically and fsynced, or not at all;
//! - an authority is never replaced silently: half of one on disk is an error;
//! - sessions are not resumed, so that every connection shows its certificate anew.

pub mod authority;
pub mod credentials;
pub mod enrolment;
mod files;
pub mod kubeconfig;
pub mod lifetime;
pub mod peer;
pub mod pem;
pub mod tls;
pub mod token;

pub use authority::{Authorities, ClusterAuthority, PeerAuthority, ServerNames};
pub use credentials::{Credentials, Validity};
pub use files::FileError;
pub use kubeconfig::Kubeconfig;
pub use peer::{Identity, Member};
pub use tls::{Presented, Roots};
pub use token::{JoinToken, Pin, Role};
