//! The simulated network: connections that carry bytes in order, late, or not at all.
//!
//! As under TCP nothing on an open connection is lost: what a fault holds up arrives when it has passed, or the
//! connection is reset. Directions of a link are cut and slowed one by one. Time is the simulation's: bytes that are
//! due move to their reader when [`Net::advance`] says so, between the members' turns.

mod stream;

use crate::chance::Chance;
use crate::trace::Trace;
use bytes::Bytes;
use parking_lot::Mutex;
use pontoon_consensus::transport::{Acceptor, Dialer, Stream};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use stream::SimStream;
use tokio::sync::oneshot;

/// Bytes on their way in one direction before a writer waits.
const WINDOW_BYTES: usize = 1 << 20;

/// The network between all members. Clones share it.
#[derive(Debug, Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    now: Duration,
    chance: Chance,
    trace: Trace,
    delay: Delay,
    links: BTreeMap<(u64, u64), Link>,
    listeners: BTreeMap<u64, Backlog>,
    /// Members whose machine is off: nobody there refuses a connection.
    dark: BTreeMap<u64, bool>,
    dials: Vec<Dial>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
}

/// How long bytes take.
#[derive(Debug, Clone, Copy)]
pub struct Delay {
    /// At least; not less than a turn of the members.
    pub least: Duration,
    /// At most, on a good day.
    pub most: Duration,
    /// Percent of segments that are lost once and sent again.
    pub lost_percent: u64,
}

/// One direction between two members.
#[derive(Debug, Default, Clone, Copy)]
struct Link {
    cut: bool,
    slow: Duration,
}

#[derive(Debug, Default)]
struct Backlog {
    streams: VecDeque<SimStream>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Dial {
    due: Duration,
    from: u64,
    to: u64,
    answer: oneshot::Sender<io::Result<SimStream>>,
}

#[derive(Debug)]
struct Connection {
    members: [u64; 2],
    /// What end 0 sends, and what end 1 sends.
    pipes: [Pipe; 2],
    /// A member died: its end does nothing any more.
    dead: bool,
    dropped: [bool; 2],
}

#[derive(Debug, Default)]
struct Pipe {
    flight: VecDeque<(Duration, Bytes)>,
    held_bytes: usize,
    ready: VecDeque<Bytes>,
    ended: Option<Duration>,
    end_arrived: bool,
    /// Neither end can use it any more.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    fn advance(&mut self, now: Duration) {
        let mut moved = false;
        while self.flight.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, bytes)) = self.flight.pop_front() {
                self.held_bytes -= bytes.len();
                self.ready.push_back(bytes);
                moved = true;
            }
        }
        if self.flight.is_empty() && !self.end_arrived && self.ended.is_some_and(|due| due <= now) {
            self.end_arrived = true;
            moved = true;
        }
        if moved {
            self.wake();
        }
    }
}

/// The name of a member in addresses.
pub fn address(member: u64) -> String {
    format!("member-{member}:1")
}

fn member_of(address: &str) -> Option<u64> {
    address
        .strip_prefix("member-")?
        .strip_suffix(":1")?
        .parse()
        .ok()
}

impl Net {
    /// A network where all is well.
    pub fn new(delay: Delay, chance: Chance, trace: Trace) -> Self {
        let state = State {
            now: Duration::ZERO,
            chance,
            trace,
            delay,
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            dark: BTreeMap::new(),
            dials: Vec::new(),
            connections: BTreeMap::new(),
            next: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// What `member` dials with.
    pub fn dialer(&self, member: u64) -> Arc<dyn Dialer> {
        Arc::new(SimDialer {
            net: self.clone(),
            member,
        })
    }

    /// Opens `member`'s port. Connections that its machine forgot when it died are reset.
    pub fn listen(&self, member: u64) -> SimListener {
        let mut state = self.state.lock();
        state.dark.remove(&member);
        state.listeners.insert(member, Backlog::default());
        state.reset(|connection| connection.dead && connection.members.contains(&member));
        drop(state);
        SimListener {
            net: self.clone(),
            member,
        }
    }

    /// The member is dead: its process alone, of which peers are told at once, or its machine, which says nothing.
    pub fn die(&self, member: u64, silently: bool) {
        let mut state = self.state.lock();
        state.listeners.remove(&member);
        state.dark.insert(member, silently);
        for connection in state.connections.values_mut() {
            if connection.members.contains(&member) {
                connection.dead = true;
            }
        }
        if !silently {
            state.reset(|connection| connection.members.contains(&member));
        }
    }

    /// Cuts or mends the direction from one member to another.
    pub fn cut(&self, from: u64, to: u64, cut: bool) {
        self.state.lock().links.entry((from, to)).or_default().cut = cut;
    }

    /// Adds so much to the time that everything takes in this direction.
    pub fn slow(&self, from: u64, to: u64, by: Duration) {
        self.state.lock().links.entry((from, to)).or_default().slow = by;
    }

    /// Resets the connections between two members, as a firewall does that has forgotten them.
    pub fn reset(&self, one: u64, other: u64) {
        self.state.lock().reset(|connection| {
            connection.members.contains(&one) && connection.members.contains(&other)
        });
    }

    /// So many percent of segments are lost once.
    pub fn lose(&self, percent: u64) {
        self.state.lock().delay.lost_percent = percent;
    }

    /// All links are as good as new, and nothing is lost.
    pub fn mend(&self) {
        let mut state = self.state.lock();
        state.links.clear();
        state.delay.lost_percent = 0;
    }

    /// It is `now`: what is due arrives.
    pub fn advance(&self, now: Duration) {
        let mut state = self.state.lock();
        state.now = now;
        state.connect();
        let State {
            connections, links, ..
        } = &mut *state;
        for connection in connections.values_mut().filter(|open| !open.dead) {
            for end in [0, 1] {
                let from_to = (connection.members[end], connection.members[1 - end]);
                if !links.get(&from_to).is_some_and(|link| link.cut) {
                    connection.pipes[end].advance(now);
                }
            }
        }
        connections.retain(|_, open| open.dropped != [true, true]);
    }
}

impl State {
    fn delay(&self, from: u64, to: u64) -> Duration {
        let spread = self.delay.most.saturating_sub(self.delay.least);
        let extra = u64::try_from(spread.as_micros()).unwrap_or(0);
        let slow = self
            .links
            .get(&(from, to))
            .map_or(Duration::ZERO, |link| link.slow);
        // A lost segment is sent again after Linux's shortest retransmission time.
        let lost = if self.chance.percent(self.delay.lost_percent) {
            Duration::from_millis(200)
        } else {
            Duration::ZERO
        };
        self.delay.least + Duration::from_micros(self.chance.below(extra + 1)) + slow + lost
    }

    fn reset(&mut self, which: impl Fn(&Connection) -> bool) {
        for connection in self.connections.values_mut().filter(|open| which(open)) {
            for pipe in &mut connection.pipes {
                pipe.broken = true;
                pipe.wake();
            }
        }
    }

    /// Answers the dials that are due.
    fn connect(&mut self) {
        for dial in std::mem::take(&mut self.dials) {
            let cut = |from, to| self.links.get(&(from, to)).is_some_and(|link| link.cut);
            let unheard = cut(dial.from, dial.to)
                || cut(dial.to, dial.from)
                || self.dark.get(&dial.to) == Some(&true);
            if dial.answer.is_closed() {
                continue;
            }
            if dial.due > self.now || unheard {
                self.dials.push(dial);
                continue;
            }
            let Dial {
                from, to, answer, ..
            } = dial;
            let id = self.next;
            let Some(backlog) = self.listeners.get_mut(&to) else {
                // The dialler may have given up.
                let _ = answer.send(Err(io::ErrorKind::ConnectionRefused.into()));
                continue;
            };
            self.next += 1;
            self.connections.insert(
                id,
                Connection {
                    members: [from, to],
                    pipes: [Pipe::default(), Pipe::default()],
                    dead: false,
                    dropped: [false, false],
                },
            );
            self.trace
                .event(&format!("connection {id}: {from} to {to}"));
            backlog.streams.push_back(SimStream::unbound(id, 1));
            if let Some(waker) = backlog.waker.take() {
                waker.wake();
            }
            let _ = answer.send(Ok(SimStream::unbound(id, 0)));
        }
    }
}

#[derive(Debug)]
struct SimDialer {
    net: Net,
    member: u64,
}

#[async_trait::async_trait]
impl Dialer for SimDialer {
    async fn dial(&self, address: &str) -> io::Result<Stream> {
        let to = member_of(address).ok_or_else(|| io::Error::other("no such address"))?;
        let answered = {
            let mut state = self.net.state.lock();
            let (answer, answered) = oneshot::channel();
            let due = state.now + state.delay(self.member, to) + state.delay(to, self.member);
            state.dials.push(Dial {
                due,
                from: self.member,
                to,
                answer,
            });
            answered
        };
        let stream = answered.await.map_err(io::Error::other)??;
        Ok(Box::pin(stream.bind(&self.net)))
    }
}

/// A member's open port.
#[derive(Debug)]
pub struct SimListener {
    net: Net,
    member: u64,
}

#[async_trait::async_trait]
impl Acceptor for SimListener {
    async fn accept(&mut self) -> io::Result<Stream> {
        let stream = std::future::poll_fn(|cx| {
            let mut state = self.net.state.lock();
            let Some(backlog) = state.listeners.get_mut(&self.member) else {
                return Poll::Pending;
            };
            match backlog.streams.pop_front() {
                Some(stream) => Poll::Ready(stream),
                None => {
                    backlog.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        Ok(Box::pin(stream.bind(&self.net)))
    }
}
