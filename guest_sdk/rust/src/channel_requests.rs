//! Requests that clients make over a channel, and their answers.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::message::{BadMessage, Message};

/// The largest number of a request: the largest integer that JavaScript has exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;
const START: &[u8] = br#"{"request":"#;

/// A request of a client over its channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelRequest {
    /// Chosen by the client, which has no other pending request with it on this channel.
    pub number: u64,
    /// What the client asks.
    pub body: Value,
}

impl ChannelRequest {
    /// Read a message of a client; `None` if it is no request, but an ordinary message.
    pub fn read(message: &Message) -> Option<Self> {
        let bytes = message.as_bytes();
        if !bytes.starts_with(START) {
            return None;
        }
        let mut fields: Value = serde_json::from_slice(bytes).ok()?;
        let number = fields["request"].as_u64().filter(|number| (1..=MAX_NUMBER).contains(number))?;
        let body = fields.get_mut("body").map_or(Value::Null, Value::take);
        Some(Self { number, body })
    }

    /// What the client asks, as a type.
    ///
    /// # Errors
    /// It does not fit. A handler that returns the error has the client told.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BadMessage> {
        T::deserialize(&self.body).map_err(|error| BadMessage(error.to_string()))
    }

    /// The text message that answers the request, for after [`Reply::Later`].
    ///
    /// # Panics
    /// When JSON cannot express the body.
    pub fn answer(&self, body: impl Serialize) -> String {
        json!({"response": self.number, "body": body}).to_string()
    }

    /// The text message that says why there is no answer.
    pub fn refusal(&self, error: &str) -> String {
        json!({"response": self.number, "error": error}).to_string()
    }
}

/// What becomes of a [`ChannelRequest`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It is answered with this.
    Body(Value),
    /// The process answers later, by `channel.send(request.answer(…))`, or never.
    Later,
    /// It is a message like any other, for `on_message`.
    Unhandled,
}

impl Reply {
    /// It is answered with this value.
    ///
    /// # Errors
    /// JSON cannot express it.
    pub fn json(body: impl Serialize) -> serde_json::Result<Self> {
        Ok(Self::Body(serde_json::to_value(body)?))
    }
}

/// Return it in `on_channel_request`: the client gets the text as the error of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRefused(pub String);

impl fmt::Display for RequestRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RequestRefused {}
