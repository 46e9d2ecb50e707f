//! Pods as processes of the node.
