//! The behaviour of the API server through both of its fronts, and what only one of them has.
#![allow(clippy::unwrap_used, missing_docs)]

mod golden;
mod grpc_only;
mod node;
mod rest_only;
mod servers;
mod suite;
mod tls;

use suite::stage::Stage;

async fn rest() -> Stage {
    let store = pontoon_state::Solo::new();
    let server = suite::server_on(store.clone()).await;
    Stage {
        front: Box::new(suite::rest::Rest::new(server, suite::admin())),
        store,
    }
}

async fn grpc() -> Stage {
    let store = pontoon_state::Solo::new();
    let server = suite::server_on(store.clone()).await;
    Stage {
        front: Box::new(suite::grpc::Grpc::new(server, suite::admin())),
        store,
    }
}

mod over_rest {
    use crate::suite;
    crate::behaviours!(crate::rest);
}

mod over_grpc {
    use crate::suite;
    crate::behaviours!(crate::grpc);
}
