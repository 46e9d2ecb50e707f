//! The cluster zone and its server.
