//! The fake host's channels: who owns them, what may be pushed, what the client got.

use std::rc::Rc;

use super::host::Driver;
use super::node::{Node, Posted, with};
use crate::contract::raw::http_server::{ChannelPolicy, CloseError, PushError};
use crate::contract::types::{HttpServerRequest, WebSocketOpen, WebSocketPush, WsMessageType};
use crate::message::{Message, Payload, Sendable, json_text};

const MAX_CONTROL: usize = 125;
const MAX_REASON: usize = 123;
/// Bytes that a message takes in an outbox besides its payload.
const OVERHEAD: usize = 64;

/// Both ends of a channel.
pub(crate) struct Ends {
    pub opened: WebSocketOpen,
    pub bound_path: Option<String>,
    pub claims: Option<serde_json::Value>,
    pub received: Vec<Message>,
    pub controls: Vec<(WsMessageType, Vec<u8>)>,
    pub closed: Option<(u16, String)>,
    pub left: bool,
    /// Whether the process was told of it and not yet of its end: only then is it its own.
    pub known: bool,
    pub policy: ChannelPolicy,
    pub away: bool,
    pub reading: bool,
    pub outbox: Vec<(WsMessageType, Vec<u8>)>,
}

impl Ends {
    pub fn new(opened: WebSocketOpen, bound_path: Option<String>) -> Self {
        Self {
            opened,
            bound_path,
            claims: None,
            received: Vec::new(),
            controls: Vec::new(),
            closed: None,
            left: false,
            known: false,
            policy: ChannelPolicy::Refuse,
            away: false,
            reading: true,
            outbox: Vec::new(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.closed.is_none() && !self.left
    }

    /// The process or the node closes it.
    pub fn end(&mut self, code: u16, reason: &str) {
        self.known = false;
        if self.is_open() {
            self.closed = Some((code, reason.into()));
        }
    }

    pub fn read(&mut self) -> Vec<Posted> {
        let outbox = std::mem::take(&mut self.outbox);
        outbox.into_iter().filter_map(|(kind, payload)| self.take(kind, payload)).collect()
    }

    /// The client gets a message, and answers a ping as every client does.
    fn take(&mut self, kind: WsMessageType, payload: Vec<u8>) -> Option<Posted> {
        match kind {
            WsMessageType::Text => self.received.push(Message::Text(String::from_utf8_lossy(&payload).into())),
            WsMessageType::Binary => self.received.push(Message::Binary(payload)),
            _ => {
                self.controls.push((kind, payload.clone()));
                if kind == WsMessageType::Ping {
                    return Some(pushed(self.opened.channel_id, WsMessageType::Pong, payload));
                }
            }
        }
        None
    }
}

fn pushed(channel_id: u32, message_type: WsMessageType, payload: Vec<u8>) -> Posted {
    let push = WebSocketPush { channel_id, message_type };
    Posted::event(HttpServerRequest::WebSocketPush(push), Some(payload))
}

impl Node {
    /// The channel, if the process may know of it.
    pub fn channel(&mut self, id: u32) -> Option<&mut Ends> {
        self.channels.get_mut(&id).filter(|ends| ends.known)
    }

    /// The channels of a path, as it was bound or as it was asked for.
    pub fn channels_on(&self, path: &str) -> Vec<u32> {
        let on = |ends: &Ends| ends.known && (ends.opened.path == path || ends.bound_path.as_deref() == Some(path));
        self.channels.iter().filter(|(_, ends)| on(ends)).map(|(id, _)| *id).collect()
    }

    pub fn push(&mut self, id: u32, kind: WsMessageType, payload: &[u8]) -> Result<(), PushError> {
        let is_control = !matches!(kind, WsMessageType::Text | WsMessageType::Binary);
        if is_control && payload.len() > MAX_CONTROL {
            return Err(PushError::PingPongTooLong);
        }
        if kind == WsMessageType::Close && !is_close(payload) {
            return Err(PushError::BadClose);
        }
        if !is_control && payload.len() > self.limits.message_bytes {
            return Err(PushError::TooBig);
        }
        if kind == WsMessageType::Text && std::str::from_utf8(payload).is_err() {
            return Err(PushError::NotUtf8);
        }
        let most = self.limits.outbox_bytes;
        let ends = self.channel(id).ok_or(PushError::ChannelNotFound)?;
        let size = |outbox: &[(WsMessageType, Vec<u8>)]| -> usize {
            outbox.iter().map(|(_, each)| each.len() + OVERHEAD).sum()
        };
        while size(&ends.outbox) + payload.len() + OVERHEAD > most {
            match ends.policy {
                ChannelPolicy::Close => {
                    ends.closed = Some((1013, "the client reads too slowly".into()));
                    ends.outbox.clear();
                    self.mailbox.push_back(Posted::event(HttpServerRequest::WebSocketClose(id), None));
                    return Ok(());
                }
                ChannelPolicy::DropOldest if !ends.outbox.is_empty() => drop(ends.outbox.remove(0)),
                _ => return Err(PushError::ChannelFull),
            }
        }
        if kind == WsMessageType::Close {
            let code = payload.first_chunk().map_or(1000, |code| u16::from_be_bytes(*code));
            let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
            ends.end(code, &reason);
        } else if ends.is_open() && ends.reading {
            let answer = ends.take(kind, payload.to_vec());
            self.mailbox.extend(answer);
        } else if ends.is_open() {
            ends.outbox.push((kind, payload.to_vec()));
        }
        Ok(())
    }

    /// While a process waits, its fake clients cannot but read.
    pub fn push_waiting(&mut self, id: u32, kind: WsMessageType, payload: &[u8]) -> Result<(), PushError> {
        let refused = self.push(id, kind, payload);
        let waits = self.channel(id).is_some_and(|ends| ends.policy == ChannelPolicy::Wait);
        if refused != Err(PushError::ChannelFull) || !waits {
            return refused;
        }
        let answers = self.channel(id).map(Ends::read).unwrap_or_default();
        self.mailbox.extend(answers);
        self.push(id, kind, payload)
    }

    pub fn close_channel(&mut self, id: u32, code: Option<u16>, reason: &str) -> Result<(), CloseError> {
        let ends = self.channel(id).ok_or(CloseError::ChannelNotFound)?;
        if code.is_some_and(|code| !may_send(code)) {
            return Err(CloseError::BadCode);
        }
        if reason.len() > MAX_REASON {
            return Err(CloseError::ReasonTooLong);
        }
        ends.end(code.unwrap_or(1000), reason);
        Ok(())
    }
}

/// Whether a close may carry it: nothing, or a code that may be sent and a reason in UTF-8.
fn is_close(payload: &[u8]) -> bool {
    match payload.split_first_chunk() {
        Some((code, reason)) => may_send(u16::from_be_bytes(*code)) && std::str::from_utf8(reason).is_ok(),
        None => payload.is_empty(),
    }
}

/// Whether an endpoint may send this close code (RFC 6455, section 7.4).
fn may_send(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A client's end of a channel. What it sends is handled before the method returns.
#[derive(Clone)]
pub struct FakeChannel {
    /// As the process knows it.
    pub id: u32,
    pub(crate) driver: Rc<Driver>,
}

impl FakeChannel {
    /// The client sends a text or a binary message, and the process handles it.
    ///
    /// # Panics
    /// When the channel is closed, or the node would refuse the message.
    pub fn send(&self, message: impl Sendable) {
        let (kind, payload) = match message.payload() {
            Payload::Text(text) => (WsMessageType::Text, text.as_bytes()),
            Payload::Binary(bytes) => (WsMessageType::Binary, bytes),
        };
        with(|node| {
            let most = node.limits.message_bytes;
            assert!(
                payload.len() <= most,
                "the node would close channel {} with 1009: the message is too big",
                self.id
            );
            let ends = &node.channels[&self.id];
            assert!(ends.is_open(), "channel {} is closed: {:?}", self.id, ends.closed);
            node.mailbox.push_back(pushed(self.id, kind, payload.to_vec()));
        });
        self.driver.drain();
    }

    /// The client sends a value as JSON text.
    pub fn send_json(&self, value: &(impl serde::Serialize + ?Sized)) {
        self.send(json_text(value));
    }

    /// What the client got, in order.
    pub fn received(&self) -> Vec<Message> {
        with(|node| node.channels[&self.id].received.clone())
    }

    /// The text messages that it got.
    pub fn texts(&self) -> Vec<String> {
        self.received().iter().filter_map(|message| message.text().map(Into::into)).collect()
    }

    /// The text messages that it got, decoded from JSON.
    ///
    /// # Panics
    /// When one is not JSON.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.texts().iter().map(|text| serde_json::from_str(text).expect("a message in JSON")).collect()
    }

    /// The pings and pongs that it got.
    pub fn controls(&self) -> Vec<(WsMessageType, Vec<u8>)> {
        with(|node| node.channels[&self.id].controls.clone())
    }

    /// Code and reason, once the process or the node has closed it.
    pub fn closed(&self) -> Option<(u16, String)> {
        with(|node| node.channels[&self.id].closed.clone())
    }

    /// The client leaves.
    pub fn close(&self) {
        with(|node| {
            if let Some(ends) = node.channels.get_mut(&self.id).filter(|ends| ends.is_open()) {
                ends.left = true;
                node.mailbox.push_back(Posted::event(HttpServerRequest::WebSocketClose(self.id), None));
            }
        });
        self.driver.drain();
    }

    /// The client reads no more: what is pushed waits in its outbox, until that is full.
    pub fn stop_reading(&self) {
        with(|node| node.channels.get_mut(&self.id).expect("a channel of this host").reading = false);
    }

    /// The client reads what waits, and all that follows.
    pub fn resume_reading(&self) {
        with(|node| {
            let ends = node.channels.get_mut(&self.id).expect("a channel of this host");
            ends.reading = true;
            let answers = ends.read();
            node.mailbox.extend(answers);
        });
        self.driver.drain();
    }

    /// The client of a resumable channel loses its connection: what is pushed waits in its outbox.
    pub fn go_away(&self) {
        self.stop_reading();
        with(|node| node.set_away(self.id, true));
        self.driver.drain();
    }

    /// The client is there again, and reads what waits.
    pub fn come_back(&self) {
        self.resume_reading();
        with(|node| node.set_away(self.id, false));
        self.driver.drain();
    }
}
