//! The name server over real sockets.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use pontoon_dns::entry::{Address, Endpoint, Entry, Port};
use pontoon_dns::forward::Forwarder;
use pontoon_dns::handler::Dns;
use pontoon_dns::limits::UDP_ANSWER_BYTES;
use pontoon_dns::server::DnsServer;
use pontoon_dns::zone::{Origin, Zone};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const PATIENCE: Duration = Duration::from_secs(10);

struct Fixture {
    dns: Arc<Dns>,
    server: DnsServer,
}

async fn serve(upstreams: Vec<SocketAddr>) -> Fixture {
    let zone = Zone::new(&Origin {
        domain: "cluster.local".to_owned(),
        server: "10.96.0.10".parse().unwrap(),
        networks: vec![("10.96.0.0".parse().unwrap(), 16)],
    });
    let dns = Arc::new(Dns::new(zone.unwrap(), Forwarder::new(upstreams)));
    dns.upsert(&entry(
        "web",
        Address::Cluster(vec!["10.96.0.20".parse().unwrap()]),
        0,
    ))
    .unwrap();
    let server = DnsServer::start(Arc::clone(&dns), "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    Fixture { dns, server }
}

fn entry(name: &str, address: Address, endpoints: u8) -> Entry {
    let endpoint = |index| Endpoint {
        addresses: vec![IpAddr::from([10, 244, 0, index])],
        hostname: Some(format!("{name}-{index}")),
        ports: vec![Port {
            name: "http".to_owned(),
            protocol: "tcp".to_owned(),
            number: 80,
        }],
    };
    Entry {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        address,
        ports: Vec::new(),
        endpoints: (0..endpoints).map(endpoint).collect(),
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

impl Fixture {
    async fn udp(&self, question: &Message) -> Message {
        Message::from_vec(&self.udp_bytes(&question.to_vec().unwrap()).await).unwrap()
    }

    async fn udp_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.server.local_addr()).await.unwrap();
        socket.send(bytes).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        buffer.truncate(length);
        buffer
    }

    async fn tcp(&self, question: &Message) -> Message {
        let mut stream = TcpStream::connect(self.server.local_addr()).await.unwrap();
        let bytes = question.to_vec().unwrap();
        stream
            .write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes())
            .await
            .unwrap();
        stream.write_all(&bytes).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await.unwrap();
        Message::from_vec(&buffer).unwrap()
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.udp(&query(name, kind)).await
    }
}

fn texts(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

/// An upstream server that knows `www.example.com` and nothing else.
async fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer =
                Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
            let asked = question.queries[0].clone();
            answer.add_query(asked.clone());
            if asked
                .name()
                .to_string()
                .eq_ignore_ascii_case("www.example.com.")
            {
                if asked.query_type() == RecordType::A {
                    let data = RData::A(A::new(192, 0, 2, 7));
                    answer.add_answer(Record::from_rdata(asked.name().clone(), 60, data));
                }
            } else {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            socket
                .send_to(&answer.to_vec().unwrap(), peer)
                .await
                .unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_service_answers_over_udp_and_tcp() {
    let fixture = serve(Vec::new()).await;
    let question = query("web.shop.svc.cluster.local.", RecordType::A);
    for answer in [fixture.udp(&question).await, fixture.tcp(&question).await] {
        assert_eq!(texts(&answer), ["10.96.0.20"]);
        assert_eq!(answer.metadata.id, 7);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
        assert_eq!(answer.queries, question.queries);
    }
    fixture.server.shutdown().await;
}

#[tokio::test]
async fn the_question_comes_back_in_the_case_it_was_asked() {
    let fixture = serve(Vec::new()).await;
    let answer = fixture
        .ask("wEb.SHOP.svc.Cluster.local.", RecordType::A)
        .await;
    assert_eq!(texts(&answer), ["10.96.0.20"]);
    assert_eq!(
        answer.queries[0].name().to_string(),
        "wEb.SHOP.svc.Cluster.local."
    );
}

#[tokio::test]
async fn what_is_not_there_comes_with_the_zones_soa() {
    let fixture = serve(Vec::new()).await;
    for (name, kind, code) in [
        (
            "web.shop.svc.cluster.local.",
            RecordType::AAAA,
            ResponseCode::NoError,
        ),
        (
            "none.shop.svc.cluster.local.",
            RecordType::A,
            ResponseCode::NXDomain,
        ),
    ] {
        let answer = fixture.ask(name, kind).await;
        assert_eq!(answer.metadata.response_code, code);
        assert!(answer.answers.is_empty());
        assert_eq!(answer.authorities.len(), 1);
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
    }
}

#[tokio::test]
async fn the_next_query_sees_a_change() {
    let fixture = serve(Vec::new()).await;
    let name = "db.shop.svc.cluster.local.";
    fixture
        .dns
        .upsert(&entry("db", Address::Headless, 2))
        .unwrap();
    let mut found = texts(&fixture.ask(name, RecordType::A).await);
    found.sort();
    assert_eq!(found, ["10.244.0.0", "10.244.0.1"]);
    fixture.dns.replace(&[entry("db", Address::Headless, 1)]);
    assert_eq!(
        texts(&fixture.ask(name, RecordType::A).await),
        ["10.244.0.0"]
    );
    let web = fixture
        .ask("web.shop.svc.cluster.local.", RecordType::A)
        .await;
    assert_eq!(web.metadata.response_code, ResponseCode::NXDomain);
    fixture.dns.remove("shop", "db");
    assert_eq!(
        fixture
            .ask(name, RecordType::A)
            .await
            .metadata
            .response_code,
        ResponseCode::NXDomain
    );
}

#[tokio::test]
async fn endpoints_take_turns_in_being_the_first() {
    let fixture = serve(Vec::new()).await;
    fixture
        .dns
        .upsert(&entry("db", Address::Headless, 3))
        .unwrap();
    let mut firsts = Vec::new();
    for _ in 0..3 {
        firsts.push(
            texts(
                &fixture
                    .ask("db.shop.svc.cluster.local.", RecordType::A)
                    .await,
            )[0]
            .clone(),
        );
    }
    firsts.sort();
    assert_eq!(firsts, ["10.244.0.0", "10.244.0.1", "10.244.0.2"]);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_cut_and_whole_over_tcp() {
    let fixture = serve(Vec::new()).await;
    fixture
        .dns
        .upsert(&entry("db", Address::Headless, 200))
        .unwrap();
    let mut question = query("db.shop.svc.cluster.local.", RecordType::A);
    let plain = question.to_vec().unwrap();
    let bytes = fixture.udp_bytes(&plain).await;
    assert!(bytes.len() <= 512 && Message::from_vec(&bytes).unwrap().metadata.truncation);
    let mut edns = Edns::new();
    edns.set_max_payload(4_096).set_version(0);
    question.set_edns(edns);
    let bytes = fixture.udp_bytes(&question.to_vec().unwrap()).await;
    assert!(
        bytes.len() > 512 && bytes.len() <= usize::from(UDP_ANSWER_BYTES),
        "{}",
        bytes.len()
    );
    assert!(Message::from_vec(&bytes).unwrap().metadata.truncation);
    let whole = fixture.tcp(&question).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 200);
}

#[tokio::test]
async fn other_names_are_forwarded_and_without_an_upstream_fail_at_once() {
    let fixture = serve(vec![upstream().await]).await;
    let answer = fixture.ask("www.example.com.", RecordType::A).await;
    assert_eq!(texts(&answer), ["192.0.2.7"]);
    assert!(!answer.metadata.authoritative);
    assert_eq!(
        fixture
            .ask("no.example.com.", RecordType::A)
            .await
            .metadata
            .response_code,
        ResponseCode::NXDomain
    );
    let alone = serve(Vec::new()).await;
    let started = Instant::now();
    let answer = alone.ask("www.example.com.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_external_name_leads_to_what_it_names() {
    let fixture = serve(vec![upstream().await]).await;
    fixture
        .dns
        .upsert(&entry(
            "out",
            Address::External("www.example.com".to_owned()),
            0,
        ))
        .unwrap();
    fixture
        .dns
        .upsert(&entry(
            "in",
            Address::External("web.shop.svc.cluster.local".to_owned()),
            0,
        ))
        .unwrap();
    fixture
        .dns
        .upsert(&entry(
            "loop",
            Address::External("loop.shop.svc.cluster.local".to_owned()),
            0,
        ))
        .unwrap();
    let out = fixture
        .ask("out.shop.svc.cluster.local.", RecordType::A)
        .await;
    assert_eq!(texts(&out), ["www.example.com.", "192.0.2.7"]);
    let inside = fixture
        .ask("in.shop.svc.cluster.local.", RecordType::A)
        .await;
    assert_eq!(
        texts(&inside),
        ["web.shop.svc.cluster.local.", "10.96.0.20"]
    );
    let round = fixture
        .ask("loop.shop.svc.cluster.local.", RecordType::A)
        .await;
    assert_eq!(round.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_known_pods_search_list_is_walked_in_one_round_trip() {
    let fixture = serve(vec![upstream().await]).await;
    let searches = [
        "shop.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
        "corp.example",
    ]
    .map(str::to_owned);
    let first = |name: &str| format!("{name}.shop.svc.cluster.local.");
    // A stranger has to walk by itself.
    let stranger = fixture.ask(&first("www.example.com"), RecordType::A).await;
    assert_eq!(stranger.metadata.response_code, ResponseCode::NXDomain);
    fixture
        .dns
        .set_client("127.0.0.1".parse().unwrap(), &searches);
    let outside = fixture.ask(&first("www.example.com"), RecordType::A).await;
    assert_eq!(texts(&outside), ["www.example.com.", "192.0.2.7"]);
    assert_eq!(
        outside.answers[0].name.to_string(),
        first("www.example.com")
    );
    let empty = fixture
        .ask(&first("www.example.com"), RecordType::AAAA)
        .await;
    assert_eq!(
        (empty.metadata.response_code, texts(&empty)),
        (ResponseCode::NoError, vec!["www.example.com.".to_owned()])
    );
    let inside = fixture.ask(&first("web.shop"), RecordType::A).await;
    assert_eq!(
        texts(&inside),
        ["web.shop.svc.cluster.local.", "10.96.0.20"]
    );
    for none in ["nowhere", "no.example.com"] {
        let answer = fixture.ask(&first(none), RecordType::A).await;
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::NXDomain,
            "{none}"
        );
    }
    fixture.dns.remove_client("127.0.0.1".parse().unwrap());
    let stranger = fixture.ask(&first("www.example.com"), RecordType::A).await;
    assert_eq!(stranger.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn what_is_not_a_plain_question_is_refused() {
    let fixture = serve(Vec::new()).await;
    let name = "web.shop.svc.cluster.local.";
    for (kind, code) in [
        (RecordType::AXFR, ResponseCode::Refused),
        (RecordType::ANY, ResponseCode::NotImp),
    ] {
        assert_eq!(fixture.ask(name, kind).await.metadata.response_code, code);
    }
    let mut chaos = query(name, RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(
        fixture.udp(&chaos).await.metadata.response_code,
        ResponseCode::Refused
    );
    let mut update = query(name, RecordType::A);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(
        fixture.udp(&update).await.metadata.response_code,
        ResponseCode::NotImp
    );
    let mut later = query(name, RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(1_232).set_version(1);
    later.set_edns(edns);
    // BADVERS and BADSIG share the number 16.
    assert_eq!(
        u16::from(fixture.udp(&later).await.metadata.response_code),
        u16::from(ResponseCode::BADVERS)
    );
    let mut two = query(name, RecordType::A);
    two.add_query(Query::query(
        Name::from_ascii(name).unwrap(),
        RecordType::AAAA,
    ));
    assert_eq!(
        fixture.udp(&two).await.metadata.response_code,
        ResponseCode::FormErr
    );
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let fixture = serve(Vec::new()).await;
    let error = DnsServer::start(Arc::clone(&fixture.dns), fixture.server.local_addr())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot serve DNS"), "{error}");
}

/// A question with some of its bytes changed, or bytes of no sense at all.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let question = query("web.shop.svc.cluster.local.", RecordType::A)
        .to_vec()
        .unwrap();
    let changed = proptest::collection::vec((0..question.len(), any::<u8>()), 1..6).prop_map(
        move |changes| {
            let mut bytes = question.clone();
            changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            bytes
        },
    );
    prop_oneof![changed, proptest::collection::vec(any::<u8>(), 0..600)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, the server goes on serving.
    #[test]
    fn no_packet_ends_the_server(packets in proptest::collection::vec(packet(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = serve(Vec::new()).await;
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            for packet in &packets {
                socket.send_to(packet, fixture.server.local_addr()).await.unwrap();
            }
            let mut stream = TcpStream::connect(fixture.server.local_addr()).await.unwrap();
            let _ = stream.write_all(&packets.concat()).await;
            let answer = fixture.ask("web.shop.svc.cluster.local.", RecordType::A).await;
            assert_eq!(texts(&answer), ["10.96.0.20"]);
        });
    }
}
