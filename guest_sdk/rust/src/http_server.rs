//! Paths, pushes and responses: calls of `http-server:distro:sys`.

use crate::channel::{find_open, forget};
use crate::contract::http_server as host;
pub use crate::contract::http_server::{
    ChannelPolicy, HttpBinding, WsBinding, channel_claims, http_request_claims, send_http_response,
    send_ws_extension_push, send_ws_push_many, send_ws_push_to_path, send_ws_push_waiting, send_ws_text_many,
    send_ws_text_to_path, unbind_http_path, unbind_ws_path,
};
use crate::contract::types::LazyLoadBlob;
pub use crate::contract::types::WsMessageType;
use crate::errors::{BindError, CloseError, PushError};
use crate::system::our;

/// For logged-in clients, as it is by default.
impl Default for WsBinding {
    fn default() -> Self {
        Self { authenticated: true, secure: false, extension: false, subprotocols: Vec::new() }
    }
}

/// For logged-in clients, as it is by default.
impl Default for HttpBinding {
    fn default() -> Self {
        Self { authenticated: true, local_only: false, secure: false, response_seconds: None }
    }
}

impl HttpBinding {
    /// For everybody, logged in or not.
    pub fn public() -> Self {
        Self { authenticated: false, ..Self::default() }
    }
}

impl WsBinding {
    /// For everybody, logged in or not.
    pub fn public() -> Self {
        Self { authenticated: false, ..Self::default() }
    }
}

/// Accept WebSockets of logged-in clients on `/<process-id><path>`: a path such as `/`, `/rooms/:room` or `/files/*path`, whose
/// parameters are in [`url_param`](crate::Channel::url_param).
///
/// # Errors
/// It was not bound; the error says why.
pub fn bind_ws_path(path: &str) -> Result<(), BindError> {
    bind_ws_path_with(path, &WsBinding::default())
}

/// [`bind_ws_path`] on other conditions.
///
/// # Errors
/// It was not bound; the error says why.
pub fn bind_ws_path_with(path: &str, binding: &WsBinding) -> Result<(), BindError> {
    bound(path, host::bind_ws_path(path, binding))
}

/// Get the HTTP requests of logged-in clients to `/<process-id><path>` at `on_http`.
///
/// # Errors
/// It was not bound; the error says why.
pub fn bind_http_path(path: &str) -> Result<(), BindError> {
    bind_http_path_with(path, HttpBinding::default())
}

/// [`bind_http_path`] on other conditions.
///
/// # Errors
/// It was not bound; the error says why.
pub fn bind_http_path_with(path: &str, binding: HttpBinding) -> Result<(), BindError> {
    bound(path, host::bind_http_path(path, binding))
}

/// Let the host serve this content on `/<process-id><path>`, without asking the process.
///
/// # Errors
/// It was not bound; the error says why.
pub fn bind_http_static_path(path: &str, binding: HttpBinding, mime: &str, content: Vec<u8>) -> Result<(), BindError> {
    let blob = LazyLoadBlob { mime: Some(mime.into()), bytes: content };
    bound(path, host::bind_http_static_path(path, binding, &blob))
}

/// Let the host serve the files of the package's `ui` folder under `/<process-id><path>`.
///
/// # Errors
/// It was not bound; the error says why.
pub fn serve_ui(path: &str, binding: HttpBinding) -> Result<(), BindError> {
    bound(path, host::serve_ui(path, binding))
}

fn bound(path: &str, result: Result<(), host::BindError>) -> Result<(), BindError> {
    result.map_err(|reason| BindError { path: path.into(), reason })
}

/// Push a message of any type to a channel, also of another node whose process allowed it. A `Close` closes the channel with the
/// code and reason in the payload.
///
/// # Errors
/// The message reached nobody; the error says why.
pub fn send_ws_push(
    node: &str,
    channel_id: u32,
    message_type: WsMessageType,
    blob: &LazyLoadBlob,
) -> Result<(), PushError> {
    host::send_ws_push(node, channel_id, message_type, blob)?;
    if message_type == WsMessageType::Close && node == our().node && find_open(channel_id).is_some() {
        forget(channel_id);
    }
    Ok(())
}

/// Close a channel by its id, as [`Channel::close`](crate::Channel::close).
///
/// # Errors
/// It was not closed; the error says why.
pub fn close_channel(channel_id: u32, code: Option<u16>, reason: &str) -> Result<(), CloseError> {
    host::close_channel(channel_id, code, reason)?;
    forget(channel_id);
    Ok(())
}
