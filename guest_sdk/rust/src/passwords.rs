//! Hashes of passwords, by Argon2id in the node: the API of `passwords:distro:sys`.
//!
//! The manifest has to request the capability: `request-capabilities = ["passwords:distro:sys"]`. A hash takes the node some hundredths of
//! a second; it makes one at a time, and lets a package that asks for many wait.

use std::fmt;

use serde_json::{Value, json};

use crate::errors::SendError;
use crate::modules::{Refusal, ask, refused};

/// A password was not hashed, or not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// Too many passwords of this package wait: try again later.
    Busy,
    /// Refused otherwise: the node's word for it, and its reason.
    Refused(String, String),
    /// The node did not answer, or the process may not ask.
    Unanswered(Box<SendError>),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many passwords of this package wait: try again later"),
            Self::Refused(kind, reason) => refused(f, kind, reason),
            Self::Unanswered(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PasswordError {}

/// Hash a password of 1 to 1024 bytes, with a salt of its own: store the result.
///
/// # Errors
/// See [`PasswordError`].
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    let answer = asked(&json!({"Hash": password}))?;
    Ok(answer["Hash"].as_str().unwrap_or_default().into())
}

/// Whether a password is the one that was hashed.
///
/// # Errors
/// See [`PasswordError`].
pub fn verify_password(password: &str, stored: &str) -> Result<bool, PasswordError> {
    Ok(verified(password, stored)?["matches"] == true)
}

/// Whether a password is right, and to be hashed again, since the node now does so at another cost.
///
/// # Errors
/// See [`PasswordError`].
pub fn is_outdated(password: &str, stored: &str) -> Result<bool, PasswordError> {
    let found = verified(password, stored)?;
    Ok(found["matches"] == true && found["outdated"] == true)
}

fn verified(password: &str, stored: &str) -> Result<Value, PasswordError> {
    Ok(asked(&json!({"Verify": {"password": password, "hash": stored}}))?["Verify"].take())
}

fn asked(body: &Value) -> Result<Value, PasswordError> {
    match ask("passwords", body, None) {
        Ok((answer, _)) => Ok(answer),
        Err(Refusal::Unanswered(error)) => Err(PasswordError::Unanswered(Box::new(error))),
        Err(Refusal::Refused(kind, ..)) if kind == "Busy" => Err(PasswordError::Busy),
        Err(Refusal::Refused(kind, reason, _)) => Err(PasswordError::Refused(kind, reason)),
    }
}
