//! Damage to the files of a server that is stopped: what disks do to what they were given long ago.

use anyhow::{Context as _, Result};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// One kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit of a file is another.
    FlipBit,
    /// A file ends earlier.
    Truncate,
    /// 4,096 bytes are zero.
    ZeroBlock,
}

/// Does `kind` of damage to one file below `directory` whose path contains one of `among`. Says what it did; `None` when no such file
/// has anything in it.
///
/// # Errors
/// When the file cannot be read or written.
pub fn damage(
    directory: &Path,
    among: &[&str],
    kind: Damage,
    random: &mut StdRng,
) -> Result<Option<String>> {
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.retain(|path| {
        let text = path.to_string_lossy();
        among.iter().any(|part| text.contains(part))
            && fs::metadata(path).is_ok_and(|found| found.len() > 0)
    });
    // The order of a directory is the file system's; the choice is the seed's.
    files.sort();
    let Some(path) = files.choose(random) else {
        return Ok(None);
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))?;
    let length = file.metadata()?.len();
    let at = random.random_range(0..length);
    let what = match kind {
        Damage::FlipBit => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            byte[0] ^= 1 << random.random_range(0..8_u8);
            file.write_all_at(&byte, at)?;
            format!("flipped a bit of byte {at}")
        }
        Damage::Truncate => {
            file.set_len(at)?;
            format!("cut at byte {at}")
        }
        Damage::ZeroBlock => {
            let end = length.min(at + 4_096);
            file.write_all_at(&vec![0; usize::try_from(end - at)?], at)?;
            format!("zeroed bytes {at} to {end}")
        }
    };
    file.sync_all()?;
    let name = path.strip_prefix(directory).unwrap_or(path);
    Ok(Some(format!(
        "{} of {length} bytes: {what}",
        name.display()
    )))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
