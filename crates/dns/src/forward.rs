//! Questions about the outside world, asked of the node's own name servers.
//!
//! Each question goes out from a socket of its own (a fresh source port) under a random id, and only an answer that repeats both and the
//! question is taken (RFC 5452). Answers are remembered for a short while. When there is no server, or too many questions are under
//! way, the question fails at once: the asker's own time-out is worth more than ours.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::limits::{
    CACHE_COUNT, CACHE_TTL_MAX, FORWARDS_COUNT, UDP_ANSWER_BYTES, UPSTREAM_TIMEOUT,
    UPSTREAM_TRIES_COUNT, UPSTREAMS_COUNT,
};
use crate::metrics;

/// The port of DNS (RFC 1035).
const DNS_PORT: u16 = 53;

/// What an upstream server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `NoError` or `NXDomain`, mostly.
    pub code: ResponseCode,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section.
    pub additionals: Vec<Record>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The node has no name server.
    #[error("the node has no upstream name server")]
    NoUpstream,
    /// As many questions as allowed are under way.
    #[error("{limit} questions are with upstream servers already")]
    Busy {
        /// How many.
        limit: usize,
    },
    /// No server answered in time.
    #[error("no upstream name server answered within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The network failed.
    #[error("an upstream name server could not be asked")]
    Network(#[source] io::Error),
}

/// Asks upstream servers.
#[derive(Debug)]
pub struct Forwarder {
    upstreams: ArcSwap<Vec<SocketAddr>>,
    permits: Semaphore,
    memory: Mutex<Memory>,
    random: RandomState,
}

impl Forwarder {
    /// A forwarder to the given servers, the first of which is asked first. More than
    /// [`UPSTREAMS_COUNT`] are passed over.
    #[must_use]
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        let forwarder = Self {
            upstreams: ArcSwap::default(),
            permits: Semaphore::new(FORWARDS_COUNT),
            memory: Mutex::default(),
            random: RandomState::new(),
        };
        forwarder.set_upstreams(upstreams);
        forwarder
    }

    /// The servers of a resolv.conf at the usual port, without `own`: a server must not ask itself.
    #[must_use]
    pub fn upstreams_of(nameservers: &[IpAddr], own: IpAddr) -> Vec<SocketAddr> {
        nameservers
            .iter()
            .filter(|server| **server != own)
            .map(|server| (*server, DNS_PORT).into())
            .collect()
    }

    /// Changes the servers, as when the node moves to another network. What was remembered is forgotten.
    pub fn set_upstreams(&self, mut upstreams: Vec<SocketAddr>) {
        upstreams.truncate(UPSTREAMS_COUNT);
        self.upstreams.store(Arc::new(upstreams));
        *self.memory.lock() = Memory::default();
    }

    /// Whether there is a server to ask.
    #[must_use]
    pub fn has_upstream(&self) -> bool {
        !self.upstreams.load().is_empty()
    }

    /// Answers a question, from memory if it is there.
    ///
    /// # Errors
    /// [`ForwardError`]; a failure is not remembered.
    pub async fn resolve(&self, name: &Name, kind: RecordType) -> Result<Answer, ForwardError> {
        let key = (LowerName::new(name), kind);
        if let Some(answer) = self.memory.lock().recall(&key) {
            return Ok(answer);
        }
        let result = self.ask_all(name, kind).await;
        match &result {
            Ok(answer) => self.memory.lock().remember(key, answer),
            Err(error) => metrics::upstream_failed(match error {
                ForwardError::NoUpstream => "none",
                ForwardError::Busy { .. } => "busy",
                ForwardError::Timeout(_) => "timeout",
                ForwardError::Network(_) => "network",
            }),
        }
        result
    }

    async fn ask_all(&self, name: &Name, kind: RecordType) -> Result<Answer, ForwardError> {
        let upstreams = self.upstreams.load_full();
        let _permit = self.permits.try_acquire().map_err(|_| ForwardError::Busy {
            limit: FORWARDS_COUNT,
        })?;
        let mut failure = ForwardError::NoUpstream;
        let mut silent = 0;
        for upstream in upstreams
            .iter()
            .cycle()
            .take(UPSTREAM_TRIES_COUNT.max(upstreams.len()))
        {
            let started = Instant::now();
            match timeout(UPSTREAM_TIMEOUT, self.ask(*upstream, name, kind)).await {
                // A server that will not or cannot answer is no better than none, while there is another to ask.
                Ok(Ok(answer))
                    if matches!(answer.code, ResponseCode::ServFail | ResponseCode::Refused) =>
                {
                    failure = ForwardError::Network(io::Error::other(format!(
                        "{upstream} answered {}",
                        answer.code
                    )));
                }
                Ok(Ok(answer)) => {
                    metrics::upstream(started.elapsed());
                    return Ok(answer);
                }
                Ok(Err(error)) => failure = ForwardError::Network(error),
                Err(_) => {
                    failure = ForwardError::Timeout(UPSTREAM_TIMEOUT);
                    silent += 1;
                    // The asker has given up by the time another server would have been waited for.
                    if silent == UPSTREAM_TRIES_COUNT {
                        break;
                    }
                }
            }
        }
        Err(failure)
    }

    async fn ask(&self, upstream: SocketAddr, name: &Name, kind: RecordType) -> io::Result<Answer> {
        let question = Query::query(name.clone(), kind);
        let mut message = Message::new(self.random_id(), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(question.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_ANSWER_BYTES).set_version(0);
        message.set_edns(edns);
        let id = message.metadata.id;
        let bytes = message.to_vec().map_err(io::Error::other)?;
        let answer = ask_udp(upstream, &bytes, id, &question).await?;
        let answer = if answer.metadata.truncation {
            ask_tcp(upstream, &bytes, id, &question).await?
        } else {
            answer
        };
        Ok(Answer {
            code: answer.metadata.response_code,
            answers: answer.answers,
            authorities: answer.authorities,
            additionals: answer.additionals,
        })
    }

    /// An id that an attacker cannot guess: a keyed hash (SipHash), whose key the system's randomness made.
    fn random_id(&self) -> u16 {
        let word = self
            .random
            .hash_one((Instant::now().into_std(), std::thread::current().id()));
        u16::from_le_bytes([word.to_le_bytes()[0], word.to_le_bytes()[1]])
    }
}

async fn ask_udp(
    upstream: SocketAddr,
    bytes: &[u8],
    id: u16,
    question: &Query,
) -> io::Result<Message> {
    let any: IpAddr = if upstream.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: the kernel drops what another host sends, and tells us when the port is closed.
    socket.connect(upstream).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(UDP_ANSWER_BYTES)];
    loop {
        let received = socket.recv(&mut buffer).await?;
        // What is not the answer may be a forgery: the answer may still come.
        if let Some(message) = check(&buffer[..received], id, question) {
            return Ok(message);
        }
    }
}

async fn ask_tcp(
    upstream: SocketAddr,
    bytes: &[u8],
    id: u16,
    question: &Query,
) -> io::Result<Message> {
    let mut stream = TcpStream::connect(upstream).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), bytes].concat();
    stream.write_all(&framed).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut buffer).await?;
    check(&buffer, id, question).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The message, if it answers our question.
fn check(bytes: &[u8], id: u16, question: &Query) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let asked = message.queries.first()?;
    let ours = message.metadata.id == id
        && message.metadata.message_type == MessageType::Response
        && LowerName::new(asked.name()) == LowerName::new(question.name())
        && asked.query_type() == question.query_type();
    ours.then_some(message)
}

type Key = (LowerName, RecordType);

/// Answers for a short while. When it is full the oldest goes.
#[derive(Debug, Default)]
struct Memory {
    answers: HashMap<Key, Remembered>,
    order: VecDeque<(Key, Instant)>,
}

#[derive(Debug)]
struct Remembered {
    answer: Answer,
    at: Instant,
    until: Instant,
}

impl Memory {
    fn recall(&self, key: &Key) -> Option<Answer> {
        let found = self.answers.get(key)?;
        let now = Instant::now();
        if now >= found.until {
            return None;
        }
        let age = u32::try_from(now.duration_since(found.at).as_secs()).unwrap_or(u32::MAX);
        let mut answer = found.answer.clone();
        for record in sections(&mut answer) {
            record.decrement_ttl(age);
        }
        Some(answer)
    }

    fn remember(&mut self, key: Key, answer: &Answer) {
        let Some(lifetime) = lifetime(answer) else {
            return;
        };
        let at = Instant::now();
        let until = at + lifetime;
        while self.order.len() >= CACHE_COUNT {
            if let Some((old, since)) = self.order.pop_front()
                && self
                    .answers
                    .get(&old)
                    .is_some_and(|found| found.at == since)
            {
                self.answers.remove(&old);
            }
        }
        self.order.push_back((key.clone(), at));
        self.answers.insert(
            key,
            Remembered {
                answer: answer.clone(),
                at,
                until,
            },
        );
    }
}

fn sections(answer: &mut Answer) -> impl Iterator<Item = &mut Record> {
    answer
        .answers
        .iter_mut()
        .chain(&mut answer.authorities)
        .chain(&mut answer.additionals)
}

/// How long an answer may be remembered: the least of its records' lifetimes, or what the zone says of absence (RFC 2308).
fn lifetime(answer: &Answer) -> Option<Duration> {
    let seconds = match answer.code {
        ResponseCode::NoError if !answer.answers.is_empty() => {
            answer.answers.iter().map(|record| record.ttl).min()?
        }
        ResponseCode::NoError | ResponseCode::NXDomain => {
            answer
                .authorities
                .iter()
                .find_map(|record| match &record.data {
                    RData::SOA(soa) => Some(soa.minimum.min(record.ttl)),
                    _ => None,
                })?
        }
        _ => return None,
    };
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(CACHE_TTL_MAX))
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
