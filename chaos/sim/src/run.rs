//! One run: a phase with faults, then all is healed, then the cluster must live.

use crate::chance::Chance;
use crate::chronicle::Chronicle;
use crate::history::{Answer, Ask, History};
use crate::invariants::{self, Invariant, Sight};
use crate::machine;
use crate::member::{Member, Setting, addresses};
use crate::nemesis::Nemesis;
use crate::net::Net;
use crate::plan::Plan;
use crate::trace::Trace;
use crate::workload::Workload;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a healed cluster may take to acknowledge a write at each member, and to agree.
const LIVENESS: Duration = Duration::from_secs(40);

/// How long a healed cluster is left alone before its history is judged, at most: proposals that were on their way are
/// answered within it.
const SETTLING: Duration = Duration::from_secs(12);

/// What became of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The hash of its trace.
    pub hash: u64,
    /// Events in it.
    pub events: u64,
    /// Simulated time.
    pub simulated_millis: u64,
    /// From healing until every member had acknowledged a write, and all agreed.
    pub healing_millis: u64,
    /// Operations called, acknowledged writes, answered reads, and those whose outcome nobody knows.
    pub operations: [u64; 4],
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// What was wrong.
    pub violations: Vec<String>,
}

struct Run {
    plan: Plan,
    seed: u64,
    now: Duration,
    turns: u64,
    order: Chance,
    members: BTreeMap<u64, Member>,
    setting: Setting,
    nemesis: Nemesis,
    workload: Workload,
    history: History,
    chronicle: Chronicle,
    invariants: Vec<Box<dyn Invariant>>,
    trace: Trace,
    violations: Vec<String>,
    states: BTreeMap<u64, String>,
}

/// Runs a seed on this thread, which must have entered a simulation.
///
/// # Errors
/// A runtime cannot be made.
pub fn run(seed: u64, told: bool) -> std::io::Result<Report> {
    let plan = Plan::of(seed);
    let trace = Trace::new(told);
    trace.event(&format!("{plan:?}"));
    let mut run = Run::new(plan, seed, &trace);
    run.begin()?;
    let healing = run.play()?;
    let (hash, events) = trace.digest();
    let operations = run.history.operations();
    let count = |which: fn(&Answer) -> bool| {
        let answers = operations.iter().filter_map(|op| op.answer.as_ref());
        answers.filter(|(_, answer)| which(answer)).count() as u64
    };
    let acknowledged = count(|answer| matches!(answer, Answer::Committed(_)));
    let read = count(|answer| matches!(answer, Answer::Read(..)));
    let unanswered = operations.iter().filter(|op| op.answer.is_none()).count() as u64;
    let unknown = count(|answer| matches!(answer, Answer::Unknown)) + unanswered;
    Ok(Report {
        seed,
        hash,
        events,
        simulated_millis: u64::try_from(run.now.as_millis()).unwrap_or(0),
        healing_millis: u64::try_from(healing.as_millis()).unwrap_or(0),
        operations: [operations.len() as u64, acknowledged, read, unknown],
        faults: run.nemesis.happened.clone(),
        violations: run.violations,
    })
}

impl Run {
    fn new(plan: Plan, seed: u64, trace: &Trace) -> Self {
        let net = Net::new(plan.delay, Chance::new(seed, "net"), trace.clone());
        let history = History::default();
        let all = plan.founders + plan.spares;
        Self {
            seed,
            now: Duration::ZERO,
            turns: 0,
            order: Chance::new(seed, "order"),
            members: (1..=all).map(|id| (id, Member::new(id, seed))).collect(),
            setting: Setting {
                tuning: plan.tuning,
                founders: addresses(1..=plan.founders),
                net,
            },
            nemesis: Nemesis::new(&plan, seed, trace.clone()),
            workload: Workload::new(
                plan.clients,
                plan.rest_millis,
                Chance::new(seed, "workload"),
                history.clone(),
                trace.clone(),
            ),
            history,
            chronicle: Chronicle::default(),
            invariants: invariants::all(),
            trace: trace.clone(),
            violations: Vec::new(),
            states: BTreeMap::new(),
            plan,
        }
    }

    fn begin(&mut self) -> std::io::Result<()> {
        for id in 1..=self.plan.founders {
            if let Some(member) = self.members.get_mut(&id) {
                member.start(self.now, &self.setting, self.seed)?;
            }
        }
        Ok(())
    }

    /// All phases; gives how long healing took.
    fn play(&mut self) -> std::io::Result<Duration> {
        while self.now < self.plan.unsafe_time && self.violations.is_empty() {
            self.nemesis
                .step(self.now, &mut self.members, &self.setting)?;
            self.workload.step(self.now, &self.members);
            self.turn();
        }
        self.trace.event("healed");
        let healed = self.now;
        self.nemesis
            .heal(self.now, &mut self.members, &self.setting)?;
        self.live()?;
        let healing = self.now - healed;
        let settled = self.now + SETTLING;
        while self.now < settled
            && self.violations.is_empty()
            && (self.workload.waits(&self.members) || !self.agree())
        {
            self.turn();
        }
        self.end();
        Ok(healing)
    }

    /// Waits until every member of the cluster has acknowledged a write, and all have applied the same.
    fn live(&mut self) -> std::io::Result<()> {
        let healed = self.now;
        let mut asked: BTreeMap<u64, u64> = BTreeMap::new();
        while self.violations.is_empty() {
            let mut wanted = BTreeSet::new();
            for id in self.chronicle.membership() {
                let answer = asked.get(&id).and_then(|asked| self.history.answer(*asked));
                if matches!(answer, Some(Answer::Committed(_))) {
                    continue;
                }
                wanted.insert(id);
                let again = answer.is_some() || !asked.contains_key(&id);
                let open = |member: &&Member| member.replica().is_some();
                if again && let Some(member) = self.members.get(&id).filter(open) {
                    asked.insert(id, self.workload.ask(member, Ask::Add));
                }
            }
            if !asked.is_empty() && wanted.is_empty() && self.agree() {
                return Ok(());
            }
            if self.now - healed > LIVENESS {
                self.violations.push(format!(
                    "liveness: {LIVENESS:?} after all was healed members {wanted:?} have acknowledged no write, or not all agree: {:?}",
                    self.chronicle.seen.iter().map(|seen| &seen.says).collect::<Vec<_>>()
                ));
                return Ok(());
            }
            // A member may still fail over what happened before, and is started again.
            self.nemesis
                .step(self.now, &mut self.members, &self.setting)?;
            self.turn();
        }
        Ok(())
    }

    fn agree(&self) -> bool {
        let members = self.chronicle.membership();
        let mut applied = BTreeSet::new();
        let mut seen = 0;
        for here in &self.chronicle.seen {
            if members.contains(&here.id) {
                applied.insert(here.applied);
                seen += 1;
            }
        }
        seen == members.len() && applied.len() == 1
    }

    /// Everyone lives for one turn, in some order.
    fn turn(&mut self) {
        self.now += self.plan.turn;
        self.turns += 1;
        self.trace.at(self.now);
        machine::set_now(self.now);
        self.setting.net.advance(self.now);
        let mut order: Vec<u64> = self.members.keys().copied().collect();
        self.order.shuffle(&mut order);
        for id in order {
            if let Some(member) = self.members.get_mut(&id) {
                member.turn(self.now);
            }
        }
        self.chronicle.turn(&self.members);
        self.tell();
        let mut broken = self.history.take_broken();
        for member in self.members.values() {
            let found = member.disk.take_broken().into_iter();
            broken.extend(found.map(|what| format!("disk of member {}: {what}", member.id)));
        }
        broken.extend(crate::panics::take());
        let sight = Sight {
            members: &self.members,
            chronicle: &self.chronicle,
            turn: self.turns,
            operations: &[],
        };
        for invariant in &mut self.invariants {
            let name = invariant.name();
            let found = invariant.turn(&sight);
            broken.extend(found.into_iter().map(|what| format!("{name}: {what}")));
        }
        self.violations.extend(broken);
    }

    /// Says what changed at each member.
    fn tell(&mut self) {
        for seen in &self.chronicle.seen {
            let says = &seen.says;
            let index = |at: Option<pontoon_storage::Position>| at.map_or(0, |at| at.index);
            let state = format!(
                "member {}: term {} {} log {} committed {} applied {} snapshot {} purged {}",
                seen.id,
                says.term,
                if says.leads { "leads" } else { "follows" },
                says.last_log.unwrap_or(0),
                index(says.committed),
                seen.applied,
                index(says.snapshot),
                index(says.purged),
            );
            if self.states.get(&seen.id) != Some(&state) {
                self.trace.event(&state);
                self.states.insert(seen.id, state);
            }
        }
    }

    fn end(&mut self) {
        let operations = self.history.operations();
        let sight = Sight {
            members: &self.members,
            chronicle: &self.chronicle,
            turn: self.turns,
            operations: &operations,
        };
        // What a run broke off for is found first; the rest would say that it broke off.
        if !self.violations.is_empty() {
            return;
        }
        for invariant in &mut self.invariants {
            let name = invariant.name();
            let found = invariant.end(&sight);
            self.violations
                .extend(found.into_iter().map(|what| format!("{name}: {what}")));
        }
        for violation in &self.violations {
            self.trace.event(violation);
        }
    }
}
