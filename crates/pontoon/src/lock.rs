//! Who has a data directory: two nodes on one would fight for its pods and network.

use anyhow::{Context as _, anyhow};
use std::fs::{File, TryLockError};
use std::path::Path;

/// Takes the data directory for as long as the file is kept.
pub(crate) fn take(data_dir: &Path, name: &str) -> anyhow::Result<File> {
    let path = data_dir.join(name);
    let file = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(anyhow!(
            "data directory {} is in use by another pontoon: end that one, or choose another with --data-dir",
            data_dir.display()
        )),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}
