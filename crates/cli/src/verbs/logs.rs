//! `logs`: what containers print.

use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    globals::duration,
    limits, pods,
    session::{Found, Session},
    subjects::SelectArgs,
};
use bytes::Bytes;
use futures::{
    StreamExt as _,
    stream::{BoxStream, SelectAll},
};
use pontoon_client::{ClientError, messages::LogsRequest};
use std::time::Duration;

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// POD, TYPE/NAME such as deploy/web, and maybe CONTAINER.
    #[arg(value_name = "POD | TYPE/NAME", num_args = 0..=2)]
    pub target: Vec<String>,
    /// Of the pods with these labels.
    #[arg(short = 'l', long = "selector", value_name = "SELECTOR")]
    pub labels: Option<String>,
    /// Which container.
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Every container of the pod.
    #[arg(long)]
    pub all_containers: bool,
    /// Every pod behind the object.
    #[arg(long)]
    pub all_pods: bool,
    /// Go on printing.
    #[arg(short, long)]
    pub follow: bool,
    /// Of the container's run before its last restart.
    #[arg(short, long)]
    pub previous: bool,
    /// Only the last lines (-1 for all).
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    pub tail: Option<i64>,
    /// At most so many bytes.
    #[arg(long, value_name = "BYTES")]
    pub limit_bytes: Option<i64>,
    /// Only what is newer than this, such as 5m.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "since_time")]
    pub since: Option<Duration>,
    /// Only what is newer than this RFC 3339 time.
    #[arg(long, value_name = "TIME")]
    pub since_time: Option<String>,
    /// The time in front of each line.
    #[arg(long)]
    pub timestamps: bool,
    /// Pod and container in front of each line.
    #[arg(long)]
    pub prefix: bool,
    /// Go on when a log ends with an error.
    #[arg(long)]
    pub ignore_errors: bool,
    /// How many logs may be followed at once.
    #[arg(long, value_name = "COUNT", default_value_t = limits::LOG_STREAMS)]
    pub max_log_requests: usize,
}

/// One container's log.
struct Source {
    prefix: String,
    request: LogsRequest,
}

impl LogsArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let sources = self.sources(session, console).await?;
        if self.follow && sources.len() > 1 {
            if sources.len() > self.max_log_requests {
                return Err(CliError::usage(format!(
                    "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use \
                     --max-log-requests to increase the limit",
                    sources.len(),
                    self.max_log_requests
                )));
            }
            return self.merged(session, console, sources).await;
        }
        for source in sources {
            let opened = session.client.logs(source.request).await;
            let mut lines = Lines::new(source.prefix);
            let ended = match opened {
                Ok(mut chunks) => loop {
                    match chunks.next().await {
                        Some(Ok(chunk)) => console.bytes(&lines.push(&chunk))?,
                        Some(Err(error)) => break Err(error),
                        None => break Ok(()),
                    }
                },
                Err(error) => Err(error),
            };
            console.bytes(&lines.rest())?;
            self.judge(console, ended)?;
        }
        Ok(exit::OK)
    }

    fn judge(&self, console: &mut Console, ended: Result<(), ClientError>) -> Result<(), CliError> {
        match ended {
            Err(error) if self.ignore_errors => {
                console.note(&CliError::from(error).report().unwrap_or_default());
                Ok(())
            }
            other => other.map_err(CliError::from),
        }
    }

    /// Follows several at once, line by line.
    async fn merged(
        &self,
        session: &Session,
        console: &mut Console,
        sources: Vec<Source>,
    ) -> Result<u8, CliError> {
        type Piece = (usize, Option<Result<Bytes, ClientError>>);
        let mut streams: SelectAll<BoxStream<'static, Piece>> = SelectAll::new();
        let mut lines = Vec::new();
        for (index, source) in sources.into_iter().enumerate() {
            lines.push(Lines::new(source.prefix));
            match session.client.logs(source.request).await {
                Ok(chunks) => {
                    let ended = futures::stream::once(async { None });
                    streams.push(
                        chunks
                            .map(Some)
                            .chain(ended)
                            .map(move |piece| (index, piece))
                            .boxed(),
                    );
                }
                Err(error) => self.judge(console, Err(error))?,
            }
        }
        while let Some((index, piece)) = streams.next().await {
            match piece {
                Some(Ok(chunk)) => console.bytes(&lines[index].push(&chunk))?,
                Some(Err(error)) => self.judge(console, Err(error))?,
                None => console.bytes(&lines[index].rest())?,
            }
        }
        Ok(exit::OK)
    }

    async fn sources(
        &self,
        session: &Session,
        console: &mut Console,
    ) -> Result<Vec<Source>, CliError> {
        let mut sources = Vec::new();
        for pod in self.pods(session, console).await? {
            for container in self.containers(console, &pod)? {
                let name = fields::name(&pod.value);
                let prefix = if self.prefix {
                    format!("[pod/{name}/{container}] ")
                } else {
                    String::new()
                };
                let request = LogsRequest {
                    namespace: fields::namespace(&pod.value).to_owned(),
                    pod: name.to_owned(),
                    container,
                    follow: self.follow,
                    previous: self.previous,
                    tail_lines: self.tail_lines(),
                    limit_bytes: self.limit_bytes,
                    since_seconds: self
                        .since
                        .map(|since| i64::try_from(since.as_secs().max(1)).unwrap_or(i64::MAX)),
                    since_time: self.since_time.clone().unwrap_or_default(),
                    timestamps: self.timestamps,
                };
                sources.push(Source { prefix, request });
            }
        }
        Ok(sources)
    }

    fn tail_lines(&self) -> Option<i64> {
        match self.tail {
            Some(lines) if lines >= 0 => Some(lines),
            Some(_) => None,
            None => self.labels.is_some().then_some(limits::SELECTED_TAIL_LINES),
        }
    }

    async fn pods(&self, session: &Session, console: &mut Console) -> Result<Vec<Found>, CliError> {
        if let Some(labels) = &self.labels {
            if !self.target.is_empty() {
                return Err(CliError::usage(
                    "only a selector (-l) or a POD name is allowed",
                ));
            }
            let select = SelectArgs {
                labels: Some(labels.clone()),
                ..SelectArgs::default()
            };
            let (pods, _) = session
                .list(
                    &session.builtin("pods"),
                    &session.namespace,
                    &select.selection(),
                )
                .await?;
            if pods.is_empty() {
                crate::subjects::nothing_found(console, session, &select, true);
            }
            return Ok(pods);
        }
        let Some(target) = self.target.first() else {
            return Err(CliError::usage(
                "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command",
            ));
        };
        let (resource, name) = pods::parse(session, target).await?;
        if resource.plural == "pods" {
            return Ok(vec![session.get(&resource, &name).await?]);
        }
        let mut found = pods::behind(session, &resource, &name).await?;
        if found.is_empty() {
            return Err(CliError::hinted(
                format!("no pods found for {}/{name}", resource.qualified_kind()),
                format!(
                    "`pontoon why {}/{name}` says why",
                    resource.qualified_kind()
                ),
            ));
        }
        if !self.all_pods {
            if found.len() > 1 {
                console.note(&format!(
                    "Found {} pods, using pod/{}",
                    found.len(),
                    fields::name(&found[0].value)
                ));
            }
            found.truncate(1);
        }
        Ok(found)
    }

    fn containers(&self, console: &mut Console, pod: &Found) -> Result<Vec<String>, CliError> {
        let names = pods::container_names(&pod.value);
        if self.all_containers {
            return Ok(names.into_iter().map(str::to_owned).collect());
        }
        let asked = self
            .container
            .as_deref()
            .or(self.target.get(1).map(String::as_str));
        match asked {
            Some(asked) if names.contains(&asked) => Ok(vec![asked.to_owned()]),
            Some(asked) => Err(CliError::hinted(
                format!(
                    "container {asked} is not valid for pod {}",
                    fields::name(&pod.value)
                ),
                format!("its containers are {}", names.join(", ")),
            )),
            None => {
                let chosen = pods::default_container(&pod.value);
                if names.len() > 1 && self.labels.is_none() {
                    console.note(&format!(
                        "Defaulted container {chosen:?} out of: {}",
                        names.join(", ")
                    ));
                }
                Ok(vec![chosen.to_owned()])
            }
        }
    }
}

/// Cuts pieces into whole lines with a prefix. Without one, pieces pass as they are.
struct Lines {
    prefix: String,
    begun: Vec<u8>,
}

impl Lines {
    const fn new(prefix: String) -> Self {
        Self {
            prefix,
            begun: Vec::new(),
        }
    }

    fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.prefix.is_empty() {
            return piece.to_vec();
        }
        self.begun.extend_from_slice(piece);
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            return if self.begun.len() > limits::LOG_LINE_BYTES {
                self.rest()
            } else {
                Vec::new()
            };
        };
        let left = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, left);
        let mut text = Vec::with_capacity(whole.len() * 2);
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(self.prefix.as_bytes());
            text.extend_from_slice(line);
        }
        text
    }

    fn rest(&mut self) -> Vec<u8> {
        if self.begun.is_empty() {
            return Vec::new();
        }
        let mut text = self.prefix.clone().into_bytes();
        text.append(&mut self.begun);
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn each_line_of_a_prefixed_log_has_its_prefix_wherever_it_was_cut() {
        let mut lines = Lines::new("[a] ".to_owned());
        assert_eq!(lines.push(b"on"), b"");
        assert_eq!(lines.push(b"e\ntwo\nth"), b"[a] one\n[a] two\n");
        assert_eq!(lines.rest(), b"[a] th\n");
        assert_eq!(lines.rest(), b"");
    }
}
