//! The client over a fake server, with real TLS on the loopback.
#![allow(clippy::unwrap_used)]

use crate::{
    Client, ClientError, DeleteOptions, Selection,
    fake::{Fake, Trust, Vacant},
    streams::Said,
    target,
    watcher::{self, Event},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use pontoon_wire::pontoon::v1::{ExecStart, LogsRequest};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn config_map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    ConfigMap {
        metadata,
        ..ConfigMap::default()
    }
}

#[tokio::test]
async fn typed_objects_are_created_read_and_deleted() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    let maps = trust
        .client(&[server.address])
        .namespaced::<ConfigMap>("default");
    let made = maps.create(&config_map("a")).await.unwrap();
    assert_eq!(made.metadata.resource_version.as_deref(), Some("2"));
    assert_eq!(maps.get("a").await.unwrap(), made);
    assert!(
        maps.create(&config_map("a"))
            .await
            .unwrap_err()
            .is_already_exists()
    );
    maps.delete("a", DeleteOptions::default()).await.unwrap();
    assert_eq!(maps.find("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_refusal_carries_the_servers_own_status() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    let client = trust.client(&[server.address]);
    let maps = client.namespaced::<ConfigMap>("default");
    let error = maps.get("missing").await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "told NotFound");
    assert!(
        maps.update("a", &config_map("a"))
            .await
            .unwrap_err()
            .is_conflict()
    );
    let error = client
        .apply(Vec::new(), "default", Default::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.reason(),
        Some("MethodNotAllowed"),
        "a bare code is put in Kubernetes' words"
    );
}

#[tokio::test]
async fn a_list_is_read_to_its_last_page() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    for name in ["a", "b", "c", "d", "e"] {
        fake.put(name);
    }
    let client = trust.client(&[server.address]);
    let listed = client
        .list_everywhere::<ConfigMap>(&Selection::default())
        .await
        .unwrap();
    let names: Vec<_> = listed
        .items
        .iter()
        .filter_map(|map| map.metadata.name.as_deref())
        .collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    assert_eq!(listed.revision, 6);
    assert_eq!(fake.store.lock().pages_served, 3);
}

#[tokio::test]
async fn a_list_whose_revision_is_compacted_on_the_way_begins_anew() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    for name in ["a", "b", "c"] {
        fake.put(name);
    }
    fake.store.lock().expire = true;
    let target = target::collection::<ConfigMap>("default");
    let listed = trust
        .client(&[server.address])
        .list(&target, &Selection::default())
        .await
        .unwrap();
    assert_eq!(listed.items.len(), 3);
    assert_eq!(fake.store.lock().pages_served, 4);
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_deadline() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    fake.store.lock().hang = true;
    let deadline = Duration::from_millis(200);
    let client = trust.client(&[server.address]).with_deadline(deadline);
    let error = client
        .namespaced::<ConfigMap>("default")
        .get("a")
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Deadline(after) if after == deadline),
        "{error:?}"
    );
    assert!(error.is_transient());
}

#[tokio::test]
async fn the_next_server_is_used_when_one_is_gone() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let (one, other) = (trust.serve(&fake), trust.serve(&fake));
    let nobody = Vacant::new();
    let client = trust.client(&[nobody.address, one.address, other.address]);
    client.status().await.unwrap();
    drop(one);
    // The call that finds the connection dead only reads: it is made again where somebody answers.
    client.status().await.unwrap();
}

#[tokio::test]
async fn a_followed_watch_goes_on_at_another_server_and_tells_nothing_twice() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let (one, other) = (trust.serve(&fake), trust.serve(&fake));
    fake.put("a");
    let client = trust.client(&[one.address, other.address]);
    let target = target::collection::<ConfigMap>("default");
    let short = |_| Duration::from_millis(1);
    let mut events = Box::pin(watcher::follow(
        client,
        target,
        Selection::default(),
        2,
        short,
    ));
    fake.put("b");
    fake.put("c");
    let mut next = async || {
        let event = events.next().await.unwrap().unwrap();
        (event.object.unwrap().name, event.revision)
    };
    assert_eq!(next().await, ("b".to_owned(), 3));
    assert_eq!(next().await, ("c".to_owned(), 4));
    fake.break_watches();
    fake.put("d");
    assert_eq!(next().await, ("d".to_owned(), 5));
    drop(one);
    fake.put("e");
    assert_eq!(next().await, ("e".to_owned(), 6));
    fake.put("f");
    assert_eq!(next().await, ("f".to_owned(), 7));
    fake.put("g");
    fake.compact();
    fake.break_watches();
    // It may have seen the last change before that was forgotten.
    let lost = loop {
        if let Err(error) = events.next().await.unwrap() {
            break error;
        }
    };
    assert!(lost.is_expired(), "{lost:?}");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_the_reason() {
    let (trust, nobody) = (Trust::new(), Vacant::new());
    let error = trust.client(&[nobody.address]).status().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(&format!("https://{}: Connection refused", nobody.address)),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_spoken_to() {
    let (trust, stranger, fake) = (Trust::new(), Trust::new(), Fake::new());
    let server = stranger.serve(&fake);
    let error = trust.client(&[server.address]).status().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("invalid peer certificate: UnknownIssuer"),
        "{error}"
    );
}

/// The next events as words, skipping what went wrong on the way.
async fn told(
    events: &mut (impl Stream<Item = Result<Event, ClientError>> + Unpin),
    count: usize,
) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < count {
        match events.next().await.unwrap() {
            Ok(Event::Init) => words.push("init".to_owned()),
            Ok(Event::Apply(object)) => words.push(format!("apply {}", object.name)),
            Ok(Event::Delete(object)) => words.push(format!("delete {}", object.name)),
            Ok(Event::InitDone { .. }) => words.push("done".to_owned()),
            Err(_) => {}
        }
    }
    words
}

fn watched(client: Client) -> impl Stream<Item = Result<Event, ClientError>> + Unpin {
    let target = target::collection::<ConfigMap>("default");
    Box::pin(watcher::watch(client, target, Selection::default(), |_| {
        Duration::from_millis(1)
    }))
}

#[tokio::test]
async fn a_watcher_lists_then_follows_and_resumes_after_its_stream_broke() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    for name in ["a", "b", "c"] {
        fake.put(name);
    }
    let mut events = watched(trust.client(&[server.address]));
    assert_eq!(
        told(&mut events, 5).await,
        ["init", "apply a", "apply b", "apply c", "done"]
    );
    fake.put("d");
    fake.remove("a");
    assert_eq!(told(&mut events, 2).await, ["apply d", "delete a"]);
    fake.break_watches();
    fake.put("e");
    // The last revision is told again: its transaction might have been cut in two.
    assert_eq!(told(&mut events, 2).await, ["delete a", "apply e"]);
}

#[tokio::test]
async fn a_watcher_lists_again_when_the_history_is_gone() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    fake.put("a");
    let mut events = watched(trust.client(&[server.address]));
    assert_eq!(told(&mut events, 3).await, ["init", "apply a", "done"]);
    fake.put("b");
    assert_eq!(told(&mut events, 1).await, ["apply b"]);
    fake.break_watches();
    fake.remove("a");
    fake.put("c");
    fake.compact();
    // Whether it saw the changes before they were compacted or not, it ends up listing.
    let mut words = Vec::new();
    while words.last().map(String::as_str) != Some("done") {
        words.extend(told(&mut events, 1).await);
    }
    assert!(
        words.ends_with(&["init", "apply b", "apply c", "done"].map(str::to_owned)),
        "{words:?}"
    );
}

#[tokio::test]
async fn a_watcher_moves_to_another_server_and_misses_nothing() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let (one, other) = (trust.serve(&fake), trust.serve(&fake));
    fake.put("a");
    let mut events = watched(trust.client(&[one.address, other.address]));
    assert_eq!(told(&mut events, 3).await, ["init", "apply a", "done"]);
    drop(one);
    fake.put("b");
    assert_eq!(told(&mut events, 1).await, ["apply b"]);
}

#[tokio::test]
async fn logs_come_in_pieces() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    let request = LogsRequest {
        pod: "web-1".to_owned(),
        ..LogsRequest::default()
    };
    let pieces: Vec<_> = trust
        .client(&[server.address])
        .logs(request)
        .await
        .unwrap()
        .collect()
        .await;
    let pieces: Result<Vec<Bytes>, _> = pieces.into_iter().collect();
    assert_eq!(pieces.unwrap(), ["web-1"]);
}

#[tokio::test]
async fn a_command_gets_its_input_and_gives_its_output_and_exit_code() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    let start = ExecStart {
        command: vec!["sh".to_owned(), "-c".to_owned()],
        ..ExecStart::default()
    };
    let mut exec = trust.client(&[server.address]).exec(start).await.unwrap();
    exec.input.resize(80, 24).await.unwrap();
    exec.input
        .write(Bytes::from_static(b"hello"))
        .await
        .unwrap();
    assert_eq!(
        exec.output.next().await.unwrap(),
        Some(Said::Stdout(Bytes::from_static(b"hello")))
    );
    assert_eq!(
        exec.output.next().await.unwrap(),
        Some(Said::Stderr(Bytes::from_static(b"hello")))
    );
    exec.input.close().await.unwrap();
    assert_eq!(exec.output.next().await.unwrap(), Some(Said::Exit(2)));
    assert_eq!(exec.output.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_forwarded_port_carries_bytes_both_ways_until_both_ends_are_done() {
    let (trust, fake) = (Trust::new(), Fake::new());
    let server = trust.serve(&fake);
    let forward = trust
        .client(&[server.address])
        .port_forward("default", "web-1", 80)
        .await
        .unwrap();
    let (mut near, far) = tokio::io::duplex(1 << 10);
    let sent = vec![7; 100_000];
    let speaking = async {
        let (mut reader, mut writer) = tokio::io::split(&mut near);
        let (written, read) = tokio::join!(
            async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await
            },
            async {
                let mut echoed = Vec::new();
                reader.read_to_end(&mut echoed).await.unwrap();
                echoed
            }
        );
        written.unwrap();
        read
    };
    let (echoed, relayed) = tokio::join!(speaking, forward.relay(far));
    relayed.unwrap();
    assert_eq!(echoed, sent);
}
