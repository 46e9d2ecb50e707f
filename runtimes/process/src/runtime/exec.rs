//! Exec sessions: a helper process that enters the container, and tasks that carry its streams.

use bytes::Bytes;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use pontoon_runtime::limits::{EXEC_CHUNK_BYTES, EXEC_QUEUE_CHUNKS};
use pontoon_runtime::{
    ContainerState, ExecExit, ExecInput, ExecOutput, ExecSession, ExecSpec, RuntimeError,
    TerminalSize,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use super::container::Container;
use super::{Inner, unavailable, watch};
use crate::layout::{self, Durability};
use crate::plan::{ExecRequest, StartFailure};
use crate::syscall;

/// End-of-file as typed on a terminal.
const EOT: &[u8] = b"\x04";

static REQUEST: AtomicU64 = AtomicU64::new(0);

/// Starts a command in a container.
pub(super) async fn exec(
    inner: &Arc<Inner>,
    container: &Arc<Container>,
    spec: &ExecSpec,
) -> Result<ExecSession, RuntimeError> {
    if !matches!(container.status().state, ContainerState::Running { .. }) {
        return Err(RuntimeError::NotRunning {
            what: format!("container {}", container.id),
        });
    }
    let request = leave_request(container, spec).map_err(|error| unavailable("exec", error))?;
    let mut command = watch::shim(inner, "exec");
    command
        .arg(container.directory.path())
        .arg(&request)
        .kill_on_drop(true);
    let (sender, output) = mpsc::channel(EXEC_QUEUE_CHUNKS);
    let (input, received) = mpsc::channel(EXEC_QUEUE_CHUNKS);
    let started = match spec.terminal {
        Some(size) => with_terminal(command, size, received, sender.clone()),
        None => with_pipes(command, spec.stdin, received, sender.clone()),
    };
    let (child, carriers) = started.map_err(|error| unavailable("exec", error))?;
    let (done, exit) = oneshot::channel();
    let ended = container.ended();
    tokio::spawn(async move {
        let outcome = accompany(child, carriers, &sender, ended).await;
        drop(sender);
        let outcome = outcome
            .map_err(|error| unavailable("exec", error))
            .and_then(|status| judge(&request, status));
        let _ = std::fs::remove_file(&request);
        // A caller who has gone does not want to know.
        let _ = done.send(outcome);
    });
    Ok(ExecSession {
        input,
        output,
        exit,
    })
}

/// Environment variables may be secret, so the request is a private file and not an argument.
fn leave_request(container: &Container, spec: &ExecSpec) -> io::Result<PathBuf> {
    let number = REQUEST.fetch_add(1, Ordering::Relaxed);
    let path = container
        .directory
        .path()
        .join(format!("exec-{}-{number}", std::process::id()));
    let request = ExecRequest {
        command: spec.command.clone(),
        env: spec.env.clone(),
        terminal: spec.terminal.is_some(),
    };
    layout::write_record(&path, &request, Durability::UntilReboot)?;
    Ok(path)
}

/// The tasks that carry a session's streams.
struct Carriers {
    outputs: Vec<tokio::task::JoinHandle<()>>,
    input: tokio::task::JoinHandle<()>,
}

fn with_pipes(
    mut command: Command,
    stdin: bool,
    received: mpsc::Receiver<ExecInput>,
    sender: mpsc::Sender<ExecOutput>,
) -> io::Result<(Child, Carriers)> {
    let stdin = if stdin { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut outputs = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        outputs.push(tokio::spawn(carry_output(
            stdout,
            sender.clone(),
            ExecOutput::Stdout,
        )));
    }
    if let Some(stderr) = child.stderr.take() {
        outputs.push(tokio::spawn(carry_output(
            stderr,
            sender,
            ExecOutput::Stderr,
        )));
    }
    let input = tokio::spawn(carry_to_pipe(child.stdin.take(), received));
    Ok((child, Carriers { outputs, input }))
}

fn with_terminal(
    mut command: Command,
    size: TerminalSize,
    received: mpsc::Receiver<ExecInput>,
    sender: mpsc::Sender<ExecOutput>,
) -> io::Result<(Child, Carriers)> {
    let pty = nix::pty::openpty(None, None)?;
    syscall::set_terminal_size(pty.master.as_fd(), size.columns, size.rows)?;
    fcntl(
        &pty.master,
        FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    fcntl(
        &pty.slave,
        FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    fcntl(
        &pty.master,
        FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_RDWR),
    )?;
    let (stdin, stdout) = (pty.slave.try_clone()?, pty.slave.try_clone()?);
    let child = command
        .stdin(stdin)
        .stdout(stdout)
        .stderr(pty.slave)
        .spawn()?;
    // The command holds the last copies of the slave end: when it ends, reading the master ends.
    drop(command);
    let reader = pipe::Receiver::from_owned_fd_unchecked(pty.master.try_clone()?)?;
    let writer = pipe::Sender::from_owned_fd_unchecked(pty.master.try_clone()?)?;
    let outputs = vec![tokio::spawn(carry_output(
        reader,
        sender,
        ExecOutput::Stdout,
    ))];
    let input = tokio::spawn(carry_to_terminal(writer, pty.master, received));
    Ok((child, Carriers { outputs, input }))
}

async fn carry_output(
    mut source: impl AsyncRead + Unpin,
    sender: mpsc::Sender<ExecOutput>,
    wrap: fn(Bytes) -> ExecOutput,
) {
    let mut buffer = vec![0; EXEC_CHUNK_BYTES];
    // A terminal answers EIO once the command has gone, which is its end of file.
    while let Ok(length @ 1..) = source.read(&mut buffer).await {
        if sender
            .send(wrap(Bytes::copy_from_slice(&buffer[..length])))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn carry_to_pipe(
    mut stdin: Option<impl AsyncWrite + Unpin>,
    mut received: mpsc::Receiver<ExecInput>,
) {
    while let Some(event) = received.recv().await {
        match (event, &mut stdin) {
            (ExecInput::Stdin(bytes), Some(pipe)) => {
                if pipe.write_all(&bytes).await.is_err() {
                    stdin = None;
                }
            }
            (ExecInput::StdinClosed, _) => stdin = None,
            (ExecInput::Stdin(_) | ExecInput::Resize(_), _) => {}
        }
    }
}

async fn carry_to_terminal(
    mut writer: impl AsyncWrite + Unpin,
    terminal: OwnedFd,
    mut received: mpsc::Receiver<ExecInput>,
) {
    while let Some(event) = received.recv().await {
        // Errors mean that the command has gone, which its end tells.
        match event {
            ExecInput::Stdin(bytes) => drop(writer.write_all(&bytes).await),
            ExecInput::StdinClosed => drop(writer.write_all(EOT).await),
            ExecInput::Resize(size) => drop(syscall::set_terminal_size(
                terminal.as_fd(),
                size.columns,
                size.rows,
            )),
        }
    }
}

/// Waits until the command has ended and its output is handed over. A caller who drops the session, and the end of
/// the container, kill it.
async fn accompany(
    mut child: Child,
    carriers: Carriers,
    sender: &mpsc::Sender<ExecOutput>,
    ended: impl Future<Output = ()>,
) -> io::Result<ExitStatus> {
    let status = tokio::select! {
        status = child.wait() => status,
        () = sender.closed() => kill(&mut child).await,
        () = ended => kill(&mut child).await,
    };
    for mut output in carriers.outputs {
        tokio::select! {
            _ = &mut output => {}
            // A process that the command left behind keeps the stream open; nobody waits for that any more.
            () = sender.closed() => output.abort(),
        }
    }
    carriers.input.abort();
    status
}

async fn kill(child: &mut Child) -> io::Result<ExitStatus> {
    child.start_kill()?;
    child.wait().await
}

/// The command's end, or why it was not executed.
fn judge(request: &Path, status: ExitStatus) -> Result<ExecExit, RuntimeError> {
    use std::os::unix::process::ExitStatusExt;
    let mut failed = request.as_os_str().to_owned();
    failed.push(".failed");
    let failed = PathBuf::from(failed);
    let failure = std::fs::read(&failed)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<StartFailure>(&bytes).ok());
    let _ = std::fs::remove_file(&failed);
    match failure {
        Some(failure) => Err(failure.into()),
        None => Ok(ExecExit {
            exit_code: status.code().unwrap_or(128 + status.signal().unwrap_or(9)),
        }),
    }
}
