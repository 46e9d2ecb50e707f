//! A certificate with its key, and when to replace it.

use crate::{
    lifetime::ROTATION_PERCENT,
    pem::{self, PemError},
};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub not_before: Timestamp,
    /// Up to and including then.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether it is time for a new certificate: most of its life is over, or it is not valid.
    #[must_use]
    pub fn needs_rotation(&self, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        let due =
            self.not_before + (life / 100) * i32::try_from(ROTATION_PERCENT).expect("a percentage");
        now < self.not_before || now >= due
    }

    /// Of a parsed certificate.
    ///
    /// # Errors
    /// [`BadCertificate`] when it does not parse, or its times are outside jiff's.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, BadCertificate> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| BadCertificate)?;
        let seconds = |at: x509_parser::time::ASN1Time| {
            Timestamp::from_second(at.timestamp()).map_err(|_| BadCertificate)
        };
        let validity = parsed.validity();
        Ok(Self {
            not_before: seconds(validity.not_before)?,
            not_after: seconds(validity.not_after)?,
        })
    }
}

/// The bytes are not an X.509 certificate.
#[derive(Debug, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct BadCertificate;

/// A certificate chain and the key that belongs to it, as PEM and parsed.
pub struct Credentials {
    certificate_pem: String,
    key_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    validity: Validity,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            certificate_pem: self.certificate_pem.clone(),
            key_pem: self.key_pem.clone(),
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            validity: self.validity,
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// From two PEM texts, which `origin` names in errors. That they belong together is checked
    /// when they are first [presented](crate::Presented).
    ///
    /// # Errors
    /// [`PemError`] for a text that does not hold what it should.
    pub fn from_pem(
        origin: &str,
        certificate_pem: String,
        key_pem: String,
    ) -> Result<Self, PemError> {
        let chain = pem::certificates(origin, certificate_pem.as_bytes())?;
        let key = pem::private_key(origin, key_pem.as_bytes())?;
        let unreadable = |_| PemError {
            origin: origin.to_owned(),
            what: "certificate",
            source: None,
        };
        let validity = Validity::of(&chain[0]).map_err(unreadable)?;
        Ok(Self {
            certificate_pem,
            key_pem,
            chain,
            key,
            validity,
        })
    }

    /// When the certificate is valid.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate itself, then those that link it to its authority.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key. Handle with care.
    #[must_use]
    pub const fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The chain as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key as PEM. Handle with care.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_certificate_is_due_when_two_thirds_of_its_life_are_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let validity = Validity {
            not_before: at(1_000),
            not_after: at(2_000),
        };
        assert!(validity.needs_rotation(at(999)), "not valid yet");
        assert!(!validity.needs_rotation(at(1_000)));
        assert!(!validity.needs_rotation(at(1_659)));
        assert!(validity.needs_rotation(at(1_660)));
        assert!(validity.needs_rotation(at(5_000)), "expired");
    }
}
