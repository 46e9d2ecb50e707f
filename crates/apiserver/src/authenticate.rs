//! Who asks. The TLS acceptor reads the client certificate and puts an [`Identity`] into the request's
//! extensions; a request without one is nobody's.

pub use pontoon_identity::Identity;
pub use pontoon_identity::authority::{ADMINISTRATORS, NODE_PREFIX, NODES};
use pontoon_identity::peer::AUTHENTICATED;

/// A member of `system:masters`: what tests and the server's own parts act as.
#[must_use]
pub fn administrator(user: &str) -> Identity {
    Identity {
        user: user.to_owned(),
        groups: vec![ADMINISTRATORS.to_owned(), AUTHENTICATED.to_owned()],
    }
}

/// The agent of a node.
#[must_use]
pub fn agent(node: &str) -> Identity {
    Identity {
        user: format!("{NODE_PREFIX}{node}"),
        groups: vec![NODES.to_owned(), AUTHENTICATED.to_owned()],
    }
}
