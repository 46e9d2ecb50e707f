//! PEM in, with errors that say where it came from.

use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject as _},
};

/// A text is not the PEM it should be.
#[derive(Debug, thiserror::Error)]
#[error("{origin} does not hold a PEM {what}")]
pub struct PemError {
    /// The file, or the field of a file.
    pub origin: String,
    /// `certificate` or `private key`.
    pub what: &'static str,
    /// What is wrong with it; none when it is well formed and holds no such thing.
    #[source]
    pub source: Option<Error>,
}

/// Every certificate of the text, at least one. `origin` names the text in errors.
///
/// # Errors
/// [`PemError`] when one is malformed, or there is none.
pub fn certificates(origin: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let failed = |source| PemError {
        origin: origin.to_owned(),
        what: "certificate",
        source,
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(Some(error)))?;
    let parses = |der: &CertificateDer<'_>| x509_parser::parse_x509_certificate(der).is_ok();
    if found.is_empty() || !found.iter().all(parses) {
        return Err(failed(None));
    }
    Ok(found)
}

/// The first private key of the text. `origin` names the text in errors.
///
/// # Errors
/// [`PemError`] when it is malformed, or there is none.
pub fn private_key(origin: &str, text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| PemError {
        origin: origin.to_owned(),
        what: "private key",
        source: Some(error),
    })
}
