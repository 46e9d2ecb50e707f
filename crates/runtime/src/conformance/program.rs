//! The small programs that the suite runs, in two dialects: POSIX shell for real runtimes and a script that the fake
//! understands.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// First word of a command that the fake interprets instead of running until told to end.
pub const SCRIPTED: &str = "scripted";

/// What a container or an exec does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// Ends at once.
    Exit {
        /// With this code.
        code: i32,
    },
    /// Ends itself by a signal.
    Crash {
        /// Its number.
        signal: i32,
    },
    /// Runs until TERM, then ends by it.
    Forever,
    /// Runs until TERM, then ends with a code.
    HeedTerm {
        /// That code.
        code: i32,
        /// A fifo it writes to once it is ready for TERM.
        ready: PathBuf,
    },
    /// Runs and ignores TERM.
    DeafToTerm {
        /// A fifo it writes to once it is ready for TERM.
        ready: PathBuf,
    },
    /// Writes to both streams and ends.
    Print {
        /// To standard output, as it is.
        stdout: String,
        /// To standard error, as it is.
        stderr: String,
        /// Exit code.
        code: i32,
    },
    /// Writes one line of this many letters and ends.
    PrintLongLine {
        /// Length of the line without its end.
        bytes: usize,
    },
    /// Writes all 256 byte values in order and ends.
    PrintBinary,
    /// Prints the value of a variable.
    PrintVariable {
        /// Its name.
        name: String,
    },
    /// Prints its working directory.
    PrintWorkingDirectory,
    /// Prints a file, or ends with 1 when that fails.
    PrintFile {
        /// Its path inside the container.
        path: PathBuf,
    },
    /// Writes a file, or ends with 1 when that fails.
    WriteFile {
        /// Its path inside the container.
        path: PathBuf,
        /// Its contents.
        text: String,
    },
    /// Adds a line to a file, then runs until TERM.
    MarkAndRun {
        /// Its path inside the container.
        path: PathBuf,
    },
    /// Leaves a descendant in a session of its own that keeps a fifo open for writing, then runs until TERM.
    Daemonise {
        /// The fifo.
        fifo: PathBuf,
        /// A fifo whose line makes the program itself end with 0.
        then_exit: Option<PathBuf>,
    },
    /// Keeps a fifo open for writing and runs until TERM.
    Hold {
        /// The fifo.
        fifo: PathBuf,
    },
    /// Runs until a fifo is opened for writing, then ends with a code.
    ExitWhenTold {
        /// The fifo.
        fifo: PathBuf,
        /// That code.
        code: i32,
    },
    /// Fills memory until it is killed.
    EatMemory,
    /// Computes for one second, opens a fifo for writing, then runs until TERM.
    SpinOneSecond {
        /// The fifo.
        fifo: PathBuf,
    },
    /// Starts 60 processes at once; ends with 3 when one cannot be started.
    StartManyProcesses,
    /// Copies standard input to standard output.
    Echo,
    /// Prints rows and columns of its terminal, then again after each line of input.
    TerminalSize,
    /// Does not exist.
    Missing,
    /// Exists and is not executable.
    NotExecutable,
}

impl Program {
    /// The command that makes the fake behave so.
    pub fn scripted(&self) -> Vec<String> {
        let script =
            serde_json::to_string(self).expect("a program is plain data, which always serialises");
        vec![SCRIPTED.to_owned(), script]
    }

    /// Reads what [`Program::scripted`] wrote.
    pub fn from_command(command: &[String]) -> Option<Self> {
        match command {
            [first, script] if first == SCRIPTED => serde_json::from_str(script).ok(),
            _ => None,
        }
    }

    /// The command for a runtime whose containers have `/bin/sh`, `setsid`, `stty` and the usual tools.
    pub fn shell(&self) -> Vec<String> {
        match self {
            Self::Missing => vec!["/pontoon-conformance/no-such-program".to_owned()],
            Self::NotExecutable => vec!["/etc/passwd".to_owned()],
            Self::Echo => vec!["cat".to_owned()],
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned(), self.script()],
        }
    }

    fn script(&self) -> String {
        match self {
            Self::Exit { code } => format!("exit {code}"),
            Self::Crash { signal } => format!("kill -{signal} $$; exit 99"),
            Self::Forever => "exec sleep 1000".to_owned(),
            // `wait` returns when the trap fires, where a foreground sleep would delay it.
            Self::HeedTerm { code, ready } => {
                let ready = quote_path(ready);
                format!("trap 'exit {code}' TERM; echo ready > {ready}; sleep 1000 & wait")
            }
            Self::DeafToTerm { ready } => {
                let ready = quote_path(ready);
                format!("trap '' TERM; echo ready > {ready}; while :; do sleep 1000; done")
            }
            Self::Print {
                stdout,
                stderr,
                code,
            } => {
                format!(
                    "printf %s {}; printf %s {} >&2; exit {code}",
                    quote(stdout),
                    quote(stderr)
                )
            }
            Self::PrintLongLine { bytes } => {
                format!("head -c {bytes} /dev/zero | tr '\\0' x; echo")
            }
            Self::PrintBinary => {
                let octal: String = (0..=255u8).map(|byte| format!("\\{byte:03o}")).collect();
                format!("printf '{octal}'")
            }
            Self::PrintVariable { name } => format!("echo \"${name}\""),
            Self::PrintWorkingDirectory => "pwd".to_owned(),
            Self::PrintFile { path } => format!("cat {} || exit 1", quote_path(path)),
            Self::WriteFile { path, text } => {
                format!("printf %s {} > {} || exit 1", quote(text), quote_path(path))
            }
            Self::MarkAndRun { path } => {
                format!("echo started >> {}; exec sleep 1000", quote_path(path))
            }
            Self::Daemonise { fifo, then_exit } => {
                let keeper = Self::Hold { fifo: fifo.clone() }.script();
                let end = match then_exit {
                    Some(go) => format!("read line < {}; exit 0", quote_path(go)),
                    None => "exec sleep 1000".to_owned(),
                };
                format!(
                    "setsid sh -c {} </dev/null >/dev/null 2>&1 & {end}",
                    quote(&keeper)
                )
            }
            Self::Hold { fifo } => {
                format!(
                    "exec 9>{}; echo ready >&9; exec sleep 1000",
                    quote_path(fifo)
                )
            }
            Self::ExitWhenTold { fifo, code } => {
                format!("read line < {}; exit {code}", quote_path(fifo))
            }
            Self::EatMemory => "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done".to_owned(),
            Self::SpinOneSecond { fifo } => format!(
                "end=$(($(date +%s%N) + 1000000000)); while [ $(date +%s%N) -lt $end ]; do i=0; \
                 while [ $i -lt 2000 ]; do i=$((i+1)); done; done; echo done > {}; exec sleep 1000",
                quote_path(fifo)
            ),
            Self::StartManyProcesses => {
                // The shell itself ends with an error when it cannot fork.
                "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done || exit 3; exit 0"
                    .to_owned()
            }
            Self::TerminalSize => "stty size; while read line; do stty size; done".to_owned(),
            Self::Missing | Self::NotExecutable | Self::Echo => unreachable!("not run by a shell"),
        }
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_script_survives_the_way_through_a_command_line() {
        let program = Program::Print {
            stdout: "it's\n".to_owned(),
            stderr: "\"x\"".to_owned(),
            code: 3,
        };
        assert_eq!(Program::from_command(&program.scripted()), Some(program));
        assert_eq!(Program::from_command(&["redis-server".to_owned()]), None);
    }
}
