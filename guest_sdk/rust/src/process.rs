//! A process: a type whose methods are called for events.

use crate::channel::Channel;
use crate::channel_requests::{ChannelRequest, Reply};
use crate::errors::{PushError, SendError};
use crate::failure::Result;
use crate::http::{HttpRequest, HttpResponse};
use crate::http_server::ChannelPolicy;
use crate::message::{BadMessage, Message};
use crate::messaging::{IncomingRequest, IncomingResponse, Response};

/// What a process does. All methods but `on_start` have a default.
///
/// One that returns an error is logged, with the line of its `?`, and that message is not handled further. A panic ends the
/// process: its `on-exit` says what follows.
pub trait Process: Sized + 'static {
    /// What happens to what is sent to a client that reads too slowly. By default it is refused with `ChannelFull`. With
    /// `Wait` `channel.send` waits, and all that the process does with it; a broadcast is refused all the same.
    const WHEN_FULL: ChannelPolicy = ChannelPolicy::Refuse;

    /// Whether the process is told of clients of resumable channels that lose their connection and come back:
    /// `on_away`, `on_back`, `channel.away()`.
    const WATCHES_PRESENCE: bool = false;

    /// The process starts: load state, bind paths. A failure ends it.
    fn on_start() -> Result<Self>;

    /// A client opened a channel. After a failure, it is closed with 1011.
    fn on_open(&mut self, channel: &Channel) -> Result {
        let _ = channel;
        Ok(())
    }

    /// A channel was open before this process was restarted. After a failure, it is closed with 1011.
    fn on_resume(&mut self, channel: &Channel) -> Result {
        self.on_open(channel)
    }

    /// A client sent a message.
    fn on_message(&mut self, channel: &Channel, message: Message) -> Result {
        let _ = (channel, message);
        Ok(())
    }

    /// A handler returned a [`BadMessage`], as [`Message::json`] does for what does not fit. By default the client is told.
    fn on_bad_message(&mut self, channel: &Channel, error: &BadMessage) -> Result {
        match channel.send_json(&serde_json::json!({"type": "error", "error": error.0})) {
            Err(PushError::ChannelNotFound) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A client made a request over its channel, by `request()` of a client library. By default it is a message like any other.
    ///
    /// [`RequestRefused`](crate::RequestRefused) tells the client its text as the error, a [`BadMessage`] too. Another failure is logged, and the client
    /// gets *the process failed to answer*.
    fn on_channel_request(&mut self, channel: &Channel, request: &ChannelRequest) -> Result<Reply> {
        let _ = (channel, request);
        Ok(Reply::Unhandled)
    }

    /// The client has left; not after the process's own `close`.
    fn on_close(&mut self, channel: &Channel) -> Result {
        let _ = channel;
        Ok(())
    }

    /// The client of a resumable channel has lost its connection, and may come back: what is sent to it waits. Then `on_back` or
    /// `on_close` follows. After a restart it comes right after the `on_resume` of who is away.
    fn on_away(&mut self, channel: &Channel) -> Result {
        let _ = channel;
        Ok(())
    }

    /// The client of a channel that was away has come back.
    fn on_back(&mut self, channel: &Channel) -> Result {
        let _ = channel;
        Ok(())
    }

    /// Something changed in rooms that are [watched](crate::rooms::Rooms::watched): take the changes. It comes after the
    /// handler that changed it; call it yourself where the order matters.
    fn on_rooms_changed(&mut self) -> Result {
        Ok(())
    }

    /// A request to a path bound by `bind_http_path`. A [`BadBody`](crate::BadBody) is answered with 400, another failure with 500.
    fn on_http(&mut self, request: HttpRequest) -> Result<HttpResponse> {
        let _ = request;
        Ok(HttpResponse::text("not found\n").with_status(404))
    }

    /// Another process sent a request; what is returned is the answer.
    fn on_request(&mut self, request: IncomingRequest) -> Result<Option<Response>> {
        log::warn!("a request from {} was dropped: the process has no on_request", request.source);
        Ok(None)
    }

    /// Another process answered a `Request` that expected it.
    fn on_response(&mut self, response: IncomingResponse) -> Result {
        let _ = response;
        Ok(())
    }

    /// A request of this process was not delivered or not answered.
    fn on_send_error(&mut self, error: SendError) -> Result {
        log::warn!("{error}");
        Ok(())
    }

    /// The time of a durable timer has come.
    fn on_timer(&mut self, id: &str) -> Result {
        log::warn!("the timer {id:?} was dropped: the process has no on_timer");
        Ok(())
    }

    /// Another version will replace this one: store what it needs, and return. It is the last call. Only if the manifest has
    /// `handover = true`.
    fn on_handover(&mut self) -> Result {
        Ok(())
    }
}
