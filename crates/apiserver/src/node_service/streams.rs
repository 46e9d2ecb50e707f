//! logs, exec and port-forward, from a pod's object to a tunnel.

use super::{NodeService, Tunnel};
use crate::error::VerbError;
use bytes::Bytes;
use futures::Stream;
use jiff::SignedDuration;
use pontoon_state::Object;
use pontoon_wire::node::v1 as wire;
use serde_json::Value;
use std::pin::Pin;
use std::time::Duration;
use wire::open_tunnel::Request;
use wire::tunnel_frame::Frame;

/// How long an answer waits for the first bytes or error of a log, so that an error gets its own code.
const FIRST_FRAME: Duration = Duration::from_millis(250);

/// What part of a log is asked for.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Which container; empty for the only one.
    pub container: String,
    /// Whether to go on as it is written.
    pub follow: bool,
    /// The container that ran before this one.
    pub previous: bool,
    /// Only the last lines.
    pub tail_lines: Option<i64>,
    /// Only so many bytes.
    pub limit_bytes: Option<i64>,
    /// Only what was written in the last seconds.
    pub since_seconds: Option<i64>,
    /// Only what was written since, in RFC 3339.
    pub since_time: Option<String>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
}

/// The bytes of a log.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<Bytes, VerbError>> + Send>>;

/// What to run in a container.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// Which container; empty for the only one.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether standard input is connected.
    pub stdin: bool,
    /// Whether there is a terminal.
    pub tty: bool,
}

impl NodeService {
    /// A container's log.
    ///
    /// # Errors
    /// 400 when the container is not one of the pod's or has no log, 503 when its node is not connected.
    pub async fn logs(&self, pod: &Object, options: LogOptions) -> Result<LogStream, VerbError> {
        let (node, value) = placed(pod)?;
        for (name, number, least) in [
            ("tailLines", options.tail_lines, 0),
            ("limitBytes", options.limit_bytes, 1),
            ("sinceSeconds", options.since_seconds, 1),
        ] {
            if let Some(number) = number.filter(|number| *number < least) {
                return Err(VerbError::BadRequest(format!(
                    "{name}: Invalid value: {number}: must be at least {least}"
                )));
            }
        }
        let request = wire::LogsTunnel {
            pod_uid: pod.meta.uid.to_string(),
            container: container(&value, &options.container)?,
            follow: options.follow,
            previous: options.previous,
            tail_lines: options.tail_lines,
            limit_bytes: options.limit_bytes,
            since_time: self.since(&options)?,
            timestamps: options.timestamps,
        };
        let tunnel = self
            .inner
            .open_tunnel(&node, Request::Logs(request))
            .await?;
        let (send, mut receive, place) = tunnel.split();
        let first = match tokio::time::timeout(FIRST_FRAME, receive.recv()).await {
            Ok(Some(frame)) => match bytes_of(frame) {
                Some(Err(error)) => return Err(error),
                Some(Ok(bytes)) => Some(bytes),
                None => return Ok(Box::pin(futures::stream::empty())),
            },
            Ok(None) => return Ok(Box::pin(futures::stream::empty())),
            Err(_) => None,
        };
        Ok(Box::pin(async_stream::stream! {
            let _open = (send, place);
            if let Some(first) = first {
                yield Ok(first);
            }
            while let Some(frame) = receive.recv().await {
                match bytes_of(frame) {
                    None => return,
                    Some(Err(error)) => {
                        yield Err(error);
                        return;
                    }
                    Some(bytes) => yield bytes,
                }
            }
        }))
    }

    fn since(&self, options: &LogOptions) -> Result<String, VerbError> {
        if let Some(seconds) = options.since_seconds {
            let since = self
                .inner
                .verbs
                .world
                .now()
                .checked_sub(SignedDuration::from_secs(seconds));
            return Ok(since.map(|since| since.to_string()).unwrap_or_default());
        }
        let Some(text) = options
            .since_time
            .as_deref()
            .filter(|text| !text.is_empty())
        else {
            return Ok(String::new());
        };
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|_| VerbError::BadRequest(format!("sinceTime: Invalid value: \"{text}\"")))?;
        Ok(time.to_string())
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// As [`NodeService::logs`]; an error of the command itself comes through the tunnel.
    pub async fn exec(&self, pod: &Object, options: ExecOptions) -> Result<Tunnel, VerbError> {
        let (node, value) = placed(pod)?;
        if options.command.is_empty() {
            return Err(VerbError::BadRequest(
                "you must specify at least one command for the container".into(),
            ));
        }
        running(&value, pod)?;
        let request = wire::ExecTunnel {
            pod_uid: pod.meta.uid.to_string(),
            container: container(&value, &options.container)?,
            command: options.command,
            stdin: options.stdin,
            tty: options.tty,
            attach: false,
        };
        self.inner.open_tunnel(&node, Request::Exec(request)).await
    }

    /// Connects to a port of a pod.
    ///
    /// # Errors
    /// As [`NodeService::logs`].
    pub async fn forward(&self, pod: &Object, port: u32) -> Result<Tunnel, VerbError> {
        let (node, value) = placed(pod)?;
        if !(1..=65_535).contains(&port) {
            return Err(VerbError::BadRequest(format!(
                "port {port} is not between 1 and 65535"
            )));
        }
        running(&value, pod)?;
        let request = wire::ForwardTunnel {
            pod_uid: pod.meta.uid.to_string(),
            port,
        };
        self.inner
            .open_tunnel(&node, Request::Forward(request))
            .await
    }
}

/// The bytes of a frame, its error, or `None` when it ends the stream.
fn bytes_of(frame: wire::TunnelFrame) -> Option<Result<Bytes, VerbError>> {
    match frame.frame {
        Some(Frame::Stdout(bytes) | Frame::Stderr(bytes)) => Some(Ok(bytes)),
        Some(Frame::Error(error)) => Some(Err(VerbError::BadRequest(error))),
        Some(Frame::ExitCode(_)) => None,
        _ => Some(Ok(Bytes::new())),
    }
}

/// The node of a pod, and the pod.
fn placed(pod: &Object) -> Result<(String, Value), VerbError> {
    let node = pod.meta.node.as_deref();
    let node = node.ok_or_else(|| {
        VerbError::BadRequest(format!(
            "pod {} does not have a host assigned",
            pod.key.name
        ))
    })?;
    Ok((node.to_owned(), pod.value()?))
}

fn running(value: &Value, pod: &Object) -> Result<(), VerbError> {
    match value["status"]["phase"].as_str() {
        Some(phase @ ("Succeeded" | "Failed")) => Err(VerbError::BadRequest(format!(
            "cannot exec into or connect to a container in a completed pod; current phase is {phase} ({})",
            pod.key.name
        ))),
        _ => Ok(()),
    }
}

/// The container meant: the one named, or the only one.
fn container(pod: &Value, asked: &str) -> Result<String, VerbError> {
    let names = |list: &str| -> Vec<String> {
        let items = pod["spec"][list].as_array().into_iter().flatten();
        items
            .filter_map(|item| item["name"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or("");
    if asked.is_empty() {
        return match main.as_slice() {
            [only] => Ok(only.clone()),
            several => Err(VerbError::BadRequest(format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                several.join(" ")
            ))),
        };
    }
    if main
        .iter()
        .chain(&init)
        .chain(&names("ephemeralContainers"))
        .any(|name| name == asked)
    {
        return Ok(asked.to_owned());
    }
    Err(VerbError::BadRequest(format!(
        "container {asked} is not valid for pod {pod_name}"
    )))
}
