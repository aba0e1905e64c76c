//! Messages between processes.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::capabilities::Capability;
use crate::contract::messaging as host;
pub use crate::contract::types::LazyLoadBlob;
use crate::contract::types::{self, Message};
use crate::errors::SendError;
use crate::message::json_text;

/// A request to another process:
///
/// ```no_run
/// # fn ask() -> guesthouse::Result {
/// use guesthouse::Request;
/// use std::time::Duration;
///
/// let prices = "prices:market:example.os".parse::<guesthouse::ProcessId>()?.here();
/// let answer = Request::to(&prices).json(&"tea").send_and_await_response(Duration::from_secs(5))?;
/// let price: f64 = answer.json()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    target: Address,
    request: types::Request,
    context: Option<Vec<u8>>,
    blob: Option<LazyLoadBlob>,
}

impl Request {
    /// A request to a process.
    pub fn to(target: &Address) -> Self {
        let request = types::Request {
            inherit: false,
            expects_response: None,
            body: Vec::new(),
            metadata: None,
            capabilities: Vec::new(),
        };
        Self { target: target.clone(), request, context: None, blob: None }
    }

    /// What is asked.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = body.into();
        self
    }

    /// What is asked, as JSON.
    ///
    /// # Panics
    /// When JSON cannot express it.
    #[must_use]
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.body(json_text(body))
    }

    /// A payload, which is copied only when the receiver asks for it.
    #[must_use]
    pub fn blob(mut self, bytes: impl Into<Vec<u8>>, mime: Option<&str>) -> Self {
        self.blob = Some(LazyLoadBlob { mime: mime.map(Into::into), bytes: bytes.into() });
        self
    }

    /// Bytes that come back with the response or error.
    #[must_use]
    pub fn context(mut self, context: impl Into<Vec<u8>>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// JSON text beside the body.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.request.metadata = Some(metadata.into());
        self
    }

    /// Capabilities that are passed on; those that the process does not hold, was not given and does not issue are left out.
    #[must_use]
    pub fn capabilities(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.request.capabilities.extend(capabilities);
        self
    }

    /// Use the id of the message being handled, and its blob if this one has none.
    #[must_use]
    pub fn inherit(mut self) -> Self {
        self.request.inherit = true;
        self
    }

    /// A response is expected within that time, in whole seconds; it arrives at `on_response`, a failure at `on_send_error`.
    #[must_use]
    pub fn expects_response(mut self, time: Duration) -> Self {
        self.request.expects_response = Some(whole_seconds(time));
        self
    }

    /// Send it. A failure arrives later, at `on_send_error`.
    pub fn send(&self) {
        host::send_request(&self.target, &self.request, self.context.as_deref(), self.blob.as_ref());
    }

    /// Send it and wait for the response; other messages queue meanwhile.
    ///
    /// # Errors
    /// It was not delivered, or not answered in time.
    pub fn send_and_await_response(mut self, time: Duration) -> Result<IncomingResponse, SendError> {
        self.request.expects_response = Some(whole_seconds(time));
        let context = self.context;
        match host::send_and_await_response(&self.target, &self.request, self.blob.as_ref()) {
            Ok(Message::Response(raw)) => {
                Ok(IncomingResponse { context, ..IncomingResponse::new(raw, host::get_blob()) })
            }
            Ok(_) => unreachable!("only a response answers a request"),
            Err(raw) => Err(SendError { context, ..raw.into() }),
        }
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The answer to a request of another process.
#[derive(Clone, Debug)]
pub struct Response {
    response: types::Response,
    blob: Option<LazyLoadBlob>,
}

impl Response {
    /// An answer.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        let response = types::Response { inherit: false, body: body.into(), metadata: None, capabilities: Vec::new() };
        Self { response, blob: None }
    }

    /// A value as JSON.
    ///
    /// # Panics
    /// When JSON cannot express it.
    pub fn json(body: &(impl Serialize + ?Sized)) -> Self {
        Self::new(json_text(body))
    }

    /// With a payload.
    #[must_use]
    pub fn blob(mut self, bytes: impl Into<Vec<u8>>, mime: Option<&str>) -> Self {
        self.blob = Some(LazyLoadBlob { mime: mime.map(Into::into), bytes: bytes.into() });
        self
    }

    /// With JSON text beside the body.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.response.metadata = Some(metadata.into());
        self
    }

    /// With capabilities that are passed on.
    #[must_use]
    pub fn capabilities(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.response.capabilities.extend(capabilities);
        self
    }

    /// With the blob of the message received last, if it has none.
    #[must_use]
    pub fn inherit(mut self) -> Self {
        self.response.inherit = true;
        self
    }

    /// Answer the request received last; the SDK does it with what `on_request` returns.
    pub fn send(&self) {
        host::send_response(&self.response, self.blob.as_ref());
    }
}

/// A request of another process. The host sets `source`; senders cannot forge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingRequest {
    /// Who asks.
    pub source: Address,
    /// What.
    pub body: Vec<u8>,
    /// Its payload.
    pub blob: Option<LazyLoadBlob>,
    /// Seconds until the answer is of no use; `None` when none is expected.
    pub expects_response: Option<u64>,
    /// JSON text beside the body.
    pub metadata: Option<String>,
    /// What came with it.
    pub capabilities: Vec<Capability>,
}

impl IncomingRequest {
    pub(crate) fn new(raw: types::IncomingRequest, blob: Option<LazyLoadBlob>) -> Self {
        let types::Request { expects_response, body, metadata, capabilities, .. } = raw.request;
        Self { source: raw.source, body, blob, expects_response, metadata, capabilities }
    }

    /// The body, decoded from JSON.
    ///
    /// # Errors
    /// It is not JSON of that type.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }
}

/// The response to a request of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingResponse {
    /// Who answers.
    pub source: Address,
    /// What.
    pub body: Vec<u8>,
    /// Its payload.
    pub blob: Option<LazyLoadBlob>,
    /// The context of the request.
    pub context: Option<Vec<u8>>,
    /// JSON text beside the body.
    pub metadata: Option<String>,
    /// What came with it.
    pub capabilities: Vec<Capability>,
}

impl IncomingResponse {
    pub(crate) fn new(raw: types::IncomingResponse, blob: Option<LazyLoadBlob>) -> Self {
        let types::Response { body, metadata, capabilities, .. } = raw.response;
        Self { source: raw.source, body, blob, context: raw.context, metadata, capabilities }
    }

    /// The body, decoded from JSON.
    ///
    /// # Errors
    /// It is not JSON of that type.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }
}
