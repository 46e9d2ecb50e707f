//! Output reaches the log file whole, in order and in CRI format, before the end is reported.

use super::case::{Case, Subject, entries, joined};
use super::program::Program;
use crate::limits::LOG_LINE_BYTES;
use crate::log::LogStream;

/// Both streams arrive, each under its name.
pub async fn both_streams_are_logged<S: Subject>(case: Case<S>) {
    let print = Program::Print {
        stdout: "one\ntwo\n".to_owned(),
        stderr: "three\n".to_owned(),
        code: 0,
    };
    let spec = case.container(&print);
    case.run_to_end(&spec).await;
    let log = case.log(&spec);
    let text_of = |stream| -> Vec<&[u8]> {
        entries(&log)
            .iter()
            .filter(|entry| entry.stream == stream)
            .map(|entry| entry.text)
            .collect()
    };
    assert_eq!(text_of(LogStream::Stdout), [b"one".as_slice(), b"two"]);
    assert_eq!(text_of(LogStream::Stderr), [b"three".as_slice()]);
    case.finish().await;
}

/// The last line needs no end; it is marked as a part.
pub async fn a_last_line_without_an_end_is_partial<S: Subject>(case: Case<S>) {
    let print = Program::Print {
        stdout: "whole\nhalf".to_owned(),
        stderr: String::new(),
        code: 3,
    };
    let spec = case.container(&print);
    case.run_to_end(&spec).await;
    let log = case.log(&spec);
    let tags: Vec<_> = entries(&log)
        .iter()
        .map(|entry| (entry.text, entry.partial))
        .collect();
    assert_eq!(
        tags,
        [(b"whole".as_slice(), false), (b"half".as_slice(), true)]
    );
    case.finish().await;
}

/// A line longer than an entry is cut and can be joined again.
pub async fn a_long_line_is_cut_and_joins_again<S: Subject>(case: Case<S>) {
    let bytes = LOG_LINE_BYTES * 3 + 17;
    let spec = case.container(&Program::PrintLongLine { bytes });
    case.run_to_end(&spec).await;
    let log = case.log(&spec);
    let entries = entries(&log);
    assert!(
        entries.len() >= 4
            && entries
                .iter()
                .all(|entry| entry.text.len() <= LOG_LINE_BYTES)
    );
    let text: Vec<u8> = entries.iter().flat_map(joined).collect();
    assert_eq!(text.len(), bytes + 1);
    assert!(text[..bytes].iter().all(|byte| *byte == b'x'));
    case.finish().await;
}

/// Output is bytes, not text.
pub async fn binary_output_is_kept<S: Subject>(case: Case<S>) {
    let spec = case.container(&Program::PrintBinary);
    case.run_to_end(&spec).await;
    let log = case.log(&spec);
    let bytes: Vec<u8> = entries(&log).iter().flat_map(joined).collect();
    assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    case.finish().await;
}
