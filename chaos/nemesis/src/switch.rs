//! A layer-2 switch in user space: one TAP device in each machine's network namespace, and a rule for each direction between two.
//!
//! The kernel that this runs on has no netem; a switch of one's own can also hold frames and release them later, which no queueing
//! discipline does. Addresses are given by port, so nothing is learnt and nothing floods but broadcasts.

mod tap;

use crate::limits::{FRAME_BYTES, FRAMES_UNDER_WAY};
use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What happens to frames from one port to another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rule {
    /// Nothing passes.
    pub cut: bool,
    /// Frames wait until this is lifted, and come then, in order.
    pub hold: bool,
    /// Of a hundred frames this many are lost.
    pub loss_percent: f64,
    /// Of a hundred frames this many come twice.
    pub duplicate_percent: f64,
    /// How much later a frame comes.
    pub delay: Duration,
    /// Up to how much later than that.
    pub jitter: Duration,
}

/// A switch with its devices. Dropping it ends it.
#[derive(Debug)]
pub struct Switch {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Core {
    devices: Vec<File>,
    rules: Mutex<Vec<Vec<Rule>>>,
    waiting: Mutex<BinaryHeap<Waiting>>,
    woken: Condvar,
    ended: AtomicBool,
    order: AtomicU64,
    /// Frames that rules stopped: a fault that stopped nothing did not happen.
    stopped: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    order: u64,
    from: usize,
    to: usize,
    frame: Vec<u8>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

/// The hardware address of a port.
fn address(port: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0x77, u8::try_from(port).unwrap_or(u8::MAX)]
}

impl Switch {
    /// A switch between `namespaces`; the device in each is `eth0`, with address 10.77.0.(port + 1).
    ///
    /// # Errors
    /// When devices cannot be made: that takes root and `/dev/net/tun`.
    pub fn new(namespaces: &[String], seed: u64) -> Result<Self> {
        let devices: Result<Vec<File>> = namespaces
            .iter()
            .enumerate()
            .map(|(port, namespace)| {
                tap::open(
                    namespace,
                    address(port),
                    &format!("10.77.0.{}/24", port + 1),
                )
            })
            .collect();
        let count = namespaces.len();
        let core = Arc::new(Core {
            devices: devices?,
            rules: Mutex::new(vec![vec![Rule::default(); count]; count]),
            waiting: Mutex::default(),
            woken: Condvar::new(),
            ended: AtomicBool::new(false),
            order: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
        });
        let mut threads = Vec::new();
        for port in 0..count {
            let core = Arc::clone(&core);
            let random = SmallRng::seed_from_u64(seed.wrapping_add(port as u64));
            threads.push(std::thread::spawn(move || core.carry(port, random)));
        }
        let late = Arc::clone(&core);
        threads.push(std::thread::spawn(move || late.deliver_late()));
        Ok(Self { core, threads })
    }

    /// Sets the rule of frames from one port to another.
    pub fn set(&self, from: usize, to: usize, rule: Rule) {
        lock(&self.core.rules)[from][to] = rule;
        self.core.woken.notify_all();
    }

    /// Sets the rule in both directions.
    pub fn set_both(&self, one: usize, other: usize, rule: Rule) {
        self.set(one, other, rule);
        self.set(other, one, rule);
    }

    /// Lets everything pass again, and what was held.
    pub fn heal(&self) {
        for row in lock(&self.core.rules).iter_mut() {
            row.fill(Rule::default());
        }
        self.core.woken.notify_all();
    }

    /// How many frames rules have stopped, held back, delayed or doubled so far.
    #[must_use]
    pub fn stopped(&self) -> u64 {
        self.core.stopped.load(Ordering::Relaxed)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.core.ended.store(true, Ordering::Relaxed);
        self.core.woken.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Core {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn carry(&self, port: usize, mut random: SmallRng) {
        let mut frame = vec![0; FRAME_BYTES];
        while !self.ended() {
            let mut ready = [PollFd::new(self.devices[port].as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut ready, PollTimeout::from(100_u8));
            // The device does not block: read until it is empty.
            while let Ok(length @ 14..) = (&self.devices[port]).read(&mut frame) {
                self.forward(port, &frame[..length], &mut random);
            }
        }
    }

    fn forward(&self, from: usize, frame: &[u8], random: &mut SmallRng) {
        let everybody = frame[0] & 1 == 1;
        for to in (0..self.devices.len()).filter(|to| *to != from) {
            if everybody || frame[..6] == address(to) {
                let rule = lock(&self.rules)[from][to];
                self.pass(from, to, frame, rule, random);
            }
        }
    }

    fn pass(&self, from: usize, to: usize, frame: &[u8], rule: Rule, random: &mut SmallRng) {
        let mut percent = |share: f64| share > 0.0 && random.random_range(0.0..100.0) < share;
        if rule.cut || percent(rule.loss_percent) {
            self.stopped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let copies = 1 + usize::from(percent(rule.duplicate_percent));
        if copies > 1 || rule.hold || !rule.delay.is_zero() {
            self.stopped.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..copies {
            if !rule.hold && rule.delay.is_zero() && rule.jitter.is_zero() {
                self.send(to, frame);
                continue;
            }
            let jitter = rule.jitter.mul_f64(random.random_range(0.0..=1.0));
            let mut waiting = lock(&self.waiting);
            if waiting.len() < FRAMES_UNDER_WAY {
                waiting.push(Waiting {
                    due: Instant::now() + rule.delay + jitter,
                    order: self.order.fetch_add(1, Ordering::Relaxed),
                    from,
                    to,
                    frame: frame.to_vec(),
                });
                drop(waiting);
                self.woken.notify_all();
            }
        }
    }

    /// A frame that a full device does not take is lost, as on a wire.
    fn send(&self, to: usize, frame: &[u8]) {
        let _ = (&self.devices[to]).write(frame);
    }

    fn deliver_late(&self) {
        let mut held: Vec<Waiting> = Vec::new();
        let mut waiting = lock(&self.waiting);
        while !self.ended() {
            let now = Instant::now();
            let rules = lock(&self.rules).clone();
            let (still, released): (Vec<_>, Vec<_>) = std::mem::take(&mut held)
                .into_iter()
                .partition(|one| rules[one.from][one.to].hold);
            held = still;
            for one in released {
                self.send(one.to, &one.frame);
            }
            while waiting.peek().is_some_and(|one| one.due <= now) {
                let Some(one) = waiting.pop() else { break };
                match rules[one.from][one.to] {
                    Rule { cut: true, .. } => {}
                    Rule { hold: true, .. } if held.len() < FRAMES_UNDER_WAY => held.push(one),
                    _ => self.send(one.to, &one.frame),
                }
            }
            let pause = waiting.peek().map_or(Duration::from_millis(100), |one| {
                one.due.saturating_duration_since(now)
            });
            let pause = pause.clamp(Duration::from_micros(100), Duration::from_millis(100));
            waiting = match self.woken.wait_timeout(waiting, pause) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// What is behind a lock, also after a thread panicked with it: rules and queues are whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
