//! Values by key, durable: the API of `kv:distro:sys`. All processes of a package share its databases.
//!
//! The manifest has to request the capability: `request-capabilities = ["kv:distro:sys"]`. Each call waits for the node's answer.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::errors::SendError;
use crate::modules::{Answer, Refusal, ask, json_bytes, listed_bytes, refused};

/// Keys that the node lists at a time.
pub const MAX_LIST: usize = 1000;

/// A key-value store did not carry out an operation, which changed nothing; except that after `Unanswered` it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvError {
    /// `compare_and_set` found another value: this one.
    Conflict(Option<Vec<u8>>),
    /// The package would store more than the node allows: `process.kv_bytes`.
    QuotaExceeded,
    /// The node could not read or write it; its log says why.
    NotStored,
    /// A stored value is not JSON of the type that was asked for.
    BadValue(String),
    /// Refused otherwise, such as a key that is empty or over 1024 bytes: the node's word for it, and its reason.
    Refused(String, String),
    /// The node did not answer, or the process may not ask.
    Unanswered(Box<SendError>),
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(_) => f.write_str("the key has another value than expected"),
            Self::QuotaExceeded => f.write_str("the package stores as much in kv as the node allows: delete keys"),
            Self::NotStored => f.write_str("the node could not read or write the value; its log says why"),
            Self::BadValue(reason) => write!(f, "the stored value does not fit its type: {reason}"),
            Self::Refused(kind, reason) => refused(f, kind, reason),
            Self::Unanswered(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KvError {}

impl From<Refusal> for KvError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unanswered(error) => Self::Unanswered(Box::new(error)),
            Refusal::Refused(kind, reason, current) => match kind.as_str() {
                "Conflict" => Self::Conflict(current),
                "QuotaExceeded" => Self::QuotaExceeded,
                "IOError" => Self::NotStored,
                _ => Self::Refused(kind, reason),
            },
        }
    }
}

/// A database of this package. It is there with its first key.
///
/// A key is a text or bytes, 1 to 1024 of them.
#[derive(Clone, Debug)]
pub struct KeyValues {
    name: String,
}

impl KeyValues {
    /// Use a database; its name has 1 to 128 characters.
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }

    /// The value of a key; `None` if it has none, or it expired.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, KvError> {
        match self.ask(json!({"Get": {"key": json_bytes(key.as_ref())}}), None) {
            Ok((_, value)) => Ok(Some(value.unwrap_or_default())),
            Err(Refusal::Refused(kind, ..)) if kind == "KeyNotFound" => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// A value that `set_json` stored.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn get_json<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Result<Option<T>, KvError> {
        let value = self.get(key)?;
        let decoded = value.map(|bytes| serde_json::from_slice(&bytes)).transpose();
        decoded.map_err(|error| KvError::BadValue(error.to_string()))
    }

    /// Store a value. It is durable once this returns.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), KvError> {
        self.store(key.as_ref(), value.as_ref(), None)
    }

    /// Store a value that expires, after whole seconds.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn set_for(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) -> Result<(), KvError> {
        self.store(key.as_ref(), value.as_ref(), Some(ttl.as_secs()))
    }

    /// Store a value as JSON.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn set_json(&self, key: impl AsRef<[u8]>, value: &(impl Serialize + ?Sized)) -> Result<(), KvError> {
        let bytes = serde_json::to_vec(value).map_err(|error| KvError::BadValue(error.to_string()))?;
        self.set(key, bytes)
    }

    /// Remove a key; one that is not there is none.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), KvError> {
        self.ask(json!({"Delete": {"key": json_bytes(key.as_ref())}}), None)?;
        Ok(())
    }

    /// Store a value (`None`: remove the key) only if the present one is as expected (`None`: there is none), in one step.
    ///
    /// # Errors
    /// `Conflict` with the present value if it is another; see [`KvError`].
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), KvError> {
        let expected = expected.map(json_bytes);
        let fields = json!({"CompareAndSet": {"key": json_bytes(key.as_ref()), "expected": expected}});
        self.ask(fields, value)?;
        Ok(())
    }

    /// At most 1000 keys that begin with `prefix` and come after `after`, in the order of their bytes.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn keys(&self, prefix: impl AsRef<[u8]>, after: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, KvError> {
        let fields = json!({
            "prefix": json_bytes(prefix.as_ref()),
            "after": json_bytes(after.as_ref()),
            "limit": MAX_LIST,
        });
        let (answer, _) = self.ask(json!({"List": fields}), None)?;
        let keys = answer["List"]["keys"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(keys.iter().map(listed_bytes).collect())
    }

    /// All keys that begin with `prefix`, asked for 1000 at a time. Keys that are added or removed meanwhile may be missing or not.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn all_keys(&self, prefix: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, KvError> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        loop {
            let part = self.keys(&prefix, all.last().map_or(&[][..], Vec::as_slice))?;
            let whole = part.len() < MAX_LIST;
            all.extend(part);
            if whole {
                return Ok(all);
            }
        }
    }

    /// Remove all keys of the database.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn clear(&self) -> Result<(), KvError> {
        self.ask(json!("RemoveDb"), None)?;
        Ok(())
    }

    fn store(&self, key: &[u8], value: &[u8], ttl: Option<u64>) -> Result<(), KvError> {
        let mut fields = json!({"key": json_bytes(key)});
        if let Some(seconds) = ttl {
            fields["ttl"] = seconds.into();
        }
        self.ask(json!({"Set": fields}), Some(value))?;
        Ok(())
    }

    fn ask(&self, action: Value, blob: Option<&[u8]>) -> Result<Answer, Refusal> {
        ask("kv", &json!({"db": self.name, "action": action}), blob)
    }
}
