//! What the fake host knows.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use serde_json::{Value, json};

use super::channels::Ends;
use super::exchanges::{Answer, FakeLimits, HttpAnswer, LogLine, SentRequest, Spawned};
use super::kv::FakeKv;
use super::passwords::FakePasswords;
use super::paths::Bindings;
use super::timer::FakeTimers;
use super::vfs::FakeVfs;
use crate::address::{Address, ProcessId};
use crate::capabilities::Capability;
use crate::contract::raw::http_server::{HttpBinding, WsBinding};
use crate::contract::raw::system::Verbosity;
use crate::contract::types::{self, HttpServerRequest, IncomingRequest, LazyLoadBlob, Message, OnExit, SendFailure};

pub(crate) type Handler = Rc<RefCell<dyn FnMut(&SentRequest) -> Option<Answer>>>;

thread_local! {
    static NODE: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// Use the fake host of this thread.
pub(crate) fn with<R>(f: impl FnOnce(&mut Node) -> R) -> R {
    NODE.with_borrow_mut(|node| f(node.as_mut().expect("a test makes a guesthouse::testing::FakeHost first")))
}

pub(crate) fn install(node: Option<Node>) {
    NODE.set(node);
}

/// A message that waits for the process.
pub(crate) struct Posted {
    pub message: Result<Message, SendFailure>,
    pub blob: Option<LazyLoadBlob>,
    pub exchange: Option<Exchange>,
}

impl Posted {
    pub fn event(event: HttpServerRequest, payload: Option<Vec<u8>>) -> Self {
        let blob = payload.map(|bytes| LazyLoadBlob { mime: None, bytes });
        Self { message: Ok(Message::HttpServer(event)), blob, exchange: None }
    }
}

/// What the process is to answer.
#[derive(Clone)]
pub(crate) enum Exchange {
    Http { answer: Rc<RefCell<Option<HttpAnswer>>>, head: bool, claims: Option<Value> },
    Request(Rc<RefCell<Option<Answer>>>),
}

pub(crate) struct Node {
    pub our: Address,
    pub limits: FakeLimits,
    pub channels: BTreeMap<u32, Ends>,
    pub last_channel: u32,
    pub mailbox: VecDeque<Posted>,
    pub blob: Option<LazyLoadBlob>,
    pub last_blob: Option<LazyLoadBlob>,
    pub to_answer: Option<Exchange>,
    pub http_claims: Option<Value>,
    pub log: Vec<LogLine>,
    pub state: Option<Vec<u8>>,
    pub on_exit: OnExit,
    pub ws: Bindings<WsBinding>,
    pub http: Bindings<HttpBinding>,
    pub ui: Bindings<HttpBinding>,
    pub has_ui: bool,
    pub static_content: HashMap<String, LazyLoadBlob>,
    pub watches: bool,
    pub held: HashSet<Capability>,
    pub received: HashSet<Capability>,
    pub components: HashSet<String>,
    pub spawned: Vec<Spawned>,
    pub sent: Vec<SentRequest>,
    pub others: HashMap<ProcessId, Handler>,
    pub private: HashSet<ProcessId>,
    pub timers: FakeTimers,
    pub kv: FakeKv,
    pub vfs: FakeVfs,
    pub passwords: FakePasswords,
}

impl Node {
    pub fn new(our: Address, limits: FakeLimits) -> Self {
        let package = format!("{}:{}", our.process.package_name, our.process.publisher_node);
        let here = |name: &str| Address { node: our.node.clone(), process: ProcessId::new(name, "distro", "sys") };
        let state_bytes = json!({"bytes": limits.state_bytes});
        let held = [Capability::messaging(here("http-server")), Capability::of(here("state"), state_bytes)];
        Self {
            limits,
            channels: BTreeMap::new(),
            last_channel: 1000,
            mailbox: VecDeque::new(),
            blob: None,
            last_blob: None,
            to_answer: None,
            http_claims: None,
            log: Vec::new(),
            state: None,
            on_exit: OnExit::Restart,
            ws: Bindings::default(),
            http: Bindings::default(),
            ui: Bindings::default(),
            has_ui: false,
            static_content: HashMap::new(),
            watches: false,
            held: held.into_iter().collect(),
            received: HashSet::new(),
            components: HashSet::new(),
            spawned: Vec::new(),
            sent: Vec::new(),
            others: HashMap::new(),
            private: HashSet::new(),
            timers: FakeTimers::default(),
            kv: FakeKv::new(package.clone(), limits.kv_bytes),
            vfs: FakeVfs::new(package, limits.drive_bytes),
            passwords: FakePasswords::default(),
            our,
        }
    }

    pub fn here(&self, name: &str) -> Address {
        Address { node: self.our.node.clone(), process: ProcessId::new(name, "distro", "sys") }
    }

    /// The process starts: it knows no payload, no request, and is told anew of its channels.
    pub fn new_run(&mut self) {
        self.blob = None;
        self.last_blob = None;
        self.to_answer = None;
        self.http_claims = None;
        self.watches = false;
        for ends in self.channels.values_mut().rev().filter(|ends| ends.known) {
            let opened = types::WebSocketOpen { resumed: true, ..ends.opened.clone() };
            ends.policy = super::calls::http_server::ChannelPolicy::Refuse;
            self.mailbox.push_front(Posted::event(HttpServerRequest::WebSocketOpen(opened), None));
        }
    }

    /// Hand the process its next message.
    pub fn receive(&mut self) -> Option<Result<Message, SendFailure>> {
        let posted = self.mailbox.pop_front()?;
        self.take_blob(posted.blob);
        match &posted.message {
            Ok(Message::Request(incoming)) => self.receive_capabilities(&incoming.request.capabilities),
            Ok(Message::HttpServer(HttpServerRequest::WebSocketOpen(opened))) => {
                if let Some(ends) = self.channels.get_mut(&opened.channel_id) {
                    ends.known = ends.closed.is_none();
                }
            }
            Ok(Message::HttpServer(HttpServerRequest::WebSocketClose(id))) => {
                if let Some(ends) = self.channels.get_mut(id) {
                    ends.known = false;
                }
            }
            _ => {}
        }
        if let Some(Exchange::Http { claims, .. }) = &posted.exchange {
            self.http_claims.clone_from(claims);
        }
        if posted.exchange.is_some() {
            self.to_answer = posted.exchange;
        }
        Some(posted.message)
    }

    pub fn take_blob(&mut self, blob: Option<LazyLoadBlob>) {
        if blob.is_some() {
            self.last_blob.clone_from(&blob);
        }
        self.blob = blob;
    }

    /// A request that expects no answer.
    pub fn post_request(&mut self, source: Address, body: Vec<u8>) {
        let request =
            types::Request { inherit: false, expects_response: None, body, metadata: None, capabilities: Vec::new() };
        let message = Ok(Message::Request(IncomingRequest { source, request }));
        self.mailbox.push_back(Posted { message, blob: None, exchange: None });
    }

    pub fn set_away(&mut self, id: u32, away: bool) {
        let Some(ends) = self.channels.get_mut(&id).filter(|ends| ends.is_open() && ends.away != away) else {
            return;
        };
        ends.away = away;
        if self.watches {
            let body = json!({if away { "WebSocketAway" } else { "WebSocketBack" }: id}).to_string();
            self.post_request(self.here("http-server"), body.into_bytes());
        }
    }

    /// The HTTP server's answer to a request in JSON: about presence. For the others there are calls.
    pub fn answer_http_server(&mut self, body: &[u8]) -> Vec<u8> {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(presence) = asked.get("WebSocketPresence") {
            self.watches = presence.get("wanted") != Some(&Value::Bool(false));
            let away = self.channels.values().filter(|ends| ends.is_open() && ends.away);
            let ids: Vec<u32> = away.map(|ends| ends.opened.channel_id).collect();
            return json!({"Ok": ids}).to_string().into_bytes();
        }
        json!({"Err": "MalformedRequest"}).to_string().into_bytes()
    }

    pub fn has_room_to_bind(&self) -> bool {
        self.ws.bound.len() + self.http.bound.len() + self.ui.bound.len() < self.limits.bindings
    }

    /// The capability that the process lacks to message a target.
    pub fn lacking(&self, target: &Address) -> Option<Capability> {
        let process = &target.process;
        let is_module = process.package_name == "distro" && process.publisher_node == "sys";
        let needs = (is_module && !self.others.contains_key(process)) || self.private.contains(process);
        let needed = Capability::messaging(target.clone());
        (needs && !self.held.contains(&needed)).then_some(needed)
    }

    pub fn receive_capabilities(&mut self, capabilities: &[Capability]) {
        self.received.extend(capabilities.iter().map(canonical));
    }

    /// Of the capabilities of a message that the process sends, those that the host lets through.
    pub fn handed_on(&self, capabilities: &[Capability]) -> Vec<Capability> {
        let known =
            |each: &Capability| self.held.contains(each) || self.received.contains(each) || each.issuer == self.our;
        capabilities.iter().map(canonical).filter(known).collect()
    }

    pub fn write(&mut self, level: Verbosity, text: &str) {
        self.log.push(LogLine { level, text: text.into() });
    }
}

/// The one form in which the host compares capabilities.
pub(crate) fn canonical(capability: &Capability) -> Capability {
    let params: Value = serde_json::from_str(&capability.params).unwrap_or_default();
    Capability::of(capability.issuer.clone(), params)
}
