//! `exec`: a command in a container, with or without a terminal. Its exit code becomes ours.

use crate::{
    console::{Console, Input},
    error::CliError,
    exit, fields, pods,
    session::Session,
};
use bytes::Bytes;
use pontoon_client::{
    messages::ExecStart,
    streams::{ExecStdin, Said},
};
use rustix::termios::{self, OptionalActions, Termios};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
};

/// Read of standard input at once, in bytes.
const INPUT_BYTES: usize = 32 << 10;

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
pub struct ExecArgs {
    /// POD or TYPE/NAME such as deploy/web.
    #[arg(value_name = "POD | TYPE/NAME")]
    pub target: String,
    /// Which container.
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Pass standard input on.
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal.
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Print only what the command prints.
    #[arg(short, long)]
    pub quiet: bool,
    /// The command, behind --.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl ExecArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let start = self.start(session, console).await?;
        let tty = start.tty;
        // The terminal is ours again when this is dropped, however the command ends.
        let raw = if tty && console.terminal().input {
            RawMode::enter()?
        } else {
            None
        };
        let exec = session.client.exec(start).await?;
        let input = if self.stdin {
            console.take_input()
        } else {
            None
        };
        let feeding = feed(input, exec.input.clone());
        let resizing = resize(tty, exec.input);
        tokio::pin!(feeding, resizing);
        let mut output = exec.output;
        let code = loop {
            let said = tokio::select! {
                said = output.next() => said,
                () = &mut feeding => unreachable_after_input(),
                () = &mut resizing => unreachable_after_input(),
            };
            match said? {
                Some(Said::Stdout(bytes)) => console.bytes(&bytes)?,
                Some(Said::Stderr(bytes)) => console.error_bytes(&bytes)?,
                Some(Said::Exit(code)) => break code,
                None => {
                    drop(raw);
                    return Err(CliError::usage(
                        "the stream ended without the command's exit code",
                    ));
                }
            }
        };
        drop(raw);
        if code != 0 && !self.quiet {
            console.note(&format!("command terminated with exit code {code}"));
        }
        Ok(u8::try_from(code).unwrap_or(exit::ERROR))
    }

    async fn start(&self, session: &Session, console: &mut Console) -> Result<ExecStart, CliError> {
        let (resource, name) = pods::parse(session, &self.target).await?;
        let pod = pods::one(session, &resource, &name).await?.value;
        let phase = fields::text(&pod, "/status/phase");
        if phase == "Succeeded" || phase == "Failed" {
            return Err(CliError::usage(format!(
                "cannot exec into a container in a completed pod; current phase is {phase}"
            )));
        }
        let names = pods::container_names(&pod);
        let container = match self.container.as_deref() {
            Some(asked) if names.contains(&asked) => asked,
            Some(asked) => {
                return Err(CliError::hinted(
                    format!(
                        "container {asked} is not valid for pod {}",
                        fields::name(&pod)
                    ),
                    format!("its containers are {}", names.join(", ")),
                ));
            }
            None => {
                let chosen = pods::default_container(&pod);
                if names.len() > 1 && !self.quiet {
                    console.note(&format!(
                        "Defaulted container {chosen:?} out of: {}",
                        names.join(", ")
                    ));
                }
                chosen
            }
        };
        let mut tty = self.tty;
        if tty && !console.terminal().input {
            console.note("Unable to use a TTY - input is not a terminal or the right kind of file");
            tty = false;
        }
        Ok(ExecStart {
            namespace: fields::namespace(&pod).to_owned(),
            pod: fields::name(&pod).to_owned(),
            container: container.to_owned(),
            command: self.command.clone(),
            stdin: self.stdin,
            tty,
            stdout: true,
            // A terminal has one stream.
            stderr: !tty,
        })
    }
}

/// Both sides that send go on forever: only the command's end ends the loop.
fn unreachable_after_input<T>() -> T {
    unreachable!("sending never completes")
}

/// Passes input on, and its end. Completes never: the command decides when it is over.
async fn feed(input: Option<Input>, to: ExecStdin) {
    if let Some(mut input) = input {
        let mut buffer = vec![0; INPUT_BYTES];
        loop {
            let read = input.read(&mut buffer).await.unwrap_or(0);
            let sent = match read {
                0 => to.close().await,
                read => to.write(Bytes::copy_from_slice(&buffer[..read])).await,
            };
            if read == 0 || sent.is_err() {
                break;
            }
        }
    }
    std::future::pending().await
}

/// Tells the command's terminal the size of ours, and each change of it. Completes never.
async fn resize(tty: bool, to: ExecStdin) {
    if tty && let Ok(mut changed) = signal(SignalKind::window_change()) {
        while let Ok(size) = termios::tcgetwinsize(std::io::stdout()) {
            if to
                .resize(size.ws_col.into(), size.ws_row.into())
                .await
                .is_err()
            {
                break;
            }
            if changed.recv().await.is_none() {
                break;
            }
        }
    }
    std::future::pending().await
}

/// The terminal passes every key on instead of acting on it, until this is dropped.
struct RawMode(Termios);

impl RawMode {
    fn enter() -> Result<Option<Self>, CliError> {
        let Ok(before) = termios::tcgetattr(std::io::stdin()) else {
            return Ok(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)
            .map_err(|error| CliError::Output(error.into()))?;
        Ok(Some(Self(before)))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
