//! Reaching into pods: logs, commands, ports.

use crate::{Client, ClientError, failover::Call, limits};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use pontoon_wire::pontoon::v1::{
    ExecInput, ExecOutput, ExecStart, ForwardData, ForwardStart, LogsRequest, TerminalSize,
    exec_input, exec_output, forward_data, pods_client::PodsClient,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

/// A command that runs in a container. Split it, to write and read at once.
#[derive(Debug)]
pub struct Exec {
    /// To the command.
    pub input: ExecStdin,
    /// From the command.
    pub output: ExecStdout,
}

/// What goes to a running command. Dropping it ends the command's connection, not its input: say
/// [`ExecStdin::close`] for that.
#[derive(Debug, Clone)]
pub struct ExecStdin(mpsc::Sender<ExecInput>);

/// What comes from a running command.
#[derive(Debug)]
pub struct ExecStdout(Streaming<ExecOutput>);

/// One piece of what a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// On standard output.
    Stdout(Bytes),
    /// On standard error.
    Stderr(Bytes),
    /// It ended with this code, which is the last piece.
    Exit(i32),
}

/// The other side is gone: the answer's stream says why.
#[derive(Debug, thiserror::Error)]
#[error("the stream was closed by the server")]
pub struct Closed;

/// A connection to a port of a pod.
#[derive(Debug)]
pub struct Forward {
    input: mpsc::Sender<ForwardData>,
    output: Streaming<ForwardData>,
}

/// Why a forwarded connection ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// On the local side.
    #[error("the local connection failed")]
    Local(#[source] std::io::Error),
    /// On the pod's side, or between.
    #[error(transparent)]
    Remote(#[from] ClientError),
}

impl Client {
    /// The log of one container, in pieces that do not respect lines.
    ///
    /// # Errors
    /// See [`ClientError`]; one on the way ends the stream.
    pub async fn logs(
        &self,
        request: LogsRequest,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + Unpin + use<>, ClientError>
    {
        let send = |mut pods: PodsClient<_>, request| async move { pods.logs(request).await };
        let chunks = self.pods(Call::ReadStream, request, send).await?;
        Ok(chunks.map(|chunk| chunk.map(|chunk| chunk.data).map_err(ClientError::from)))
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn exec(&self, start: ExecStart) -> Result<Exec, ClientError> {
        let send = |mut pods: PodsClient<_>, request: Request<ExecStart>| async move {
            let (sender, receiver) = mpsc::channel(limits::INPUT_MESSAGES);
            let first = ExecInput {
                input: Some(exec_input::Input::Start(request.into_inner())),
            };
            sender
                .try_send(first)
                .expect("the channel is new and has room");
            let output = pods.exec(ReceiverStream::new(receiver)).await?;
            Ok(output.map(|output| Exec {
                input: ExecStdin(sender),
                output: ExecStdout(output),
            }))
        };
        self.pods(Call::WriteStream, start, send).await
    }

    /// Connects to a port of a pod.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<Forward, ClientError> {
        let start = ForwardStart {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            port: port.into(),
        };
        let send = |mut pods: PodsClient<_>, request: Request<ForwardStart>| async move {
            let (sender, receiver) = mpsc::channel(limits::INPUT_MESSAGES);
            let first = ForwardData {
                data: Some(forward_data::Data::Start(request.into_inner())),
            };
            sender
                .try_send(first)
                .expect("the channel is new and has room");
            let output = pods.port_forward(ReceiverStream::new(receiver)).await?;
            Ok(output.map(|output| Forward {
                input: sender,
                output,
            }))
        };
        self.pods(Call::WriteStream, start, send).await
    }
}

impl ExecStdin {
    /// Sends input, waiting while the command does not read.
    ///
    /// # Errors
    /// [`Closed`] when the command or the connection is gone.
    pub async fn write(&self, bytes: Bytes) -> Result<(), Closed> {
        self.send(exec_input::Input::Stdin(bytes)).await
    }

    /// Ends the input: the command reads end of file.
    ///
    /// # Errors
    /// [`Closed`] when the command or the connection is gone.
    pub async fn close(&self) -> Result<(), Closed> {
        self.send(exec_input::Input::StdinClosed(true)).await
    }

    /// Tells the command's terminal its size, in characters.
    ///
    /// # Errors
    /// [`Closed`] when the command or the connection is gone.
    pub async fn resize(&self, width: u32, height: u32) -> Result<(), Closed> {
        self.send(exec_input::Input::Resize(TerminalSize { width, height }))
            .await
    }

    async fn send(&self, input: exec_input::Input) -> Result<(), Closed> {
        self.0
            .send(ExecInput { input: Some(input) })
            .await
            .map_err(|_| Closed)
    }
}

impl ExecStdout {
    /// The next piece; none after the last one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Said>, ClientError> {
        while let Some(message) = self.0.message().await? {
            match message.output {
                Some(exec_output::Output::Stdout(bytes)) => return Ok(Some(Said::Stdout(bytes))),
                Some(exec_output::Output::Stderr(bytes)) => return Ok(Some(Said::Stderr(bytes))),
                Some(exec_output::Output::ExitCode(code)) => return Ok(Some(Said::Exit(code))),
                // A piece of a kind that a later server knows.
                None => {}
            }
        }
        Ok(None)
    }
}

impl Forward {
    /// Carries bytes both ways. The pod's side ending ends it; the local side ending only
    /// tells the pod so, and what it still has to say is carried.
    ///
    /// # Errors
    /// See [`ForwardError`].
    pub async fn relay(
        self,
        local: impl AsyncRead + AsyncWrite + Send,
    ) -> Result<(), ForwardError> {
        let (reader, writer) = tokio::io::split(local);
        let inward = carry_inward(self.output, writer);
        tokio::pin!(inward);
        tokio::select! {
            ended = &mut inward => ended,
            ended = carry_outward(reader, self.input) => match ended {
                Ok(()) => inward.await,
                Err(error) => Err(error),
            },
        }
    }
}

async fn carry_outward(
    mut reader: impl AsyncRead + Unpin,
    input: mpsc::Sender<ForwardData>,
) -> Result<(), ForwardError> {
    let mut buffer = vec![0; limits::INPUT_BYTES];
    loop {
        let read = reader
            .read(&mut buffer)
            .await
            .map_err(ForwardError::Local)?;
        let data = match read {
            0 => forward_data::Data::Closed(true),
            _ => forward_data::Data::Bytes(Bytes::copy_from_slice(&buffer[..read])),
        };
        // A failed send means that the answer's stream has ended: the other half says why.
        if input.send(ForwardData { data: Some(data) }).await.is_err() || read == 0 {
            return Ok(());
        }
    }
}

async fn carry_inward(
    mut output: Streaming<ForwardData>,
    mut writer: impl AsyncWrite + Unpin,
) -> Result<(), ForwardError> {
    while let Some(message) = output.message().await.map_err(ClientError::from)? {
        match message.data {
            Some(forward_data::Data::Bytes(bytes)) => writer
                .write_all(&bytes)
                .await
                .map_err(ForwardError::Local)?,
            Some(forward_data::Data::Closed(_)) => break,
            Some(forward_data::Data::Start(_)) | None => {}
        }
    }
    writer.shutdown().await.map_err(ForwardError::Local)
}
