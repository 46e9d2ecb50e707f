//! What the tests of both fronts share.

pub mod rest;
