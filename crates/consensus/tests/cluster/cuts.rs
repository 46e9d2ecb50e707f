//! Connections that can be cut in the middle, without either end being told: what a firewall does that drops.
#![allow(dead_code, reason = "not every test that shares this module cuts")]

use parking_lot::Mutex;
use pontoon_consensus::transport::{Dialer, Stream, Tcp};
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Which member reaches which address, and which not.
#[derive(Debug, Default)]
pub struct Cuts {
    cut: Mutex<BTreeSet<(u64, String)>>,
    stuck: Mutex<Vec<Waker>>,
}

impl Cuts {
    /// Nothing passes from `from` to `address` from here on, or back on what `from` has opened.
    pub fn cut(&self, from: u64, address: &str) {
        self.cut.lock().insert((from, address.to_owned()));
    }

    /// Everything passes again, late.
    pub fn heal(&self) {
        self.cut.lock().clear();
        for waker in self.stuck.lock().drain(..) {
            waker.wake();
        }
    }

    fn is_cut(&self, edge: &(u64, String)) -> bool {
        self.cut.lock().contains(edge)
    }
}

/// A member's way to the others.
#[derive(Debug)]
pub struct Cuttable {
    pub me: u64,
    pub cuts: Arc<Cuts>,
}

#[async_trait::async_trait]
impl Dialer for Cuttable {
    async fn dial(&self, address: &str) -> io::Result<Stream> {
        let edge = (self.me, address.to_owned());
        if self.cuts.is_cut(&edge) {
            return std::future::pending().await;
        }
        Ok(Box::pin(Line {
            stream: Tcp.dial(address).await?,
            edge,
            cuts: self.cuts.clone(),
        }))
    }
}

struct Line {
    stream: Stream,
    edge: (u64, String),
    cuts: Arc<Cuts>,
}

impl Line {
    fn passes(&self, context: &Context<'_>) -> bool {
        if self.cuts.is_cut(&self.edge) {
            self.cuts.stuck.lock().push(context.waker().clone());
            return false;
        }
        true
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.passes(context) {
            return Poll::Pending;
        }
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.passes(context) {
            return Poll::Pending;
        }
        self.stream.as_mut().poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}
