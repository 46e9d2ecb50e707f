//! Agents' sessions: placeholder shape.

mod liveness;

use crate::error::VerbError;
use crate::services::RangeError;
use crate::verbs::Verbs;
use bytes::Bytes;
use futures::Stream;
use pontoon_state::Object;
use std::pin::Pin;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub use liveness::NodeLiveness;

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

/// The agents' side of the server.
pub struct NodeService {
    liveness: NodeLiveness,
}

impl NodeService {
    pub(crate) fn new(
        _verbs: Arc<Verbs>,
        _cluster_domain: String,
        _pod_cidr: &str,
        _stopping: CancellationToken,
    ) -> Result<Self, RangeError> {
        Ok(Self { liveness: NodeLiveness::default() })
    }

    pub(crate) fn liveness(&self) -> NodeLiveness {
        self.liveness.clone()
    }

    pub(crate) async fn logs(&self, _pod: &Object, _options: LogOptions) -> Result<LogStream, VerbError> {
        Err(VerbError::NotImplemented("logs come with the nodes' sessions".into()))
    }
}
