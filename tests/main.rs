//! Stories: what a user, an operator or an architect relies on, end to end.
#![allow(clippy::unwrap_used)]

mod layers;
