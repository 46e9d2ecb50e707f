//! Reads containers' log files: the last lines, from a time on, to a number of bytes, and on as they are written.

use crate::limits::LOG_CHUNK_BYTES;
use crate::pods::log_of;
use crate::view::{Attempt, PodView};
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use pontoon_runtime::log::{files_of, parse_entry};
use pontoon_wire::node::v1::LogsTunnel;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncSeekExt, BufReader};
use tokio::sync::watch;

mod changes;

use changes::Changes;

/// What part of a log is wanted, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    follow: bool,
    previous: bool,
    tail_lines: Option<u64>,
    limit_bytes: Option<u64>,
    since: Option<Timestamp>,
    timestamps: bool,
}

impl Options {
    pub(crate) fn of(request: &LogsTunnel) -> Result<Self, String> {
        let since = match request.since_time.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| format!("{text:?} is no time"))?),
        };
        let positive = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(Self {
            follow: request.follow,
            previous: request.previous,
            tail_lines: request.tail_lines.map(positive),
            limit_bytes: request.limit_bytes.map(positive),
            since,
            timestamps: request.timestamps,
        })
    }
}

/// Reads one attempt's log.
pub(crate) struct Reader {
    options: Options,
    path: PathBuf,
    /// Rotated files that are still to be read, oldest last.
    older: Vec<PathBuf>,
    file: Option<BufReader<File>>,
    line: Vec<u8>,
    left: Option<u64>,
    /// A line whose pieces have not all been seen goes on without its time.
    inside_line: bool,
    follow: Option<Follow>,
}

/// What tells that there may be more to read, or that there will be none.
struct Follow {
    changes: Changes,
    attempts: watch::Receiver<BTreeMap<String, Attempt>>,
    container: String,
    number: u32,
}

impl Reader {
    /// Opens a container's log. `Err` is for the user, in kubelet's words.
    pub(crate) async fn open(
        view: &PodView,
        container: &str,
        options: Options,
    ) -> Result<Self, String> {
        let Some(attempt) = view.attempt(container) else {
            return Err(format!(
                "container {container:?} in pod {:?} is waiting to start",
                view.pod.name
            ));
        };
        let number = if options.previous {
            let previous = attempt.number.checked_sub(1);
            previous.ok_or_else(|| {
                format!(
                    "previous terminated container {container:?} in pod {:?} not found",
                    view.pod.name
                )
            })?
        } else {
            attempt.number
        };
        let follow = options.follow && !options.previous;
        let path = log_of(view, container, number);
        let follow = if follow {
            let changes = Changes::of(&path).map_err(|error| error.to_string())?;
            Some(Follow {
                changes,
                attempts: view.subscribe(),
                container: container.to_owned(),
                number,
            })
        } else {
            None
        };
        Self::begin(path, options, follow)
            .await
            .map_err(|error| error.to_string())
    }

    async fn begin(path: PathBuf, options: Options, follow: Option<Follow>) -> io::Result<Self> {
        let files = {
            let path = path.clone();
            let joined = tokio::task::spawn_blocking(move || files_of(&path)).await;
            joined.map_err(io::Error::other)?
        };
        let (skipped, offset) = match options.tail_lines {
            None => (0, 0),
            Some(lines) => tail(&files, lines).await?,
        };
        let mut older: Vec<PathBuf> = files.into_iter().skip(skipped).collect();
        older.reverse();
        let mut reader = Self {
            left: options.limit_bytes,
            options,
            path,
            older,
            file: None,
            line: Vec::new(),
            inside_line: false,
            follow,
        };
        reader.next_file().await?;
        if let Some(file) = &mut reader.file {
            file.seek(io::SeekFrom::Start(offset)).await?;
        }
        Ok(reader)
    }

    /// Opens the next file, if there is one.
    async fn next_file(&mut self) -> io::Result<bool> {
        while let Some(path) = self.older.pop() {
            match File::open(&path).await {
                Ok(file) => {
                    self.file = Some(BufReader::with_capacity(LOG_CHUNK_BYTES, file));
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The next piece, `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut chunk = BytesMut::new();
        loop {
            if self.left == Some(0) {
                return Ok(some(chunk));
            }
            let whole = self.read_line().await?;
            if whole {
                self.take_line(&mut chunk);
                if chunk.len() >= LOG_CHUNK_BYTES {
                    return Ok(some(chunk));
                }
                continue;
            }
            if !chunk.is_empty() {
                return Ok(some(chunk));
            }
            if !self.older.is_empty() {
                self.next_file().await?;
                continue;
            }
            if !self.wait().await? {
                return Ok(None);
            }
        }
    }

    /// Reads on in the present line; true when it is whole.
    async fn read_line(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        file.read_until(b'\n', &mut self.line).await?;
        Ok(self.line.last() == Some(&b'\n'))
    }

    fn take_line(&mut self, chunk: &mut BytesMut) {
        let line = std::mem::take(&mut self.line);
        let Some(entry) = parse_entry(&line) else {
            return;
        };
        if self.options.since.is_some_and(|since| entry.at < since) {
            return;
        }
        let before = chunk.len();
        if self.options.timestamps && !self.inside_line {
            chunk.extend_from_slice(format!("{:.9} ", entry.at).as_bytes());
        }
        chunk.extend_from_slice(entry.text);
        if !entry.partial {
            chunk.extend_from_slice(b"\n");
        }
        self.inside_line = entry.partial;
        if let Some(left) = &mut self.left {
            let added = chunk.len() - before;
            let kept = added.min(usize::try_from(*left).unwrap_or(usize::MAX));
            chunk.truncate(before + kept);
            *left -= kept as u64;
        }
    }

    /// Waits for more; false when there will be none. The file is looked at once more after the container's end was seen,
    /// since its last lines may have been written in between.
    async fn wait(&mut self) -> io::Result<bool> {
        let Some(follow) = &mut self.follow else {
            return Ok(false);
        };
        let over = |all: &BTreeMap<String, Attempt>| {
            all.get(&follow.container)
                .is_none_or(|a| a.number != follow.number || !a.running)
        };
        let ended = over(&follow.attempts.borrow_and_update());
        if ended {
            self.follow = None;
        } else {
            tokio::select! {
                changed = follow.changes.next() => changed?,
                changed = follow.attempts.changed() => {
                    if changed.is_err() {
                        self.follow = None;
                    }
                }
            }
        }
        self.reopen_rotated().await?;
        Ok(true)
    }

    /// Goes on in the fresh file when the one that is read was put aside.
    async fn reopen_rotated(&mut self) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let fresh = match tokio::fs::metadata(&self.path).await {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let reading = match &self.file {
            Some(file) => Some(file.get_ref().metadata().await?.ino()),
            None => None,
        };
        if reading == Some(fresh.ino()) {
            return Ok(());
        }
        // The rest of the file that was put aside comes first: it is read to its end before the next is opened.
        if self.older.is_empty() {
            self.older.push(self.path.clone());
        }
        if self.file.is_none() {
            self.next_file().await?;
        }
        Ok(())
    }
}

fn some(chunk: BytesMut) -> Option<Bytes> {
    (!chunk.is_empty()).then(|| chunk.freeze())
}

/// Where the last `lines` lines begin: how many files come before, and the offset in the first that counts.
async fn tail(files: &[PathBuf], lines: u64) -> io::Result<(usize, u64)> {
    let mut wanted = lines;
    for (index, path) in files.iter().enumerate().rev() {
        let found = tail_of(path, wanted).await?;
        match found {
            Tail::Begins(offset) => return Ok((index, offset)),
            Tail::Fewer(count) => wanted -= count,
        }
    }
    Ok((0, 0))
}

enum Tail {
    /// The lines begin at this offset.
    Begins(u64),
    /// The file holds only so many.
    Fewer(u64),
}

async fn tail_of(path: &Path, wanted: u64) -> io::Result<Tail> {
    let bytes = match tokio::fs::read(path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tail::Fewer(0)),
        Err(error) => return Err(error),
    };
    let end = bytes
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let mut begin = end;
    let mut whole = 0;
    // Pieces of a line count as one line: a line begins after an entry that is not partial.
    while begin > 0 {
        let line_at = bytes[..begin - 1]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let partial = parse_entry(&bytes[line_at..begin]).is_some_and(|entry| entry.partial);
        if !partial || whole == 0 {
            if whole == wanted {
                return Ok(Tail::Begins(begin as u64));
            }
            whole += 1;
        }
        begin = line_at;
    }
    if whole == wanted && wanted == 0 {
        return Ok(Tail::Begins(end as u64));
    }
    Ok(Tail::Fewer(whole))
}

#[cfg(test)]
mod tests;
