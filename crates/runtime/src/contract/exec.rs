//! A command run beside a container's program.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::error::RuntimeError;

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments; not empty.
    pub command: Vec<String>,
    /// A terminal of this size; `None` gives pipes.
    pub terminal: Option<TerminalSize>,
    /// Whether the caller will send input; otherwise standard input is empty.
    pub stdin: bool,
    /// Added to the container's own environment.
    pub env: Vec<(String, String)>,
}

/// From the caller to the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecInput {
    /// Bytes for standard input.
    Stdin(Bytes),
    /// No more input: standard input is closed, or end-of-file is typed on a terminal.
    StdinClosed,
    /// The caller's terminal has another size.
    Resize(TerminalSize),
}

/// From the command to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutput {
    /// Bytes of standard output; of the terminal when there is one.
    Stdout(Bytes),
    /// Bytes of standard error; never with a terminal.
    Stderr(Bytes),
}

/// How the command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecExit {
    /// Exit code, or 128 plus the signal.
    pub exit_code: i32,
}

/// A running command. Dropping the session kills the command and what it started.
#[derive(Debug)]
pub struct ExecSession {
    /// Input and resizes; bounded, so a full queue makes the caller wait. Dropping it closes standard input.
    pub input: mpsc::Sender<ExecInput>,
    /// Output in order; bounded, so a slow caller makes the command wait. Ends when both streams have ended.
    pub output: mpsc::Receiver<ExecOutput>,
    /// Resolves once the command has ended and its output has been handed over.
    pub exit: oneshot::Receiver<Result<ExecExit, RuntimeError>>,
}
