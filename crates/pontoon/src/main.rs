//! The binary: main, configuration, wiring, dev mode.

fn main() {}
