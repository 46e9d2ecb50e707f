//! The replicated state machine: commands, apply, revisions, views, change feed.
