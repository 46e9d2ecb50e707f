//! Commands run beside a container's program.

use bytes::Bytes;
use std::time::Duration;

use super::case::{Case, FifoReader, Subject, in_time};
use super::program::Program;
use crate::contract::capabilities::Capability;
use crate::contract::exec::{ExecInput, ExecOutput, ExecSession, ExecSpec, TerminalSize};
use crate::contract::id::ContainerId;
use crate::error::RuntimeError;

fn plain(command: Vec<String>) -> ExecSpec {
    ExecSpec {
        command,
        terminal: None,
        stdin: false,
        env: Vec::new(),
    }
}

/// Runs a command to its end: code, standard output, standard error.
pub async fn run<S: Subject>(
    case: &Case<S>,
    id: &ContainerId,
    program: &Program,
) -> Result<(i32, String, String), RuntimeError> {
    let spec = plain(case.subject.command(program));
    in_time("exec", async {
        collect(case.runtime().exec(id, &spec).await?).await
    })
    .await
}

async fn collect(session: ExecSession) -> Result<(i32, String, String), RuntimeError> {
    let ExecSession {
        input,
        mut output,
        exit,
    } = session;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(chunk) = output.recv().await {
        match chunk {
            ExecOutput::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            ExecOutput::Stderr(bytes) => stderr.extend_from_slice(&bytes),
        }
    }
    let exit = exit.await.expect("an exec tells its end")?;
    drop(input);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((exit.exit_code, text(stdout), text(stderr)))
}

/// Streams are separate and the code is the command's.
pub async fn an_exec_has_streams_and_a_code<S: Subject>(case: Case<S>) {
    let status = case.run(&Program::Forever).await;
    let print = Program::Print {
        stdout: "out\n".to_owned(),
        stderr: "err\n".to_owned(),
        code: 9,
    };
    let result = run(&case, &status.id, &print).await.expect("it runs");
    assert_eq!(result, (9, "out\n".to_owned(), "err\n".to_owned()));
    case.finish().await;
}

/// An exec sees the container's environment.
pub async fn an_exec_sees_the_environment<S: Subject>(case: Case<S>) {
    let mut spec = case.container(&Program::Forever);
    spec.env.push(("ROLE".to_owned(), "leader".to_owned()));
    let status = case.start(&spec).await.expect("it starts");
    let variable = Program::PrintVariable {
        name: "ROLE".to_owned(),
    };
    assert_eq!(
        run(&case, &status.id, &variable).await.expect("it runs").1,
        "leader\n"
    );
    case.finish().await;
}

/// Input reaches the command, and its end ends it.
pub async fn an_exec_takes_input<S: Subject>(case: Case<S>) {
    let status = case.run(&Program::Forever).await;
    let mut spec = plain(case.subject.command(&Program::Echo));
    spec.stdin = true;
    let session = case
        .runtime()
        .exec(&status.id, &spec)
        .await
        .expect("it runs");
    session
        .input
        .send(ExecInput::Stdin(Bytes::from_static(b"a\0b\xff\n")))
        .await
        .expect("it listens");
    session
        .input
        .send(ExecInput::StdinClosed)
        .await
        .expect("it listens");
    let (code, stdout, _) = in_time("exec", collect(session)).await.expect("it ends");
    assert_eq!((code, stdout.as_str()), (0, "a\0b\u{fffd}\n"));
    case.finish().await;
}

/// A terminal has the size asked for, and follows a resize.
pub async fn an_exec_with_a_terminal_knows_its_size<S: Subject>(case: Case<S>) {
    let status = case.run(&Program::Forever).await;
    let mut spec = plain(case.subject.command(&Program::TerminalSize));
    spec.terminal = Some(TerminalSize {
        columns: 111,
        rows: 33,
    });
    spec.stdin = true;
    let mut session = case
        .runtime()
        .exec(&status.id, &spec)
        .await
        .expect("it runs");
    read_until(&mut session, "33 111").await;
    session
        .input
        .send(ExecInput::Resize(TerminalSize {
            columns: 80,
            rows: 24,
        }))
        .await
        .expect("it listens");
    session
        .input
        .send(ExecInput::Stdin(Bytes::from_static(b"\n")))
        .await
        .expect("it listens");
    read_until(&mut session, "24 80").await;
    session
        .input
        .send(ExecInput::StdinClosed)
        .await
        .expect("it listens");
    assert_eq!(
        in_time("exec", collect(session)).await.expect("it ends").0,
        0
    );
    case.finish().await;
}

async fn read_until(session: &mut ExecSession, wanted: &str) {
    let mut seen = String::new();
    let read = async {
        while !seen.contains(wanted) {
            match session.output.recv().await {
                Some(ExecOutput::Stdout(bytes)) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                other => panic!("{other:?} after {seen:?}"),
            }
        }
    };
    in_time(wanted, read).await;
}

/// A missing command is named.
pub async fn an_exec_of_a_missing_command_is_refused<S: Subject>(case: Case<S>) {
    let status = case.run(&Program::Forever).await;
    let error = run(&case, &status.id, &Program::Missing)
        .await
        .expect_err("no such program");
    assert!(
        matches!(error, RuntimeError::CommandNotFound { .. }),
        "{error:?}"
    );
    case.finish().await;
}

/// There is no exec in what has ended, nor in what never was.
pub async fn an_exec_needs_a_running_container<S: Subject>(case: Case<S>) {
    let status = case.run(&Program::Forever).await;
    case.stop(&status.id, Duration::ZERO).await;
    let error = run(&case, &status.id, &Program::Exit { code: 0 })
        .await
        .expect_err("it has ended");
    assert!(
        matches!(error, RuntimeError::NotRunning { .. }),
        "{error:?}"
    );
    let nothing = ContainerId::new("no-such-container");
    let error = run(&case, &nothing, &Program::Exit { code: 0 })
        .await
        .expect_err("it never was");
    assert!(matches!(error, RuntimeError::NotFound { .. }), "{error:?}");
    case.finish().await;
}

/// A command whose caller has gone is killed.
pub async fn a_dropped_exec_is_killed<S: Subject>(case: Case<S>) {
    if case
        .runtime()
        .capabilities()
        .has(Capability::KillDescendants)
    {
        let status = case.run(&Program::Forever).await;
        let (session, held) = hold(&case, &status.id).await;
        drop(session);
        held.await_end().await;
    }
    case.finish().await;
}

/// A command dies with its container.
pub async fn an_exec_ends_with_its_container<S: Subject>(case: Case<S>) {
    if case
        .runtime()
        .capabilities()
        .has(Capability::KillDescendants)
    {
        let status = case.run(&Program::Forever).await;
        let (session, held) = hold(&case, &status.id).await;
        case.stop(&status.id, Duration::ZERO).await;
        held.await_end().await;
        let (code, _, _) = in_time("exec", collect(session)).await.expect("it ran");
        assert_ne!(code, 0);
    }
    case.finish().await;
}

/// Starts a command that holds a fifo, and waits until it does.
async fn hold<S: Subject>(case: &Case<S>, id: &ContainerId) -> (ExecSession, FifoReader) {
    let fifo = case.fifo("held");
    let mut held = FifoReader::open(&fifo);
    let spec = plain(case.subject.command(&Program::Hold { fifo }));
    let session = case.runtime().exec(id, &spec).await.expect("it runs");
    held.await_writer().await;
    (session, held)
}
