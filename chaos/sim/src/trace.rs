//! What happened, as a hash over every event, and in words when asked for.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The trace of one run. Clones share it.
#[derive(Debug, Clone)]
pub struct Trace {
    state: Arc<Mutex<State>>,
    told: bool,
}

#[derive(Debug)]
struct State {
    now: Duration,
    hash: u64,
    events: u64,
}

impl Trace {
    /// An empty one; `told` prints each event.
    pub fn new(told: bool) -> Self {
        let state = State {
            now: Duration::ZERO,
            // FNV-1a's offset and prime.
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            told,
        }
    }

    /// Events from here on happen at `now`.
    pub fn at(&self, now: Duration) {
        self.state.lock().now = now;
    }

    /// Something happened.
    pub fn event(&self, what: &str) {
        let mut state = self.state.lock();
        let now = state.now;
        state.add(&now.as_nanos().to_le_bytes());
        state.add(what.as_bytes());
        if self.told {
            println!("{:>10.3} {what}", now.as_secs_f64());
        }
    }

    /// Bytes went over the network: too many to be told.
    pub fn bytes(&self, connection: u64, end: usize, bytes: &[u8]) {
        let sum = crc32c::crc32c(bytes);
        let mut state = self.state.lock();
        state.add(&connection.to_le_bytes());
        state.add(&[u8::try_from(end).unwrap_or(9)]);
        state.add(&(bytes.len() as u64).to_le_bytes());
        state.add(&sum.to_le_bytes());
    }

    /// The hash of all events, and how many there were.
    pub fn digest(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.hash, state.events)
    }
}

impl State {
    fn add(&mut self, bytes: &[u8]) {
        self.events += 1;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
