//! Pod addresses, routes and service rules.
