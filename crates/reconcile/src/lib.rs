//! The one control loop and its queue.
