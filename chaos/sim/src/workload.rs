//! Clients: each has one operation on its way, asked of some member.

use crate::chance::Chance;
use crate::history::{Answer, Ask, History, contents, key, mark};
use crate::member::Member;
use crate::trace::Trace;
use pontoon_api::Revision;
use pontoon_consensus::Consensus;
use pontoon_state::{
    Command, Outcome, Precondition, ProposeError, Replica as _, Transaction, encode,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many registers there are.
const REGISTERS: u64 = 4;

/// Revisions that a compaction leaves.
const KEPT_REVISIONS: u64 = 40;

/// All clients of a run.
#[derive(Debug)]
pub struct Workload {
    chance: Chance,
    history: History,
    trace: Trace,
    clients: Vec<Client>,
    /// Longest rest between two operations of a client.
    rest_millis: u64,
}

#[derive(Debug, Default)]
struct Client {
    waits_for: Option<(u64, u64, u64)>,
    rests_until: Duration,
}

impl Workload {
    /// So many clients.
    pub fn new(
        clients: u64,
        rest_millis: u64,
        chance: Chance,
        history: History,
        trace: Trace,
    ) -> Self {
        Self {
            chance,
            history,
            trace,
            clients: (0..clients).map(|_| Client::default()).collect(),
            rest_millis,
        }
    }

    /// Clients whose answer came, or never will, ask again.
    pub fn step(&mut self, now: Duration, members: &BTreeMap<u64, Member>) {
        let alive: Vec<&Member> = members
            .values()
            .filter(|member| member.replica().is_some())
            .collect();
        for index in 0..self.clients.len() {
            let Some(client) = self.clients.get_mut(index) else {
                continue;
            };
            if let Some((operation, member, life)) = client.waits_for {
                let answered = self.history.answer(operation);
                let lost = members
                    .get(&member)
                    .is_none_or(|member| member.life.is_none() || member.lives != life);
                if answered.is_none() && !lost {
                    continue;
                }
                let told = answered.map_or_else(|| "lost".into(), |answer| brief(&answer));
                self.trace.event(&format!("operation {operation}: {told}"));
                client.waits_for = None;
                client.rests_until = now + self.chance.millis(0, self.rest_millis);
            }
            if now < client.rests_until {
                continue;
            }
            let Some(member) = self.chance.pick(&alive) else {
                continue;
            };
            let ask = self.choose();
            let called = self.ask(member, ask);
            if let Some(client) = self.clients.get_mut(index) {
                client.waits_for = Some((called, member.id, member.lives));
            }
        }
    }

    /// Whether an operation may still be answered.
    pub fn waits(&self, members: &BTreeMap<u64, Member>) -> bool {
        let mut waiting = self.clients.iter().filter_map(|client| client.waits_for);
        waiting.any(|(operation, member, life)| {
            let alive = |member: &Member| member.life.is_some() && member.lives == life;
            self.history.answer(operation).is_none() && members.get(&member).is_some_and(alive)
        })
    }

    fn choose(&self) -> Ask {
        let register = format!("r{}", self.chance.below(REGISTERS));
        match self.chance.below(100) {
            0..25 => Ask::Put(register),
            25..45 => Ask::Swap(register),
            45..50 => Ask::Remove(register),
            50..58 => Ask::Add,
            58..66 => Ask::Fenced(register),
            66..68 => Ask::Compact,
            _ => Ask::Read,
        }
    }

    /// Asks a member that is alive; gives the operation's number.
    pub fn ask(&self, member: &Member, ask: Ask) -> u64 {
        let id = self.history.call(member.id, ask.clone());
        self.trace
            .event(&format!("operation {id}: {ask:?} at {}", member.id));
        if let Some(replica) = member.replica() {
            let history = self.history.clone();
            member.spawn(async move {
                let answer = run(&replica, &history, id, &ask).await;
                history.answered(id, answer);
            });
        }
        id
    }
}

fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Read(revision, _) => format!("read at {revision}"),
        answer => format!("{answer:?}"),
    }
}

async fn run(replica: &Arc<Consensus>, history: &History, id: u64, ask: &Ask) -> Answer {
    let command = match ask {
        Ask::Read => {
            let Ok(view) = replica.read().await else {
                return Answer::NoRead;
            };
            return Answer::Read(view.revision().0, contents(&view));
        }
        Ask::Compact => {
            let present = replica.view().revision().0;
            Command::Compact(Revision(present.saturating_sub(KEPT_REVISIONS)))
        }
        Ask::Put(register) => Command::Transact(put(register, id)),
        Ask::Add => Command::Transact(
            put(&format!("e{id}"), id).require(Precondition::Absent(key(&format!("e{id}")))),
        ),
        Ask::Swap(register) => {
            let view = replica.view();
            let condition = match view.get(&key(register)) {
                Some(object) => Precondition::Revision(key(register), object.revision),
                None => Precondition::Absent(key(register)),
            };
            Command::Transact(put(register, id).require(condition))
        }
        Ask::Remove(register) => Command::Transact(
            Transaction::default()
                .require(Precondition::Live(key(register)))
                .delete(key(register)),
        ),
        Ask::Fenced(register) => {
            let leadership = replica.leadership();
            if !leadership.ready {
                return Answer::NotDone;
            }
            history.planned(id, leadership.term.0);
            Command::Transact(put(register, id).fenced(leadership.term))
        }
    };
    match replica.submit(command).await {
        Ok(Outcome::Committed { revision, .. }) => {
            if replica.view().revision() < revision {
                history.broken(format!(
                    "operation {id} was answered with revision {} before it was visible at member {}",
                    revision.0,
                    replica.node()
                ));
            }
            Answer::Committed(revision.0)
        }
        Ok(Outcome::Refused(_)) => Answer::Refused,
        Err(ProposeError::Indeterminate(_)) => Answer::Unknown,
        Err(ProposeError::Unavailable(_) | ProposeError::TooLarge { .. }) => Answer::NotDone,
    }
}

fn put(name: &str, id: u64) -> Transaction {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "simulated", "name": name, "uid": name},
        "data": {"v": mark(id)},
    });
    let encoded = encode(&object).expect("an object with metadata encodes");
    Transaction::default().put(key(name), encoded)
}
