//! What a test asks of a process, and what the process asks of others.

use crate::address::{Address, ProcessId};
use crate::capabilities::Capability;
use crate::contract::raw::system::Verbosity;
use crate::contract::types::{LazyLoadBlob, OnExit};

/// The limits that the fake host keeps; the defaults are those of a node. Sizes are bytes.
#[derive(Clone, Copy, Debug)]
pub struct FakeLimits {
    /// Of one message.
    pub message_bytes: usize,
    /// That wait for a client which does not read.
    pub outbox_bytes: usize,
    /// Of the state.
    pub state_bytes: usize,
    /// Bound paths.
    pub bindings: usize,
    /// Of all databases of `kv`.
    pub kv_bytes: usize,
    /// Of all drives.
    pub drive_bytes: usize,
}

impl Default for FakeLimits {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 20,
            outbox_bytes: 4 << 20,
            state_bytes: 16 << 20,
            bindings: 256,
            kv_bytes: 64 << 20,
            drive_bytes: 64 << 20,
        }
    }
}

/// The node would refuse this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status that it would get.
    pub status: u16,
    /// Why.
    pub reason: String,
}

/// An HTTP request of a client: `FakeHttp::new("GET", "/rooms?from=3")`.
#[derive(Clone, Debug)]
pub struct FakeHttp {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query_params: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) mime: Option<String>,
    pub(crate) logged_in: bool,
    pub(crate) local: bool,
    pub(crate) claims: Option<serde_json::Value>,
}

impl FakeHttp {
    /// A request of a logged-in client. What follows `?` are parameters, without escapes.
    pub fn new(method: &str, url: &str) -> Self {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let params = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self {
            method: method.into(),
            path: path.into(),
            query_params: params.map(|(name, value)| (name.into(), value.into())).collect(),
            headers: Vec::new(),
            body: Vec::new(),
            mime: None,
            logged_in: true,
            local: true,
            claims: None,
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_lowercase(), value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With a value as JSON.
    #[must_use]
    pub fn json(mut self, value: &(impl serde::Serialize + ?Sized)) -> Self {
        self.mime = Some("application/json".into());
        self.body(crate::message::json_text(value))
    }

    /// Of a client who is not logged in.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.logged_in = false;
        self
    }

    /// Of a client whose token has these custom claims.
    #[must_use]
    pub fn claims(mut self, claims: serde_json::Value) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Of a client on another machine.
    #[must_use]
    pub fn remote(mut self) -> Self {
        self.local = false;
        self
    }
}

/// The answer to an HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Such as 200.
    pub status: u16,
    /// Names and values, as the process gave them.
    pub headers: Vec<(String, String)>,
    /// The content type.
    pub mime: Option<String>,
    /// The content.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The content as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the answer is text")
    }

    /// The content, decoded from JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }
}

/// A request that the process sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRequest {
    /// To whom.
    pub target: Address,
    /// What.
    pub body: Vec<u8>,
    /// Its payload.
    pub blob: Option<LazyLoadBlob>,
    /// Seconds that it waits for a response.
    pub expects_response: Option<u64>,
    /// What comes back with the response.
    pub context: Option<Vec<u8>>,
    /// JSON text beside the body.
    pub metadata: Option<String>,
    /// What came with it: those that the host let through.
    pub capabilities: Vec<Capability>,
}

impl SentRequest {
    /// The body, decoded from JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An answer: of another process to this one, or of this one to a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What is answered.
    pub body: Vec<u8>,
    /// Its payload.
    pub blob: Option<LazyLoadBlob>,
    /// JSON text beside the body.
    pub metadata: Option<String>,
    /// What came with it.
    pub capabilities: Vec<Capability>,
}

impl Answer {
    /// An answer.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// The body, decoded from JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A line of the process's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its level.
    pub level: Verbosity,
    /// What it says.
    pub text: String,
}

/// A process that the process started; it runs nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawned {
    /// Its id.
    pub id: ProcessId,
    /// Its component.
    pub wasm_path: String,
    /// What happens when it ends.
    pub on_exit: OnExit,
    /// What it got of its parent's.
    pub capabilities: Vec<Capability>,
    /// Who may message it.
    pub granted: Vec<ProcessId>,
    /// Whether any process may.
    pub public: bool,
}
