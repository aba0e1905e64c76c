//! The test's side of the fake host.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::channels::{Ends, FakeChannel};
use super::exchanges::{Answer, FakeHttp, FakeLimits, HttpAnswer, LogLine, Refused, SentRequest, Spawned};
use super::node::{Exchange, Node, Posted, install, with};
use crate::address::{Address, ProcessId};
use crate::capabilities::Capability;
use crate::contract::types::{self, HttpServerRequest, IncomingHttpRequest, LazyLoadBlob, Message, SendFailure};
use crate::process::Process;
use crate::run::Runner;

type Step = Box<dyn FnMut(Result<Message, SendFailure>)>;

/// Has the process handle what waits for it.
#[derive(Default)]
pub(crate) struct Driver {
    step: RefCell<Option<Step>>,
}

impl Driver {
    pub fn drain(&self) {
        let mut step = self.step.borrow_mut();
        if let Some(step) = step.as_mut() {
            while let Some(message) = with(Node::receive) {
                step(message);
            }
        }
    }
}

/// A node with one process, on this thread, for tests: see [`testing`](crate::testing).
pub struct FakeHost {
    driver: Rc<Driver>,
    restart: Option<fn() -> Step>,
}

impl FakeHost {
    /// A host, and a process that runs in it.
    ///
    /// # Panics
    /// When `on_start` fails.
    pub fn run<P: Process>() -> Self {
        let mut host = Self::new();
        host.start::<P>();
        host
    }

    /// A host without a process: [`grant`](Self::grant) it what its manifest requests, then [`start`](Self::start) it.
    pub fn new() -> Self {
        Self::with_limits(FakeLimits::default())
    }

    /// A host with other limits.
    pub fn with_limits(limits: FakeLimits) -> Self {
        let process = ProcessId::new("app", "app", "guesthouse.os");
        install(Some(Node::new(Address { node: "fake.os".into(), process }, limits)));
        Self { driver: Rc::default(), restart: None }
    }

    /// Start a process, and let it handle what waits.
    ///
    /// # Panics
    /// When `on_start` fails.
    pub fn start<P: Process>(&mut self) {
        self.restart = Some(|| {
            let mut runner = match Runner::<P>::start() {
                Ok(runner) => runner,
                Err(failure) => panic!("on_start failed: {failure:?}"),
            };
            Box::new(move |message| runner.step(message))
        });
        self.restart();
    }

    /// End the process as a crash would, and start it again: its channels stay open, and it is told of them anew.
    ///
    /// # Panics
    /// When no process was started, or `on_start` fails.
    pub fn restart(&mut self) {
        let start = self.restart.expect("a process was started: host.start::<App>()");
        self.driver.step.take(); // its values go before the new run begins
        with(Node::new_run);
        let step = start();
        self.driver.step.replace(Some(step));
        self.driver.drain();
    }

    /// Give the process what a manifest would request: `"kv:distro:sys"` is the right to use that module or process.
    ///
    /// # Panics
    /// When it is no process id.
    pub fn grant(&mut self, process: &str) {
        let process: ProcessId = process.parse().expect("process:package:publisher");
        with(|node| {
            let target = Address { node: node.our.node.clone(), process };
            node.held.insert(Capability::messaging(target));
        });
    }

    /// Give the process a capability.
    pub fn grant_capability(&mut self, capability: &Capability) {
        with(|node| node.held.insert(super::node::canonical(capability)));
    }

    /// A client opens a channel, registered on the node's own `/`.
    pub fn open(&self) -> FakeChannel {
        self.opened("/", None, Vec::new(), Vec::new(), None)
    }

    /// A logged-in client opens a channel on a path that the process bound; what follows `?` are parameters, without escapes.
    ///
    /// # Errors
    /// The path is not bound.
    pub fn open_path(&self, url: &str) -> Result<FakeChannel, Refused> {
        self.open_as(url, true)
    }

    /// A client opens a channel on a path that the process bound.
    ///
    /// # Errors
    /// The path is not bound, or only for logged-in clients.
    pub fn open_as(&self, url: &str, logged_in: bool) -> Result<FakeChannel, Refused> {
        let request = FakeHttp::new("GET", url);
        self.open_by(if logged_in { request } else { request.anonymous() })
    }

    /// A client opens a channel by a request with more to it: `FakeHttp::new("GET", "/").claims(json!({"user": 7}))`.
    ///
    /// # Errors
    /// The path is not bound, or only for logged-in clients.
    pub fn open_by(&self, request: FakeHttp) -> Result<FakeChannel, Refused> {
        let FakeHttp { path, query_params, logged_in, claims, .. } = request;
        let Some((bound_path, binding, url_params)) = with(|node| node.ws.find(&path)) else {
            return Err(Refused { status: 404, reason: format!("{path} is not bound") });
        };
        if binding.authenticated && !logged_in {
            return Err(Refused { status: 401, reason: format!("{path} is bound for logged-in clients only") });
        }
        Ok(self.opened(&path, Some(bound_path), url_params, query_params, claims))
    }

    fn opened(
        &self,
        path: &str,
        bound_path: Option<String>,
        url_params: Vec<(String, String)>,
        query_params: Vec<(String, String)>,
        claims: Option<serde_json::Value>,
    ) -> FakeChannel {
        let id = with(|node| {
            node.last_channel += 7; // no author should come to rely on their order
            let opened = types::WebSocketOpen {
                path: path.into(),
                channel_id: node.last_channel,
                source_socket_addr: Some("127.0.0.1:50000".into()),
                forwarded_for: None,
                url_params,
                query_params,
                resumed: false,
                subprotocol: None,
            };
            let ends = Ends { claims, ..Ends::new(opened.clone(), bound_path) };
            node.channels.insert(opened.channel_id, ends);
            node.mailbox.push_back(Posted::event(HttpServerRequest::WebSocketOpen(opened), None));
            node.last_channel
        });
        self.driver.drain();
        FakeChannel { id, driver: Rc::clone(&self.driver) }
    }

    /// A logged-in client of this machine gets a path.
    ///
    /// # Errors
    /// The path is not bound.
    pub fn get(&self, url: &str) -> Result<HttpAnswer, Refused> {
        self.http(FakeHttp::new("GET", url))
    }

    /// A client makes an HTTP request.
    ///
    /// # Errors
    /// The path is not bound, or not for this client.
    ///
    /// # Panics
    /// When the process does not answer.
    pub fn http(&self, request: FakeHttp) -> Result<HttpAnswer, Refused> {
        let path = &request.path;
        let refused = |status, reason: String| Err(Refused { status, reason });
        let Some((bound_path, binding, url_params)) = with(|node| node.http.find(path).or_else(|| node.http.find("/")))
        else {
            return refused(404, format!("{path} is not bound"));
        };
        if binding.local_only && !request.local {
            return refused(403, format!("{path} is bound for clients of this machine only"));
        }
        if binding.authenticated && !request.logged_in {
            return refused(401, format!("{path} is bound for logged-in clients only"));
        }
        if let Some(content) = with(|node| node.static_content.get(&bound_path).cloned()) {
            return Ok(HttpAnswer { status: 200, headers: Vec::new(), mime: content.mime, body: content.bytes });
        }
        let answer = Rc::new(RefCell::new(None));
        let claims = request.claims.filter(|_| binding.authenticated);
        let exchange = Exchange::Http { answer: Rc::clone(&answer), head: request.method == "HEAD", claims };
        with(|node| {
            let raw = IncomingHttpRequest {
                source_socket_addr: Some("127.0.0.1:50000".into()),
                url: format!("http://localhost:8080/{}{path}", node.our.process),
                method: request.method,
                bound_path,
                headers: request.headers,
                url_params,
                query_params: request.query_params,
            };
            let message = Ok(Message::HttpServer(HttpServerRequest::Http(raw)));
            let blob = Some(LazyLoadBlob { mime: request.mime, bytes: request.body });
            node.mailbox.push_back(Posted { message, blob, exchange: Some(exchange) });
        });
        self.driver.drain();
        Ok(answer.take().expect("the process answers HTTP requests"))
    }

    /// Another process sends a request, and waits for the answer; `None` if there is none.
    pub fn request(&self, source: &str, body: impl Into<Vec<u8>>) -> Option<Answer> {
        self.request_with(source, body, None, &[])
    }

    /// Another process sends a request with a payload and capabilities.
    ///
    /// # Panics
    /// When the source is no process id.
    pub fn request_with(
        &self,
        source: &str,
        body: impl Into<Vec<u8>>,
        blob: Option<LazyLoadBlob>,
        capabilities: &[Capability],
    ) -> Option<Answer> {
        let answer = Rc::new(RefCell::new(None));
        let exchange = Exchange::Request(Rc::clone(&answer));
        with(|node| {
            let process = source.parse().expect("process:package:publisher");
            let source = Address { node: node.our.node.clone(), process };
            let request = types::Request {
                inherit: false,
                expects_response: Some(5),
                body: body.into(),
                metadata: None,
                capabilities: capabilities.to_vec(),
            };
            let message = Ok(Message::Request(types::IncomingRequest { source, request }));
            node.mailbox.push_back(Posted { message, blob, exchange: Some(exchange) });
        });
        self.driver.drain();
        answer.take()
    }

    /// The node tells the process that another version will replace it.
    pub fn hand_over(&self) {
        with(|node| {
            let source = node.here("kernel");
            node.post_request(source, br#"{"handover": {"version": "0.2.0", "seconds": 5.0}}"#.to_vec());
        });
        self.driver.drain();
    }

    /// Put another process on this node: the function answers what is sent to it, or lets it time out with `None`.
    ///
    /// # Panics
    /// When it is no process id.
    pub fn process(&mut self, id: &str, answer: impl FnMut(&SentRequest) -> Option<Answer> + 'static) {
        let id: ProcessId = id.parse().expect("process:package:publisher");
        with(|node| node.others.insert(id, Rc::new(RefCell::new(answer))));
    }

    /// As [`process`](Self::process), one that only those with its messaging capability may ask.
    ///
    /// # Panics
    /// When it is no process id.
    pub fn private_process(&mut self, id: &str, answer: impl FnMut(&SentRequest) -> Option<Answer> + 'static) {
        self.process(id, answer);
        with(|node| node.private.insert(id.parse().expect("process:package:publisher")));
    }

    /// Let time pass: timers fire, values of `kv` expire. The process handles each timer at its time. The clocks of Rust go on as
    /// ever.
    pub fn advance(&self, time: Duration) {
        let until = with(|node| node.timers.now) + time;
        while with(|node| node.fire_timer_until(until)) {
            self.driver.drain();
        }
        with(|node| node.timers.now = until);
    }

    /// What the process wrote to its log.
    pub fn log(&self) -> Vec<LogLine> {
        with(|node| node.log.clone())
    }

    /// The stored state; it outlives a restart.
    pub fn state(&self) -> Option<Vec<u8>> {
        with(|node| node.state.clone())
    }

    /// Put a state there, as one that an earlier version stored.
    pub fn set_state(&mut self, state: impl Into<Vec<u8>>) {
        with(|node| node.state = Some(state.into()));
    }

    /// The requests that the process sent to others.
    pub fn sent(&self) -> Vec<SentRequest> {
        with(|node| node.sent.clone())
    }

    /// What the process holds.
    pub fn held(&self) -> Vec<Capability> {
        with(|node| node.held.iter().cloned().collect())
    }

    /// A component that [`Spawn`](crate::Spawn) finds at this path.
    pub fn component(&mut self, path: &str) {
        with(|node| node.components.insert(path.into()));
    }

    /// The children that the process started.
    pub fn spawned(&self) -> Vec<Spawned> {
        with(|node| node.spawned.clone())
    }

    /// A file that came with the package: in its drive `pkg`.
    pub fn package_file(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        with(|node| node.vfs.add_package_file(path, content.into()));
    }

    /// The package has a `ui` folder.
    pub fn add_ui(&mut self) {
        with(|node| node.has_ui = true);
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        // The process goes while its host is still there.
        if let Ok(mut step) = self.driver.step.try_borrow_mut() {
            step.take();
        }
    }
}
