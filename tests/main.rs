//! Stories: what a user, an operator or an architect relies on, end to end.
#![allow(clippy::unwrap_used)]

mod agents;
mod bad_input;
mod containers;
mod crash;
mod dev;
mod grpc;
mod ha;
mod kube_rs;
mod kubectl;
mod layers;
mod network;
mod plan;
mod python;
mod rootless;
mod traces;
