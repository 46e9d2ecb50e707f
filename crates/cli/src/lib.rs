//! The verbs a person types, and how answers look.
