//! Scripts: a line that begins with `>` goes in, the lines under it are what came out.
//! `UPDATE_SCRIPTS=1` rewrites them.
#![allow(clippy::unwrap_used)]
use super::*;
use pontoon_wire::pontoon::v1::Object;
use std::path::Path;

fn object(name: &str) -> Object {
    Object {
        name: name.to_owned(),
        ..Object::default()
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::Init => "init".to_owned(),
        Event::Apply(object) => format!("apply {}", object.name),
        Event::Delete(object) => format!("delete {}", object.name),
        Event::InitDone { revision } => format!("done at {revision}"),
    }
}

mod convergence;

fn change(kind: watch_event::Type, revision: &str, name: Option<&str>) -> WatchEvent {
    WatchEvent {
        r#type: kind.into(),
        object: name.map(object),
        revision: revision.parse().unwrap(),
    }
}

/// Feeds one line, and gives what the reader is told.
fn feed(machine: &mut Machine, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let told: Vec<Event> = match words[..] {
        ["start"] => Vec::new(),
        ["page", revision, token, ref names @ ..] => {
            let page = ListResponse {
                items: names.iter().copied().map(object).collect(),
                revision: revision.parse().unwrap(),
                continue_token: token.trim_matches('-').to_owned(),
                remaining: None,
            };
            machine.page(page).collect()
        }
        ["opened"] => {
            machine.opened();
            Vec::new()
        }
        ["added", revision, name] => machine
            .event(change(watch_event::Type::Added, revision, Some(name)))
            .into_iter()
            .collect(),
        ["modified", revision, name] => machine
            .event(change(watch_event::Type::Modified, revision, Some(name)))
            .into_iter()
            .collect(),
        ["deleted", revision, name] => machine
            .event(change(watch_event::Type::Deleted, revision, Some(name)))
            .into_iter()
            .collect(),
        ["bookmark", revision] => machine
            .event(change(watch_event::Type::Bookmark, revision, None))
            .into_iter()
            .collect(),
        ["ended"] => {
            machine.failed(Failure::Ended);
            Vec::new()
        }
        ["expired"] => {
            machine.failed(Failure::Expired);
            Vec::new()
        }
        ["failed"] => {
            machine.failed(Failure::Other);
            Vec::new()
        }
        ["waited"] => {
            machine.waited();
            Vec::new()
        }
        _ => panic!("not a line of a script: {line:?}"),
    };
    let next = match machine.next() {
        Action::List { token } if token.is_empty() => "=> list".to_owned(),
        Action::List { token } => format!("=> list after {token}"),
        Action::Open { from } => format!("=> watch from {from}"),
        Action::Read => "=> read".to_owned(),
        Action::Wait(delay) => format!("=> wait {delay:?}"),
    };
    told.iter().map(shown).chain([next]).collect()
}

/// The script with what really came out under each line.
fn played(script: &str) -> String {
    let mut machine = Machine::new();
    let mut text = String::new();
    for line in script.lines() {
        match line.strip_prefix("> ") {
            Some(input) => {
                text += &format!("{line}\n");
                for out in feed(&mut machine, input) {
                    text += &format!("{out}\n");
                }
            }
            None if line.starts_with('#') || line.is_empty() => text += &format!("{line}\n"),
            None => {}
        }
    }
    text
}

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/watcher/testdata")
        .join(name);
    let script = std::fs::read_to_string(&path).unwrap();
    let came = played(&script);
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        std::fs::write(&path, came).unwrap();
        return;
    }
    assert_eq!(came, script, "{} no longer holds", path.display());
}

#[test]
fn a_collection_is_listed_in_pages_and_then_watched() {
    check("list_then_watch.txt");
}

#[test]
fn a_lost_connection_is_resumed_where_it_broke() {
    check("resume.txt");
}

#[test]
fn lost_history_is_listed_again() {
    check("expired.txt");
}

#[test]
fn failures_in_a_row_wait_longer_and_longer() {
    check("backoff.txt");
}
