//! Kinds of fault: how each is done.

use crate::cluster::Cluster;
use anyhow::{Result, bail};
use pontoon_nemesis::damage::{Damage, damage};
use pontoon_nemesis::switch::Rule;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use std::time::Duration;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Kill,
    KillMajority,
    KillAll,
    PowerCut,
    PowerCutAll,
    Pause,
    PauseMajority,
    Halves,
    OneWay,
    Ring,
    Bridge,
    IsolateLeader,
    Loss,
    Delay,
    Hold,
    ClockJump,
    ClockRate,
    WriteError,
    SyncError,
    SlowSync,
    DiskFull,
    BitFlip,
    Truncate,
    Transfer,
    Replace,
}

const CUT: Rule = Rule {
    cut: true,
    hold: false,
    loss_percent: 0.0,
    duplicate_percent: 0.0,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
};

impl Kind {
    pub(crate) const ALL: [Self; 25] = [
        Self::Kill,
        Self::KillMajority,
        Self::KillAll,
        Self::PowerCut,
        Self::PowerCutAll,
        Self::Pause,
        Self::PauseMajority,
        Self::Halves,
        Self::OneWay,
        Self::Ring,
        Self::Bridge,
        Self::IsolateLeader,
        Self::Loss,
        Self::Delay,
        Self::Hold,
        Self::ClockJump,
        Self::ClockRate,
        Self::WriteError,
        Self::SyncError,
        Self::SlowSync,
        Self::DiskFull,
        Self::BitFlip,
        Self::Truncate,
        Self::Transfer,
        Self::Replace,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillMajority => "kill-majority",
            Self::KillAll => "kill-all",
            Self::PowerCut => "power-cut",
            Self::PowerCutAll => "power-cut-all",
            Self::Pause => "pause",
            Self::PauseMajority => "pause-majority",
            Self::Halves => "halves",
            Self::OneWay => "one-way",
            Self::Ring => "ring",
            Self::Bridge => "bridge",
            Self::IsolateLeader => "isolate-leader",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Hold => "hold",
            Self::ClockJump => "clock-jump",
            Self::ClockRate => "clock-rate",
            Self::WriteError => "write-error",
            Self::SyncError => "sync-error",
            Self::SlowSync => "slow-sync",
            Self::DiskFull => "disk-full",
            Self::BitFlip => "bit-flip",
            Self::Truncate => "truncate",
            Self::Transfer => "transfer",
            Self::Replace => "replace",
        }
    }

    /// Whether a cluster of `count` can have it, and be expected to come back without loss.
    pub(crate) fn fits(self, count: usize) -> bool {
        match self {
            Self::KillMajority
            | Self::PauseMajority
            | Self::Halves
            | Self::OneWay
            | Self::Bridge => count >= 3,
            Self::IsolateLeader
            | Self::Hold
            | Self::BitFlip
            | Self::Truncate
            | Self::Transfer
            | Self::Replace => count >= 3,
            Self::Ring => count >= 5,
            _ => true,
        }
    }

    /// Whether servers may end by themselves because of it.
    pub(crate) fn may_end_servers(self) -> bool {
        matches!(
            self,
            Self::WriteError | Self::SyncError | Self::DiskFull | Self::BitFlip | Self::Truncate
        )
    }

    /// Whether its effect is seen in frames that the switch stopped.
    pub(crate) fn is_of_the_network(self) -> bool {
        matches!(
            self,
            Self::Halves
                | Self::OneWay
                | Self::Ring
                | Self::Bridge
                | Self::IsolateLeader
                | Self::Loss
                | Self::Delay
                | Self::Hold
        )
    }

    /// Whether its effect is seen in calls that a disk made to fail or wait.
    pub(crate) fn is_of_the_disk(self) -> bool {
        matches!(
            self,
            Self::WriteError | Self::SyncError | Self::SlowSync | Self::DiskFull
        )
    }
}

/// The kinds named, or all that fit.
pub(crate) fn chosen(names: &[String], servers: usize) -> Result<Vec<Kind>> {
    if let Some(unknown) = names
        .iter()
        .find(|name| Kind::ALL.iter().all(|kind| kind.name() != *name))
    {
        bail!("{unknown:?} is no kind of fault; --list prints them");
    }
    let wanted = |kind: &Kind| names.is_empty() || names.iter().any(|name| name == kind.name());
    Ok(Kind::ALL
        .into_iter()
        .filter(|kind| kind.fits(servers))
        .filter(wanted)
        .collect())
}

/// Does it, and says what it did. What was done is taken back by [`Cluster::heal`].
pub(crate) fn inject(kind: Kind, cluster: &mut Cluster, random: &mut StdRng) -> Result<String> {
    let count = cluster.machines.count();
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(random);
    // The leader is the one whose trouble matters most: it is hit every second time.
    let leader = cluster.leader();
    if let Some(leader) = leader.filter(|_| random.random_ratio(1, 2)) {
        order.retain(|number| *number != leader);
        order.insert(0, leader);
    }
    let majority = &order[..count / 2 + 1];
    let minority = &order[..(count / 2).max(1)];
    let (one, of) = (order[0], |what: &str, numbers: &[usize]| {
        format!("{what} {numbers:?}, leader {leader:?}")
    });
    match kind {
        Kind::Kill => end(cluster, minority),
        Kind::KillMajority => end(cluster, majority),
        Kind::KillAll => end(cluster, &order),
        Kind::PowerCut | Kind::PowerCutAll => {
            let hit = if kind == Kind::PowerCut {
                minority
            } else {
                &order
            };
            let cut = cluster.machines.cut_power(hit)?;
            Ok(format!(
                "{}: {} changes lost, {} torn",
                of("power of", hit),
                cut.lost,
                cut.torn
            ))
        }
        Kind::Pause | Kind::PauseMajority => {
            let hit = if kind == Kind::Pause {
                minority
            } else {
                majority
            };
            for number in hit {
                cluster.machines.machine(*number).pause();
            }
            Ok(of("paused", hit))
        }
        Kind::Halves | Kind::OneWay | Kind::Ring | Kind::Bridge | Kind::IsolateLeader => {
            Ok(partition(kind, cluster, &order, leader.unwrap_or(one)))
        }
        Kind::Loss | Kind::Delay | Kind::Hold => Ok(disturb(kind, cluster, random, one)),
        Kind::ClockJump | Kind::ClockRate => clock(kind, cluster, random, minority),
        Kind::WriteError | Kind::SyncError | Kind::SlowSync | Kind::DiskFull => {
            for number in minority {
                let wishes = cluster.machines.machine(*number).disk().wishes();
                match kind {
                    Kind::WriteError => wishes.fail_writes(true),
                    Kind::SyncError => wishes.fail_syncs(true),
                    Kind::SlowSync => {
                        wishes.slow_syncs(Duration::from_millis(random.random_range(50..1_500)))
                    }
                    _ => wishes.full(true),
                }
            }
            Ok(of("disks of", minority))
        }
        Kind::BitFlip | Kind::Truncate => spoil(kind, cluster, random, one),
        Kind::Transfer => {
            cluster.administer(&["cluster", "transfer"])?;
            Ok(of("asked for another leader, of", &order))
        }
        Kind::Replace => replace(cluster, &order),
    }
}

fn end(cluster: &mut Cluster, numbers: &[usize]) -> Result<String> {
    for number in numbers {
        cluster.machines.machine_mut(*number).kill()?;
    }
    Ok(format!("killed {numbers:?}"))
}

fn partition(kind: Kind, cluster: &Cluster, order: &[usize], leader: usize) -> String {
    let switch = cluster.machines.switch();
    let middle = order.len() / 2;
    let (few, many) = order.split_at(middle);
    match kind {
        Kind::IsolateLeader => {
            for other in order.iter().filter(|other| **other != leader) {
                switch.set_both(leader, *other, CUT);
            }
            return format!("leader {leader} from all others");
        }
        Kind::OneWay => {
            for (from, to) in few
                .iter()
                .flat_map(|from| many.iter().map(move |to| (*from, *to)))
            {
                switch.set(from, to, CUT);
            }
            return format!("nothing from {few:?} to {many:?}");
        }
        Kind::Ring => {
            for (place, number) in order.iter().enumerate() {
                for (other_place, other) in order.iter().enumerate() {
                    let apart = place.abs_diff(other_place);
                    if apart > 1 && apart < order.len() - 1 {
                        switch.set_both(*number, *other, CUT);
                    }
                }
            }
            return format!("each hears its neighbours only, in order {order:?}");
        }
        _ => {}
    }
    // Of a bridge one hears both sides; of halves none does.
    let bridge = (kind == Kind::Bridge).then(|| many[0]);
    for (one, other) in few
        .iter()
        .flat_map(|one| many.iter().map(move |other| (*one, *other)))
    {
        if Some(other) != bridge {
            switch.set_both(one, other, CUT);
        }
    }
    match bridge {
        Some(bridge) => format!("{few:?} from {many:?}, but for {bridge}"),
        None => format!("{few:?} from {many:?}"),
    }
}

fn disturb(kind: Kind, cluster: &Cluster, random: &mut StdRng, one: usize) -> String {
    let switch = cluster.machines.switch();
    let count = cluster.machines.count();
    let rule = match kind {
        Kind::Loss => Rule {
            loss_percent: random.random_range(2.0..30.0),
            duplicate_percent: 5.0,
            ..Rule::default()
        },
        Kind::Delay => Rule {
            delay: Duration::from_millis(random.random_range(10..150)),
            jitter: Duration::from_millis(50),
            ..Rule::default()
        },
        _ => Rule {
            hold: true,
            ..Rule::default()
        },
    };
    if kind == Kind::Hold {
        for other in (0..count).filter(|other| *other != one) {
            switch.set(one, other, rule);
        }
        return format!("frames from {one} to the others are held and come late");
    }
    // Clients' port is the last: they suffer, too.
    for from in 0..=count {
        for to in (0..=count).filter(|to| *to != from) {
            switch.set(from, to, rule);
        }
    }
    match kind {
        Kind::Loss => format!("{:.0} % of all frames lost, 5 % doubled", rule.loss_percent),
        _ => format!("all frames {:?} later, with 50 ms of jitter", rule.delay),
    }
}

fn clock(
    kind: Kind,
    cluster: &mut Cluster,
    random: &mut StdRng,
    numbers: &[usize],
) -> Result<String> {
    let mut story = String::from("started with another clock:");
    for number in numbers {
        let clock = if kind == Kind::ClockJump {
            ["+3600s", "-1800s", "+90s", "-20s"][random.random_range(0..4_usize)]
        } else {
            ["+0 x3", "+0 x0.5"][random.random_range(0..2_usize)]
        };
        let machine = cluster.machines.machine_mut(*number);
        machine.kill()?;
        machine.clock = clock.to_owned();
        machine.monotonic_too = kind == Kind::ClockRate;
        cluster.start(*number)?;
        story.push_str(&format!(" {number} {clock}"));
    }
    Ok(story)
}

/// Damages one stopped server, keeps what it had, and starts it. Whether it then serves or refuses, it must not tell anything wrong.
fn spoil(kind: Kind, cluster: &mut Cluster, random: &mut StdRng, number: usize) -> Result<String> {
    cluster.machines.machine_mut(number).kill()?;
    let disk = cluster.machines.machine(number).disk();
    let backing = disk.backing().to_owned();
    let kept = backing.with_file_name("kept");
    let _ = std::fs::remove_dir_all(&kept);
    pontoon_nemesis::ground::run(
        std::process::Command::new("cp")
            .args(["-a"])
            .args([&backing, &kept]),
    )?;
    let damage_kind = match (kind, random.random_ratio(1, 2)) {
        (Kind::Truncate, _) => Damage::Truncate,
        (_, true) => Damage::FlipBit,
        (_, false) => Damage::ZeroBlock,
    };
    let story = damage(&backing, &["/server/"], damage_kind, random)?
        .unwrap_or_else(|| "nothing to damage".to_owned());
    cluster.machines.machine_mut(number).remount_disk()?;
    cluster.start(number)?;
    Ok(format!("server {number}: {story}"))
}

/// Takes a member out for good, and a new one in on an emptied machine.
fn replace(cluster: &mut Cluster, order: &[usize]) -> Result<String> {
    // New members ask the first for their place.
    let number = *order.iter().find(|number| **number != 0).unwrap_or(&0);
    let id = cluster.members.get(&number).copied().unwrap_or(0);
    cluster.administer(&["cluster", "remove", &id.to_string()])?;
    cluster.machines.machine_mut(number).kill()?;
    let data = cluster.machines.machine(number).data();
    std::fs::remove_dir_all(&data)?;
    cluster.join(number)?;
    Ok(format!(
        "member {id} on {number} gave way to member {:?}",
        cluster.members.get(&number)
    ))
}

impl Cluster {
    /// Takes back everything, and starts what does not run. Gives the servers that had ended by themselves.
    pub(crate) fn heal(&mut self, kind: Kind, random: &mut StdRng) -> Result<Vec<usize>> {
        self.machines.switch().heal();
        let mut ended = Vec::new();
        for number in 0..self.machines.count() {
            let machine = self.machines.machine_mut(number);
            machine.disk().wishes().heal();
            machine.resume();
            if machine.ended().is_some() {
                ended.push(number);
            }
            let wrong_clock = !std::mem::take(&mut machine.clock).is_empty();
            machine.monotonic_too = false;
            if wrong_clock {
                machine.kill()?;
            }
            if machine.is_running() {
                continue;
            }
            machine.kill()?;
            match kind {
                Kind::BitFlip | Kind::Truncate => self.bring_back(number)?,
                // After an error of the disk people turn the machine off and on.
                Kind::WriteError | Kind::SyncError if random.random_ratio(1, 2) => {
                    self.machines.cut_power(&[number])?;
                }
                _ => {}
            }
            self.start(number)?;
        }
        Ok(ended)
    }

    /// Puts back what a damaged server had when it was stopped. It refused to start, so that nothing was promised since.
    fn bring_back(&mut self, number: usize) -> Result<()> {
        let backing = self.machines.machine(number).disk().backing().to_owned();
        let kept = backing.with_file_name("kept");
        if kept.exists() {
            std::fs::remove_dir_all(&backing)?;
            std::fs::rename(&kept, &backing)?;
            self.machines.machine_mut(number).remount_disk()?;
        }
        Ok(())
    }
}
