//! CA, certificates, join tokens, TLS configurations, peer identity.
