//! How much a history may hold and how long a checker may think.

/// Operations of one recorder. A campaign of ten minutes at a thousand operations a second is 600,000; beyond a few million the memory of
/// the runner would be what is tested.
pub const RECORDED_OPERATIONS: usize = 4_000_000;

/// Steps of one search. Some ten seconds of an unoptimised build; a history of 1,000 operations by five clients takes a few thousand.
pub const SEARCH_STEPS: u64 = 5_000_000;

/// Remembered dead ends of one search: at 200 bytes each, half a gigabyte is where it gives up.
pub const SEARCH_MEMORY: usize = 2_000_000;

/// Searches that may be spent on making one counter-example small.
pub const BRIEF_SEARCHES: usize = 400;

/// Anomalies that one verdict spells out. The first few tell the story, and a broken run has one for each operation.
pub const ANOMALIES_TOLD: usize = 20;

/// Milliseconds that `adya` may search cycles for in each component of the graph.
pub const CYCLE_SEARCH_MILLIS: u64 = 20_000;
