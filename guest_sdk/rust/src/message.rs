//! Messages of clients, and what may be sent to them.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// Decode JSON, in a text or a binary message, as a type:
    ///
    /// ```
    /// # use guesthouse::Message;
    /// #[derive(serde::Deserialize)]
    /// #[serde(tag = "type", rename_all = "kebab-case")]
    /// enum FromClient {
    ///     Say { text: String },
    ///     Name { name: String },
    /// }
    /// # fn on_message(message: Message) -> guesthouse::Result {
    /// match message.json()? {
    ///     FromClient::Say { text } => println!("{text}"),
    ///     FromClient::Name { name } => println!("{name}"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// A handler that returns the error has the client told which field is wrong: see
    /// [`on_bad_message`](crate::Process::on_bad_message).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BadMessage> {
        serde_json::from_slice(self.as_bytes()).map_err(|error| BadMessage(error.to_string()))
    }

    /// The text of a text message.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// A message of a client is not what the process understands; the text is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMessage(pub String);

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadMessage {}

/// What is sent: borrowed text or bytes.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// What can be sent: text (`&str`, `String`), bytes (`&[u8]`, `Vec<u8>`), and a [`Message`].
pub trait Sendable {
    /// It as text or bytes.
    fn payload(&self) -> Payload<'_>;
}

impl Sendable for str {
    fn payload(&self) -> Payload<'_> {
        Payload::Text(self)
    }
}

impl Sendable for String {
    fn payload(&self) -> Payload<'_> {
        Payload::Text(self)
    }
}

impl Sendable for [u8] {
    fn payload(&self) -> Payload<'_> {
        Payload::Binary(self)
    }
}

impl<const N: usize> Sendable for [u8; N] {
    fn payload(&self) -> Payload<'_> {
        Payload::Binary(self)
    }
}

impl Sendable for Vec<u8> {
    fn payload(&self) -> Payload<'_> {
        Payload::Binary(self)
    }
}

impl Sendable for Message {
    fn payload(&self) -> Payload<'_> {
        match self {
            Self::Text(text) => Payload::Text(text),
            Self::Binary(bytes) => Payload::Binary(bytes),
        }
    }
}

impl<T: Sendable + ?Sized> Sendable for &T {
    fn payload(&self) -> Payload<'_> {
        (**self).payload()
    }
}

/// A value as JSON text.
///
/// # Panics
/// When JSON cannot express it: a map with keys that are no strings, or a `Serialize` that fails.
pub(crate) fn json_text(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("what is sent as JSON can be expressed in it")
}
