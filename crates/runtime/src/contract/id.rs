//! Names of sandboxes and containers. They are chosen by the runtime, opaque to the caller, and stable for life.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! runtime_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the runtime's own name. Only runtimes have a reason to call this.
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

runtime_id! {
    /// Names one sandbox of one runtime.
    SandboxId
}

runtime_id! {
    /// Names one attempt of one container of one runtime; the pod status' `containerID` is `HANDLER://ID`.
    ContainerId
}
