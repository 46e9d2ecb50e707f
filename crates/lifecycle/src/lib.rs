//! One pod on one node as a pure machine.
