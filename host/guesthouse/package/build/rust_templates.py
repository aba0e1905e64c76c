"""The templates of `guesthouse new` in Rust: an echo, a chat room, and an HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from guesthouse.package.build.rust import SDK_LINK

_CARGO: Final = f"""\
[package]
name = "NAME"
version = "0.1.0"
edition = "2024"
publish = false

[lib]
crate-type = ["cdylib"]

[dependencies]
guesthouse = {{ path = "{SDK_LINK}" }} # a link that `guesthouse build` makes
serde = {{ version = "1", features = ["derive"] }}

[profile.release] # a small component
opt-level = "s"
lto = true
codegen-units = 1
strip = true
"""

_ECHO: Final = """\
//! Answers every message with the same message.

use guesthouse::{Channel, Message, Process, Result};

struct Echo;

impl Process for Echo {
    fn on_start() -> Result<Self> {
        Ok(Self)
    }

    fn on_message(&mut self, channel: &Channel, message: Message) -> Result {
        channel.send(message)?;
        Ok(())
    }
}

guesthouse::export!(Echo);

#[cfg(test)]
mod tests {
    use guesthouse::testing::FakeHost;

    use super::Echo;

    #[test]
    fn a_message_comes_back() {
        let host = FakeHost::run::<Echo>();
        let channel = host.open();
        channel.send("hello");
        assert_eq!(channel.texts(), ["hello"]);
    }
}
"""

_CHAT: Final = """\
//! A chat room for all who are connected.

use guesthouse::{Channel, Message, Process, PushError, Result, Saved, broadcast, close_channels};
use serde::{Deserialize, Serialize};

const HISTORY: usize = 50;

/// What clients send.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum FromClient {
    Say { name: String, text: String },
}

/// What was said.
#[derive(Clone, Serialize, Deserialize)]
struct Said {
    name: String,
    text: String,
}

/// What clients get.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum ToClient<'a> {
    Welcome { history: &'a [Said] },
    Said(&'a Said),
}

struct Chat {
    /// Kept by the node: it is there after a restart.
    history: Saved<Vec<Said>>,
}

impl Process for Chat {
    fn on_start() -> Result<Self> {
        Ok(Self { history: Saved::load()? })
    }

    fn on_open(&mut self, channel: &Channel) -> Result {
        channel.send_json(&ToClient::Welcome { history: &self.history })?;
        Ok(())
    }

    fn on_message(&mut self, _channel: &Channel, message: Message) -> Result {
        // What does not fit is answered with {"type": "error", "error": "…"}.
        let FromClient::Say { name, text } = message.json()?;
        let said = Said { name, text };
        self.history.change(|history| {
            history.push(said.clone());
            let old = history.len().saturating_sub(HISTORY);
            history.drain(..old);
        })?;
        let refused = broadcast(guesthouse::serde_json::to_string(&ToClient::Said(&said))?);
        let slow = refused.iter().filter(|(_, error)| *error == PushError::ChannelFull);
        close_channels(slow.map(|(channel, _)| channel), 1013, "you read too slowly: connect again");
        Ok(())
    }
}

guesthouse::export!(Chat);

#[cfg(test)]
mod tests {
    use guesthouse::serde_json::json;
    use guesthouse::testing::FakeHost;

    use super::Chat;

    #[test]
    fn everybody_gets_what_is_said_and_newcomers_what_was_said() {
        let mut host = FakeHost::run::<Chat>();
        let (ada, ben) = (host.open(), host.open());
        ada.send_json(&json!({"type": "say", "name": "Ada", "text": "hello"}));
        assert_eq!(ben.json()[1], json!({"type": "said", "name": "Ada", "text": "hello"}));
        host.restart();
        let welcome = json!({"type": "welcome", "history": [{"name": "Ada", "text": "hello"}]});
        assert_eq!(host.open().json(), [welcome]);
    }

    #[test]
    fn what_is_not_understood_is_told_to_its_sender() {
        let host = FakeHost::run::<Chat>();
        let channel = host.open();
        channel.send(r#"{"type": "say", "name": "Ada"}"#);
        assert_eq!(channel.json()[1]["type"], "error");
    }
}
"""

_HTTP: Final = """\
//! Keeps notes: PUT, GET and DELETE /notes/:name, and GET /notes, in JSON.

use guesthouse::kv::KeyValues;
use guesthouse::{HttpBinding, HttpRequest, HttpResponse, Process, Result, bind_http_path_with};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
}

struct Notes {
    stored: KeyValues,
}

impl Process for Notes {
    fn on_start() -> Result<Self> {
        // For everybody; HttpBinding::default() is for clients who are logged in.
        bind_http_path_with("/notes", HttpBinding::public())?;
        bind_http_path_with("/notes/:name", HttpBinding::public())?;
        Ok(Self { stored: KeyValues::new("notes") })
    }

    fn on_http(&mut self, request: HttpRequest) -> Result<HttpResponse> {
        let name = request.url_param("name").unwrap_or_default();
        match (request.method(), request.bound_path()) {
            ("GET" | "HEAD", "/notes") => {
                let keys = self.stored.all_keys("")?;
                let names: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
                Ok(HttpResponse::json(&names))
            }
            ("GET" | "HEAD", _) => match self.stored.get_json::<Note>(name)? {
                Some(note) => Ok(HttpResponse::json(&note)),
                None => Ok(HttpResponse::text("there is no such note\\n").with_status(404)),
            },
            ("PUT", "/notes/:name") => {
                let note: Note = request.json()?; // what does not fit is answered with 400
                self.stored.set_json(name, &note)?;
                Ok(HttpResponse::json(&note).with_status(201))
            }
            ("DELETE", "/notes/:name") => {
                self.stored.delete(name)?;
                Ok(HttpResponse::new(204))
            }
            (_, "/notes") => Ok(HttpResponse::new(405).with_header("allow", "GET, HEAD")),
            _ => Ok(HttpResponse::new(405).with_header("allow", "GET, HEAD, PUT, DELETE")),
        }
    }
}

guesthouse::export!(Notes);

#[cfg(test)]
mod tests {
    use guesthouse::serde_json::json;
    use guesthouse::testing::{FakeHost, FakeHttp};

    use super::Notes;

    #[test]
    fn a_note_is_kept_until_it_is_deleted() {
        let mut host = FakeHost::new();
        host.grant("kv:distro:sys");
        host.start::<Notes>();
        let note = json!({"text": "buy bread"});
        let asked = |method, path, body: &guesthouse::serde_json::Value| {
            host.http(FakeHttp::new(method, path).json(body)).unwrap()
        };
        assert_eq!(asked("PUT", "/notes/today", &note).status, 201);
        assert_eq!(host.get("/notes/today").unwrap().json(), note);
        assert_eq!(host.get("/notes").unwrap().json(), json!(["today"]));
        assert_eq!(asked("PUT", "/notes/today", &json!({"txt": ""})).status, 400);
        assert_eq!(asked("POST", "/notes", &note).status, 405);
        assert_eq!(asked("HEAD", "/notes/today", &note).status, 200);
        assert_eq!(asked("DELETE", "/notes/today", &note).status, 204);
        assert_eq!(host.get("/notes/today").unwrap().status, 404);
    }
}
"""


def _crate(source: str) -> tuple[str, Mapping[str, str]]:
    return "src/lib.rs", {"src/lib.rs": source, "Cargo.toml": _CARGO}


RUST_TEMPLATES: Final = MappingProxyType(
    {"rust": _crate(_ECHO), "rust-chat": _crate(_CHAT), "rust-http": _crate(_HTTP)}
)
"""By template: the source's path, and the files by path."""
