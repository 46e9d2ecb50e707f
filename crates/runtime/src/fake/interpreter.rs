//! What the scripts of the conformance suite do in the fake.

use bytes::Bytes;
use jiff::Timestamp;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::conformance::program::Program;
use crate::contract::exec::{ExecExit, ExecInput, ExecOutput, ExecSession, ExecSpec, TerminalSize};
use crate::contract::spec::ContainerSpec;
use crate::contract::status::ExitReason;
use crate::error::RuntimeError;
use crate::limits::EXEC_QUEUE_CHUNKS;
use crate::log::{LineCutter, LogStream, LogWriter, Rotation};

/// How a container of the fake behaves.
#[derive(Clone, Debug)]
pub(super) enum Behaviour {
    /// It never runs.
    FailsToStart(RuntimeError),
    /// It has ended by the time its start returns.
    Ends { code: i32, reason: ExitReason },
    /// It runs until a fifo can be read.
    ToldByFifo { fifo: PathBuf, code: i32 },
    /// It runs until stopped; `None` ignores TERM.
    Runs { on_term: Option<i32> },
}

impl Behaviour {
    pub(super) fn of(spec: &ContainerSpec) -> Self {
        let Some(program) = Program::from_command(&spec.command) else {
            return Self::Runs { on_term: Some(143) };
        };
        if let Some(directory) = spec
            .working_dir
            .as_ref()
            .filter(|directory| !directory.is_dir())
        {
            let message = format!(
                "working directory {}: no such directory",
                directory.display()
            );
            return Self::FailsToStart(RuntimeError::StartError { message });
        }
        let ends = |code| Self::Ends {
            code,
            reason: if code == 0 {
                ExitReason::Completed
            } else {
                ExitReason::Error
            },
        };
        match program {
            Program::Missing => Self::FailsToStart(missing()),
            Program::NotExecutable => Self::FailsToStart(RuntimeError::CannotRun {
                command: "scripted".to_owned(),
                message: "permission denied".to_owned(),
            }),
            Program::Exit { code } | Program::Print { code, .. } => ends(code),
            Program::Crash { signal } => ends(128 + signal),
            Program::EatMemory if spec.limits.memory_limit_bytes.is_some() => Self::Ends {
                code: 137,
                reason: ExitReason::OomKilled,
            },
            Program::ExitWhenTold { fifo, code } => Self::ToldByFifo { fifo, code },
            Program::HeedTerm { code, .. } => Self::Runs {
                on_term: Some(code),
            },
            Program::DeafToTerm { .. } => Self::Runs { on_term: None },
            Program::Forever
            | Program::MarkAndRun { .. }
            | Program::EatMemory
            | Program::Daemonise { .. }
            | Program::Hold { .. }
            | Program::SpinOneSecond { .. } => Self::Runs { on_term: Some(143) },
            _ => ends(0),
        }
    }

    pub(super) fn on_term(&self) -> Option<i32> {
        match self {
            Self::Runs { on_term } => *on_term,
            _ => Some(143),
        }
    }
}

fn missing() -> RuntimeError {
    RuntimeError::CommandNotFound {
        command: "scripted".to_owned(),
        message: "no such file".to_owned(),
    }
}

/// Waits for something to be written to a fifo.
pub(super) async fn await_word(fifo: &Path) -> io::Result<()> {
    let mut reader = pipe::OpenOptions::new().open_receiver(fifo)?;
    reader.read(&mut [0]).await.map(drop)
}

/// The side effects of a program that goes on running: a mark, or a word through a fifo.
pub(super) fn leave_mark(spec: &ContainerSpec) {
    let mut options = File::options();
    let (file, word) = match Program::from_command(&spec.command) {
        Some(Program::MarkAndRun { path }) => {
            (options.create(true).append(true).open(path), "started")
        }
        // Opened for both, so that it does not wait for a reader.
        Some(Program::HeedTerm { ready, .. } | Program::DeafToTerm { ready }) => {
            (options.read(true).write(true).open(ready), "ready")
        }
        _ => return,
    };
    // A word that cannot be left shows as a failed test, which waits for it.
    let _ = file.and_then(|mut file| writeln!(file, "{word}"));
}

fn output_of(
    program: &Program,
    env: &[(String, String)],
    spec: &ContainerSpec,
) -> (Vec<u8>, Vec<u8>, i32) {
    match program {
        Program::Print {
            stdout,
            stderr,
            code,
        } => (
            stdout.clone().into_bytes(),
            stderr.clone().into_bytes(),
            *code,
        ),
        Program::PrintLongLine { bytes } => {
            let mut line = vec![b'x'; *bytes];
            line.push(b'\n');
            (line, Vec::new(), 0)
        }
        Program::PrintBinary => ((0..=255).collect(), Vec::new(), 0),
        Program::PrintVariable { name } => {
            let value = env
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map_or("", |(_, value)| value);
            (format!("{value}\n").into_bytes(), Vec::new(), 0)
        }
        Program::PrintWorkingDirectory => {
            let directory = spec
                .working_dir
                .clone()
                .unwrap_or_else(|| PathBuf::from("/"));
            (
                format!("{}\n", directory.display()).into_bytes(),
                Vec::new(),
                0,
            )
        }
        Program::Exit { code } => (Vec::new(), Vec::new(), *code),
        _ => (Vec::new(), Vec::new(), 0),
    }
}

/// Writes what a program that ends at once prints.
pub(super) fn write_log(spec: &ContainerSpec, at: Timestamp) {
    let Some(program) = Program::from_command(&spec.command) else {
        return;
    };
    let (stdout, stderr, _) = output_of(&program, &spec.env, spec);
    if stdout.is_empty() && stderr.is_empty() {
        return;
    }
    let written = LogWriter::open(&spec.log_path, Rotation::KUBELET).and_then(|mut log| {
        for (stream, bytes) in [(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)] {
            let mut cutter = LineCutter::default();
            cutter.push(&mut log, at, stream, &bytes)?;
            cutter.finish(&mut log, at, stream)?;
        }
        Ok(())
    });
    if let Err(error) = written {
        tracing::warn!(path = %spec.log_path.display(), %error, "fake container log not written");
    }
}

/// Runs a scripted exec; any other command answers what the test has set.
pub(super) fn exec(
    container: &ContainerSpec,
    spec: &ExecSpec,
    scripted: Option<(i32, String)>,
) -> Result<ExecSession, RuntimeError> {
    let program = Program::from_command(&spec.command);
    if matches!(program, Some(Program::Missing)) {
        return Err(missing());
    }
    let (input, received) = mpsc::channel(EXEC_QUEUE_CHUNKS);
    let (sender, output) = mpsc::channel(EXEC_QUEUE_CHUNKS);
    let (done, exit) = oneshot::channel();
    let env: Vec<_> = container.env.iter().chain(&spec.env).cloned().collect();
    let container = container.clone();
    let terminal = spec.terminal;
    tokio::spawn(async move {
        let exit_code = match program {
            Some(Program::Echo) => echo(received, &sender).await,
            Some(Program::TerminalSize) => terminal_size(terminal, received, &sender).await,
            Some(program) => {
                let (stdout, stderr, code) = output_of(&program, &env, &container);
                say(&sender, ExecOutput::Stdout(stdout.into())).await;
                say(&sender, ExecOutput::Stderr(stderr.into())).await;
                code
            }
            None => {
                let (code, stdout) = scripted.unwrap_or_default();
                say(&sender, ExecOutput::Stdout(stdout.into())).await;
                code
            }
        };
        drop(sender);
        // The caller may have gone, which ends the session.
        let _ = done.send(Ok(ExecExit { exit_code }));
    });
    Ok(ExecSession {
        input,
        output,
        exit,
    })
}

async fn say(sender: &mpsc::Sender<ExecOutput>, output: ExecOutput) {
    let (ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes)) = &output;
    if !bytes.is_empty() {
        // As above.
        let _ = sender.send(output).await;
    }
}

async fn echo(mut received: mpsc::Receiver<ExecInput>, sender: &mpsc::Sender<ExecOutput>) -> i32 {
    while let Some(ExecInput::Stdin(bytes)) = received.recv().await {
        say(sender, ExecOutput::Stdout(bytes)).await;
    }
    0
}

async fn terminal_size(
    terminal: Option<TerminalSize>,
    mut received: mpsc::Receiver<ExecInput>,
    sender: &mpsc::Sender<ExecOutput>,
) -> i32 {
    let Some(mut size) = terminal else { return 1 };
    let line = |size: TerminalSize| {
        ExecOutput::Stdout(Bytes::from(format!("{} {}\r\n", size.rows, size.columns)))
    };
    say(sender, line(size)).await;
    while let Some(event) = received.recv().await {
        match event {
            ExecInput::Resize(changed) => size = changed,
            ExecInput::Stdin(_) => say(sender, line(size)).await,
            ExecInput::StdinClosed => break,
        }
    }
    0
}
