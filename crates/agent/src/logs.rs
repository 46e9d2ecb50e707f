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
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader};
use tokio::sync::watch;

mod changes;

use changes::Changes;

/// How often the names of a log's files are looked at again when rotation is under way.
const ROTATION_LOOKS: usize = 4;

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
    /// Files that are still to be read, oldest last. They are open, so that rotation cannot take them away.
    next_files: Vec<Source>,
    file: Option<BufReader<File>>,
    /// Which file is read.
    inode: Option<u64>,
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
        let files = sources(&path).await?;
        let (skipped, offset) = match options.tail_lines {
            None => (0, 0),
            Some(lines) => tail(&files, lines).await?,
        };
        let mut next_files: Vec<Source> = files.into_iter().skip(skipped).collect();
        next_files.reverse();
        let mut reader = Self {
            left: options.limit_bytes,
            options,
            path,
            next_files,
            file: None,
            inode: None,
            line: Vec::new(),
            inside_line: false,
            follow,
        };
        if reader.next_file()
            && let Some(file) = &mut reader.file
        {
            file.seek(io::SeekFrom::Start(offset)).await?;
        }
        Ok(reader)
    }

    /// Goes on to the next file, if there is one.
    fn next_file(&mut self) -> bool {
        let Some(source) = self.next_files.pop() else {
            return false;
        };
        self.inode = Some(source.inode);
        self.file = Some(BufReader::with_capacity(LOG_CHUNK_BYTES, source.file));
        true
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
            if self.next_file() {
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
        self.find_rotated().await?;
        Ok(true)
    }

    /// Finds the files that follow the one that is read, when that was put aside.
    async fn find_rotated(&mut self) -> io::Result<()> {
        let mut files = sources(&self.path).await?;
        let reading = files.iter().position(|file| Some(file.inode) == self.inode);
        if let Some(index) = reading {
            files.drain(..=index);
        }
        files.reverse();
        self.next_files = files;
        Ok(())
    }
}

/// An open file of a log.
struct Source {
    file: File,
    inode: u64,
}

/// A log's files, oldest first. Rotation renames while this looks, so it looks until it sees the same twice.
async fn sources(path: &Path) -> io::Result<Vec<Source>> {
    let mut before = open_all(path).await?;
    for _ in 0..ROTATION_LOOKS {
        let present = open_all(path).await?;
        let same = before
            .iter()
            .map(|s| s.inode)
            .eq(present.iter().map(|s| s.inode));
        before = present;
        if same {
            break;
        }
    }
    Ok(before)
}

async fn open_all(path: &Path) -> io::Result<Vec<Source>> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || -> io::Result<Vec<Source>> {
        let mut sources: Vec<Source> = Vec::new();
        for path in files_of(&path) {
            let file = match std::fs::File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let inode = file.metadata()?.ino();
            if sources.iter().all(|known| known.inode != inode) {
                let file = File::from_std(file);
                sources.push(Source { file, inode });
            }
        }
        Ok(sources)
    });
    opened.await.map_err(io::Error::other)?
}

fn some(chunk: BytesMut) -> Option<Bytes> {
    (!chunk.is_empty()).then(|| chunk.freeze())
}

/// Where the last `lines` lines begin: how many files come before, and the offset in the first that counts.
async fn tail(files: &[Source], lines: u64) -> io::Result<(usize, u64)> {
    let mut wanted = lines;
    for (index, source) in files.iter().enumerate().rev() {
        match tail_of(source, wanted).await? {
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

async fn tail_of(source: &Source, wanted: u64) -> io::Result<Tail> {
    let mut file = source.file.try_clone().await?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await?;
    file.rewind().await?;
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
