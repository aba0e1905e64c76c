//! HTTP requests of clients, and responses.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::channel::{claims_of, find};
use crate::contract::http_server as host;
use crate::contract::types::{IncomingHttpRequest, LazyLoadBlob};
use crate::message::json_text;

/// An HTTP request to a path that this process bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    raw: IncomingHttpRequest,
    body: Vec<u8>,
    claims: Option<Value>,
}

impl HttpRequest {
    pub(crate) fn new(raw: IncomingHttpRequest, blob: Option<LazyLoadBlob>) -> Self {
        let body = blob.map_or_else(Vec::new, |blob| blob.bytes);
        Self { raw, body, claims: claims_of(host::http_request_claims()) }
    }

    /// Such as `GET`.
    pub fn method(&self) -> &str {
        &self.raw.method
    }

    /// What was requested, whole.
    pub fn url(&self) -> &str {
        &self.raw.url
    }

    /// The path as it was bound, such as `/rooms/:room`.
    pub fn bound_path(&self) -> &str {
        &self.raw.bound_path
    }

    /// Names and values, in their order.
    pub fn headers(&self) -> &[(String, String)] {
        &self.raw.headers
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.raw.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter of the bound path, such as `room` of `/rooms/:room`.
    pub fn url_param(&self, name: &str) -> Option<&str> {
        find(&self.raw.url_params, name)
    }

    /// A parameter of the query, the first of that name.
    pub fn query_param(&self, name: &str) -> Option<&str> {
        find(&self.raw.query_params, name)
    }

    /// All parameters of the query.
    pub fn query_params(&self) -> &[(String, String)] {
        &self.raw.query_params
    }

    /// The client's address.
    pub fn source_socket_addr(&self) -> Option<&str> {
        self.raw.source_socket_addr.as_deref()
    }

    /// As those of a [`Channel`](crate::Channel::claims), if the path is bound as `authenticated`.
    pub fn claims(&self) -> Option<&Value> {
        self.claims.as_ref()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// It is not UTF-8. If `on_http` returns the error the client gets 400.
    pub fn text(&self) -> Result<&str, BadBody> {
        std::str::from_utf8(&self.body).map_err(|_| BadBody("the body is not UTF-8".into()))
    }

    /// The body, decoded from JSON.
    ///
    /// # Errors
    /// It is not JSON of that type. If `on_http` returns the error the client gets 400.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BadBody> {
        serde_json::from_slice(&self.body).map_err(|error| BadBody(format!("the body does not fit: {error}")))
    }
}

/// The body of a request is not what the process understands; the text is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBody(pub String);

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadBody {}

/// The answer to an HTTP request. A text makes one, and so do bytes: `Ok("hello".into())`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// Such as 200.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The content type.
    pub mime: Option<String>,
    /// The content.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// An answer without content.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        let mime = Some("text/plain; charset=utf-8".into());
        Self { mime, body: text.into().into_bytes(), ..Self::new(200) }
    }

    /// A value as JSON.
    ///
    /// # Panics
    /// When JSON cannot express it.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Self {
        let mime = Some("application/json".into());
        Self { mime, body: json_text(value).into_bytes(), ..Self::new(200) }
    }

    /// Bytes of a type.
    pub fn bytes(mime: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { mime: Some(mime.into()), body: body.into(), ..Self::new(200) }
    }

    /// With another status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn send(self) {
        let has_content = !self.body.is_empty() || self.mime.is_some();
        let blob = has_content.then_some(LazyLoadBlob { mime: self.mime, bytes: self.body });
        host::send_http_response(self.status, &self.headers, blob.as_ref());
    }
}

impl From<&str> for HttpResponse {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for HttpResponse {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Vec<u8>> for HttpResponse {
    fn from(body: Vec<u8>) -> Self {
        Self { body, ..Self::new(200) }
    }
}
