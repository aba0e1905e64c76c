//! The process's state: one byte string, durable, that outlives restarts and upgrades.

use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::contract::system as host;
use crate::errors::StateError;

/// The stored bytes, if any.
pub fn get_state() -> Option<Vec<u8>> {
    host::get_state()
}

/// Replace the stored bytes. Durable once it returns.
pub fn set_state(bytes: &[u8]) -> Result<(), StateError> {
    Ok(host::set_state(bytes)?)
}

/// Delete the stored bytes. Durable once it returns.
pub fn clear_state() -> Result<(), StateError> {
    Ok(host::clear_state()?)
}

/// A struct that is the process's state, stored as JSON:
///
/// ```
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Counts { visits: u64 }
/// # fn visit() -> guesthouse::Result<u64> {
/// let mut counts = guesthouse::Saved::<Counts>::load()?; // the default at first
/// counts.change(|counts| counts.visits += 1)?; // durable once it returns
/// # Ok(counts.visits) }
/// ```
///
/// A process has one state, so there is one `Saved` in it. Give new fields `#[serde(default)]`, and an upgrade reads what the
/// version before stored.
pub struct Saved<T> {
    value: T,
}

/// State was not read or not stored.
#[derive(Debug)]
pub enum SavedError {
    /// What is stored is of another type.
    BadState(serde_json::Error),
    /// It was not stored.
    NotStored(StateError),
}

impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadState(error) => write!(f, "the stored state does not fit its type: {error}"),
            Self::NotStored(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SavedError {}

impl<T: Serialize + DeserializeOwned + Default> Saved<T> {
    /// Read the state; the type's default if nothing is stored.
    pub fn load() -> Result<Self, SavedError> {
        let value = match get_state() {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(SavedError::BadState)?,
            None => T::default(),
        };
        Ok(Self { value })
    }
}

impl<T: Serialize + DeserializeOwned> Saved<T> {
    /// Change the state and store it. If that fails, the value is what it was before.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Result<R, SavedError> {
        let before = serde_json::to_vec(&self.value).map_err(SavedError::BadState)?;
        let result = change(&mut self.value);
        let stored = serde_json::to_vec(&self.value)
            .map_err(SavedError::BadState)
            .and_then(|bytes| set_state(&bytes).map_err(SavedError::NotStored));
        if let Err(error) = stored {
            self.value = serde_json::from_slice(&before).map_err(SavedError::BadState)?;
            return Err(error);
        }
        Ok(result)
    }
}

impl<T> Deref for Saved<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
