#![allow(clippy::unwrap_used)]
use super::*;
use pontoon_api::NodeName;
use pontoon_identity::authority::node_request;
use pontoon_identity::{JoinToken, Pin, Role};
use pontoon_state::membership::Alone;
use pontoon_state::records::Token;
use pontoon_state::{Key, Solo};
use pontoon_world::manual::{ManualClock, world};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

struct Office {
    registrar: Registrar,
    replica: Arc<Solo>,
    clock: Arc<ManualClock>,
    _pki: tempfile::TempDir,
}

/// A cluster whose first member is known.
async fn office() -> Office {
    let (world, clock) = world(jiff::Timestamp::from_second(1_800_000_000).unwrap(), 7);
    let pki = tempfile::tempdir().unwrap();
    let authorities = Arc::new(Authorities::open(pki.path(), &world).unwrap());
    let replica = Solo::new();
    let settings = Settings {
        service_cidr: "10.96.0.0/16".into(),
        pod_cidr: "10.244.0.0/16".into(),
        cluster_domain: "cluster.local".into(),
    };
    let registrar = Registrar::new(
        replica.clone(),
        Arc::new(Alone),
        Some(authorities),
        world,
        "c1".into(),
        settings,
    );
    registrar
        .register("10.0.0.1:6444", "10.0.0.1:6443", "1")
        .await
        .unwrap();
    Office {
        registrar,
        replica,
        clock,
        _pki: pki,
    }
}

impl Office {
    async fn token(&self, role: Role, node_name: &str) -> String {
        let wanted = Wanted {
            role,
            ttl: Duration::ZERO,
            node_name: node_name.into(),
        };
        self.registrar
            .create_token(&wanted)
            .await
            .unwrap()
            .token
            .reveal()
    }

    async fn server(&self, token: &str, attempt: &str, host: &str) -> Result<ServerPlace, String> {
        let request = ServerRequest {
            token: token.into(),
            attempt: attempt.into(),
            peer_address: format!("{host}:6444"),
            api_address: format!("{host}:6443"),
            version: "1".into(),
        };
        let place = self.registrar.join_server(&request).await;
        place.map_err(|error| error.to_string())
    }

    async fn agent(&self, token: &str, attempt: &str, name: &str) -> Result<AgentPlace, String> {
        let (_, csr) = node_request(&NodeName::new(name)).unwrap();
        let request = AgentRequest {
            token: token.into(),
            attempt: attempt.into(),
            node_name: name.into(),
            csr,
        };
        let place = self.registrar.join_agent(&request).await;
        place.map_err(|error| error.to_string())
    }
}

const FIRST: &str = "attempt-of-the-first";
const SECOND: &str = "attempt-of-the-second";

#[tokio::test]
async fn a_token_gives_one_server_one_place_however_often_it_asks() {
    let office = office().await;
    let token = office.token(Role::Server, "").await;
    let place = office.server(&token, FIRST, "10.0.0.2").await.unwrap();
    assert_eq!((place.member, place.cluster.as_str()), (2, "c1"));
    assert_eq!(place.members.len(), 2);
    let again = office.server(&token, FIRST, "10.0.0.2").await.unwrap();
    assert_eq!((again.member, again.members.len()), (2, 2));
    let other = office.server(&token, SECOND, "10.0.0.3").await.unwrap_err();
    assert!(other.contains("was used already, by member/2"), "{other}");
}

#[tokio::test]
async fn two_servers_that_come_at_once_with_one_token_are_not_both_let_in() {
    let office = office().await;
    let token = office.token(Role::Server, "").await;
    let (one, two) = tokio::join!(
        office.server(&token, FIRST, "10.0.0.2"),
        office.server(&token, SECOND, "10.0.0.3")
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said() {
    let office = office().await;
    let unknown = JoinToken::generate(
        Role::Server,
        office.registrar.authorities().unwrap().cluster.pin(),
    );
    let other_pin = Pin::of(&rustls::pki_types::CertificateDer::from_slice(b"another"));
    let elsewhere = JoinToken::generate(Role::Server, other_pin)
        .unwrap()
        .reveal();
    let agents = office.token(Role::Agent, "").await;
    let good = office.token(Role::Server, "").await;
    // Of the right id and another secret.
    let forged = {
        let mut parts: Vec<&str> = good.split('.').collect();
        parts[3] = "00000000000000000000000000000000";
        parts.join(".")
    };
    for (token, words) in [
        (unknown.unwrap().reveal(), "is not known here"),
        (elsewhere, "is another cluster's"),
        (agents, "is for an agent, not for a server"),
        (forged, "is not known here"),
        ("rubbish".to_owned(), "not a join token"),
    ] {
        let error = office.server(&token, FIRST, "10.0.0.2").await.unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    office.clock.advance(DAY);
    let error = office.server(&good, FIRST, "10.0.0.2").await.unwrap_err();
    assert!(error.contains("expired at"), "{error}");
    let (_, record) = office.registrar.list_tokens().await.unwrap().remove(0);
    assert!(!record.hash.is_empty() && !good.contains(&record.hash));
}

#[tokio::test]
async fn an_id_is_never_given_again() {
    let office = office().await;
    let token = office.token(Role::Server, "").await;
    assert_eq!(
        office
            .server(&token, FIRST, "10.0.0.2")
            .await
            .unwrap()
            .member,
        2
    );
    office.registrar.wish(2, Wish::Removed).await.unwrap();
    let back = office.server(&token, FIRST, "10.0.0.2").await.unwrap_err();
    assert!(
        back.contains("member 2, which joined with this token, was removed"),
        "{back}"
    );
    let token = office.token(Role::Server, "").await;
    assert_eq!(
        office
            .server(&token, SECOND, "10.0.0.2")
            .await
            .unwrap()
            .member,
        3
    );
}

#[tokio::test]
async fn a_server_needs_addresses_of_its_own_that_can_be_dialled() {
    let office = office().await;
    let token = office.token(Role::Server, "").await;
    for (host, words) in [
        ("10.0.0.1", "member 1 has the peer address"),
        ("0.0.0.0", "--peer-advertise"),
        ("", "is not HOST:PORT"),
    ] {
        let error = office.server(&token, FIRST, host).await.unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn tokens_that_nobody_can_ask_for_any_more_are_forgotten() {
    let office = office().await;
    office.token(Role::Server, "").await;
    office.clock.advance(9 * DAY);
    let token = office.token(Role::Server, "").await;
    let kept = office.registrar.list_tokens().await.unwrap();
    assert_eq!(kept.len(), 1);
    office.registrar.revoke_token(&token).await.unwrap();
    assert!(office.registrar.list_tokens().await.unwrap().is_empty());
    assert!(office.registrar.revoke_token(&kept[0].0).await.is_err());
}

#[tokio::test]
async fn a_token_lasts_a_week_at_most_and_only_agents_tokens_are_for_a_node() {
    let office = office().await;
    let wanted = |ttl, role, node_name: &str| Wanted {
        role,
        ttl,
        node_name: node_name.into(),
    };
    for wrong in [
        wanted(8 * DAY, Role::Server, ""),
        wanted(DAY, Role::Server, "a"),
        wanted(DAY, Role::Agent, "A B"),
    ] {
        let error = office.registrar.create_token(&wrong).await.unwrap_err();
        assert!(matches!(error, RegistrarError::Invalid(_)), "{error}");
    }
}

#[tokio::test]
async fn an_agent_gets_a_certificate_for_the_node_that_its_token_allows() {
    let office = office().await;
    let bound = office.token(Role::Agent, "edge-1").await;
    let error = office.agent(&bound, FIRST, "edge-2").await.unwrap_err();
    assert!(error.contains("is for node edge-1"), "{error}");
    let place = office.agent(&bound, FIRST, "edge-1").await.unwrap();
    assert_eq!(place.servers, ["https://10.0.0.1:6443"]);
    let shown = pontoon_identity::pem::certificates("a", place.certificate.as_bytes()).unwrap();
    let identity = Identity::of_certificate(&shown[0]).unwrap();
    assert_eq!(identity.node(), Some(NodeName::new("edge-1")));
    office.agent(&bound, FIRST, "edge-1").await.unwrap();
    assert!(
        office.agent(&bound, SECOND, "edge-1").await.is_err(),
        "a token is good for one"
    );
    // A name that is taken needs a token that says so.
    let node =
        serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-3"}});
    let put = Transaction::default().put(
        Key::new("nodes", "", "edge-3"),
        pontoon_state::encode(&node).unwrap(),
    );
    office
        .replica
        .propose(put)
        .await
        .unwrap()
        .committed()
        .unwrap();
    let any = office.token(Role::Agent, "").await;
    let error = office.agent(&any, FIRST, "edge-3").await.unwrap_err();
    assert!(error.contains("there is a node edge-3 already"), "{error}");
    let renewed = office
        .registrar
        .renew(&identity, &node_request(&NodeName::new("x")).unwrap().1)
        .unwrap();
    let shown = pontoon_identity::pem::certificates("a", renewed.certificate.as_bytes()).unwrap();
    assert_eq!(
        Identity::of_certificate(&shown[0]).unwrap(),
        identity,
        "whatever the request says"
    );
    let admin = crate::authenticate::administrator("root");
    assert!(office.registrar.renew(&admin, "").is_err());
}

#[tokio::test]
async fn a_record_of_a_token_holds_no_secret() {
    let office = office().await;
    let token = office.token(Role::Server, "").await;
    let secret = token.split('.').nth(3).unwrap();
    let view = office.replica.view();
    for object in view.list(Token::RESOURCE, None) {
        assert!(!String::from_utf8_lossy(&object.json).contains(secret));
    }
}
