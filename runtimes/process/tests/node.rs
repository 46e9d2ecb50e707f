//! What only the process runtime does, on the node itself. Needs root, as the agent does for a whole pod.

#![allow(clippy::unwrap_used, unsafe_code)]

#[path = "subject_support/subject.rs"]
mod subject_under_test;

use pontoon_process::{OpenError, ProcessConfig, ProcessRuntime};
use pontoon_runtime::conformance::case::{FifoReader, entries, in_time};
use pontoon_runtime::conformance::program::Program;
use pontoon_runtime::conformance::{Case, Subject, exec};
use pontoon_runtime::log::files_of;
use pontoon_runtime::{
    ContainerSpec, ContainerState, ExitReason, Mount, RunAs, Runtime, RuntimeError,
};
use std::fs;
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use subject_under_test::{ProcessSubject, subject};

async fn case() -> Case<ProcessSubject> {
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests need root: run them as root"
    );
    Case::new(subject().await).await
}

fn sh(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn container_directory(case: &Case<ProcessSubject>, name: &str) -> PathBuf {
    case.subject
        .state_dir()
        .join(format!("sandboxes/{}/containers/{name}", case.sandbox))
}

/// Replaces a word in a record, as if the machine had changed under it.
fn falsify(path: &Path, field: &str, value: &str) {
    let text = fs::read_to_string(path).unwrap();
    let begin = text.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
    let end = begin + text[begin..].find([',', '}']).unwrap();
    fs::write(path, format!("{}{value}{}", &text[..begin], &text[end..])).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_a_pod_share_its_network_namespace() {
    let mut holder = Command::new("unshare")
        .args(["--net", "sh", "-c", "echo ready; read end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut case = case().await;
    case.sandbox_spec.attempt = 1;
    let netns = PathBuf::from(format!("/proc/{}/ns/net", holder.id()));
    case.sandbox_spec.netns = Some(netns.clone());
    let node = case.sandbox.clone();
    case.sandbox = case
        .runtime()
        .create_sandbox(&case.sandbox_spec)
        .await
        .unwrap();
    let expected = fs::read_link(&netns)
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let mut spec = case.container(&Program::Exit { code: 0 });
    spec.command = sh("readlink /proc/self/ns/net; hostname");
    let (told, _) = case.output_of(&spec).await;
    assert_eq!(told, format!("{expected}\nconformance\n"));
    let mut second = case.container(&Program::Forever);
    second.name = "second".to_owned();
    let status = case.start(&second).await.unwrap();
    let print = Program::PrintVariable {
        name: "(readlink /proc/self/ns/net)".to_owned(),
    };
    let (_, stdout, _) = exec::run(&case, &status.id, &print).await.unwrap();
    assert_eq!(stdout.trim(), expected);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    case.runtime().remove_sandbox(&node).await.unwrap();
    case.finish().await;
}

#[tokio::test]
async fn a_sandbox_without_its_network_namespace_is_not_made() {
    let case = case().await;
    let mut spec = case.sandbox_spec.clone();
    spec.attempt = 1;
    spec.netns = Some(PathBuf::from("/run/netns/no-such-namespace"));
    let error = case.runtime().create_sandbox(&spec).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NotFound { .. }), "{error:?}");
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_rotate_at_ten_mebibytes() {
    let case = case().await;
    let mut spec = case.container(&Program::Exit { code: 0 });
    spec.command =
        sh("yes 0123456789012345678901234567890123456789 | head -c 25000000; echo; echo the end");
    assert_eq!(case.run_to_end(&spec).await.exit_code, 0);
    let files = files_of(&spec.log_path);
    assert!(files.len() > 1 && files.len() <= 5, "{files:?}");
    for file in &files {
        assert!(
            fs::metadata(file).unwrap().len() < (10 << 20) + (256 << 10),
            "{file:?}"
        );
    }
    let last = fs::read(files.last().unwrap()).unwrap();
    assert_eq!(entries(&last).last().unwrap().text, b"the end");
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_can_have_a_terminal_and_another_user() {
    let case = case().await;
    let mut spec = case.container(&Program::Exit { code: 0 });
    spec.command = sh("test -t 0 && test -t 1 && test -t 2 && id -u && id -g && id -G");
    spec.tty = true;
    spec.run_as = Some(RunAs {
        uid: 1234,
        gid: Some(2345),
        groups: vec![3456],
    });
    let (told, exit) = case.output_of(&spec).await;
    assert_eq!(
        (told.as_str(), exit.exit_code),
        ("1234\r\n2345\r\n2345 3456\r\n", 0)
    );
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_sees_its_own_processes_only_and_no_foreign_descriptors() {
    let case = case().await;
    let mut spec = case.container(&Program::Exit { code: 0 });
    spec.command =
        sh("ls -d /proc/[0-9]* | wc -l; ls /proc/$$/fd | tr '\\n' ' '; env | sort | cut -d= -f1");
    let (told, _) = case.output_of(&spec).await;
    let mut lines = told.lines();
    assert!(
        lines.next().unwrap().trim().parse::<u32>().unwrap() <= 4,
        "{told}"
    );
    let rest: Vec<_> = lines.collect();
    // The shell has one of its own while it runs a pipeline.
    let foreign = rest[0]
        .split(' ')
        .filter_map(|fd| fd.parse::<u32>().ok())
        .filter(|fd| *fd > 10);
    assert_eq!(foreign.count(), 0, "{told}");
    assert!(!told.contains("CARGO"), "{told}");
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_inside_a_volume_and_a_single_file_are_shown() {
    let case = case().await;
    let (outer, inner) = (
        case.subject.directory().join("outer"),
        case.subject.directory().join("inner"),
    );
    fs::create_dir(&outer).unwrap();
    fs::create_dir(&inner).unwrap();
    let file = case.subject.directory().join("file");
    fs::write(&file, "one file\n").unwrap();
    let mount = |host_path: &Path, at: &str, read_only| Mount {
        host_path: host_path.to_owned(),
        container_path: PathBuf::from(at),
        read_only,
    };
    let mut spec = case.container(&Program::Exit { code: 0 });
    spec.mounts = vec![
        mount(&outer, "/pontoon-outer", false),
        mount(&inner, "/pontoon-outer/below/inner", false),
        mount(&file, "/etc/pontoon/app.conf", true),
    ];
    spec.command = sh(
        "echo a > /pontoon-outer/a; echo b > /pontoon-outer/below/inner/b; cat /etc/pontoon/app.conf; \
                       head -n 1 /etc/passwd; touch /etc/pontoon/app.conf 2>/dev/null || echo refused",
    );
    let (told, exit) = case.output_of(&spec).await;
    assert!(
        told.starts_with("one file\nroot:") && told.ends_with("refused\n"),
        "{told}"
    );
    assert_eq!(exit.exit_code, 0);
    assert!(
        outer.join("a").exists() && inner.join("b").exists() && !Path::new("/etc/pontoon").exists()
    );
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_cannot_be_shown_is_named() {
    let case = case().await;
    let gone = case.subject.directory().join("gone");
    let mut spec = case.container(&Program::Exit { code: 0 });
    spec.mounts = vec![Mount {
        host_path: gone.clone(),
        container_path: PathBuf::from("/srv"),
        read_only: false,
    }];
    let error = case.start(&spec).await.unwrap_err();
    assert!(
        error.to_string().contains(gone.to_str().unwrap()),
        "{error}"
    );
    spec.attempt = 1;
    let file = case.subject.directory().join("file");
    fs::write(&file, "").unwrap();
    spec.mounts = vec![Mount {
        host_path: file,
        container_path: PathBuf::from("/srv"),
        read_only: false,
    }];
    let error = case.start(&spec).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a file cannot be shown over a directory"),
        "{error}"
    );
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_state_directory_has_one_agent() {
    let case = case().await;
    let error = ProcessRuntime::open(case.subject.config().clone())
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    case.finish().await;
}

#[tokio::test]
async fn a_shim_command_that_does_not_work_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = ProcessConfig {
        state_dir: directory.path().join("state"),
        shim_command: vec!["/bin/false".into()],
        cgroup_parent: None,
    };
    let error = ProcessRuntime::open(config).await.unwrap_err();
    assert!(matches!(error, OpenError::Shim { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_reboot_containers_have_ended_and_no_stranger_is_killed() {
    let mut case = case().await;
    let status = case.run(&Program::Forever).await;
    let directory = container_directory(&case, "main-0");
    case.subject.kill_supervisor(&status.id).await;
    case.exit_of(&status.id).await;
    // The same pids belong to somebody else after a reboot: to this test.
    case.subject.close();
    fs::remove_file(directory.join("exit.json")).unwrap();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(19)
        .unwrap()
        .to_owned();
    for record in ["shim.json", "started.json"] {
        falsify(
            &directory.join(record),
            "pid",
            &std::process::id().to_string(),
        );
        falsify(&directory.join(record), "start", &start);
        falsify(&directory.join(record), "boot_id", "\"another\"");
    }
    case.subject.restart().await;
    match case
        .runtime()
        .container_status(&status.id)
        .await
        .unwrap()
        .state
    {
        ContainerState::Exited(exit) => {
            assert_eq!(exit.reason, ExitReason::Unknown);
            assert!(exit.message.contains("restarted"), "{exit:?}");
        }
        state => panic!("{state:?}"),
    }
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_was_cut_short_before_its_shim_can_be_repeated() {
    let mut case = case().await;
    let mut spec = case.container(&Program::Exit { code: 3 });
    spec.name = "other".to_owned();
    case.run_to_end(&spec).await;
    // The agent died after it wrote the plan: there is nothing else in the directory.
    let (old, new) = (
        container_directory(&case, "other-0"),
        container_directory(&case, "main-0"),
    );
    fs::create_dir(&new).unwrap();
    let plan = fs::read_to_string(old.join("plan.json")).unwrap();
    fs::write(new.join("plan.json"), plan.replace("\"other\"", "\"main\"")).unwrap();
    case.subject.restart().await;
    let listed = case.runtime().list().await.unwrap();
    let cut = listed
        .containers
        .iter()
        .find(|container| container.name == "main")
        .unwrap();
    assert_eq!(cut.state, ContainerState::Created);
    spec.name = "main".to_owned();
    assert_eq!(case.run_to_end(&spec).await.exit_code, 3);
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_in_the_state_directory_is_removed() {
    let mut case = case().await;
    let rubbish = case
        .subject
        .state_dir()
        .join("sandboxes/half-made-0/containers");
    fs::create_dir_all(&rubbish).unwrap();
    case.subject.restart().await;
    assert!(!rubbish.exists());
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_when_a_sandbox_is_removed() {
    let case = case().await;
    let parent = case.subject.config().cgroup_parent.clone().unwrap();
    let groups = || {
        // Version 2 alone is mounted at the top; otherwise each hierarchy is one level below.
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let mut roots: Vec<_> = hierarchies.map(|hierarchy| hierarchy.path()).collect();
        roots.push(PathBuf::from("/sys/fs/cgroup"));
        roots
            .iter()
            .filter(|root| root.join(&parent).exists())
            .count()
    };
    let status = case.run(&Program::Forever).await;
    assert!(groups() > 0);
    let ContainerState::Running { pid: Some(pid), .. } = status.state else {
        panic!("{status:?}")
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    case.runtime().remove_sandbox(&case.sandbox).await.unwrap();
    assert_eq!(groups(), 0);
    assert!(!Path::new(&format!("/proc/{pid}/cmdline")).exists());
    assert_eq!(
        fs::read_dir(case.subject.state_dir().join("sandboxes"))
            .unwrap()
            .count(),
        0
    );
    let own = case.subject.directory().display().to_string();
    assert!(!mounts.contains(&own), "a mount reached the node: {mounts}");
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shim_is_small() {
    let case = case().await;
    case.run(&Program::Forever).await;
    let record =
        fs::read_to_string(container_directory(&case, "main-0").join("shim.json")).unwrap();
    let pid = record
        .strip_prefix("{\"pid\":")
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    // Clean pages are the binary's own, which all shims share with the agent.
    let dirty = rollup
        .lines()
        .find(|line| line.starts_with("Private_Dirty:"))
        .unwrap();
    let dirty: u64 = dirty
        .split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(dirty < 3 * 1024, "{dirty} KiB of its own: {rollup}");
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shim_that_does_not_obey_is_killed_with_its_container() {
    let case = case().await;
    let status = case.run(&Program::Forever).await;
    let ContainerState::Running { pid: Some(pid), .. } = status.state else {
        panic!("{status:?}")
    };
    let record =
        fs::read_to_string(container_directory(&case, "main-0").join("shim.json")).unwrap();
    let shim = record
        .strip_prefix("{\"pid\":")
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(shim),
        nix::sys::signal::Signal::SIGSTOP,
    )
    .unwrap();
    let exit = case.stop(&status.id, Duration::ZERO).await;
    assert_eq!((exit.reason, exit.exit_code), (ExitReason::Unknown, 137));
    assert!(
        fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .unwrap_or_default()
            .is_empty()
    );
    case.finish().await;
}

/// Where the agent of the next tests keeps its state; absent in an ordinary run of the test below.
const AGENT_STATE: &str = "PONTOON_TEST_AGENT_STATE";

/// The body of an agent that another test kills. Run by name, it starts one attempt after the other, from the first that
/// does not exist, and stops every second one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_to_be_killed() {
    let Some(state) = std::env::var_os(AGENT_STATE) else {
        return;
    };
    let config = ProcessConfig {
        state_dir: PathBuf::from(&state),
        shim_command: vec![std::env::current_exe().unwrap().into(), "__shim".into()],
        cgroup_parent: None,
    };
    let runtime = ProcessRuntime::open(config).await.unwrap();
    let inventory = runtime.list().await.unwrap();
    let sandbox = inventory.sandboxes[0].id.clone();
    let spec = fs::read(Path::new(&state).with_file_name("spec.json")).unwrap();
    let mut spec: ContainerSpec = serde_json::from_slice(&spec).unwrap();
    spec.attempt = inventory.containers.len() as u32;
    println!("opened");
    loop {
        // The last attempt may have been cut short by the last death: it is repeated as an agent repeats it.
        for attempt in [spec.attempt.saturating_sub(1), spec.attempt] {
            let mut again = ContainerSpec {
                attempt,
                ..spec.clone()
            };
            again.env.push(("ATTEMPT".to_owned(), attempt.to_string()));
            let status = runtime.start_container(&sandbox, &again).await.unwrap();
            if attempt % 2 == 1 {
                runtime
                    .stop_container(&status.id, Duration::ZERO)
                    .await
                    .unwrap();
            }
        }
        println!("started");
        spec.attempt += 1;
    }
}

/// Runs the agent above until it has said a word, then for a while longer, and kills it.
fn run_and_kill(state: &Path, word: &str, longer: Duration) {
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_agent_to_be_killed", "--nocapture"])
        .env(AGENT_STATE, state)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut stdout = std::io::BufReader::new(agent.stdout.take().unwrap()).lines();
    assert!(
        stdout
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains(word))
    );
    std::thread::sleep(longer);
    let group = nix::unistd::Pid::from_raw(-i32::try_from(agent.id()).unwrap());
    nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    agent.wait().unwrap();
}

/// Hands a spec and the state directory over to the agent above.
fn hand_over(case: &mut Case<ProcessSubject>, spec: &ContainerSpec) -> PathBuf {
    let state = case.subject.state_dir().to_owned();
    fs::write(
        state.with_file_name("spec.json"),
        serde_json::to_vec(spec).unwrap(),
    )
    .unwrap();
    case.subject.close();
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_leaves_its_containers_running() {
    let mut case = case().await;
    let ready = case.fifo("ready");
    let mut await_ready = FifoReader::open(&ready);
    let spec = case.container(&Program::HeedTerm { code: 5, ready });
    let state = hand_over(&mut case, &spec);
    run_and_kill(&state, "started", Duration::ZERO);
    await_ready.await_writer().await;
    case.subject.restart().await;
    let found = case.runtime().list().await.unwrap().containers.remove(0);
    assert!(
        matches!(found.state, ContainerState::Running { .. }),
        "{found:?}"
    );
    let exit = case.stop(&found.id, Duration::from_secs(600)).await;
    assert_eq!(exit.exit_code, 5);
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_at_any_moment_runs_no_attempt_twice() {
    let mut case = case().await;
    let mark = case.subject.directory().join("mark");
    let mut spec = case.container(&Program::Forever);
    spec.command = sh(&format!(
        "echo $ATTEMPT >> {}; exec sleep 1000",
        mark.display()
    ));
    let state = hand_over(&mut case, &spec);
    for round in 0..12 {
        // Deaths spread over the time that starts and stops take.
        run_and_kill(&state, "opened", Duration::from_millis(7 * round));
    }
    case.subject.restart().await;
    let containers = case.runtime().list().await.unwrap().containers;
    let of_state = |wanted: fn(&ContainerState) -> bool| {
        containers.iter().filter(|c| wanted(&c.state)).count()
    };
    let begun = of_state(|state| !matches!(state, ContainerState::Created));
    assert!(begun >= 4, "{containers:?}");
    assert!(
        of_state(|state| matches!(state, ContainerState::Running { .. })) >= 1,
        "{containers:?}"
    );
    case.runtime().stop_sandbox(&case.sandbox).await.unwrap();
    let marks = fs::read_to_string(&mark).unwrap();
    let mut attempts: Vec<u32> = marks.lines().map(|line| line.parse().unwrap()).collect();
    let programs = attempts.len();
    attempts.sort();
    attempts.dedup();
    assert_eq!(attempts.len(), programs, "an attempt ran twice: {marks}");
    assert!(
        programs <= begun,
        "{programs} programs for {begun} attempts"
    );
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_with_many_entries_can_take_one_more() {
    let case = case().await;
    let crowded = case.subject.directory().join("crowded");
    fs::create_dir(&crowded).unwrap();
    for number in 0..1500 {
        fs::write(crowded.join(number.to_string()), "").unwrap();
    }
    let volume = case.subject.directory().join("volume");
    fs::create_dir(&volume).unwrap();
    let mut spec = case.container(&Program::Exit { code: 0 });
    spec.command = sh(&format!("ls {} | wc -l; ulimit -n", crowded.display()));
    spec.mounts = vec![Mount {
        host_path: volume,
        container_path: crowded.join("new"),
        read_only: false,
    }];
    let (told, _) = case.output_of(&spec).await;
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .unwrap()
        .0;
    assert_eq!(told, format!("1501\n{limit}\n"));
    assert!(!crowded.join("new").exists());
    case.finish().await;
}

/// Not a benchmark, which `make bench` has: a guard against a sleep or a poll on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_takes_no_pauses() {
    let case = case().await;
    let mut spec = case.container(&Program::Forever);
    spec.command = vec!["/bin/sleep".to_owned(), "1000".to_owned()];
    let mut times = Vec::new();
    for attempt in 0..9 {
        spec.attempt = attempt;
        let begun = Instant::now();
        let status = case.start(&spec).await.unwrap();
        times.push(begun.elapsed());
        in_time(
            "stop",
            case.runtime().stop_container(&status.id, Duration::ZERO),
        )
        .await
        .unwrap();
    }
    times.sort();
    println!(
        "start of a container: fastest {:?}, median {:?}",
        times[0], times[4]
    );
    assert!(times[0] < Duration::from_millis(250), "{times:?}");
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oom_score_that_cannot_be_set_is_said() {
    let case = case().await;
    let mut spec = case.container(&Program::Forever);
    spec.oom_score_adj = -997;
    let status = case.start(&spec).await.unwrap();
    let ContainerState::Running { pid: Some(pid), .. } = status.state else {
        panic!("{status:?}")
    };
    let have = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(
        have.trim() == "-997",
        status.warnings.is_empty(),
        "{have} {:?}",
        status.warnings
    );
    case.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_directory_is_private() {
    let case = case().await;
    let mode = fs::metadata(case.subject.state_dir().join("sandboxes"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0);
    case.finish().await;
}
