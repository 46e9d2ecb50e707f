//! What the loop would do about a transaction, tried on a fork of the present that nobody else sees.
//!
//! The same controllers and the same scheduler work here, one key after the other, on the state machine itself over an empty store in
//! memory. Time stands still while there is work, and jumps to when a controller next wants to look. Nodes are played by [`nodes`]:
//! every pod they get turns ready at once and every pod that is to go is gone at once, so that a rollout comes to its end.
//!
//! It depends on its arguments alone, apart from [`Foresight::in_time`].

mod nodes;
mod outcome;

use crate::limits::{FORECAST_HORIZON, FORECAST_STEPS};
use crate::queue::Work;
use crate::{placing, transaction};
use bytes::Bytes;
use jiff::Timestamp;
use pontoon_api::Term;
use pontoon_controllers::scheduling::{Placement, Scheduling};
use pontoon_controllers::{Context, Controller, EventType, Intent, Liveness, Requeue};
use pontoon_state::apply::Entry;
use pontoon_state::{ChangeSet, Command, Key, Machine, MemKv, Outcome, Transaction, View};
use pontoon_world::{World, manual};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use outcome::{Fate, Forecast, PodForecast};

/// The term of everything in a forecast: it goes through no log.
const TERM: Term = Term(1);

/// The resource whose fate is foretold.
const PODS: &str = "pods";

/// What a forecast is made from.
pub struct Foresight<'a> {
    /// The present.
    pub view: &'a View,
    /// Who decides.
    pub controllers: &'a [Box<dyn Controller>],
    /// When it is.
    pub now: Timestamp,
    /// Decides names, and which of equally good nodes is asked first.
    pub seed: u64,
    /// Whether there is time to go on; asked before each step.
    pub in_time: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Foresight<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foresight")
            .field("revision", &self.view.revision())
            .finish_non_exhaustive()
    }
}

impl Foresight<'_> {
    /// Follows `transaction` to where the cluster would settle. Cost: a pass over pods and nodes, then what the controllers' own
    /// plans cost.
    #[must_use]
    pub fn forecast(&self, transaction: Transaction) -> Forecast {
        let mut trial = Trial::new(self);
        trial.end_deleted_pods();
        if trial.submit(transaction).is_none() {
            trial.complete = false;
        }
        trial.run();
        outcome::tell(&trial)
    }
}

/// Every node was heard of just now: which ones fail meanwhile is not foretold.
struct Heard(Timestamp);

impl Liveness for Heard {
    fn last_heard(&self, _node: &str) -> Option<Timestamp> {
        Some(self.0)
    }

    fn leading_since(&self) -> Timestamp {
        self.0
    }
}

/// The fork, and what is to be done on it.
struct Trial<'a> {
    given: &'a Foresight<'a>,
    machine: Machine<MemKv>,
    view: Arc<View>,
    world: World,
    clock: Arc<manual::ManualClock>,
    scheduling: Scheduling,
    queue: VecDeque<Work>,
    queued: HashSet<Work>,
    /// Keys to look at again though nothing changes, by when.
    due: BTreeSet<(Timestamp, Work)>,
    successes: HashMap<Work, u32>,
    /// Pods that something happened to.
    touched: BTreeSet<Key>,
    /// Why pods fit nowhere, as last tried.
    reasons: BTreeMap<Key, String>,
    warnings: BTreeSet<String>,
    complete: bool,
}

impl<'a> Trial<'a> {
    fn new(given: &'a Foresight<'a>) -> Self {
        let machine = Machine::fork(given.view, Arc::new(MemKv::default()));
        let (world, clock) = manual::world(given.now, given.seed);
        Self {
            given,
            view: machine.view(),
            machine,
            world,
            clock,
            scheduling: Scheduling::new(given.view, given.seed),
            queue: VecDeque::new(),
            queued: HashSet::new(),
            due: BTreeSet::new(),
            successes: HashMap::new(),
            touched: BTreeSet::new(),
            reasons: BTreeMap::new(),
            warnings: BTreeSet::new(),
            complete: true,
        }
    }

    /// Works until nothing is left to do, or too much was done.
    fn run(&mut self) {
        for _ in 0..FORECAST_STEPS {
            if !(self.given.in_time)() {
                break;
            }
            if let Some(work) = self.queue.pop_front() {
                self.queued.remove(&work);
                self.plan(work);
            } else if self.scheduling.has_work() {
                self.place();
            } else if !self.wait() {
                return;
            }
        }
        self.complete = false;
    }

    fn plan(&mut self, work: Work) {
        let controller = &self.given.controllers[work.0];
        let now = self.world.now();
        let context = Context {
            now,
            successes: self.successes.get(&work).copied().unwrap_or(0),
            liveness: &Heard(now),
        };
        let plan = match controller.plan(&self.view, &work.1, &context) {
            Ok(plan) => plan,
            Err(error) => {
                self.warnings.insert(format!("{}: {error}", work.1));
                return;
            }
        };
        for note in plan.events {
            if note.kind == EventType::Warning {
                self.warnings
                    .insert(format!("{}: {}", work.1, note.message));
            }
        }
        if let Requeue::After(wait) = plan.requeue {
            let due = jiff::SignedDuration::try_from(wait)
                .ok()
                .and_then(|wait| now.checked_add(wait).ok());
            self.due.extend(due.map(|due| (due, work.clone())));
        }
        if plan.writes.is_empty() {
            self.successes.remove(&work);
        } else if self.carry_out(plan.writes) {
            *self.successes.entry(work).or_insert(0) += 1;
        }
    }

    /// Whether the writes were made.
    fn carry_out(&mut self, writes: Vec<Intent>) -> bool {
        match transaction::build(writes, TERM, &self.view, &self.world) {
            Ok(transaction) => self.submit(transaction).is_some(),
            Err(error) => {
                self.warnings.insert(error.to_string());
                false
            }
        }
    }

    fn place(&mut self) {
        for placement in self.scheduling.round(&self.view) {
            self.propose_placement(&placement);
        }
    }

    fn propose_placement(&mut self, placement: &Placement) {
        if let Err(why) = &placement.node {
            self.reasons.insert(placement.key.clone(), why.to_string());
        }
        match placing::intent(placement, &self.view, &self.world) {
            // That a pod waits is written for people; nothing in a forecast reads it.
            Some((Some(intent @ Intent::Bind { .. }), _)) => {
                if !self.carry_out(vec![intent]) {
                    self.scheduling.refused(&placement.key, &placement.uid);
                }
            }
            Some(_) => {}
            None => self.scheduling.refused(&placement.key, &placement.uid),
        }
    }

    /// Lets time pass until somebody wants to look again; false when nobody does within the horizon.
    fn wait(&mut self) -> bool {
        let Some((due, work)) = self.due.pop_first() else {
            return false;
        };
        let horizon = jiff::SignedDuration::try_from(FORECAST_HORIZON)
            .ok()
            .and_then(|horizon| self.given.now.checked_add(horizon).ok());
        if horizon.is_none_or(|horizon| due > horizon) {
            return false;
        }
        let passes = due.duration_since(self.world.now());
        self.clock
            .advance(Duration::try_from(passes).unwrap_or_default());
        self.wake(work);
        true
    }

    fn wake(&mut self, work: Work) {
        if self.queued.insert(work.clone()) {
            self.queue.push_back(work);
        }
    }

    /// Applies a transaction, and has everybody see what it changed.
    fn submit(&mut self, transaction: Transaction) -> Option<()> {
        let entry = Entry {
            term: TERM,
            command: Some(Command::Transact(transaction)),
        };
        let applied = self.machine.apply(&[entry], Bytes::new()).ok()?;
        self.view = applied.view;
        let outcome = applied.outcomes.into_iter().next().flatten();
        if let Some(Outcome::Refused(refusal)) = outcome {
            self.warnings.insert(refusal.to_string());
            return None;
        }
        for set in &applied.changes {
            self.observe(set);
        }
        Some(())
    }

    fn observe(&mut self, set: &ChangeSet) {
        let view = self.view.clone();
        for change in &set.changes {
            self.scheduling.observe(change);
            let mut woken = Vec::new();
            for (index, controller) in self.given.controllers.iter().enumerate() {
                controller.wakes(change, &view, &mut |key| woken.push((index, key)));
            }
            woken.into_iter().for_each(|work| self.wake(work));
            let key = &change.object().key;
            if &*key.resource == PODS {
                self.touched.insert(key.clone());
                if let Some(pod) = &change.after {
                    self.play_node(pod);
                }
            }
        }
    }
}
