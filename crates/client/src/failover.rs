//! One call at whichever server takes it: which failures are worth another try, and where.
//!
//! A call that only reads may be made as often as one likes. One that changes something is made again only when it
//! certainly did nothing: the server said so, or never got it. What is not known is the caller's to decide.

use crate::{
    error::ClientError,
    limits::{FAILOVER_PATIENCE, FAILOVER_PAUSE},
    transport::{Connection, Transport},
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response};

/// What a call does, and how far its deadline goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Reads, and is answered within the deadline.
    Read,
    /// Reads, and its answer begins within the deadline.
    ReadStream,
    /// Changes something, and is answered within the deadline.
    Write,
    /// Does something in a pod; its answer begins within the deadline.
    WriteStream,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Tell the caller.
    Tell,
    /// Ask another server.
    Again,
    /// Ask another server, a little later.
    Later,
}

impl Call {
    const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadStream)
    }

    const fn is_answered_whole(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }

    fn next(self, error: &ClientError) -> Next {
        match error {
            ClientError::Unsent(_) => Next::Again,
            ClientError::Lost(_) if self.reads() => Next::Again,
            error if error.is_unavailable() && (self.reads() || error.did_nothing()) => Next::Later,
            _ => Next::Tell,
        }
    }
}

/// Makes a call, and makes it again where that is safe and may help, for [`FAILOVER_PATIENCE`] at most.
pub(crate) async fn call<M, T, F, Fut>(
    transport: &Transport,
    call: Call,
    deadline: Duration,
    message: M,
    send: F,
) -> Result<T, ClientError>
where
    M: Clone,
    F: Fn(Connection, Request<M>) -> Fut,
    Fut: Future<Output = Result<Response<T>, tonic::Status>>,
{
    let began = Instant::now();
    let last = began + deadline;
    let mut pause = FAILOVER_PAUSE;
    loop {
        let line = transport.line();
        let mut request = Request::new(message.clone());
        if call.is_answered_whole() {
            request.set_timeout(last.saturating_duration_since(Instant::now()));
        }
        let answer = timeout_at(last, send(line.connection.clone(), request)).await;
        let error = match answer {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) if timed_out(&status) => ClientError::Deadline(deadline),
            Ok(Err(status)) => status.into(),
            Err(_) => ClientError::Deadline(deadline),
        };
        let next = call.next(&error);
        let resume = Instant::now()
            + if next == Next::Later {
                pause
            } else {
                Duration::ZERO
            };
        if next == Next::Tell || resume > last || resume > began + FAILOVER_PATIENCE {
            return Err(error);
        }
        tracing::debug!(%error, "another server is asked");
        transport.leave(&line);
        if next == Next::Later {
            sleep(pause).await;
            pause *= 2;
        }
    }
}

/// Whether tonic itself gave up: it says "cancelled" of its own timer.
fn timed_out(status: &tonic::Status) -> bool {
    if status.code() != tonic::Code::Cancelled {
        return false;
    }
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};

    fn unavailable(retry_after_seconds: Option<i32>) -> ClientError {
        ClientError::Status(Box::new(Status {
            code: Some(503),
            reason: Some("ServiceUnavailable".to_owned()),
            details: Some(StatusDetails {
                retry_after_seconds,
                ..StatusDetails::default()
            }),
            ..Status::default()
        }))
    }

    #[test]
    fn a_write_is_made_again_only_when_it_certainly_did_nothing() {
        for (error, read, write) in [
            (ClientError::Unsent(String::new()), Next::Again, Next::Again),
            (ClientError::Lost(String::new()), Next::Again, Next::Tell),
            (unavailable(Some(1)), Next::Later, Next::Later),
            (unavailable(None), Next::Later, Next::Tell),
            (
                ClientError::Unreachable(String::new()),
                Next::Tell,
                Next::Tell,
            ),
            (
                ClientError::Deadline(Duration::ZERO),
                Next::Tell,
                Next::Tell,
            ),
        ] {
            assert_eq!(Call::Read.next(&error), read, "{error:?}");
            assert_eq!(Call::ReadStream.next(&error), read, "{error:?}");
            assert_eq!(Call::Write.next(&error), write, "{error:?}");
            assert_eq!(Call::WriteStream.next(&error), write, "{error:?}");
        }
    }
}
