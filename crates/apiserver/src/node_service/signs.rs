//! Signs of life on their way to the leader, which alone judges nodes: whichever server an agent has its session with tells the
//! leader which nodes it has heard of, about once a second, in one message for all of them.
//!
//! The same message tells this server whether it still belongs to the cluster. One that reaches no leader for a while is
//! cut off: it ends its sessions, so that agents go to a server that is not, before their nodes are taken for dead.

use super::{Inner, NodeService};
use crate::limits::{CUT_OFF, SIGNS_DEADLINE, SIGNS_PERIOD};
use pontoon_wire::node::v1 as wire;
use pontoon_wire::node::v1::relay_client::RelayClient;
use std::time::Duration;
use tonic::{Code, Status};

/// What was told to whom, to tell each sign once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    leader: u64,
    /// Signs up to then, in the world's monotonic time.
    until: Duration,
}

impl NodeService {
    /// Tells the leader which nodes are heard of, for as long as the server runs.
    pub async fn tell_leader(self) {
        let inner = self.inner;
        let mut told = None;
        let mut reached = inner.monotonic();
        loop {
            tokio::select! {
                () = inner.stopping.cancelled() => return,
                () = tokio::time::sleep(SIGNS_PERIOD) => {}
            }
            match inner.tell(told).await {
                Ok(now) => {
                    told = now;
                    reached = inner.monotonic();
                }
                Err(error) => {
                    told = None;
                    tracing::debug!(%error, "nodes' signs of life do not reach the leader");
                }
            }
            let silent = inner.monotonic().saturating_sub(reached);
            inner.cut_off.send_if_modified(|cut_off| {
                let changed = *cut_off != (silent > CUT_OFF);
                *cut_off = silent > CUT_OFF;
                changed
            });
        }
    }
}

impl Inner {
    pub(super) fn monotonic(&self) -> Duration {
        self.verbs.world.clock().monotonic()
    }

    /// Tells the leader what it was not told yet.
    async fn tell(&self, told: Option<Told>) -> Result<Option<Told>, Status> {
        let leader = self.verbs.replica.leadership().leader;
        let leader = leader.ok_or_else(|| Status::unavailable("no leader is known"))?;
        if leader == self.others.me() || self.others.ids().is_empty() {
            return Ok(None);
        }
        let now = self.monotonic();
        let since = told
            .filter(|told| told.leader == leader)
            .map_or(Duration::ZERO, |told| told.until);
        let connected = self.sessions.lock().keys().cloned().collect::<Vec<_>>();
        let heard = connected.into_iter().filter_map(|node| {
            let last = self.liveness.last(&node).filter(|last| *last >= since)?;
            Some(wire::Sign {
                node,
                ago_millis: millis(now.saturating_sub(last)),
            })
        });
        let request = wire::HeardRequest {
            signs: heard.collect(),
        };
        let exchange = async {
            let channel = self.others.channel(leader).await?;
            RelayClient::new(channel).heard(request).await
        };
        let answer = tokio::time::timeout(SIGNS_DEADLINE, exchange).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        match answer {
            Ok(_) => Ok(Some(Told { leader, until: now })),
            Err(status) => {
                // Who says that it does not lead is there; the connection is good.
                if status.code() != Code::FailedPrecondition {
                    self.others.forget(leader);
                }
                Err(status)
            }
        }
    }

    /// Takes another server's signs, if this one leads.
    pub(super) fn take_signs(&self, signs: &[wire::Sign]) -> Result<(), Status> {
        if self.verbs.replica.leadership().leader != Some(self.others.me()) {
            return Err(Status::failed_precondition("this server does not lead"));
        }
        let now = self.monotonic();
        for sign in signs {
            let ago = Duration::from_millis(sign.ago_millis.into());
            // One from before this process' clock began is as old as the clock.
            self.liveness.beat(&sign.node, now.saturating_sub(ago));
        }
        Ok(())
    }

    /// Waits until this server is cut off from the leader.
    pub(super) async fn is_cut_off(&self) {
        let mut cut_off = self.cut_off.subscribe();
        if cut_off.wait_for(|cut_off| *cut_off).await.is_err() {
            // The sender lives as long as this does.
            std::future::pending::<()>().await;
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
