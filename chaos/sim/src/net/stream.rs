//! One end of a simulated connection.

use super::{Net, WINDOW_BYTES};
use bytes::{Buf as _, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a connection. Without a network it is only a claim to one, and does nothing when dropped.
#[derive(Debug)]
pub(super) struct SimStream {
    net: Option<Net>,
    connection: u64,
    end: usize,
}

impl SimStream {
    pub(super) const fn unbound(connection: u64, end: usize) -> Self {
        Self {
            net: None,
            connection,
            end,
        }
    }

    pub(super) fn bind(mut self, net: &Net) -> Self {
        self.net = Some(net.clone());
        self
    }

    fn net(&self) -> io::Result<&Net> {
        self.net
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.net()?.state.lock();
        let Some(open) = state.connections.get_mut(&self.connection) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let pipe = &mut open.pipes[1 - self.end];
        if let Some(bytes) = pipe.ready.front_mut() {
            let taken = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..taken]);
            bytes.advance(taken);
            if bytes.is_empty() {
                pipe.ready.pop_front();
            }
            return Poll::Ready(Ok(()));
        }
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.end_arrived {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.net()?.state.lock();
        let now = state.now;
        let Some(open) = state.connections.get(&self.connection) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let (from, to) = (open.members[self.end], open.members[1 - self.end]);
        let due = now + state.delay(from, to);
        let Some(open) = state.connections.get_mut(&self.connection) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let gone = open.dropped[1 - self.end] && open.pipes[1 - self.end].end_arrived;
        let pipe = &mut open.pipes[self.end];
        if pipe.broken || gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pipe.held_bytes >= WINDOW_BYTES {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // In order: nothing overtakes what was sent before it.
        let due = pipe
            .flight
            .back()
            .map_or(due, |(before, _)| due.max(*before));
        pipe.flight.push_back((due, Bytes::copy_from_slice(bytes)));
        pipe.held_bytes += bytes.len();
        state.trace.bytes(self.connection, self.end, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.net()?.state.lock();
        let now = state.now;
        if let Some(open) = state.connections.get_mut(&self.connection) {
            open.pipes[self.end].ended.get_or_insert(now);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let Some(net) = &self.net else { return };
        let mut state = net.state.lock();
        let now = state.now;
        if let Some(open) = state.connections.get_mut(&self.connection) {
            open.dropped[self.end] = true;
            if !open.dead {
                open.pipes[self.end].ended.get_or_insert(now);
            }
        }
    }
}
