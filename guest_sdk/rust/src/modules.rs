//! Requests to the runtime modules of the node, such as `kv:distro:sys`, and their answers.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::address::module;
use crate::errors::SendError;
use crate::messaging::Request;

/// For a module, which answers when what it wrote is on disk.
const WAIT: Duration = Duration::from_secs(30);

/// What a module answers, with the blob.
pub(crate) type Answer = (Value, Option<Vec<u8>>);

/// Why there is no answer.
pub(crate) enum Refusal {
    /// The module says no: its word for it, what it says more, the blob.
    Refused(String, String, Option<Vec<u8>>),
    /// The request was not answered.
    Unanswered(SendError),
}

/// Ask a module and wait for its answer.
pub(crate) fn ask(name: &str, body: &Value, blob: Option<&[u8]>) -> Result<Answer, Refusal> {
    let request = Request::to(&module(name)).json(body);
    let request = match blob {
        Some(bytes) => request.blob(bytes, None),
        None => request,
    };
    let answer = request.send_and_await_response(WAIT).map_err(Refusal::Unanswered)?;
    let blob = answer.blob.as_ref().map(|blob| blob.bytes.clone());
    let value: Value = answer.json().unwrap_or(Value::Null);
    let Some(error) = value.get("Err") else {
        return Ok((value, blob));
    };
    let (kind, reason) = match error.as_object().and_then(|fields| fields.iter().next()) {
        Some((kind, more)) => (kind.as_str(), more.get("error").and_then(Value::as_str)),
        None => (error.as_str().unwrap_or("an unknown error"), None),
    };
    Err(Refusal::Refused(kind.into(), reason.unwrap_or(kind).into(), blob))
}

/// Bytes for JSON: text is shorter than a list of numbers.
pub(crate) fn json_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.into(),
    }
}

/// Bytes as a module lists them.
pub(crate) fn listed_bytes(value: &Value) -> Vec<u8> {
    let numbers = value.as_array().map_or(&[][..], Vec::as_slice);
    numbers.iter().filter_map(Value::as_u64).filter_map(|number| u8::try_from(number).ok()).collect()
}

/// `module: reason`.
pub(crate) fn refused(f: &mut fmt::Formatter<'_>, kind: &str, reason: &str) -> fmt::Result {
    if kind == reason { f.write_str(kind) } else { write!(f, "{kind}: {reason}") }
}
