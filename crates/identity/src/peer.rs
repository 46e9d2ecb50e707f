//! Who a verified certificate says its bearer is.
//!
//! Nothing here verifies: the certificate must have come out of a handshake that did.

use crate::{
    authority::{NODE_PREFIX, NODES},
    credentials::BadCertificate,
};
use pontoon_api::NodeName;
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

/// Every user who showed who they are is in it, as in Kubernetes.
pub const AUTHENTICATED: &str = "system:authenticated";

/// A user, in Kubernetes' sense: who sends a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The certificate's common name.
    pub user: String,
    /// The certificate's organizations, and [`AUTHENTICATED`].
    pub groups: Vec<String>,
}

/// Which member of which cluster a replica is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// The cluster's id.
    pub cluster: String,
    /// The member's Raft id.
    pub id: u64,
}

/// A certificate does not say who its bearer is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It is not one.
    #[error(transparent)]
    Bad(#[from] BadCertificate),
    /// It names no user.
    #[error("the certificate has no common name")]
    NoCommonName,
    /// It names no member.
    #[error("the certificate has no URI of the form pontoon://CLUSTER/member/ID")]
    NoMember,
}

impl Identity {
    /// As Kubernetes reads client certificates.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let parsed = parse(certificate)?;
        let subject = parsed.subject();
        let user = subject
            .iter_common_name()
            .last()
            .and_then(|name| name.as_str().ok())
            .unwrap_or_default();
        if user.is_empty() {
            return Err(PeerError::NoCommonName);
        }
        let organizations = subject
            .iter_organization()
            .filter_map(|name| name.as_str().ok());
        let groups = organizations
            .chain([AUTHENTICATED])
            .map(str::to_owned)
            .collect();
        Ok(Self {
            user: user.to_owned(),
            groups,
        })
    }

    /// The node this user is, if it is one.
    #[must_use]
    pub fn node(&self) -> Option<NodeName> {
        let name = self.user.strip_prefix(NODE_PREFIX)?;
        (!name.is_empty() && self.in_group(NODES)).then(|| NodeName::new(name))
    }

    /// Whether the user is in a group.
    #[must_use]
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|found| found == group)
    }
}

impl Member {
    /// What a replica's certificate says.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let parsed = parse(certificate)?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| BadCertificate)?;
        let names = names
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        names
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => Self::from_uri(uri),
                _ => None,
            })
            .ok_or(PeerError::NoMember)
    }

    /// `pontoon://CLUSTER/member/ID`.
    pub(crate) fn uri(&self) -> String {
        format!("pontoon://{}/member/{}", self.cluster, self.id)
    }

    fn from_uri(uri: &str) -> Option<Self> {
        let (cluster, id) = uri.strip_prefix("pontoon://")?.split_once("/member/")?;
        Some(Self {
            cluster: cluster.to_owned(),
            id: id.parse().ok()?,
        })
    }

    /// The name to demand of the member's certificate when dialling it, so that no other
    /// member answers in its place. It is in no DNS (RFC 9476 reserves `.alt` for that).
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("member-{}.pontoon.alt", self.id)
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, BadCertificate> {
    x509_parser::parse_x509_certificate(certificate)
        .map(|(_, parsed)| parsed)
        .map_err(|_| BadCertificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_only_by_name_and_group_together() {
        let identity = |user: &str, group: &str| Identity {
            user: user.to_owned(),
            groups: vec![group.to_owned()],
        };
        assert_eq!(
            identity("system:node:a", NODES).node(),
            Some(NodeName::new("a"))
        );
        assert_eq!(identity("system:node:a", "other").node(), None);
        assert_eq!(identity("system:node:", NODES).node(), None);
        assert_eq!(identity("a", NODES).node(), None);
    }

    #[test]
    fn what_is_not_a_certificate_is_nobody() {
        let garbage = CertificateDer::from_slice(b"hello");
        assert!(Identity::of_certificate(&garbage).is_err());
        assert!(Member::of_certificate(&garbage).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_never_panic(bytes: Vec<u8>, uri in "(pontoon://)?\\PC*") {
            let certificate = CertificateDer::from(bytes);
            let _ = Identity::of_certificate(&certificate);
            let _ = Member::of_certificate(&certificate);
            let _ = Member::from_uri(&uri);
        }
    }

    #[test]
    fn a_member_uri_is_read_as_it_was_written() {
        let member = Member {
            cluster: "c1".to_owned(),
            id: u64::MAX,
        };
        assert_eq!(Member::from_uri(&member.uri()), Some(member));
        for wrong in [
            "",
            "pontoon://c1",
            "pontoon://c1/member/x",
            "http://c1/member/1",
            "pontoon://c1/member/-1",
        ] {
            assert_eq!(Member::from_uri(wrong), None, "{wrong}");
        }
    }
}
