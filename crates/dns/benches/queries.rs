//! How many queries a second the server answers over UDP: `cargo bench -p pontoon-dns`.
//!
//! 10,000 services, one address each; clients and server share the machine, 64 questions under way at a time per client.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use pontoon_dns::entry::{Address, Entry};
use pontoon_dns::forward::Forwarder;
use pontoon_dns::handler::Dns;
use pontoon_dns::server::DnsServer;
use pontoon_dns::zone::{Origin, Zone};

const SERVICES: u32 = 10_000;
const CLIENTS: usize = 2;
const WINDOW: usize = 64;
const LENGTH: Duration = Duration::from_secs(3);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let zone = Zone::new(&Origin {
        domain: "cluster.local".to_owned(),
        server: "10.96.0.10".parse().unwrap(),
        networks: Vec::new(),
    });
    let dns = Arc::new(Dns::new(zone.unwrap(), Forwarder::new(Vec::new())));
    let started = Instant::now();
    for index in 0..SERVICES {
        dns.upsert(&entry(index)).unwrap();
    }
    println!("{SERVICES} services: {:?}", started.elapsed());
    let started = Instant::now();
    dns.upsert(&entry(7)).unwrap();
    println!("one of them changed: {:?}", started.elapsed());
    let server = runtime
        .block_on(DnsServer::start(dns, "127.0.0.1:0".parse().unwrap()))
        .unwrap();
    let address = server.local_addr();
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| std::thread::spawn(move || client(address, seed)))
        .collect();
    let answers: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    println!(
        "{:.0} queries/s",
        answers as f64 / started.elapsed().as_secs_f64()
    );
}

fn entry(index: u32) -> Entry {
    Entry {
        namespace: format!("ns-{}", index % 100),
        name: format!("service-{index}"),
        address: Address::Cluster(vec![IpAddr::from((0x0a60_0000 + index).to_be_bytes())]),
        ports: Vec::new(),
        endpoints: Vec::new(),
    }
}

fn client(server: SocketAddr, seed: usize) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let questions: Vec<Vec<u8>> = (0..1_000)
        .map(|index| question(index * 7 + u32::try_from(seed).unwrap()))
        .collect();
    let mut buffer = [0; 512];
    let (mut answers, mut next) = (0, 0);
    let started = Instant::now();
    let mut send = || {
        socket.send(&questions[next % questions.len()]).unwrap();
        next += 1;
    };
    (0..WINDOW).for_each(|_| send());
    while started.elapsed() < LENGTH {
        if socket.recv(&mut buffer).is_ok() {
            answers += 1;
        }
        send();
    }
    answers
}

fn question(index: u32) -> Vec<u8> {
    let index = index % SERVICES;
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let name = format!("service-{index}.ns-{}.svc.cluster.local.", index % 100);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}
