//! The runtime contract, its fake and its conformance suite.
