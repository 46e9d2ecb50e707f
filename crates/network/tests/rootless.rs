//! A node in namespaces of its own, as an ordinary user and as root: entered, killed, entered again, dissolved.
//!
//! The test plays all parts: started without a part it directs the others. When it is root it also runs everything as user 65534
//! (`nobody`), from a directory which that user may write.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use pontoon_api::name::PodUid;
use pontoon_network::dataplane::{
    Dataplane, Endpoint, InternalTraffic, PodAttachment, Protocol, ServiceDelta, ServiceKey,
    ServicePort, ServiceRule,
};
use pontoon_network::linux::{Config, LinuxDataplane};
use pontoon_network::rootless::{Entered, Options, Outbound, dissolve, enter, holder_main};

const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(10);
const SERVICE: &str = "10.96.0.20:80";

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let word = |index: usize| {
        words
            .get(index)
            .and_then(|word| word.to_str())
            .unwrap_or_default()
    };
    match word(1) {
        "__hold" => return holder_main(),
        "__node" => node(Path::new(word(2)), word(3)),
        "__server" => server(Path::new(word(2)), word(3)),
        "__all" => all(Path::new(word(2))),
        // What a test runner asks for when it lists tests.
        "--list" => {}
        _ => direct(),
    }
    ExitCode::SUCCESS
}

/// Runs everything as the user who started the test, and as an ordinary one too if that was root.
fn direct() {
    let mut users = vec![None];
    if nix::unistd::geteuid().is_root() {
        users.push(Some(NOBODY));
    }
    for user in users {
        let dir = tempfile::tempdir().unwrap();
        // A copy: the build directory may be closed to the other user.
        let program = dir.path().join("rootless-test");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(&program);
        if let Some(user) = user {
            chown(dir.path(), Some(user), Some(user)).unwrap();
            command.uid(user).gid(user);
        }
        println!(
            "as {}",
            user.map_or_else(|| "the caller".to_owned(), |user| format!("user {user}"))
        );
        let status = command
            .arg("__all")
            .arg(dir.path())
            .current_dir("/")
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        // Mounts or processes left behind would keep the directory.
        assert!(
            !fs::read_to_string("/proc/mounts")
                .unwrap()
                .contains(dir.path().to_str().unwrap())
        );
        dir.close().unwrap();
    }
}

fn all(dir: &Path) {
    let state = dir.join("state");
    let first = Node::start(&state, "first");
    assert!(!first.entered_found());
    assert_eq!(first.ask(), "server");
    println!(
        "ok: a service of a pod answers, and a listener bound before entering is reached from outside"
    );
    let holder = first.holder;
    first.kill();
    assert!(alive(holder), "the holder outlives a killed node");

    let second = Node::start(&state, "second");
    assert!(second.entered_found());
    assert_eq!(second.holder, holder);
    assert_eq!(second.ask(), "server");
    println!("ok: a killed node's pod answers, and the next node finds it");
    second.finish();
    assert!(!alive(holder));
    let left: Vec<_> = processes_with(dir)
        .into_iter()
        .filter(|pid| *pid != std::process::id())
        .collect();
    assert!(left.is_empty(), "processes left: {left:?}");
    fs::remove_dir_all(&state).unwrap();
    println!("ok: after dissolving no process and no mount is left");
    limit_of_namespaces_is_told(dir);
}

/// Where namespaces are forbidden, the error says so. A limit inside a namespace of our own stands for the machine's.
fn limit_of_namespaces_is_told(dir: &Path) {
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec {} __node {} forbidden",
        std::env::current_exe().unwrap().display(),
        dir.join("forbidden").display(),
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", &script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("forbidden"),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("ok: {}", text.trim());
}

/// A running node process, as its director sees it.
struct Node {
    child: Child,
    outside: SocketAddr,
    holder: u32,
    found: bool,
}

impl Node {
    fn start(state: &Path, part: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("__node")
            .arg(state)
            .arg(part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        let [outside, holder, found] = words[..] else {
            panic!("the node said {line:?}")
        };
        Self {
            child,
            outside: outside.parse().unwrap(),
            holder: holder.parse().unwrap(),
            found: found.parse().unwrap(),
        }
    }

    fn entered_found(&self) -> bool {
        self.found
    }

    /// Asks the node through its outside listener what the service inside answers.
    fn ask(&self) -> String {
        read(TcpStream::connect_timeout(&self.outside, PATIENCE).unwrap())
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets the node tear everything down.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

fn read(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The part of `pontoon dev`.
fn node(state: &Path, part: &str) {
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = std::env::current_exe().unwrap();
    let options = Options {
        state_dir: state.to_owned(),
        holder_command: vec![program.into(), "__hold".into()],
    };
    let started = Instant::now();
    let entered = match enter(&options) {
        Ok(entered) => entered,
        Err(error) => return println!("{part}: {error}"),
    };
    eprintln!("note: entered in {:?}", started.elapsed());
    assert!(nix::unistd::geteuid().is_root());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(state, &entered, outside));
}

async fn run(state: &Path, entered: &Entered, outside: TcpListener) {
    let plane = LinuxDataplane::start(config(state, entered)).await.unwrap();
    let pod = PodAttachment {
        uid: PodUid::new("uid-1"),
        namespace: "default".to_owned(),
        name: "pod".to_owned(),
        hostname: "pod".to_owned(),
        host_ports: Vec::new(),
    };
    let known = plane.attached();
    let attached = plane.attach(&pod).await.unwrap();
    assert_eq!(known.first(), entered.found.then_some(&attached));
    let endpoint = SocketAddr::new(attached.ip, 8_080);
    let netns = attached.netns_path.unwrap();
    let pid_file = state.join("server.pid");
    if !entered.found {
        start_server(&netns, endpoint, &pid_file);
    }
    plane
        .apply_services(ServiceDelta {
            upsert: vec![service(endpoint)],
            remove: Vec::new(),
        })
        .await
        .unwrap();
    let _dns = UdpSocket::bind((plane.dns_address(), 53)).unwrap();
    way_out(&entered.outbound, &netns);

    println!(
        "{} {} {}",
        outside.local_addr().unwrap(),
        entered.holder,
        entered.found
    );
    std::thread::spawn(move || {
        for stream in outside.incoming() {
            let answer =
                read(TcpStream::connect_timeout(&SERVICE.parse().unwrap(), PATIENCE).unwrap());
            stream.unwrap().write_all(answer.as_bytes()).unwrap();
        }
    });
    // Until the director closes its end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let server: i32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(server),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    plane.teardown().await.unwrap();
    dissolve(state).unwrap();
}

fn config(state: &Path, entered: &Entered) -> Config {
    Config {
        instance: "rootless".to_owned(),
        state_dir: state.join("network"),
        pods: "10.244.0.0/24".parse().unwrap(),
        cluster: "10.244.0.0/16".parse().unwrap(),
        services: "10.96.0.0/16".parse().unwrap(),
        dns_address: "10.96.0.10".parse().unwrap(),
        node_address: None,
        mtu: 1_500,
        lacks: entered.lacks(),
    }
}

fn service(endpoint: SocketAddr) -> ServiceRule {
    let address: SocketAddr = SERVICE.parse().unwrap();
    ServiceRule {
        key: ServiceKey {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        },
        cluster_ips: vec![address.ip()],
        ports: vec![ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: address.port(),
            node_port: None,
            endpoints: vec![Endpoint {
                address: endpoint,
                local: true,
            }],
        }],
        affinity: None,
        internal_traffic: InternalTraffic::Cluster,
    }
}

/// Starts a process of the pod, which outlives the node that started it.
#[expect(
    clippy::zombie_processes,
    reason = "it is ended by another process than the one that started it"
)]
fn start_server(netns: &Path, at: SocketAddr, pid_file: &Path) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            OsString::from("__server"),
            netns.into(),
            at.to_string().into(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    fs::write(pid_file, child.id().to_string()).unwrap();
    let started = Instant::now();
    while TcpStream::connect_timeout(&at, PATIENCE).is_err() {
        assert!(started.elapsed() < PATIENCE, "the pod's server comes up");
        std::thread::yield_now();
    }
}

/// The part of a pod's process.
fn server(netns: &Path, at: &str) {
    setns(File::open(netns).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
    let listener = TcpListener::bind(at).unwrap();
    for stream in listener.incoming() {
        // A caller that only looked whether someone listens may be gone.
        let _ = stream.unwrap().write_all(b"server");
    }
}

/// With slirp4netns, a pod has a route to the machine's networks; without it, the reason is given.
fn way_out(outbound: &Outbound, netns: &Path) {
    match outbound {
        Outbound::Slirp { resolver } => {
            let netns = File::open(netns).unwrap();
            let resolver = SocketAddr::from((*resolver, 53));
            let answered = std::thread::spawn(move || {
                setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                // A query for the root's name servers; any answer, even a refusal, has been outside and back.
                let query = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.connect(resolver).unwrap();
                socket.send(&query).unwrap();
                let mut answer = [0; 512];
                socket.recv(&mut answer).map(|_| answer[..2] == [0, 7])
            });
            let answered = answered.join().unwrap();
            eprintln!("note: a pod's query through slirp4netns: {answered:?}");
        }
        Outbound::None { why } => eprintln!("note: no way out: {why}"),
    }
}

fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Processes that run a program under `dir`.
fn processes_with(dir: &Path) -> Vec<u32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let runs = |pid: &u32| {
        let program: PathBuf = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        program.starts_with(dir)
    };
    pids.filter(runs).collect()
}
