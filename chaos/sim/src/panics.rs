//! Panics of members: tokio contains them, a simulation must not.

use parking_lot::Mutex;

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Has every panic noted.
pub fn watch() {
    std::panic::set_hook(Box::new(|panic| SEEN.lock().push(panic.to_string())));
}

/// Those since this was last asked.
pub fn take() -> Vec<String> {
    let seen = std::mem::take(&mut *SEEN.lock());
    seen.into_iter()
        .map(|panic| format!("panic: {panic}"))
        .collect()
}
