//! What is done to servers really happens, and nothing of it stays behind. Needs root, `/dev/fuse` and `/dev/net/tun`.
#![allow(clippy::unwrap_used)]

use pontoon_nemesis::damage::{Damage, damage};
use pontoon_nemesis::disk::Disk;
use pontoon_nemesis::ground::{Ground, namespace_file, sweep};
use pontoon_nemesis::machines::Machines;
use pontoon_nemesis::switch::{Rule, Switch};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

fn sync_directory(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(place.path(), 1).unwrap();
    let root = disk.mount_point().to_owned();
    let mut kept = File::create(root.join("kept")).unwrap();
    kept.write_all(b"synced").unwrap();
    kept.sync_all().unwrap();
    fs::create_dir(root.join("directory")).unwrap();
    fs::write(root.join("old"), "old").unwrap();
    File::open(root.join("old")).unwrap().sync_all().unwrap();
    sync_directory(&root);
    // Shorter than a sector, so that nothing of it can stay torn.
    kept.write_all(b" and not").unwrap();
    File::create(root.join("unnamed"))
        .unwrap()
        .sync_all()
        .unwrap();
    fs::write(root.join("new"), "new").unwrap();
    fs::rename(root.join("new"), root.join("old")).unwrap();
    fs::remove_file(root.join("kept")).unwrap();
    drop(kept);
    let cut = disk.lose_unsynced().unwrap();
    assert!(cut.lost >= 4, "{cut:?}");
    let names: Vec<String> = {
        let mut names: Vec<String> = fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names, ["directory", "kept", "old"]);
    assert_eq!(fs::read_to_string(root.join("kept")).unwrap(), "synced");
    assert_eq!(fs::read_to_string(root.join("old")).unwrap(), "old");
}

#[test]
fn some_power_cuts_tear_a_write_at_a_sector() {
    let place = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(place.path(), 2).unwrap();
    let path = disk.mount_point().join("file");
    fs::write(&path, vec![b'a'; 4_096]).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    sync_directory(disk.mount_point());
    let mut torn = 0;
    for _ in 0..40 {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[b'b'; 4_096], 0).unwrap();
        drop(file);
        disk.lose_unsynced().unwrap();
        let found = fs::read(&path).unwrap();
        let stayed = found.iter().filter(|byte| **byte == b'b').count();
        assert_eq!((found.len(), stayed % 512), (4_096, 0));
        torn += usize::from(stayed > 0 && stayed < 4_096);
        fs::write(&path, vec![b'a'; 4_096]).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
    }
    assert!(torn > 0);
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let place = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(place.path(), 3).unwrap();
    let path = disk.mount_point().join("file");
    let mut file = File::create(&path).unwrap();
    file.sync_all().unwrap();
    sync_directory(disk.mount_point());
    file.write_all(b"lost").unwrap();
    disk.wishes().fail_syncs(true);
    assert!(file.sync_all().is_err());
    disk.wishes().heal();
    file.sync_all().unwrap();
    drop(file);
    assert_eq!(disk.wishes().injected(), 1);
    disk.lose_unsynced().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_full_disk_and_a_failing_one_say_so_until_healed() {
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::new(place.path(), 4).unwrap();
    let path = disk.mount_point().join("file");
    let code = |result: std::io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
    disk.wishes().full(true);
    assert_eq!(code(fs::write(&path, "x")), nix::libc::ENOSPC);
    disk.wishes().heal();
    disk.wishes().fail_writes(true);
    assert_eq!(code(fs::write(&path, "x")), nix::libc::EIO);
    disk.wishes().heal();
    disk.wishes().slow_syncs(Duration::from_millis(50));
    let mut file = File::create(&path).unwrap();
    file.write_all(b"x").unwrap();
    let before = Instant::now();
    file.sync_all().unwrap();
    assert!(before.elapsed() >= Duration::from_millis(50));
}

/// A socket in a network namespace.
fn socket(namespace: &str, address: &'static str) -> UdpSocket {
    let file = File::open(namespace_file(namespace)).unwrap();
    let thread = std::thread::spawn(move || {
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        UdpSocket::bind(address).unwrap()
    });
    let socket = thread.join().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    socket
}

#[test]
fn the_switch_carries_cuts_one_way_delays_doubles_and_holds() {
    let parent = tempfile::tempdir().unwrap();
    let ground = Ground::new(parent.path(), "switch").unwrap();
    let namespaces = [
        ground.namespace("a").unwrap(),
        ground.namespace("b").unwrap(),
    ];
    let switch = Switch::new(&namespaces, 5).unwrap();
    let (a, b) = (
        socket(&namespaces[0], "10.77.0.1:7000"),
        socket(&namespaces[1], "10.77.0.2:7000"),
    );
    let mut buffer = [0; 8];
    let to_b = |byte: u8| assert_eq!(a.send_to(&[byte], "10.77.0.2:7000").unwrap(), 1);
    let to_a = |byte: u8| assert_eq!(b.send_to(&[byte], "10.77.0.1:7000").unwrap(), 1);
    // Until both know each other's hardware address, datagrams may be lost.
    let met = (0..20).any(|_| {
        to_b(1);
        to_a(1);
        b.recv(&mut buffer).is_ok() && a.recv(&mut buffer).is_ok()
    });
    assert!(met);
    while b.recv(&mut buffer).is_ok() || a.recv(&mut buffer).is_ok() {}
    switch.set(
        0,
        1,
        Rule {
            cut: true,
            ..Rule::default()
        },
    );
    to_b(2);
    to_a(3);
    assert!(b.recv(&mut buffer).is_err());
    assert_eq!((a.recv(&mut buffer).unwrap(), buffer[0]), (1, 3));
    switch.set(
        0,
        1,
        Rule {
            delay: Duration::from_millis(100),
            duplicate_percent: 100.0,
            ..Rule::default()
        },
    );
    let before = Instant::now();
    to_b(4);
    assert_eq!((b.recv(&mut buffer).unwrap(), buffer[0]), (1, 4));
    assert!(before.elapsed() >= Duration::from_millis(100));
    assert_eq!((b.recv(&mut buffer).unwrap(), buffer[0]), (1, 4));
    switch.set(
        0,
        1,
        Rule {
            hold: true,
            ..Rule::default()
        },
    );
    to_b(5);
    assert!(b.recv(&mut buffer).is_err());
    switch.heal();
    assert_eq!((b.recv(&mut buffer).unwrap(), buffer[0]), (1, 5));
    assert!(switch.stopped() >= 3);
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    let (dead, mine) = (gone.id(), std::process::id());
    gone.wait().unwrap();
    let left = format!("pontoon-chaos-{dead}-left");
    let own = format!("pontoon-chaos-{mine}-own");
    for name in [&left, &own] {
        fs::create_dir(parent.path().join(name)).unwrap();
        let made = std::process::Command::new("ip")
            .args(["netns", "add", name])
            .status()
            .unwrap();
        assert!(made.success());
    }
    sweep(parent.path()).unwrap();
    assert!(!namespace_file(&left).exists() && !parent.path().join(&left).exists());
    assert!(namespace_file(&own).exists() && parent.path().join(&own).exists());
    let removed = std::process::Command::new("ip")
        .args(["netns", "del", &own])
        .status()
        .unwrap();
    assert!(removed.success());
}

#[test]
fn a_machine_runs_pauses_and_loses_power_and_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let mut machines = Machines::new(parent.path(), "machines", 1, 6).unwrap();
    let directory = machines.directory().to_owned();
    let script = "while :; do date +%s >> \"$0\"; sleep 0.05; done".to_owned();
    let path = machines.machine(0).disk().mount_point().join("ticks");
    let arguments = ["-c".to_owned(), script, path.display().to_string()];
    let machine = machines.machine_mut(0);
    machine.clock = "+7200s".to_owned();
    machine.start(Path::new("/bin/sh"), &arguments).unwrap();
    let ticks = |path: &Path| {
        let mut text = String::new();
        let _ = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
        text
    };
    let since = Instant::now();
    while ticks(&path).lines().count() < 2 {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "{}",
            fs::read_to_string(machine.log()).unwrap()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let told: u64 = ticks(&path).lines().next().unwrap().parse().unwrap();
    let true_time = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(
        told > true_time + 7_000,
        "{told} is not two hours after {true_time}"
    );
    machine.pause();
    machine.resume();
    assert!(machine.is_running());
    let cut = machines.cut_power(&[0]).unwrap();
    assert!(cut.lost > 0 && !path.exists());
    assert!(!machines.machine_mut(0).is_running());
    drop(machines);
    assert!(!directory.exists());
}

#[test]
fn damage_is_done_where_it_was_asked_for() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("log")).unwrap();
    fs::write(place.path().join("log/1"), vec![7; 10_000]).unwrap();
    fs::write(place.path().join("other"), vec![7; 10_000]).unwrap();
    let mut random = StdRng::seed_from_u64(8);
    for kind in [Damage::FlipBit, Damage::ZeroBlock, Damage::Truncate] {
        let before = fs::read(place.path().join("log/1")).unwrap();
        let story = damage(place.path(), &["log/"], kind, &mut random)
            .unwrap()
            .unwrap();
        assert!(story.starts_with("log/1"), "{story}");
        assert_ne!(fs::read(place.path().join("log/1")).unwrap(), before);
    }
    assert_eq!(
        fs::read(place.path().join("other")).unwrap(),
        vec![7; 10_000]
    );
    assert_eq!(
        damage(place.path(), &["nothing"], Damage::FlipBit, &mut random).unwrap(),
        None
    );
}
