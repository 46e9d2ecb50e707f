//! Several servers over one store: an agent has its session with one of them, and all of them reach it.

use crate::node::{Agent, pods_are_reached};
use crate::suite::grpc::Grpc;
use crate::suite::{admin, server_among};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use parking_lot::Mutex;
use pontoon_api::Term;
use pontoon_apiserver::{ApiServer, Others};
use pontoon_state::{Leadership, Solo};
use pontoon_wire::node::v1 as wire;
use pontoon_world::manual::SeededEntropy;
use pontoon_world::{Clock, World};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Time as tokio has it, which a test can pause.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + self.0.elapsed()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

type Servers = Arc<Mutex<BTreeMap<u64, Arc<ApiServer>>>>;

/// The others of server `me`, in the same process.
struct Beside {
    me: u64,
    all: Servers,
}

#[tonic::async_trait]
impl Others for Beside {
    fn me(&self) -> u64 {
        self.me
    }

    fn ids(&self) -> Vec<u64> {
        let all = self.all.lock();
        all.keys().copied().filter(|id| *id != self.me).collect()
    }

    async fn channel(&self, id: u64) -> Result<Channel, Status> {
        let server = self.all.lock().get(&id).cloned();
        let server = server.ok_or_else(|| Status::unavailable("it is away"))?;
        let dial = tower::service_fn(move |_: http::Uri| {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let routes = server.nodes().relay();
            let incoming = tokio_stream::iter([Ok::<_, std::io::Error>(theirs)]);
            tokio::spawn(
                tonic::transport::Server::builder()
                    .add_routes(routes)
                    .serve_with_incoming(incoming),
            );
            async move { Ok::<_, std::io::Error>(TokioIo::new(ours)) }
        });
        Ok(Endpoint::from_static("http://peer").connect_with_connector_lazy(dial))
    }

    fn forget(&self, _id: u64) {}
}

fn led_by(leader: Option<u64>) -> Leadership {
    Leadership {
        term: Term(1),
        leader,
        ready: false,
    }
}

/// Servers 1, which leads, 2 and 3.
async fn three() -> (Arc<Solo>, [Arc<ApiServer>; 3], Servers) {
    let solo = Solo::new();
    let world = World::new(
        Arc::new(TokioClock(Instant::now())),
        Arc::new(SeededEntropy::new(1)),
    );
    let all = Servers::default();
    let mut servers = Vec::new();
    for me in 1..=3 {
        let others = Beside {
            me,
            all: all.clone(),
        };
        let server = server_among(solo.clone(), world.clone(), Arc::new(others)).await;
        all.lock().insert(me, server.clone());
        tokio::spawn(server.nodes().clone().tell_leader());
        servers.push(server);
    }
    (solo, servers.try_into().unwrap(), all)
}

#[tokio::test]
async fn pods_are_reached_through_a_server_that_does_not_have_their_node() {
    let (_solo, [first, _, third], _) = three().await;
    let front = Grpc::new(first.clone(), admin());
    pods_are_reached(&first, &third, &front).await;
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_at_any_server_reaches_the_leader() {
    let (solo, [first, second, third], _) = three().await;
    let mut agent = Agent::start(&third, "n1").await;
    agent.synced().await;
    assert_eq!(first.liveness().last("n1"), None);
    let began = Instant::now();
    let heard = |server: &Arc<ApiServer>, after: Duration| {
        let liveness = server.liveness();
        async move {
            while liveness.last("n1").is_none_or(|last| last < after) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let limit = Duration::from_secs(3);
    tokio::time::timeout(limit, heard(&first, Duration::ZERO))
        .await
        .unwrap();
    // Without another sign nothing more is told; with one it is.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(first.liveness().last("n1").unwrap() < Duration::from_secs(5));
    let beat = wire::up::Message::Heartbeat(wire::Heartbeat::default());
    agent.send(beat).await;
    tokio::time::timeout(limit, heard(&first, began.elapsed()))
        .await
        .unwrap();
    // A new leader is told everything from the beginning, with its age.
    solo.set_leadership(led_by(Some(2)));
    tokio::time::timeout(limit, heard(&second, Duration::ZERO))
        .await
        .unwrap();
    let (old, new) = (first.liveness().last("n1"), second.liveness().last("n1"));
    let apart = old.unwrap().abs_diff(new.unwrap());
    assert!(apart < Duration::from_millis(10), "{apart:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_cut_off_sends_its_agents_away_and_takes_none() {
    let (solo, [_, _, third], all) = three().await;
    let mut agent = Agent::start(&third, "n1").await;
    agent.synced().await;
    // An election is nothing to run away from.
    solo.set_leadership(led_by(None));
    tokio::time::sleep(Duration::from_secs(3)).await;
    solo.set_leadership(led_by(Some(1)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    agent
        .send(wire::up::Message::Heartbeat(wire::Heartbeat::default()))
        .await;
    let away = all.lock().remove(&1);
    let began = Instant::now();
    let ended = loop {
        match agent.down.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    let refused = Agent::try_start(&third, "n1").await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    all.lock().extend(away.map(|server| (1, server)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    Agent::start(&third, "n1").await.synced().await;
}
