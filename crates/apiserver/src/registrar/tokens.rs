//! Join tokens: made, listed, revoked, and used once.

use super::{Registrar, RegistrarError, busy};
use crate::error::VerbError;
use crate::limits::{TOKEN_TTL, TOKEN_TTL_MAX, TOKENS};
use jiff::{SignedDuration, Timestamp};
use pontoon_identity::token::{self, JoinToken, Role};
use pontoon_state::records::{Record as _, Token};
use pontoon_state::{Object, Precondition, Transaction, View};
use std::sync::Arc;
use std::time::Duration;

/// What a token is to be good for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// For whom.
    pub role: Role,
    /// For how long; zero for the usual.
    pub ttl: Duration,
    /// For an agent: its only name; empty for any.
    pub node_name: String,
}

/// A token, as it is told once.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The token.
    pub token: JoinToken,
    /// Its record.
    pub record: Token,
}

/// A token that was shown and is good.
pub(super) struct Shown {
    pub id: String,
    pub record: Token,
    object: Arc<Object>,
}

impl Registrar {
    /// Makes a token.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn create_token(&self, wanted: &Wanted) -> Result<Issued, RegistrarError> {
        let ttl = if wanted.ttl.is_zero() {
            TOKEN_TTL
        } else {
            wanted.ttl
        };
        if ttl > TOKEN_TTL_MAX {
            return Err(RegistrarError::Invalid(format!(
                "ttl: a join token lasts at most {} h",
                TOKEN_TTL_MAX.as_secs() / 3_600
            )));
        }
        if !wanted.node_name.is_empty() {
            if wanted.role == Role::Server {
                return Err(RegistrarError::Invalid(
                    "node_name: only an agent's token is for a node".into(),
                ));
            }
            super::agents::check_name(&wanted.node_name)?;
        }
        let now = self.world.now();
        let expires = SignedDuration::try_from(ttl)
            .ok()
            .and_then(|ttl| now.checked_add(ttl).ok())
            .ok_or_else(|| VerbError::Internal("the clock is beyond all times".into()))?;
        let token = JoinToken::generate(wanted.role, self.authorities()?.cluster.pin())
            .map_err(|error| VerbError::Internal(error.to_string()))?;
        let record = Token {
            role: wanted.role.as_str().to_owned(),
            hash: token.hash(),
            expires: expires.to_string(),
            node_name: wanted.node_name.clone(),
            used_by: String::new(),
            attempt: String::new(),
        };
        let view = self.view().await?;
        let key = Token::key(&token.id);
        let mut transaction = Transaction::default()
            .require(Precondition::Absent(key.clone()))
            .put(key, record.encoded(&token.id));
        for stale in stale(&view, now) {
            transaction = transaction.delete(Token::key(&stale));
        }
        if view.count(Token::RESOURCE, None) >= TOKENS {
            return Err(RegistrarError::Refused(format!(
                "there are {TOKENS} join tokens: revoke some (`pontoon cluster token revoke ID`)"
            )));
        }
        match self.commit(transaction).await? {
            Some(()) => Ok(Issued { token, record }),
            None => Err(busy()),
        }
    }

    /// Every token that is kept, by id.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn list_tokens(&self) -> Result<Vec<(String, Token)>, RegistrarError> {
        Ok(Token::all(&*self.view().await?).collect())
    }

    /// Forgets a token: nobody joins with it any more.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn revoke_token(&self, id: &str) -> Result<(), RegistrarError> {
        // Pasted whole, it still says which it is.
        let id = JoinToken::parse(id).map_or_else(|_| id.to_owned(), |token| token.id);
        let key = Token::key(&id);
        if self.view().await?.get(&key).is_none() {
            return Err(RegistrarError::NotFound(format!(
                "there is no join token {id:?}: see `pontoon cluster token list`"
            )));
        }
        self.commit(Transaction::default().delete(key)).await?;
        Ok(())
    }

    /// Checks a token that somebody shows who has nothing else.
    pub(super) fn check_token(
        &self,
        view: &View,
        text: &str,
        role: Role,
        attempt: &str,
    ) -> Result<Shown, RegistrarError> {
        let token =
            JoinToken::parse(text).map_err(|error| RegistrarError::Invalid(error.to_string()))?;
        if attempt.len() < 16 || attempt.len() > 128 {
            return Err(RegistrarError::Invalid(
                "attempt: must be 16 to 128 letters, chosen at random and kept".into(),
            ));
        }
        let denied = |detail: String| Err(RegistrarError::Denied(detail));
        if token.pin != self.authorities()?.cluster.pin() {
            return denied(
                "this join token is another cluster's: it pins another authority than ours".into(),
            );
        }
        let found = Token::find(view, &token.id).filter(|(record, _)| token.matches(&record.hash));
        let Some((record, object)) = found else {
            return denied(format!(
                "join token {} is not known here: it was revoked, or forgotten after it expired; make another with \
                 `pontoon cluster token create --role {role}`",
                token.id
            ));
        };
        if record.role != role.as_str() {
            return denied(format!(
                "join token {} is for {}, not for {}: make one with `pontoon cluster token create --role {role}`",
                token.id,
                named(&record.role),
                named(role.as_str()),
            ));
        }
        if is_over(&record, self.world.now()) {
            return denied(format!(
                "join token {} expired at {}: make another with `pontoon cluster token create --role {role}`",
                token.id, record.expires
            ));
        }
        if !record.used_by.is_empty() && record.attempt != token::hash(attempt.as_bytes()) {
            return denied(format!(
                "join token {} was used already, by {}: a token is good for one; make another with \
                 `pontoon cluster token create --role {role}`",
                token.id, record.used_by
            ));
        }
        Ok(Shown {
            id: token.id,
            record,
            object,
        })
    }
}

impl Shown {
    /// Who used it, if this attempt did so before.
    pub(super) fn used_by(&self) -> Option<&str> {
        Some(self.record.used_by.as_str()).filter(|used| !used.is_empty())
    }

    /// Adds to a transaction that the token is used now, and was not before.
    pub(super) fn consume(&self, by: &str, attempt: &str, transaction: Transaction) -> Transaction {
        let key = Token::key(&self.id);
        let used = Token {
            used_by: by.to_owned(),
            attempt: token::hash(attempt.as_bytes()),
            ..self.record.clone()
        };
        transaction
            .require(Precondition::Revision(key.clone(), self.object.revision))
            .put(key, used.encoded(&self.id))
    }
}

fn named(role: &str) -> &'static str {
    match role {
        "server" => "a server",
        _ => "an agent",
    }
}

fn is_over(record: &Token, now: Timestamp) -> bool {
    record
        .expires
        .parse::<Timestamp>()
        .is_ok_and(|expires| expires <= now)
}

/// Tokens that expired longer ago than any token lasts: nobody asks for them any more.
fn stale(view: &View, now: Timestamp) -> Vec<String> {
    let long_ago = SignedDuration::try_from(TOKEN_TTL_MAX)
        .ok()
        .and_then(|ttl| now.checked_sub(ttl).ok());
    let Some(long_ago) = long_ago else {
        return Vec::new();
    };
    Token::all(view)
        .filter(|(_, record)| is_over(record, long_ago))
        .map(|(name, _)| name)
        .take(64)
        .collect()
}
