//! Exec in a container that has no program: it says what it was asked, echoes what it is sent, and ends with 0. So much is
//! enough to see that a stream reaches the node, and comes back.

use crate::limits::EXEC_MESSAGES_COUNT;
use bytes::Bytes;
use pontoon_runtime::{ExecExit, ExecInput, ExecOutput, ExecSession, ExecSpec};
use tokio::sync::{mpsc, oneshot};

/// Begins to answer.
pub(crate) fn session(container: &str, spec: &ExecSpec) -> ExecSession {
    let (input, typed) = mpsc::channel(EXEC_MESSAGES_COUNT);
    let (said, output) = mpsc::channel(EXEC_MESSAGES_COUNT);
    let (ended, exit) = oneshot::channel();
    let greeting = format!("{container}: {}\n", spec.command.join(" "));
    let echoes = spec.stdin;
    tokio::spawn(async move {
        answer(greeting, echoes, typed, said).await;
        // A caller that has gone needs no code.
        let _ = ended.send(Ok(ExecExit { exit_code: 0 }));
    });
    ExecSession {
        input,
        output,
        exit,
    }
}

async fn answer(
    greeting: String,
    echoes: bool,
    mut typed: mpsc::Receiver<ExecInput>,
    said: mpsc::Sender<ExecOutput>,
) {
    let greeted = said.send(ExecOutput::Stdout(Bytes::from(greeting))).await;
    if greeted.is_err() || !echoes {
        return;
    }
    while let Some(input) = typed.recv().await {
        match input {
            // What Ctrl-C and Ctrl-D type on a terminal, where nobody closes standard input.
            ExecInput::Stdin(bytes) if bytes.contains(&0x03) || bytes.contains(&0x04) => return,
            ExecInput::Stdin(bytes) => {
                if said.send(ExecOutput::Stdout(bytes)).await.is_err() {
                    return;
                }
            }
            ExecInput::StdinClosed => return,
            ExecInput::Resize(_) => {}
        }
    }
}
