//! Types command lines at a fake cluster and captures what they print.
#![allow(clippy::unwrap_used)]

use crate::{
    Console, Globals, Surroundings, Verb,
    console::Terminal,
    fake::{self, Fake},
    finish,
    session::Session,
    verbs,
};
use clap::Parser;
use parking_lot::Mutex;
use pontoon_client::Client;
use std::{io::Write, sync::Arc};
use tokio::sync::watch;

#[derive(Debug, Parser)]
#[command(name = "pontoon")]
pub struct Line {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub code: u8,
    pub output: String,
    pub errors: String,
}

impl Done {
    /// What it printed, when it did what it was told and complained of nothing.
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!(
            (self.code, self.errors.as_str()),
            (0, ""),
            "{}",
            self.output
        );
        self.output
    }

    /// What it complained of, when it failed.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        self.errors
    }
}

/// A stream that can be read while it is written.
#[derive(Clone)]
pub struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    length: watch::Sender<usize>,
}

impl Captured {
    pub fn new() -> Self {
        Self {
            bytes: Arc::default(),
            length: watch::channel(0).0,
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().clone()).unwrap()
    }

    /// Waits until it holds a text.
    pub async fn until(&self, wanted: &str) {
        let mut length = self.length.subscribe();
        while !self.text().contains(wanted) {
            length.changed().await.unwrap();
        }
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.lock().extend_from_slice(bytes);
        self.length.send_modify(|length| *length += bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A cluster, and a person at it.
pub struct Harness {
    pub fake: Arc<Fake>,
    client: Client,
}

const SURROUNDINGS: Surroundings = Surroundings {
    now: || "2026-01-02T03:14:05Z".parse().unwrap(),
    command: <Line as clap::CommandFactory>::command,
    version: "0.1.0",
    variable: |name| match name {
        // An editor that does what the object itself says.
        "EDITOR" => Some("sed -i s/replicas:.3/replicas:\\ 5/".to_owned()),
        _ => None,
    },
};

impl Harness {
    pub async fn new() -> Self {
        let fake = Fake::new();
        let client = fake::serve(&fake).await;
        Self { fake, client }
    }

    /// Types a line; words in single quotes are one.
    pub async fn run(&self, line: &str) -> Done {
        self.run_with(line, "").await
    }

    /// Types a line, with standard input.
    pub async fn run_with(&self, line: &str, input: &str) -> Done {
        let (output, errors) = (Captured::new(), Captured::new());
        let code = self
            .start(line, input, output.clone(), errors.clone())
            .await;
        Done {
            code,
            output: output.text(),
            errors: errors.text(),
        }
    }

    /// Types a line whose output is read while it runs.
    pub async fn start(&self, line: &str, input: &str, output: Captured, errors: Captured) -> u8 {
        let words = words(line);
        let line = match Line::try_parse_from(std::iter::once("pontoon".to_owned()).chain(words)) {
            Ok(line) => line,
            Err(error) => panic!("{error}"),
        };
        let terminal = Terminal {
            input: false,
            output: false,
            errors: false,
            colour: false,
        };
        let input = std::io::Cursor::new(input.as_bytes().to_vec());
        let mut console = Console::new(
            Box::new(output),
            Box::new(errors),
            Box::new(input),
            terminal,
        );
        let session = Session::over(self.client.clone(), "default", &line.globals, &SURROUNDINGS);
        let done = match line.verb {
            Verb::Version(args) => {
                args.run(Ok(session), SURROUNDINGS.version, &mut console)
                    .await
            }
            Verb::Completion(args) => args.run(&SURROUNDINGS, &mut console),
            verb => Box::pin(verbs::perform(verb, &session, &mut console)).await,
        };
        finish(done, &mut console)
    }
}

/// Splits as a shell does, as far as single quotes go.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}
