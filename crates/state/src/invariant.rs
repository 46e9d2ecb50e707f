//! What must always hold, checked by tests, simulation and the debug endpoint alike.

use crate::key::Key;
use crate::view::View;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Everything wrong with a view, in words; empty when all is well. Cost: every object once.
#[must_use]
pub fn violations(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    let mut rebuilt = View {
        revision: view.revision,
        compacted: view.compacted,
        ..View::default()
    };
    for object in view.iter() {
        if object.revision > view.revision {
            found.push(format!(
                "{} is at revision {}, the view at {}",
                object.key, object.revision, view.revision
            ));
        }
        rebuilt.insert(object.clone());
    }
    for (name, same) in [
        ("owner", rebuilt.owned == view.owned),
        ("node", rebuilt.placed == view.placed),
        ("label", rebuilt.labelled == view.labelled),
        ("count", rebuilt.counts == view.counts),
    ] {
        if !same {
            found.push(format!("the {name} index does not match the objects"));
        }
    }
    if rebuilt.digest != view.digest {
        found.push("the digest is not that of the objects".into());
    }
    found
}

/// A hash of everything a view holds: equal on replicas at the same applied index. Cost: every byte once.
#[must_use]
pub fn digest(view: &View) -> String {
    let mut hash = Sha256::new();
    hash.update(view.revision.0.to_be_bytes());
    hash.update(view.compacted.0.to_be_bytes());
    for object in view.iter() {
        hash.update(Key::encode(&object.key));
        hash.update(object.revision.0.to_be_bytes());
        hash.update(&object.json);
    }
    hash.finalize()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })
}
