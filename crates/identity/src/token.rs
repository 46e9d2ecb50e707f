//! Join tokens: what a server or an agent shows that has no certificate yet.
//!
//! `pontoon.ROLE.ID.SECRET.PIN`: the role is for people, who see what they paste where; the id finds the record; the
//! secret proves; the pin is the hash of the authority that the other side must show, so that the token is told to nobody
//! else. The cluster keeps the secret's hash alone.

use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// Bytes of a secret: 128 bits.
const SECRET_BYTES: usize = 16;
/// Bytes of an id: enough that no two tokens of a cluster's life share one.
const ID_BYTES: usize = 5;

/// Who may join with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A server.
    Server,
    /// A node.
    Agent,
}

impl Role {
    /// As in tokens and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }

    /// Reads [`Role::as_str`]'s form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Server, Self::Agent]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The SHA-256 of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// A token, with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Who may use it.
    pub role: Role,
    /// Names its record.
    pub id: String,
    secret: [u8; SECRET_BYTES],
    /// The authority to demand of the other side.
    pub pin: Pin,
}

// Whoever reads a log must not be able to join.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("role", &self.role)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A text is not a token. It says what is wrong, and never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a join token: {0}; tokens look like pontoon.server.ID.SECRET.PIN, and `pontoon cluster token create` makes them"
)]
pub struct TokenError(&'static str);

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

impl JoinToken {
    /// A token that nobody knows.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate(role: Role, pin: Pin) -> Result<Self, NoRandomness> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        let random = SystemRandom::new();
        random.fill(&mut id).map_err(|_| NoRandomness)?;
        random.fill(&mut secret).map_err(|_| NoRandomness)?;
        Ok(Self {
            role,
            id: hex(&id),
            secret,
            pin,
        })
    }

    /// What the cluster keeps of it: the SHA-256 of its secret, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        hash(&self.secret)
    }

    /// Whether [`JoinToken::hash`] is `kept`. Takes as long whatever differs.
    #[must_use]
    pub fn matches(&self, kept: &str) -> bool {
        self.hash().as_bytes().ct_eq(kept.as_bytes()).into()
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let ["pontoon", role, id, secret, pin] = parts[..] else {
            return Err(TokenError("it has not the five parts of one"));
        };
        let role = Role::parse(role).ok_or(TokenError("its role is neither server nor agent"))?;
        unhex::<ID_BYTES>(id).ok_or(TokenError("its id is damaged"))?;
        let secret = unhex(secret).ok_or(TokenError("its secret is damaged"))?;
        let pin = unhex(pin).ok_or(TokenError("its pin is damaged"))?;
        Ok(Self {
            role,
            id: id.to_owned(),
            secret,
            pin: Pin(pin),
        })
    }

    /// The token itself. Handle with care.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!(
            "pontoon.{}.{}.{}.{}",
            self.role,
            self.id,
            hex(&self.secret),
            hex(&self.pin.0)
        )
    }
}

/// The SHA-256 of something secret, in hexadecimal, as records keep it.
#[must_use]
pub fn hash(secret: &[u8]) -> String {
    hex(&Sha256::digest(secret))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn token(role: Role) -> JoinToken {
        JoinToken::generate(role, Pin([7; 32])).unwrap()
    }

    #[test]
    fn a_token_is_read_as_it_was_written_and_no_two_are_alike() {
        let made = token(Role::Server);
        let text = made.reveal();
        assert!(text.starts_with("pontoon.server."), "{text}");
        assert_eq!(JoinToken::parse(&format!(" {text}\n")).unwrap(), made);
        let other = token(Role::Server);
        assert_ne!((&other.id, other.secret), (&made.id, made.secret));
    }

    #[test]
    fn only_the_secret_itself_matches_its_hash() {
        let (made, other) = (token(Role::Agent), token(Role::Agent));
        assert!(made.matches(&made.hash()));
        assert!(!made.matches(&other.hash()));
        assert!(!made.matches(""));
    }

    #[test]
    fn a_damaged_token_is_refused_without_being_repeated() {
        let text = token(Role::Server).reveal();
        for damaged in [
            "",
            "pontoon",
            &text[1..],
            &text[..text.len() - 1],
            &text.replace("server", "king"),
            &text.to_uppercase(),
            &format!("{text}.x"),
        ] {
            let error = JoinToken::parse(damaged).unwrap_err().to_string();
            assert!(error.starts_with("not a join token: "), "{error}");
            assert!(!error.contains(&text[20..40]), "{error}");
        }
    }

    #[test]
    fn a_token_keeps_its_secret_out_of_logs() {
        let made = token(Role::Server);
        assert!(!format!("{made:?}").contains(&hex(&made.secret)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_token_or_not(text in r"(pontoon\.(server|agent)\.)?[0-9a-f.]{0,120}|\PC{0,60}") {
            let _ = JoinToken::parse(&text);
        }
    }
}
