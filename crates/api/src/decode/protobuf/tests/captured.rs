//! Bodies as real clients sent them.
