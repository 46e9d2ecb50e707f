//! Runs a test's body in namespaces of its own, and sockets in the namespaces of pods.

use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use pontoon_api::name::PodUid;
use pontoon_network::dataplane::{
    Attached, Dataplane, Endpoint, InternalTraffic, PodAttachment, Protocol, ServiceKey,
    ServicePort, ServiceRule,
};
use pontoon_network::linux::{Config, LinuxDataplane};

const INSIDE: &str = "PONTOON_NETWORK_TEST_IS_INSIDE";
/// How long a connection or an answer may take before the test calls it lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `body` in a copy of this test binary that `unshare` has put into fresh namespaces. `name` is the test's own path.
pub fn isolated<F: Future<Output = ()>>(name: &str, body: impl FnOnce(PathBuf) -> F) {
    let name = name.strip_prefix("linux::").unwrap_or(name);
    if std::env::var_os(INSIDE).is_some() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(body(dir.path().to_path_buf()));
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]);
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("the program unshare of the package util-linux runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    eprint!("{err}");
    assert!(
        output.status.success() && out.contains("1 passed"),
        "in namespaces of its own:\n{out}\n{err}"
    );
}

/// The name of the test that calls it, as the test runner knows it.
macro_rules! test_name {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        name.strip_suffix("::here").unwrap()
    }};
}
pub(crate) use test_name;

pub fn config(state_dir: &Path) -> Config {
    Config {
        instance: "test".to_owned(),
        state_dir: state_dir.to_path_buf(),
        pods: "10.244.0.0/24".parse().unwrap(),
        cluster: "10.244.0.0/16".parse().unwrap(),
        services: "10.96.0.0/16".parse().unwrap(),
        dns_address: "10.96.0.10".parse().unwrap(),
        node_address: None,
        mtu: 1_500,
        lacks: Vec::new(),
    }
}

pub async fn start(state_dir: &Path) -> LinuxDataplane {
    LinuxDataplane::start(config(state_dir)).await.unwrap()
}

pub fn attachment(name: &str) -> PodAttachment {
    PodAttachment {
        uid: PodUid::new(&format!("uid-of-{name}")),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        hostname: name.to_owned(),
        host_ports: Vec::new(),
    }
}

pub async fn attach(plane: &LinuxDataplane, name: &str) -> Attached {
    plane.attach(&attachment(name)).await.unwrap()
}

/// Does something in a pod's network. A socket made there stays there.
pub fn inside<T: Send>(pod: &Attached, work: impl FnOnce() -> T + Send) -> T {
    let netns = File::open(pod.netns_path.as_ref().unwrap()).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// A server in the pod that greets with the pod's name and the caller's address.
pub fn serve_tcp(pod: &Attached) -> SocketAddr {
    let ip = pod.ip;
    let listener = inside(pod, move || TcpListener::bind((ip, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    let name = pod.name.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            let _ = stream.write_all(format!("{name} {peer}").as_bytes());
            let mut rest = [0; 16];
            // Whatever the client says next is echoed, so that a connection can be seen to live.
            std::thread::spawn(move || {
                while let Ok(count @ 1..) = stream.read(&mut rest) {
                    let _ = stream.write_all(&rest[..count]);
                }
            });
        }
    });
    address
}

/// A server in the pod that answers each datagram with the pod's name.
pub fn serve_udp(pod: &Attached) -> SocketAddr {
    let ip = pod.ip;
    let socket = inside(pod, move || UdpSocket::bind((ip, 0)).unwrap());
    let address = socket.local_addr().unwrap();
    let name = pod.name.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(name.as_bytes(), peer);
        }
    });
    address
}

/// The greeting of a server: who answered, and whom it saw.
pub fn call(address: SocketAddr) -> std::io::Result<(String, IpAddr)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    greeting(&mut stream)
}

pub fn greeting(stream: &mut TcpStream) -> std::io::Result<(String, IpAddr)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = [0; 128];
    let count = stream.read(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
    let (name, peer) = text.split_once(' ').unwrap();
    Ok((name.to_owned(), peer.parse().unwrap()))
}

pub fn ask(socket: &UdpSocket) -> std::io::Result<String> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = [0; 64];
    socket.send(b"who")?;
    let count = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

pub fn udp_to(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(address).unwrap();
    socket
}

pub fn key(name: &str) -> ServiceKey {
    ServiceKey {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

pub fn service(
    name: &str,
    address: &str,
    protocol: Protocol,
    endpoints: &[SocketAddr],
) -> ServiceRule {
    let address: SocketAddr = address.parse().unwrap();
    let endpoints = endpoints
        .iter()
        .map(|address| Endpoint {
            address: *address,
            local: true,
        })
        .collect();
    let port = ServicePort {
        name: String::new(),
        protocol,
        port: address.port(),
        node_port: None,
        endpoints,
    };
    ServiceRule {
        key: key(name),
        cluster_ips: vec![address.ip()],
        ports: vec![port],
        affinity: None,
        internal_traffic: InternalTraffic::Cluster,
    }
}

/// What a program of the system prints.
pub fn output_of(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
