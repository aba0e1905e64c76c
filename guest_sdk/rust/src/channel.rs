//! Channels: the WebSockets of clients.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::{Rc, Weak};

use serde::Serialize;
use serde_json::Value;

use crate::contract::http_server as host;
use crate::contract::types::{LazyLoadBlob, WebSocketOpen, WsMessageType};
use crate::errors::{CloseError, PushError};
use crate::http_server::ChannelPolicy;
use crate::message::{Payload, Sendable, json_text};
use crate::system::our;

/// Channels of one call to the host.
const MOST: usize = 65_536;

/// One client's WebSocket: a handle, of which any number of clones may be kept.
#[derive(Clone)]
pub struct Channel {
    inner: Rc<Inner>,
}

struct Inner {
    opened: WebSocketOpen,
    claims: Option<Value>,
    away: Cell<bool>,
    waits: Cell<bool>,
}

thread_local! {
    static OPEN: RefCell<BTreeMap<u32, Channel>> = const { RefCell::new(BTreeMap::new()) };
    static WATCHERS: RefCell<Vec<Weak<dyn Watcher>>> = const { RefCell::new(Vec::new()) };
}

/// Is told of each channel that is no longer open.
pub(crate) trait Watcher {
    fn left(&self, channel: &Channel);
    /// Whether it has something to tell the process.
    fn has_news(&self) -> bool;
}

impl Channel {
    /// Its number on this node.
    pub fn id(&self) -> u32 {
        self.inner.opened.channel_id
    }

    /// The requested path; `/` for a registered channel.
    pub fn path(&self) -> &str {
        &self.inner.opened.path
    }

    /// A parameter of the bound path, such as `room` of `/rooms/:room`.
    pub fn url_param(&self, name: &str) -> Option<&str> {
        find(&self.inner.opened.url_params, name)
    }

    /// A parameter of the query, the first of that name.
    pub fn query_param(&self, name: &str) -> Option<&str> {
        find(&self.inner.opened.query_params, name)
    }

    /// The subprotocol that was selected from the binding's list.
    pub fn subprotocol(&self) -> Option<&str> {
        self.inner.opened.subprotocol.as_deref()
    }

    /// The client's address.
    pub fn source_socket_addr(&self) -> Option<&str> {
        self.inner.opened.source_socket_addr.as_deref()
    }

    /// What a proxy says of the client's address.
    pub fn forwarded_for(&self) -> Option<&str> {
        self.inner.opened.forwarded_for.as_deref()
    }

    /// What the service that issued the client's token says of it: the token's custom claims, an object.
    pub fn claims(&self) -> Option<&Value> {
        self.inner.claims.as_ref()
    }

    /// Whether the client of a resumable channel has lost its connection, and may come back. Only in a process that
    /// [watches](crate::Process::WATCHES_PRESENCE).
    pub fn away(&self) -> bool {
        self.inner.away.get()
    }

    /// Whether it is one of [`channels`].
    pub fn is_open(&self) -> bool {
        OPEN.with_borrow(|open| open.get(&self.id()).is_some_and(|channel| channel == self))
    }

    /// Send a text or a binary message.
    ///
    /// # Errors
    /// `ChannelFull`: the client reads too slowly, and the message was dropped. `ChannelNotFound`: the client has left, and
    /// `on_close` follows. Others: see [`PushError`].
    pub fn send(&self, message: impl Sendable) -> Result<(), PushError> {
        match message.payload() {
            payload if self.inner.waits.get() => {
                let (kind, bytes) = match payload {
                    Payload::Text(text) => (WsMessageType::Text, text.as_bytes()),
                    Payload::Binary(bytes) => (WsMessageType::Binary, bytes),
                };
                host::send_ws_push_waiting(self.id(), kind, &blob(bytes))
            }
            Payload::Text(text) => host::send_ws_text(self.id(), text),
            Payload::Binary(bytes) => host::send_ws_push(&our().node, self.id(), WsMessageType::Binary, &blob(bytes)),
        }
    }

    /// Send a value as JSON text.
    ///
    /// # Errors
    /// As for `send`.
    ///
    /// # Panics
    /// When JSON cannot express the value.
    pub fn send_json(&self, value: &(impl Serialize + ?Sized)) -> Result<(), PushError> {
        self.send(json_text(value))
    }

    /// Close it. It leaves [`channels`] at once, without `on_close`. Closing one whose client has left does nothing.
    ///
    /// # Errors
    /// `BadCode`, `ReasonTooLong`.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), CloseError> {
        match host::close_channel(self.id(), Some(code), reason) {
            Err(CloseError::ChannelNotFound) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                forget(self.id());
                Ok(())
            }
        }
    }

    /// What happens to messages when the client reads too slowly; [`WHEN_FULL`](crate::Process::WHEN_FULL) by default.
    ///
    /// # Errors
    /// `ChannelNotFound`: it is closed.
    pub fn set_policy(&self, policy: ChannelPolicy) -> Result<(), PushError> {
        host::set_channel_policy(self.id(), policy)?;
        self.inner.waits.set(policy == ChannelPolicy::Wait);
        Ok(())
    }

    pub(crate) fn set_away(&self, away: bool) -> bool {
        self.inner.away.replace(away) != away
    }
}

/// Two are equal if they are the same channel.
impl PartialEq for Channel {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Channel {}

impl Hash for Channel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({} on {:?})", self.id(), self.path())
    }
}

/// The open channels, in the order of their ids: each from just before `on_open` until just before `on_close`, or until this process closes
/// it.
pub fn channels() -> Vec<Channel> {
    OPEN.with_borrow(|open| open.values().cloned().collect())
}

/// Send one message to all channels; it is passed to the host once.
///
/// Returns the channels that refused it, and why: usually `ChannelFull`. Close them, or let them miss the message.
pub fn broadcast(message: impl Sendable) -> Vec<(Channel, PushError)> {
    broadcast_to(&channels(), message)
}

/// Send one message to some channels; as [`broadcast`].
pub fn broadcast_to<'a>(
    to: impl IntoIterator<Item = &'a Channel>,
    message: impl Sendable,
) -> Vec<(Channel, PushError)> {
    let by_id: HashMap<u32, &Channel> = to.into_iter().map(|channel| (channel.id(), channel)).collect();
    let mut ids: Vec<u32> = by_id.keys().copied().collect();
    ids.sort_unstable();
    let payload = message.payload();
    let binary = match payload {
        Payload::Text(_) => blob(&[]),
        Payload::Binary(bytes) => blob(bytes),
    };
    let push = |part: &[u32]| match payload {
        Payload::Text(text) => host::send_ws_text_many(part, text),
        Payload::Binary(_) => host::send_ws_push_many(part, WsMessageType::Binary, &binary),
    };
    ids.chunks(MOST).flat_map(push).map(|(id, error)| (by_id[&id].clone(), error)).collect()
}

/// Close channels by one call to the host; also those whose outbox is full. Returns which were not closed, and why.
pub fn close_channels<'a>(
    channels: impl IntoIterator<Item = &'a Channel>,
    code: u16,
    reason: &str,
) -> Vec<(Channel, CloseError)> {
    let by_id: BTreeMap<u32, &Channel> = channels.into_iter().map(|channel| (channel.id(), channel)).collect();
    let ids: Vec<u32> = by_id.keys().copied().collect();
    let refused: HashMap<u32, CloseError> =
        ids.chunks(MOST).flat_map(|part| host::close_channels(part, Some(code), reason)).collect();
    for id in ids.into_iter().filter(|id| !refused.contains_key(id)) {
        forget(id);
    }
    refused.into_iter().map(|(id, error)| (by_id[&id].clone(), error)).collect()
}

pub(crate) fn remember(opened: WebSocketOpen) -> Channel {
    let claims = claims_of(host::channel_claims(opened.channel_id));
    let inner = Inner { opened, claims, away: Cell::new(false), waits: Cell::new(false) };
    let channel = Channel { inner: Rc::new(inner) };
    OPEN.with_borrow_mut(|open| open.insert(channel.id(), channel.clone()));
    channel
}

pub(crate) fn find_open(id: u32) -> Option<Channel> {
    OPEN.with_borrow(|open| open.get(&id).cloned())
}

pub(crate) fn forget(id: u32) -> Option<Channel> {
    let channel = OPEN.with_borrow_mut(|open| open.remove(&id))?;
    for watcher in watchers() {
        watcher.left(&channel);
    }
    Some(channel)
}

/// A new run of the process: it has no channels yet.
pub(crate) fn begin() {
    OPEN.with_borrow_mut(BTreeMap::clear);
    WATCHERS.with_borrow_mut(Vec::clear);
}

pub(crate) fn watch(watcher: Weak<dyn Watcher>) {
    WATCHERS.with_borrow_mut(|watchers| {
        watchers.retain(|each| each.strong_count() > 0);
        watchers.push(watcher);
    });
}

/// Whether a watcher has something to tell the process.
pub(crate) fn has_news() -> bool {
    WATCHERS.with_borrow(|watchers| watchers.iter().filter_map(Weak::upgrade).any(|watcher| watcher.has_news()))
}

fn watchers() -> Vec<Rc<dyn Watcher>> {
    WATCHERS.with_borrow(|watchers| watchers.iter().filter_map(Weak::upgrade).collect())
}

pub(crate) fn claims_of(text: Option<String>) -> Option<Value> {
    serde_json::from_str(&text?).ok()
}

pub(crate) fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn blob(bytes: &[u8]) -> LazyLoadBlob {
    LazyLoadBlob { mime: None, bytes: bytes.to_vec() }
}
