//! The loop itself.

use crate::events::Events;
use crate::limits::{
    COMPACTION_PERIOD, FULL_PASS, HISTORY_KEPT, PLANS_PER_TURN, PROPOSALS_IN_FLIGHT, TRACES,
};
use crate::placing::{Batch, Joined, Placed, SCHEDULER};
use crate::queue::{Next, Queue, Turn, Work};
use crate::{metrics, transaction};
use pontoon_api::{Revision, Term};
use pontoon_controllers::scheduling::{Placement, Scheduling};
use pontoon_controllers::{Context, Controller, EventNote, Liveness, Plan, Requeue};
use pontoon_state::{
    Command, Object, Outcome, ProposeError, Refusal, Replica, Transaction, View, Watch,
};
use pontoon_telemetry::trace;
use pontoon_world::World;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Becomes true when the loop is to end.
pub type Stop = watch::Receiver<bool>;

/// The control loop of one server.
pub struct Reconciler {
    replica: Arc<dyn Replica>,
    controllers: Vec<Box<dyn Controller>>,
    liveness: Arc<dyn Liveness>,
    world: World,
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.controllers.iter().map(|controller| controller.name()))
            .finish()
    }
}

impl Reconciler {
    /// A loop over `replica` that runs these controllers and the scheduler.
    pub fn new(
        replica: Arc<dyn Replica>,
        controllers: Vec<Box<dyn Controller>>,
        liveness: Arc<dyn Liveness>,
        world: World,
    ) -> Self {
        Self {
            replica,
            controllers,
            liveness,
            world,
        }
    }

    /// Runs until told to stop: waits while another leads, works while this replica does.
    pub async fn run(self, mut stop: Stop) {
        let events = Events::start(self.replica.clone(), self.world.clone());
        let mut known = self.replica.leadership();
        while !*stop.borrow() {
            if known.ready {
                tracing::info!(term = known.term.0, "this server leads: controllers start");
                let leading = Leading::new(&self, &events, known.term);
                tokio::select! {
                    () = leading.run() => {}
                    _ = self.replica.leadership_changed(known) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                let now = self.replica.leadership();
                if now == known {
                    // The feed ended under us (a snapshot was installed): start over on the same leadership.
                    continue;
                }
                tracing::info!(term = known.term.0, "controllers stop: leadership changed");
                known = now;
            } else {
                tokio::select! {
                    changed = self.replica.leadership_changed(known) => known = changed,
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
    }
}

/// What a proposal was for.
#[derive(Debug)]
enum Purpose {
    /// A controller's key, when to look again, and the events to tell once it is committed.
    Key(Work, Option<Duration>, Vec<EventNote>),
    /// Placements, which are taken back when refused.
    Place(Vec<Placed>),
    /// A compaction: nobody waits for it.
    Aside,
}

type Proposed = (Purpose, Result<Outcome, ProposeError>);

/// Stands for the scheduler where controllers stand by their place in the catalog.
const SCHEDULING: usize = usize::MAX;

/// The resource that the scheduler places.
const PODS: &str = "pods";

/// The loop's state during one leadership.
struct Leading<'a> {
    owner: &'a Reconciler,
    events: &'a Events,
    term: Term,
    began: Instant,
    queue: Queue,
    scheduling: Scheduling,
    proposals: JoinSet<Proposed>,
    /// What the leadership began with.
    start: Arc<View>,
    /// Placements that wait for a place in flight.
    placements: VecDeque<Placement>,
    /// The trace of the change that last woke a key: its plan goes on with it. Empty when no traces are made.
    traces: HashMap<Work, Arc<str>>,
    /// When which revision was the present: what compaction goes by.
    past: VecDeque<(Duration, Revision)>,
}

impl<'a> Leading<'a> {
    fn new(owner: &'a Reconciler, events: &'a Events, term: Term) -> Self {
        let view = owner.replica.view();
        Self {
            owner,
            events,
            term,
            began: Instant::now(),
            queue: Queue::default(),
            scheduling: Scheduling::new(&view, owner.world.entropy().u64()),
            proposals: JoinSet::new(),
            start: view,
            placements: VecDeque::new(),
            traces: HashMap::new(),
            past: VecDeque::new(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn run(mut self) {
        let view = self.start.clone();
        let Ok(mut watch) = self.owner.replica.watch(view.revision()) else {
            return;
        };
        for (index, controller) in self.owner.controllers.iter().enumerate() {
            controller
                .keys(&view)
                .into_iter()
                .for_each(|key| self.queue.wake((index, key)));
        }
        let mut full_pass = tokio::time::interval_at(Instant::now() + FULL_PASS, FULL_PASS);
        let mut compaction =
            tokio::time::interval_at(Instant::now() + COMPACTION_PERIOD, COMPACTION_PERIOD);
        loop {
            if self.absorb(&mut watch).is_err() {
                return;
            }
            self.work();
            if self.has_room() && (self.queue.len() > 0 || self.scheduling.has_work()) {
                // More to plan: let others run, then go on.
                tokio::task::yield_now().await;
                while let Some(proposed) = self.proposals.try_join_next() {
                    self.ended(proposed);
                }
                continue;
            }
            let due = self.due(Instant::now());
            tokio::select! {
                sets = watch.next() => match sets {
                    Ok(sets) => self.observe(&sets),
                    Err(error) => {
                        tracing::warn!(%error, "the change feed ended: controllers start over");
                        return;
                    }
                },
                Some(proposed) = self.proposals.join_next() => self.ended(proposed),
                () = tokio::time::sleep_until(due) => self.queue.release(self.now()),
                _ = full_pass.tick() => self.sweep(),
                _ = compaction.tick() => self.compact(),
            }
        }
    }

    /// When the next timer is to be looked at; without one, some time ahead.
    fn due(&self, now: Instant) -> Instant {
        match self.queue.next_due() {
            Some(due) => self.began + due,
            None => now + FULL_PASS,
        }
    }

    fn has_room(&self) -> bool {
        self.proposals.len() < PROPOSALS_IN_FLIGHT
    }

    /// Takes in what the feed has already, without waiting.
    fn absorb(&mut self, watch: &mut Watch) -> Result<(), ()> {
        loop {
            match watch.poll() {
                Ok(Some(sets)) => self.observe(&sets),
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "the change feed ended: controllers start over");
                    return Err(());
                }
            }
        }
    }

    fn observe(&mut self, sets: &[Arc<pontoon_state::ChangeSet>]) {
        let view = self.owner.replica.view();
        for set in sets {
            for change in &set.changes {
                self.scheduling.observe(change);
                let waits =
                    |pod: &Arc<Object>| &*pod.key.resource == PODS && pod.meta.node.is_none();
                if change.after.as_ref().is_some_and(waits) {
                    let work = (SCHEDULING, change.object().key.clone());
                    remember(&mut self.traces, &work, &set.trace);
                }
                for (index, controller) in self.owner.controllers.iter().enumerate() {
                    controller.wakes(change, &view, &mut |key| {
                        let work = (index, key);
                        remember(&mut self.traces, &work, &set.trace);
                        self.queue.wake(work);
                    });
                }
            }
        }
    }

    /// The full pass: signals may be lost, the world is not.
    fn sweep(&mut self) {
        let view = self.owner.replica.view();
        for (index, controller) in self.owner.controllers.iter().enumerate() {
            controller
                .keys(&view)
                .into_iter()
                .for_each(|key| self.queue.sweep((index, key)));
        }
        self.scheduling.retry_all();
    }

    /// Plans keys and places pods while there is room for their proposals.
    fn work(&mut self) {
        let view = self.owner.replica.view();
        for _ in 0..PLANS_PER_TURN {
            if !self.has_room() {
                break;
            }
            let Some(next) = self.queue.pop() else { break };
            self.plan(next, &view);
        }
        metrics::waiting(self.queue.len());
        if self.placements.is_empty() && self.scheduling.has_work() {
            self.place(&view);
        }
        while self.has_room() && !self.placements.is_empty() {
            self.propose_placements(&view);
        }
    }

    fn plan(&mut self, next: Next, view: &Arc<View>) {
        let Next {
            work,
            successes,
            swept,
        } = next;
        let controller = &self.owner.controllers[work.0];
        let name = controller.name();
        let began = std::time::Instant::now();
        let context = Context {
            now: self.owner.world.now(),
            successes,
            liveness: &*self.owner.liveness,
        };
        let span =
            tracing::info_span!("reconcile", controller = name, key = %work.1, term = self.term.0);
        self.adopt(&span, &work);
        let _entered = span.enter();
        let planned = catch_unwind(AssertUnwindSafe(|| {
            controller.plan(view, &work.1, &context)
        }));
        metrics::planned(name, began.elapsed());
        let plan = match planned {
            Ok(Ok(plan)) => plan,
            Ok(Err(error)) => {
                tracing::warn!(%error, "no plan can be made");
                return self.turn(work, Turn::Failed, None, "failed");
            }
            Err(_) => {
                tracing::error!("the controller panicked: its key is parked");
                return self.turn(work, Turn::Failed, None, "panicked");
            }
        };
        self.carry_out(work, plan, swept, view);
    }

    fn carry_out(&mut self, work: Work, plan: Plan, swept: bool, view: &View) {
        let name = self.owner.controllers[work.0].name();
        let look_again = match plan.requeue {
            Requeue::OnChange => None,
            Requeue::After(wait) => Some(wait),
        };
        if plan.writes.is_empty() {
            plan.events
                .into_iter()
                .for_each(|note| self.events.note(name, note));
            return self.turn(work, Turn::Unchanged, look_again, "unchanged");
        }
        if swept {
            metrics::lost_signal(name);
        }
        match transaction::build(plan.writes, self.term, view, &self.owner.world) {
            Ok(transaction) => {
                let events = named(plan.events, &transaction);
                self.propose(Purpose::Key(work, look_again, events), transaction);
            }
            Err(error) => {
                tracing::warn!(%error, key = %work.1, controller = name, "a plan cannot be written");
                self.turn(work, Turn::Failed, None, "failed");
            }
        }
    }

    fn turn(&mut self, work: Work, turn: Turn, look_again: Option<Duration>, result: &'static str) {
        metrics::ended(self.owner.controllers[work.0].name(), result);
        let now = self.now();
        self.queue.done(work, turn, look_again, now);
    }

    fn place(&mut self, view: &View) {
        let began = std::time::Instant::now();
        let placements = self.scheduling.round(view);
        let placed = placements
            .iter()
            .filter(|placement| placement.node.is_ok())
            .count();
        metrics::scheduled(placed, placements.len() - placed, began.elapsed());
        metrics::unscheduled(self.scheduling.waiting());
        self.placements.extend(placements);
    }

    /// Proposes as many placements as one transaction takes. It belongs to one trace, so those that it places do too.
    fn propose_placements(&mut self, view: &View) {
        let mut batch = Batch::new(self.term);
        let mut trace: Option<Arc<str>> = None;
        while let Some(placement) = self.placements.pop_front() {
            let work = (SCHEDULING, placement.key.clone());
            let own = self.traces.get(&work).cloned().unwrap_or_default();
            if !batch.has_room() || trace.as_ref().is_some_and(|trace| *trace != own) {
                self.placements.push_front(placement);
                break;
            }
            self.traces.remove(&work);
            trace = Some(own);
            match batch.join(placement, view, &self.owner.world) {
                Joined::Yes => {}
                Joined::Needless(note) => self.events.note(SCHEDULER, note),
                Joined::Void(placement) => self.take_back(&placement),
                Joined::Unwritable(placement, error) => {
                    tracing::warn!(%error, pod = %placement.key, "a placement cannot be written");
                    self.take_back(&placement);
                }
            }
        }
        let Some(first) = batch.placed.first() else {
            return;
        };
        let pod = &first.placement.key;
        let span =
            tracing::info_span!("place", %pod, pods = batch.placed.len(), term = self.term.0);
        if let Some(trace) = trace {
            trace::adopt(&span, &trace);
        }
        let _entered = span.enter();
        self.propose(Purpose::Place(batch.placed), batch.transaction);
    }

    /// A binding was not written.
    fn take_back(&mut self, placement: &Placement) {
        if placement.node.is_ok() {
            self.scheduling.refused(&placement.key, &placement.uid);
        }
    }

    fn placements_ended(&mut self, placed: Vec<Placed>, result: &Result<Outcome, ProposeError>) {
        match result {
            Ok(Outcome::Committed { .. }) => placed
                .into_iter()
                .for_each(|placed| self.events.note(SCHEDULER, placed.note)),
            // One of them was overtaken: the others are still good, unless they were overtaken too.
            Ok(Outcome::Refused(Refusal::Precondition { key, .. })) => {
                for Placed { placement, .. } in placed.into_iter().rev() {
                    if placement.key == *key {
                        self.take_back(&placement);
                    } else {
                        self.placements.push_front(placement);
                    }
                }
            }
            Ok(Outcome::Refused(_)) | Err(_) => placed
                .iter()
                .for_each(|placed| self.take_back(&placed.placement)),
        }
    }

    /// Has a span go on with the trace of the change that woke its key.
    fn adopt(&mut self, span: &tracing::Span, work: &Work) {
        if let Some(trace) = self.traces.remove(work) {
            trace::adopt(span, &trace);
        }
    }

    fn propose(&mut self, purpose: Purpose, mut transaction: Transaction) {
        transaction.trace = trace::current().unwrap_or_default();
        let replica = self.owner.replica.clone();
        self.proposals
            .spawn(async move { (purpose, replica.propose(transaction).await) });
    }

    fn ended(&mut self, proposed: Result<Proposed, tokio::task::JoinError>) {
        let (purpose, result) = match proposed {
            Ok(proposed) => proposed,
            Err(error) => {
                // Only a panic inside the replica's own code comes here; it ends the process elsewhere.
                tracing::error!(%error, "a proposal's task died");
                return;
            }
        };
        match purpose {
            Purpose::Aside => {}
            Purpose::Place(placed) => self.placements_ended(placed, &result),
            Purpose::Key(work, look_again, events) => {
                if matches!(result, Ok(Outcome::Committed { .. })) {
                    let name = self.owner.controllers[work.0].name();
                    events
                        .into_iter()
                        .for_each(|note| self.events.note(name, note));
                }
                self.key_ended(work, look_again, result);
            }
        }
    }

    fn key_ended(
        &mut self,
        work: Work,
        look_again: Option<Duration>,
        result: Result<Outcome, ProposeError>,
    ) {
        match result {
            Ok(Outcome::Committed { .. }) => self.turn(work, Turn::Done, look_again, "done"),
            Ok(Outcome::Refused(Refusal::Precondition { .. })) => {
                self.turn(work, Turn::Overtaken, None, "conflict")
            }
            Ok(Outcome::Refused(Refusal::Fenced { .. })) => {
                self.turn(work, Turn::Failed, None, "fenced")
            }
            Ok(Outcome::Refused(refusal @ Refusal::Malformed(_))) => {
                tracing::error!(%refusal, key = %work.1, "a plan was refused as malformed");
                self.turn(work, Turn::Failed, None, "failed");
            }
            Err(error) => {
                tracing::warn!(%error, key = %work.1, "a plan's proposal failed");
                self.turn(work, Turn::Failed, None, "failed");
            }
        }
    }

    /// Forgets history older than it is kept.
    fn compact(&mut self) {
        let now = self.now();
        self.past
            .push_back((now, self.owner.replica.view().revision()));
        let mut target = None;
        while let Some((at, revision)) = self.past.front()
            && now.saturating_sub(*at) >= HISTORY_KEPT
        {
            target = Some(*revision);
            self.past.pop_front();
        }
        let Some(target) = target else { return };
        let replica = self.owner.replica.clone();
        self.proposals
            .spawn(async move { (Purpose::Aside, compact(&*replica, target).await) });
    }
}

/// Notes the trace that woke a key. Most writes have none: then nothing is kept.
fn remember(traces: &mut HashMap<Work, Arc<str>>, work: &Work, trace: &Arc<str>) {
    if !trace.is_empty() && traces.len() < TRACES {
        traces.insert(work.clone(), trace.clone());
    }
}

/// Ends the messages of events about objects whose names are only now chosen.
fn named(events: Vec<EventNote>, transaction: &Transaction) -> Vec<EventNote> {
    let name = |mut note: EventNote| {
        if let Some(write) = note.made.and_then(|write| transaction.writes.get(write)) {
            note.message.push_str(&write.key().name);
        }
        note
    };
    events.into_iter().map(name).collect()
}

/// Compacts in steps until `target` is reached.
async fn compact(replica: &dyn Replica, target: Revision) -> Result<Outcome, ProposeError> {
    loop {
        let before = replica.view().compacted();
        let outcome = replica.submit(Command::Compact(target)).await?;
        let reached = replica.view().compacted();
        if reached >= target || reached == before {
            return Ok(outcome);
        }
    }
}

#[cfg(test)]
mod tests;
