//! The loop of a process.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::address::module;
use crate::channel::{self, Channel, find_open, forget, has_news, remember};
use crate::channel_requests::{ChannelRequest, Reply, RequestRefused};
use crate::contract::messaging as host;
use crate::contract::types::{
    self, HttpServerRequest, IncomingHttpRequest, WebSocketOpen, WebSocketPush, WsMessageType,
};
use crate::errors::{PushError, SendError};
use crate::failure::{Failure, Result, log_failure};
use crate::http::{BadBody, HttpRequest, HttpResponse};
use crate::http_server::ChannelPolicy;
use crate::message::{BadMessage, Message};
use crate::messaging::{IncomingRequest, IncomingResponse, Request};
use crate::process::Process;
use crate::{system, timers};

const FAILED: &str = "the process failed to answer";
const FAILED_TO_OPEN: &str = "the process failed to open the channel";
const PRESENCE_WAIT: Duration = Duration::from_secs(10);

/// Run a process until its node ends it. [`export!`](crate::export) calls it.
#[cfg(target_arch = "wasm32")]
pub fn run<P: Process>() {
    system::log_panics();
    let Ok(mut runner) = Runner::<P>::start().inspect_err(|failure| log_failure("on_start", failure)) else {
        std::process::abort();
    };
    loop {
        runner.step(host::receive());
    }
}

/// A process that runs.
pub(crate) struct Runner<P> {
    process: P,
    away: HashSet<u32>,
}

impl<P: Process> Runner<P> {
    pub fn start() -> Result<Self> {
        system::log_to_host();
        channel::begin();
        timers::begin();
        let process = P::on_start()?;
        let away = if P::WATCHES_PRESENCE { watch_presence() } else { HashSet::new() };
        Ok(Self { process, away })
    }

    /// Handle a message.
    pub fn step(&mut self, received: std::result::Result<types::Message, types::SendFailure>) {
        match received {
            Ok(types::Message::HttpServer(event)) => self.event(event),
            Ok(types::Message::Request(raw)) => {
                let (handler, result) = self.request(IncomingRequest::new(raw, host::get_blob()));
                logged(handler, result);
            }
            Ok(types::Message::Response(raw)) => {
                let response = IncomingResponse::new(raw, host::get_blob());
                let context = response.context.as_deref();
                if !timers::woken(&mut self.process, &response.source, context, None) {
                    logged("on_response", self.process.on_response(response));
                }
            }
            Err(raw) => {
                let error = SendError::from(raw);
                let context = error.context.clone();
                if !timers::woken(&mut self.process, &error.target, context.as_deref(), Some(&error)) {
                    logged("on_send_error", self.process.on_send_error(error));
                }
            }
        }
        if has_news() {
            logged("on_rooms_changed", self.process.on_rooms_changed());
        }
    }

    fn event(&mut self, event: HttpServerRequest) {
        match event {
            HttpServerRequest::WebSocketPush(push) => self.push(push),
            HttpServerRequest::WebSocketOpen(opened) => self.open(opened),
            HttpServerRequest::WebSocketClose(id) => {
                if let Some(channel) = forget(id) {
                    logged("on_close", self.process.on_close(&channel));
                }
            }
            HttpServerRequest::Http(raw) => self.http(raw),
        }
    }

    fn push(&mut self, WebSocketPush { channel_id, message_type }: WebSocketPush) {
        let Some(channel) = find_open(channel_id) else {
            return; // closed by us while this message was under way
        };
        let message = match message_type {
            WsMessageType::Text => Message::Text(host::get_blob_text().unwrap_or_default()),
            WsMessageType::Binary => Message::Binary(host::get_blob().map_or_else(Vec::new, |blob| blob.bytes)),
            _ => return,
        };
        if let Some(request) = ChannelRequest::read(&message)
            && self.answer(&channel, &request)
        {
            return;
        }
        let Err(failure) = self.process.on_message(&channel, message) else {
            return;
        };
        match failure.downcast_ref::<BadMessage>() {
            Some(bad) => logged("on_bad_message", self.process.on_bad_message(&channel, bad)),
            None => log_failure("on_message", &failure),
        }
    }

    /// Answer a request; false if the process does not answer requests.
    fn answer(&mut self, channel: &Channel, request: &ChannelRequest) -> bool {
        let answer = match self.process.on_channel_request(channel, request) {
            Ok(Reply::Unhandled) => return false,
            Ok(Reply::Later) => return true,
            Ok(Reply::Body(body)) => request.answer(body),
            Err(failure) => request.refusal(&refusal(&failure)),
        };
        for text in [answer, request.refusal(FAILED)] {
            match channel.send(text) {
                Ok(()) | Err(PushError::ChannelNotFound) => break,
                Err(error) => log::error!("the answer to a request was refused: {error}"), // the next may be smaller
            }
        }
        true
    }

    fn open(&mut self, opened: WebSocketOpen) {
        let resumed = opened.resumed;
        let channel = remember(opened);
        if P::WHEN_FULL != ChannelPolicy::Refuse && channel.set_policy(P::WHEN_FULL).is_err() {
            return; // its client has left, which is told next
        }
        let (handler, result) = if resumed {
            ("on_resume", self.process.on_resume(&channel))
        } else {
            ("on_open", self.process.on_open(&channel))
        };
        if let Err(failure) = result {
            log_failure(handler, &failure); // a client whose opening failed would wait for ever
            let _ = channel.close(1011, FAILED_TO_OPEN);
        }
        if self.away.remove(&channel.id()) {
            self.presence(channel.id(), true);
        }
    }

    fn http(&mut self, raw: IncomingHttpRequest) {
        let request = HttpRequest::new(raw, host::get_blob());
        let response =
            self.process.on_http(request).unwrap_or_else(|failure| match failure.downcast_ref::<BadBody>() {
                Some(bad) => HttpResponse::text(format!("{bad}\n")).with_status(400),
                None => {
                    log_failure("on_http", &failure);
                    HttpResponse::text(format!("{FAILED}\n")).with_status(500)
                }
            });
        response.send();
    }

    fn request(&mut self, request: IncomingRequest) -> (&'static str, Result) {
        let body = || request.json::<Value>().unwrap_or_default();
        if request.source == module("kernel") && request.body.starts_with(br#"{"handover": "#) {
            return ("on_handover", self.process.on_handover());
        }
        if request.source == module("timer")
            && let Some(id) = body()["Timer"]["id"].as_str()
        {
            return ("on_timer", self.process.on_timer(id));
        }
        if request.source == module("http-server") && request.body.starts_with(br#"{"WebSocket"#) {
            let told = body();
            for (name, away) in [("WebSocketAway", true), ("WebSocketBack", false)] {
                if let Some(id) = told[name].as_u64().and_then(|id| u32::try_from(id).ok()) {
                    self.presence(id, away);
                    return ("on_request", Ok(()));
                }
            }
        }
        let answered = self.process.on_request(request);
        ("on_request", answered.map(|response| response.iter().for_each(|response| response.send())))
    }

    fn presence(&mut self, channel_id: u32, away: bool) {
        let Some(channel) = find_open(channel_id) else {
            return; // closed by us
        };
        if !channel.set_away(away) {
            return; // known from the start
        }
        match away {
            true => logged("on_away", self.process.on_away(&channel)),
            false => logged("on_back", self.process.on_back(&channel)),
        }
    }
}

/// Ask to be told, for this run, who is away. Returns the channels whose clients are away now. An older node knows nothing of it, and is
/// asked in vain.
fn watch_presence() -> HashSet<u32> {
    let request = Request::to(&module("http-server")).json(&json!({"WebSocketPresence": {"wanted": true}}));
    match request.send_and_await_response(PRESENCE_WAIT) {
        Ok(answer) => {
            let told: Value = answer.json().unwrap_or_default();
            let ids = told["Ok"].as_array().map_or(&[][..], Vec::as_slice);
            ids.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()).collect()
        }
        Err(error) => {
            log::warn!("on_away and on_back will not be called: {error}");
            HashSet::new()
        }
    }
}

/// What a client is told of a request that is not answered.
fn refusal(failure: &Failure) -> String {
    if let Some(refused) = failure.downcast_ref::<RequestRefused>() {
        return refused.0.clone();
    }
    if let Some(bad) = failure.downcast_ref::<BadMessage>() {
        return bad.0.clone();
    }
    log_failure("on_channel_request", failure);
    FAILED.into()
}

fn logged(handler: &str, result: Result) {
    if let Err(failure) = result {
        log_failure(handler, &failure);
    }
}
