//! Pure pod placement: filter, score, explain.
