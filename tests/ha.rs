//! Several servers that hold one cluster: founded, joined, killed, removed, replaced.

use pontoon_tests::{Servers, eventually, eventually_within};
use std::time::Duration;

/// An acknowledged write is promised within three seconds of a leader's death; the machine may be busy with other tests.
const FAILOVER: Duration = Duration::from_secs(20);

/// Waits until `via` sees `count` voters, and all of them up.
#[track_caller]
fn voters(servers: &Servers, via: u8, count: usize) {
    eventually(&format!("{count} servers vote"), || {
        let status = servers.status(via);
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let up = members
            .iter()
            .filter(|member| member["voter"] == true && member["state"] == "up");
        if members.len() == count && up.count() == count {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

fn create(servers: &Servers, via: u8, name: &str) -> Result<(), String> {
    let answer = servers.pontoon(via, ["create", "configmap", name, "--from-literal=a=b"]);
    // A write whose answer was lost may have been done.
    if answer.code == 0 || answer.stderr.contains("already exists") {
        Ok(())
    } else {
        Err(answer.stderr)
    }
}

#[test]
fn three_servers_take_any_request_and_go_on_when_one_is_killed() {
    let mut servers = Servers::of(3);
    voters(&servers, 1, 3);
    // Written at one, read and watched at another, by both fronts.
    for via in 1..=3 {
        create(&servers, via, &format!("by-{via}")).unwrap();
        let next = via % 3 + 1;
        let read = servers.kubectl(
            next,
            ["get", "configmap", &format!("by-{via}"), "-o", "name"],
        );
        assert_eq!(read.ok().trim(), format!("configmap/by-{via}"));
    }
    let leader = servers.leader(1).unwrap();
    eventually("its kubeconfig names all servers", || {
        let text = std::fs::read_to_string(servers.kubeconfig(leader)).unwrap();
        let all = (1..=3).all(|number| text.contains(&Servers::url(number)));
        all.then_some(()).ok_or(text)
    });
    servers.kill(leader);
    let rest = servers.running();
    for via in &rest {
        eventually_within(FAILOVER, "a write goes on", || {
            create(&servers, *via, &format!("after-{via}"))
        });
    }
    // kubectl knows one server; the CLI whose first server is gone tries the others.
    let read = servers.pontoon(leader, ["get", "configmap", "-o", "name"]);
    assert_eq!(
        read.ok()
            .lines()
            .filter(|line| line.contains("after-"))
            .count(),
        2
    );
    servers.start(leader, &[]);
    voters(&servers, leader, 3);
    let read = servers.kubectl(
        leader,
        [
            "get",
            "configmap",
            &format!("after-{}", rest[0]),
            "-o",
            "name",
        ],
    );
    assert_eq!(read.code, 0, "{}", read.stderr);
    // Leadership goes where it is sent.
    let id = servers.status(leader)["answeredBy"].to_string();
    let said = servers.pontoon(rest[0], ["cluster", "transfer", &id]).ok();
    assert_eq!(said.trim(), format!("member/{id} leads"));
    assert_eq!(servers.leader(rest[1]), Some(leader));
    // A leader that is asked to end hands over first.
    assert_eq!(servers.stop(leader), 0);
    create(&servers, rest[0], "at-once").unwrap();
}

#[test]
fn a_token_is_good_for_one_server_and_says_what_is_wrong_with_it() {
    let mut servers = Servers::of(2);
    let used = servers.pontoon(1, ["cluster", "token", "list"]).ok();
    assert!(used.contains("member/2"), "{used}");
    let refused = |servers: &mut Servers, token: &str, words: &str| {
        servers.launch(3, &["--join", &Servers::url(1), "--token", token]);
        assert_eq!(servers.ended(3), 1);
        let log = servers.log(3);
        assert!(log.contains(words), "{words:?} is to be in: {log}");
    };
    let token = servers.token(1, "server");
    let revoked = servers
        .pontoon(1, ["cluster", "token", "revoke", &token])
        .ok();
    assert!(!revoked.contains(&token), "a secret is not repeated");
    refused(&mut servers, &token, "is not known here");
    let agents = servers.token(1, "agent");
    refused(&mut servers, &agents, "is for an agent");
    refused(&mut servers, "nonsense", "not a join token");
    let token = servers.token(1, "server");
    let (rest, pin) = token.rsplit_once('.').unwrap();
    let elsewhere = format!("{rest}.{}", "0".repeat(pin.len()));
    refused(&mut servers, &elsewhere, "not the pinned one");
    servers.start(3, &["--join", &Servers::url(2), "--token", &token]);
    // Joined, it needs neither flag; with them it says so, and goes on as who it is.
    assert_eq!(servers.stop(3), 0);
    servers.start(3, &["--join", &Servers::url(2), "--token", &token]);
    assert!(servers.log(3).contains("already"), "{}", servers.log(3));
    servers.launch(4, &["--join", &Servers::url(1), "--token", &token]);
    assert_eq!(servers.ended(4), 1);
    assert!(
        servers.log(4).contains("was used already, by member/"),
        "{}",
        servers.log(4)
    );
}

#[test]
fn a_server_is_removed_and_replaced_and_never_comes_back() {
    let mut servers = Servers::of(3);
    voters(&servers, 1, 3);
    let leader = servers.leader(1).unwrap();
    let others: Vec<u8> = servers
        .running()
        .into_iter()
        .filter(|number| *number != leader)
        .collect();
    let id_of =
        |servers: &Servers, number: u8| servers.status(number)["answeredBy"].as_u64().unwrap();
    let gone = id_of(&servers, others[0]);
    servers.kill(others[0]);
    // With one of three away, the loss of another would stop the cluster.
    let id = id_of(&servers, others[1]).to_string();
    let refused = eventually("its absence is noticed", || {
        let answer = servers.pontoon(leader, ["cluster", "members"]).stdout;
        answer.contains("silent").then_some(()).ok_or(answer)?;
        Ok(servers.pontoon(leader, ["cluster", "remove", &id]).failed())
    });
    assert!(refused.contains("--force"), "{refused}");
    let said = servers
        .pontoon(leader, ["cluster", "remove", &gone.to_string()])
        .ok();
    assert_eq!(said.trim(), format!("member/{gone} removed"));
    // Said again, it is as done as before.
    let again = servers.pontoon(leader, ["cluster", "remove", &gone.to_string()]);
    assert_eq!(again.ok(), said);
    servers.join(4);
    voters(&servers, leader, 3);
    assert!(id_of(&servers, 4) > gone, "ids are not given again");
    // The one that was removed is told so, and stops.
    servers.launch(others[0], &[]);
    assert_eq!(servers.ended(others[0]), 1);
    let log = servers.log(others[0]);
    assert!(log.contains(&format!("member {gone} was removed")), "{log}");
    // A leader may be removed as well, by itself.
    let leaders = id_of(&servers, leader).to_string();
    let removed = servers.pontoon(leader, ["cluster", "remove", &leaders]);
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    assert_eq!(servers.ended(leader), 1);
    create(&servers, 4, "without").unwrap();
    voters(&servers, 4, 2);
}

#[test]
fn a_server_that_lost_its_log_is_refused_under_its_old_name() {
    let mut servers = Servers::of(3);
    voters(&servers, 1, 3);
    servers.kill(3);
    // What says who it is stays; what it was told is gone.
    let own = [
        "cluster-id",
        "member-id",
        "peers.json",
        "settings.json",
        "pki",
    ];
    for entry in std::fs::read_dir(servers.data_dir(3).join("server")).unwrap() {
        let path = entry.unwrap().path();
        if own.iter().any(|own| path.ends_with(own)) {
            continue;
        }
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
    }
    servers.launch(3, &[]);
    assert_eq!(servers.ended(3), 1);
    assert!(
        servers.log(3).contains("its log is gone"),
        "{}",
        servers.log(3)
    );
}
