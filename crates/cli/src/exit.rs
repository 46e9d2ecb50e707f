//! Exit codes, for scripts.
//!
//! | code | when |
//! |---|---|
//! | 0 | done; of `plan`: applying would change nothing |
//! | 1 | an error; a wait that timed out; of `plan`: applying would change something |
//! | 2 | of `plan`: an error, so that 1 can only mean a difference; any command line that cannot be read |
//! | 130 | interrupted while waiting |
//! | any | of `exec`: the command's own code |

/// Done.
pub const OK: u8 = 0;

/// An error, which was told on standard error.
pub const ERROR: u8 = 1;

/// `plan` found something to change: as `diff` and `kubectl diff` say it.
pub const DIFFERENT: u8 = 1;

/// `plan` could not tell: as `diff` says it.
pub const TROUBLE: u8 = 2;
