//! What a seed decides: the cluster, its settings, and a swarm of faults. Each seed has some kinds of faults and not
//! others: a fault that always happens hides what only shows without it (Groce et al., "Swarm testing", 2012).

use crate::chance::Chance;
use crate::nemesis::Kind;
use crate::net::Delay;
use pontoon_consensus::Tuning;
use std::time::Duration;

/// The plan of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Founding members.
    pub founders: u64,
    /// Members that may join.
    pub spares: u64,
    /// How long a turn is: less than anything takes on the network.
    pub turn: Duration,
    /// What the network is like.
    pub delay: Delay,
    /// Settings of the members.
    pub tuning: Tuning,
    /// The faults of this run.
    pub faults: Vec<Kind>,
    /// Shortest and longest time between two faults, in milliseconds.
    pub between_millis: (u64, u64),
    /// How long faults last at most.
    pub lasting_millis: u64,
    /// How long faults go on.
    pub unsafe_time: Duration,
    /// Clients.
    pub clients: u64,
    /// Longest rest of a client.
    pub rest_millis: u64,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let chance = Chance::new(seed, "plan");
        let founders = *chance.pick(&[1, 3, 3, 3, 3, 5, 5]).unwrap_or(&3);
        let turn = *chance.pick(&[1, 2, 2, 5]).unwrap_or(&2);
        let heartbeat = 20 + chance.below(80);
        let election_min = heartbeat * (3 + chance.below(3));
        let snapshot_entries = *chance.pick(&[8, 20, 60, 500]).unwrap_or(&60);
        let kept_entries = *chance.pick(&[0, 4, 20, 200]).unwrap_or(&20);
        let millis = Duration::from_millis;
        Self {
            founders,
            spares: if founders > 1 { chance.below(3) } else { 0 },
            turn: millis(turn),
            delay: Delay {
                least: millis(turn),
                most: millis(turn + chance.below(15)),
                lost_percent: 0,
            },
            tuning: Tuning {
                heartbeat: millis(heartbeat),
                election_min: millis(election_min),
                election_max: millis(election_min * 2),
                snapshot_entries,
                kept_entries,
                ..Tuning::standard()
            },
            faults: Kind::ALL
                .into_iter()
                .filter(|_| chance.percent(40))
                .collect(),
            between_millis: (10, 200 + chance.below(1_500)),
            lasting_millis: 300 + chance.below(4_000),
            unsafe_time: Duration::from_secs(6 + chance.below(10)),
            clients: 2 + chance.below(6),
            rest_millis: 10 + chance.below(150),
        }
    }
}
