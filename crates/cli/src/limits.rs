//! How large, how many, how deep. Each says why that number.

/// Of everything that one command reads of manifests, in bytes: four times what one transaction carries, so
/// that the server's own limit is the one that is met.
pub const MANIFEST_BYTES: usize = 64 << 20;

/// Deepest nesting of a JSONPath template: far more than anyone writes, and safe on any stack.
pub const TEMPLATE_DEPTH: usize = 32;

/// Most values that one JSONPath expression may find: repeated `..` multiplies, and a script wants an answer.
pub const TEMPLATE_RESULTS: usize = 1_000_000;

/// Most that one template may say, in bytes: as much as a list of the largest collection.
pub const TEMPLATE_BYTES: usize = 256 << 20;

/// Most directories below one given to `-R`: a link that leads to itself must end.
pub const DIRECTORY_DEPTH: usize = 32;

/// How many containers' logs are followed at once: kubectl's `--max-log-requests`.
pub const LOG_STREAMS: usize = 5;

/// Of one line of a log that gets a prefix, in bytes: a longer one is cut, so that nothing is kept without bound.
pub const LOG_LINE_BYTES: usize = 1 << 20;

/// Lines of each container's log where a selector chose it: kubectl's default.
pub const SELECTED_TAIL_LINES: i64 = 10;

/// Connections that one `port-forward` carries at once: more than a browser opens.
pub const FORWARD_CONNECTIONS: usize = 256;

/// Furthest edit distance at which a name is offered as what was meant.
pub const TYPO_DISTANCE: usize = 2;
