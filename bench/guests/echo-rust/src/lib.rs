//! Answers every message with the same message.

use guesthouse::http_server::{WsBinding, bind_ws_path_with};
use guesthouse::{Channel, Message, Process, Result, bind_ws_path};

struct Echo;

impl Process for Echo {
    fn on_start() -> Result<Self> {
        bind_ws_path("/")?;
        bind_ws_path_with("/public", &WsBinding::public())?;
        Ok(Self)
    }

    fn on_message(&mut self, channel: &Channel, message: Message) -> Result {
        channel.send(message)?;
        Ok(())
    }
}

guesthouse::export!(Echo);
