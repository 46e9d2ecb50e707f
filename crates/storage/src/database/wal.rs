//! A look at write-ahead logs before RocksDB reads them.
//!
//! RocksDB 11.8 reads for ever when a log that was not recycled holds a record header of a recycled kind (seen with
//! kinds 5 to 8, 11 and 131): a torn tail or one flipped bit can look like that. We never recycle logs, so that such
//! a header is garbage, and the log ends there. Whether anything synced was lost is for the mark to say.

use crate::error::StorageError;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read as _};
use std::path::Path;

/// Records lie in blocks of this size; none crosses their border (RocksDB, `db/log_format.h`).
const BLOCK: u64 = 32_768;

/// CRC (4), length (2), kind (1).
const HEADER: u64 = 7;

/// Kinds of recycled logs, from the same file.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// Cuts every write-ahead log in a database's directory where RocksDB would not come to an end.
pub(super) fn cut(database: &Path) -> Result<(), StorageError> {
    let io = |error: std::io::Error| StorageError::io("looking through", database, &error);
    let entries = match fs::read_dir(database) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    for entry in entries {
        let path = entry.map_err(io)?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        if let Some(end) = garbage(&path).map_err(io)? {
            tracing::warn!(path = %path.display(), end, "a write-ahead log ends in garbage and is cut");
            let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
            file.set_len(end)
                .and_then(|()| file.sync_all())
                .map_err(io)?;
        }
    }
    Ok(())
}

/// Where the first header of a recycled kind is.
fn garbage(path: &Path) -> std::io::Result<Option<u64>> {
    let mut file = BufReader::new(File::open(path)?);
    let size = file.get_ref().metadata()?.len();
    let mut at = 0;
    loop {
        let rest = BLOCK - at % BLOCK;
        if rest < HEADER {
            file.seek_relative(rest.cast_signed())?;
            at += rest;
        }
        if at + HEADER > size {
            return Ok(None);
        }
        let mut header = [0; HEADER as usize];
        file.read_exact(&mut header)?;
        let length = u64::from(u16::from_le_bytes([header[4], header[5]]));
        if RECYCLED.contains(&header[6]) {
            return Ok(Some(at));
        }
        // Unused space, or nonsense that RocksDB stops at by itself.
        if header[6] == 0 || at % BLOCK + HEADER + length > BLOCK {
            return Ok(None);
        }
        file.seek_relative(length.cast_signed())?;
        at += HEADER + length;
    }
}
