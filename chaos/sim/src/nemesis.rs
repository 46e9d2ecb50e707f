//! What goes wrong: one fault after the other, several at once.

use crate::chance::Chance;
use crate::disk::Loss;
use crate::member::{Member, Setting};
use crate::net::address;
use crate::trace::Trace;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process is killed; its peers are told.
    Kill,
    /// A machine loses power, and what it had not synced.
    PowerLoss,
    /// So do all at once.
    PowerLossOfAll,
    /// Two sides do not hear each other.
    Split,
    /// One direction between two members is cut.
    OneWay,
    /// Two halves know each other through one member alone.
    Bridge,
    /// The leader hears nobody, or nobody hears it.
    IsolateLeader,
    /// A member's links get slow.
    Slow,
    /// Segments are lost now and then.
    Lossy,
    /// A connection is reset.
    Reset,
    /// A member stands still.
    Pause,
    /// Its time of day jumps.
    ClockJump,
    /// Its clock runs fast or slow.
    ClockRate,
    /// Its syncs take long.
    SlowDisk,
    /// Its next sync fails.
    SyncError,
    /// Its disk is full.
    FullDisk,
    /// Its disk is almost full.
    AlmostFullDisk,
    /// Everyone makes a snapshot.
    Snapshots,
    /// A spare member joins, learns, and votes.
    Join,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Kill,
        Self::PowerLoss,
        Self::PowerLossOfAll,
        Self::Split,
        Self::OneWay,
        Self::Bridge,
        Self::IsolateLeader,
        Self::Slow,
        Self::Lossy,
        Self::Reset,
        Self::Pause,
        Self::ClockJump,
        Self::ClockRate,
        Self::SlowDisk,
        Self::SyncError,
        Self::FullDisk,
        Self::AlmostFullDisk,
        Self::Snapshots,
        Self::Join,
    ];
}

/// What ends a fault.
#[derive(Debug, Clone)]
enum Cure {
    Start(u64),
    Mend(Vec<(u64, u64)>),
    Quicken(u64),
    Steady(u64),
    Heal(u64),
}

/// The faults of a run.
#[derive(Debug)]
pub struct Nemesis {
    chance: Chance,
    trace: Trace,
    kinds: Vec<Kind>,
    between_millis: (u64, u64),
    lasting_millis: u64,
    seed: u64,
    next: Duration,
    cures: Vec<(Duration, Cure)>,
    /// How often each kind happened.
    pub happened: BTreeMap<String, u64>,
}

impl Nemesis {
    /// For a plan's faults.
    pub fn new(plan: &crate::plan::Plan, seed: u64, trace: Trace) -> Self {
        Self {
            chance: Chance::new(seed, "nemesis"),
            trace,
            kinds: plan.faults.clone(),
            between_millis: plan.between_millis,
            lasting_millis: plan.lasting_millis,
            seed,
            // The first leader may be elected in peace.
            next: Duration::from_millis(500),
            cures: Vec::new(),
            happened: BTreeMap::new(),
        }
    }

    /// What is due happens.
    pub fn step(
        &mut self,
        now: Duration,
        members: &mut BTreeMap<u64, Member>,
        setting: &Setting,
    ) -> std::io::Result<()> {
        let (due, later) = std::mem::take(&mut self.cures)
            .into_iter()
            .partition(|(when, _)| *when <= now);
        self.cures = later;
        let due: Vec<(Duration, Cure)> = due;
        for (_, cure) in due {
            self.cure(&cure, now, members, setting)?;
        }
        self.bury(now, members, setting);
        if now >= self.next {
            self.next = now
                + self
                    .chance
                    .millis(self.between_millis.0, self.between_millis.1);
            if let Some(kind) = self.chance.pick(&self.kinds).copied()
                && self.happen(kind, now, members, setting)
            {
                *self.happened.entry(format!("{kind:?}")).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Members that have failed end, as their processes would, and are started again.
    fn bury(&mut self, now: Duration, members: &mut BTreeMap<u64, Member>, setting: &Setting) {
        for member in members.values_mut() {
            if let Some(reason) = member.failed() {
                self.trace
                    .event(&format!("member {} has failed: {reason}", member.id));
                member.die(&setting.net, false, Loss::Nothing);
                let back = now + self.chance.millis(50, self.lasting_millis);
                self.cures.push((back, Cure::Start(member.id)));
            }
        }
    }

    /// Ends all faults.
    pub fn heal(
        &mut self,
        now: Duration,
        members: &mut BTreeMap<u64, Member>,
        setting: &Setting,
    ) -> std::io::Result<()> {
        self.kinds.clear();
        setting.net.mend();
        for member in members.values_mut() {
            member.disk.ail(|health| *health = Default::default());
            member.paused_until = None;
            member.rate_percent = 100;
        }
        for (_, cure) in std::mem::take(&mut self.cures) {
            self.cure(&cure, now, members, setting)?;
        }
        Ok(())
    }

    fn cure(
        &mut self,
        cure: &Cure,
        now: Duration,
        members: &mut BTreeMap<u64, Member>,
        setting: &Setting,
    ) -> std::io::Result<()> {
        self.trace.event(&format!("ends: {cure:?}"));
        match cure {
            Cure::Start(id) => {
                if let Some(member) = members.get_mut(id)
                    && member.life.is_none()
                {
                    member.start(now, setting, self.seed)?;
                }
            }
            Cure::Mend(links) => {
                for (from, to) in links {
                    setting.net.cut(*from, *to, false);
                    // What was held up arrives, or the connection had been given up.
                    if self.chance.percent(30) {
                        setting.net.reset(*from, *to);
                    }
                }
            }
            Cure::Quicken(id) => {
                for other in members.keys() {
                    setting.net.slow(*id, *other, Duration::ZERO);
                    setting.net.slow(*other, *id, Duration::ZERO);
                }
            }
            Cure::Steady(id) => {
                if let Some(member) = members.get_mut(id) {
                    member.rate_percent = 100;
                }
            }
            Cure::Heal(id) => {
                if let Some(member) = members.get_mut(id) {
                    member.disk.ail(|health| *health = Default::default());
                }
            }
        }
        Ok(())
    }

    fn last(&mut self, now: Duration, cure: Cure) {
        let until = now + self.chance.millis(20, self.lasting_millis);
        self.cures.push((until, cure));
    }

    /// A fault begins; `false` when there is nobody for it to happen to.
    fn happen(
        &mut self,
        kind: Kind,
        now: Duration,
        members: &mut BTreeMap<u64, Member>,
        setting: &Setting,
    ) -> bool {
        let alive: Vec<u64> = members
            .values()
            .filter(|member| member.life.is_some())
            .map(|member| member.id)
            .collect();
        let Some(victim) = self.chance.pick(&alive).copied() else {
            return false;
        };
        self.trace.event(&format!("fault {kind:?} at {victim}"));
        match kind {
            Kind::Kill | Kind::PowerLoss | Kind::PowerLossOfAll => {
                self.stop(kind, victim, &alive, now, members, setting);
            }
            Kind::Split | Kind::OneWay | Kind::Bridge | Kind::IsolateLeader => {
                let links = self.links(kind, victim, members);
                for (from, to) in &links {
                    setting.net.cut(*from, *to, true);
                }
                if links.is_empty() {
                    return false;
                }
                self.last(now, Cure::Mend(links));
            }
            Kind::Slow => {
                let by = self.chance.millis(10, 400);
                for other in members.keys() {
                    setting.net.slow(victim, *other, by);
                    if self.chance.percent(50) {
                        setting.net.slow(*other, victim, by);
                    }
                }
                self.last(now, Cure::Quicken(victim));
            }
            Kind::Lossy => setting.net.lose(self.chance.below(12)),
            Kind::Reset => {
                for other in &alive {
                    setting.net.reset(victim, *other);
                }
            }
            Kind::Snapshots => {
                for id in alive {
                    snapshot(&members[&id]);
                }
            }
            Kind::Join => return self.join(now, members, setting),
            _ => self.ail(kind, victim, now, members),
        }
        true
    }

    fn stop(
        &mut self,
        kind: Kind,
        victim: u64,
        alive: &[u64],
        now: Duration,
        members: &mut BTreeMap<u64, Member>,
        setting: &Setting,
    ) {
        let (who, loss) = match kind {
            Kind::Kill => (vec![victim], Loss::Nothing),
            Kind::PowerLoss => (vec![victim], Loss::Unsynced),
            _ => (alive.to_vec(), Loss::Unsynced),
        };
        for id in who {
            if let Some(member) = members.get_mut(&id) {
                member.die(&setting.net, loss == Loss::Unsynced, loss);
                self.last(now, Cure::Start(id));
            }
        }
    }

    /// Faults of one member's clock and disk.
    fn ail(&mut self, kind: Kind, victim: u64, now: Duration, members: &mut BTreeMap<u64, Member>) {
        let Some(member) = members.get_mut(&victim) else {
            return;
        };
        match kind {
            Kind::Pause => {
                member.paused_until = Some(now + self.chance.millis(20, self.lasting_millis));
                return;
            }
            Kind::ClockJump => {
                let hours = self.chance.below(49);
                member.clock.set(hours.cast_signed() * 3_600 - 86_400);
                return;
            }
            Kind::ClockRate => {
                member.rate_percent = *self.chance.pick(&[50, 80, 120, 200]).unwrap_or(&100);
                self.last(now, Cure::Steady(victim));
                return;
            }
            Kind::SlowDisk => {
                let by = self.chance.millis(10, 600);
                member.disk.ail(|health| health.slow = by);
            }
            Kind::SyncError => member.disk.ail(|health| health.sync_fails = true),
            Kind::FullDisk => member.disk.ail(|health| health.full = true),
            _ => member.disk.ail(|health| health.almost_full = true),
        }
        self.last(now, Cure::Heal(victim));
    }

    /// The directions that a partition cuts.
    fn links(&self, kind: Kind, victim: u64, members: &BTreeMap<u64, Member>) -> Vec<(u64, u64)> {
        let mut ids: Vec<u64> = members.keys().copied().collect();
        self.chance.shuffle(&mut ids);
        let others = |id: u64| ids.iter().copied().filter(move |other| *other != id);
        let between = |one: &[u64], other: &[u64]| -> Vec<(u64, u64)> {
            let pairs = one
                .iter()
                .flat_map(|from| other.iter().map(move |to| (*from, *to)));
            pairs
                .flat_map(|(one, other)| [(one, other), (other, one)])
                .collect()
        };
        match kind {
            Kind::Split => {
                let border = self.chance.below(ids.len() as u64);
                let (one, other) = ids.split_at(usize::try_from(border).unwrap_or(0));
                between(one, other)
            }
            Kind::OneWay => {
                let to = others(victim).next();
                to.map(|to| (victim, to)).into_iter().collect()
            }
            Kind::Bridge => {
                let Some((_, rest)) = ids.split_first() else {
                    return Vec::new();
                };
                let (one, other) = rest.split_at(rest.len() / 2);
                between(one, other)
            }
            _ => {
                let leader = members.values().find(|member| leads(member));
                let leader = leader.map_or(victim, |member| member.id);
                let (deaf, mute) = *self
                    .chance
                    .pick(&[(true, true), (true, false), (false, true)])
                    .unwrap_or(&(true, true));
                let to = others(leader).filter(|_| deaf).map(|other| (other, leader));
                let from = others(leader).filter(|_| mute).map(|other| (leader, other));
                to.chain(from).collect()
            }
        }
    }

    fn join(
        &mut self,
        now: Duration,
        members: &mut BTreeMap<u64, Member>,
        setting: &Setting,
    ) -> bool {
        let spare = members
            .values()
            .find(|member| !setting.founders.contains_key(&member.id) && member.lives == 0)
            .map(|member| member.id);
        let known: BTreeSet<u64> = members.keys().copied().collect();
        // Those that were begun earlier may be half way in: asking again must do.
        let candidate = spare.or_else(|| {
            known
                .into_iter()
                .rfind(|id| !setting.founders.contains_key(id))
        });
        let Some(id) = candidate else { return false };
        if let Some(member) = members.get_mut(&id)
            && member.lives == 0
            && member.start(now, setting, self.seed).is_err()
        {
            return false;
        }
        let Some(leader) = members.values().find(|member| leads(member)) else {
            return false;
        };
        let Some(replica) = leader.replica() else {
            return false;
        };
        let trace = self.trace.clone();
        leader.spawn(async move {
            let learned = replica.add_learner(id, &address(id)).await;
            let promoted = match learned {
                Ok(()) => replica.promote(BTreeSet::from([id])).await,
                Err(error) => Err(error),
            };
            trace.event(&format!("joining of {id}: {promoted:?}"));
        });
        true
    }
}

/// Whether a member believes that it leads.
pub fn leads(member: &Member) -> bool {
    member
        .replica()
        .is_some_and(|replica| replica.inspect().leads)
}

fn snapshot(member: &Member) {
    if let Some(replica) = member.replica() {
        member.spawn(async move {
            // A replica that has failed makes none.
            let _ = replica.snapshot().await;
        });
    }
}
