//! Container logs on disk: the CRI format that kubelet's tools read, and a writer that rotates.
//!
//! A line is `TIME STREAM TAG TEXT`: RFC 3339 with nanoseconds in UTC, `stdout` or `stderr`, `F` for a line that ended
//! or `P` for a piece of one, and the bytes as they came (see `docs/proposals/logging` of the CRI). All runtimes write
//! this one format, so that the agent reads logs in one way. Rotated files are `PATH.1` (newest) and up.

use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::limits::{LOG_FILE_BYTES, LOG_FILES, LOG_LINE_BYTES};

/// Which of the program's streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// The word in the log file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a log file, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// When it was written.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// Whether the text goes on in the next entry of the same stream.
    pub partial: bool,
    /// The bytes, without the end of line.
    pub text: &'a [u8],
}

/// Reads one line of a log file (with or without its `\n`); `None` when it is not in the format, such as the
/// remains of a write that a full disk cut short.
pub fn parse_entry(line: &[u8]) -> Option<LogEntry<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let at = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let stream = match fields.next()? {
        b"stdout" => LogStream::Stdout,
        b"stderr" => LogStream::Stderr,
        _ => return None,
    };
    let partial = match fields.next()? {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    Some(LogEntry {
        at,
        stream,
        partial,
        text: fields.next()?,
    })
}

/// Where the files of a rotated log are, oldest first, the current one last; only those that exist.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    let rotated = (1..LOG_FILES).rev().map(|age| rotated_path(path, age));
    rotated
        .chain([path.to_owned()])
        .filter(|file| file.exists())
        .collect()
}

fn rotated_path(path: &Path, age: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// When to start another file and how many to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file that has reached this size is put aside.
    pub file_bytes: u64,
    /// Files kept, the current one included; at least 1.
    pub files: usize,
}

impl Rotation {
    /// Kubelet's defaults: containerLogMaxSize and containerLogMaxFiles.
    pub const KUBELET: Self = Self {
        file_bytes: LOG_FILE_BYTES,
        files: LOG_FILES,
    };
}

/// Appends entries to a log file and rotates it.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    written: u64,
    rotation: Rotation,
    scratch: Vec<u8>,
    /// Whether the last write may have ended within an entry.
    torn: bool,
}

impl LogWriter {
    /// Opens or makes the file; what is in it stays.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = append_to(path)?;
        let written = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            written,
            rotation,
            scratch: Vec::new(),
            torn: false,
        })
    }

    /// Writes entries of one stream, all with one time, in one write to the file.
    ///
    /// # Errors
    /// When the write or a rotation fails; the entries are then lost in whole or in part.
    pub fn append<'a>(
        &mut self,
        at: Timestamp,
        stream: LogStream,
        entries: impl Iterator<Item = (&'a [u8], bool)>,
    ) -> io::Result<()> {
        self.scratch.clear();
        if self.torn {
            // Ends what a failed write has left, so that it spoils no other entry.
            self.scratch.push(b'\n');
        }
        for (text, partial) in entries {
            let tag = if partial { 'P' } else { 'F' };
            write!(self.scratch, "{at:.9} {} {tag} ", stream.as_str())?;
            self.scratch.extend_from_slice(text);
            self.scratch.push(b'\n');
        }
        self.torn = true;
        self.file.write_all(&self.scratch)?;
        self.torn = false;
        self.written += self.scratch.len() as u64;
        if self.written >= self.rotation.file_bytes {
            self.rotate()?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for age in (1..self.rotation.files).rev() {
            let younger = if age == 1 {
                self.path.clone()
            } else {
                rotated_path(&self.path, age - 1)
            };
            match std::fs::rename(&younger, rotated_path(&self.path, age)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.rotation.files == 1 {
            std::fs::remove_file(&self.path)?;
        }
        self.file = append_to(&self.path)?;
        self.written = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Cuts one stream of bytes into log entries. Pieces of a line longer than the limit, and what is left when the
/// stream ends without an end of line, are partial.
#[derive(Debug, Default)]
pub struct LineCutter {
    pending: Vec<u8>,
}

impl LineCutter {
    /// Takes bytes as they come and appends the entries that are complete.
    ///
    /// # Errors
    /// As [`LogWriter::append`].
    pub fn push(
        &mut self,
        log: &mut LogWriter,
        at: Timestamp,
        stream: LogStream,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        let mut consumed = 0;
        let pending = &self.pending;
        let cut = std::iter::from_fn(|| {
            let rest = &pending[consumed..];
            let window = &rest[..rest.len().min(LOG_LINE_BYTES + 1)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                consumed += end + 1;
                return Some((&rest[..end], false));
            }
            if rest.len() > LOG_LINE_BYTES {
                consumed += LOG_LINE_BYTES;
                return Some((&rest[..LOG_LINE_BYTES], true));
            }
            None
        });
        let outcome = log.append(at, stream, cut);
        self.pending.drain(..consumed);
        outcome
    }

    /// Appends what is left when the stream has ended.
    ///
    /// # Errors
    /// As [`LogWriter::append`].
    pub fn finish(
        &mut self,
        log: &mut LogWriter,
        at: Timestamp,
        stream: LogStream,
    ) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.pending);
        log.append(at, stream, [(rest.as_slice(), true)].into_iter())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const AT: Timestamp = Timestamp::constant(1_800_000_000, 5);

    fn cut(chunks: &[&[u8]]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = LogWriter::open(&path, Rotation::KUBELET).unwrap();
        let mut cutter = LineCutter::default();
        for chunk in chunks {
            cutter.push(&mut log, AT, LogStream::Stdout, chunk).unwrap();
        }
        cutter.finish(&mut log, AT, LogStream::Stdout).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_line_is_written_as_kubelet_writes_it() {
        let written = String::from_utf8(cut(&[b"hel", b"lo\n\nrest"])).unwrap();
        assert_eq!(
            written,
            "2027-01-15T08:00:00.000000005Z stdout F hello\n\
             2027-01-15T08:00:00.000000005Z stdout F \n\
             2027-01-15T08:00:00.000000005Z stdout P rest\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_into_partial_entries_that_join_to_the_whole() {
        let line: Vec<u8> = (0..LOG_LINE_BYTES * 2 + 7)
            .map(|i| b'a' + (i % 26) as u8)
            .collect();
        let written = cut(&[&line, b"\n"]);
        let entries: Vec<_> = written
            .split_inclusive(|b| *b == b'\n')
            .map(|l| parse_entry(l).unwrap())
            .collect();
        assert_eq!(
            entries
                .iter()
                .map(|entry| entry.partial)
                .collect::<Vec<_>>(),
            [true, true, false]
        );
        assert_eq!(
            entries
                .iter()
                .flat_map(|entry| entry.text)
                .copied()
                .collect::<Vec<_>>(),
            line
        );
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let line = vec![b'x'; LOG_LINE_BYTES];
        let written = cut(&[&line, b"\n"]);
        let entry = parse_entry(&written).unwrap();
        assert!(!entry.partial);
        assert_eq!(entry.text, line);
    }

    #[test]
    fn full_files_are_put_aside_and_the_oldest_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = LogWriter::open(
            &path,
            Rotation {
                file_bytes: 60,
                files: 3,
            },
        )
        .unwrap();
        for number in 0..9 {
            let text = format!("line {number}");
            log.append(
                AT,
                LogStream::Stderr,
                [(text.as_bytes(), false)].into_iter(),
            )
            .unwrap();
        }
        let texts: Vec<String> = files_of(&path)
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        assert_eq!(texts.len(), 3);
        assert!(texts[0].contains("line 4") && texts[0].contains("line 5"));
        assert!(texts[1].contains("line 6") && texts[1].contains("line 7"));
        assert!(texts[2].contains("line 8"));
    }

    #[test]
    fn broken_lines_are_recognised() {
        for line in [
            "",
            "x",
            "2027-01-15T08:00:00Z stdout F",
            "2027-01-15T08:00:00Z both F x",
            "now stdout F x",
        ] {
            assert_eq!(parse_entry(line.as_bytes()), None, "{line:?}");
        }
        let entry = parse_entry(b"2027-01-15T08:00:00.5Z stderr P a b  c\n").unwrap();
        assert_eq!(
            (entry.stream, entry.partial, entry.text),
            (LogStream::Stderr, true, b"a b  c".as_slice())
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(32))]

        #[test]
        fn no_line_makes_the_parser_panic(line: Vec<u8>) {
            let _ = parse_entry(&line);
        }

        #[test]
        fn whatever_is_written_in_whatever_chunks_is_read_back(
            chunks in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..40_000), 0..4),
            newline_every in 1usize..20_000,
        ) {
            let chunks: Vec<Vec<u8>> = chunks
                .into_iter()
                .map(|chunk| {
                    let breaks = |(i, byte)| if i % newline_every == 0 { b'\n' } else { byte };
                    chunk.into_iter().enumerate().map(breaks).collect()
                })
                .collect();
            let written = cut(&chunks.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut joined = Vec::new();
            for line in written.split_inclusive(|byte| *byte == b'\n') {
                let entry = parse_entry(line).unwrap();
                assert!(entry.text.len() <= LOG_LINE_BYTES);
                joined.extend_from_slice(entry.text);
                if !entry.partial {
                    joined.push(b'\n');
                }
            }
            proptest::prop_assert_eq!(joined, chunks.concat());
        }
    }
}
