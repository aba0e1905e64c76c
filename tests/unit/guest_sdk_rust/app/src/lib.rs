//! What the tests of the SDK run: in the fake host here, and in a real node in `tests/e2e/test_rust_sdk.py`.

use std::time::{Duration, SystemTime};

use guesthouse::http_server::{send_ws_push, send_ws_text_to_path};
use guesthouse::kv::{KeyValues, KvError};
use guesthouse::passwords::{hash_password, verify_password};
use guesthouse::rooms::{PresenceChange, Rooms};
use guesthouse::serde_json::{Value, json};
use guesthouse::timers::{Timer, cancel_timer, set_timer};
use guesthouse::vfs::{Drive, VfsError};
use guesthouse::{
    BadMessage, Capability, Channel, ChannelPolicy, ChannelRequest, HttpBinding, HttpRequest, HttpResponse,
    IncomingRequest, IncomingResponse, LazyLoadBlob, Message, Process, ProcessId, Reply, Request, RequestRefused,
    Response, Result, Saved, SendError, Spawn, WsBinding, bind_http_path_with, bind_ws_path, bind_ws_path_with,
    broadcast, call_later, close_channels, fail, log,
};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    times: u32,
    #[serde(default)]
    text: String,
}

/// What clients send as JSON.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
enum FromClient {
    Say { text: String, loud: Option<bool> },
    Join { room: String, name: String },
    Close { code: u16, reason: String },
}

struct App {
    kept: Saved<Kept>,
    rooms: Rooms<String>,
    bell: Option<Timer>,
}

impl Process for App {
    const WATCHES_PRESENCE: bool = true;

    fn on_start() -> Result<Self> {
        bind_ws_path("/")?;
        bind_ws_path_with("/rooms/:room", &WsBinding::public())?;
        bind_http_path_with("/hello", HttpBinding::public())?;
        bind_http_path_with("/secret", HttpBinding::default())?;
        log::info!("started");
        Ok(Self { kept: Saved::load()?, rooms: Rooms::watched(), bell: None })
    }

    fn on_open(&mut self, channel: &Channel) -> Result {
        match channel.query_param("policy") {
            Some("refuse-entry") => return Err(fail("no entry")),
            Some("drop") => channel.set_policy(ChannelPolicy::DropOldest)?,
            Some("wait") => channel.set_policy(ChannelPolicy::Wait)?,
            Some("close") => channel.set_policy(ChannelPolicy::Close)?,
            _ => {}
        }
        if let Some(room) = channel.url_param("room") {
            self.rooms.join(room, channel, channel.query_param("name").unwrap_or("nobody").into())?;
        }
        Ok(())
    }

    fn on_resume(&mut self, channel: &Channel) -> Result {
        self.on_open(channel)?;
        channel.send("resumed")?;
        Ok(())
    }

    fn on_message(&mut self, channel: &Channel, message: Message) -> Result {
        let Some(text) = message.text() else {
            channel.send(message)?;
            return Ok(());
        };
        if text.starts_with('{') {
            return self.obey(channel, message.json()?);
        }
        match text {
            "fail" => return Err(fail("on purpose")),
            "parse" => drop(text.parse::<u32>()?),
            "panic" => panic!("on purpose: {}", text.len()),
            "index" => drop(channel.send(text[text.len()..].as_bytes()[text.len()..].to_vec())),
            "recurse" => channel.send(recursed(text.len() as u64).to_string())?,
            "allocate" => channel.send(allocated().to_string())?,
            "loop" => channel.send(looped(text.len() as u64).to_string())?,
            "print" => {
                println!("to standard output");
                eprintln!("to standard error");
            }
            "log" => {
                log::debug!("a");
                log::info!("b");
                log::warn!("c");
                log::error!("d");
            }
            "state" => {
                let times = self.kept.change(|kept| {
                    kept.times += 1;
                    kept.times
                })?;
                channel.send_json(&json!({"kept": times}))?;
            }
            "big state" => channel.send_json(&self.kept.change(|kept| kept.text = "x".repeat(1 << 24)).is_err())?,
            "kept" => channel.send_json(&[self.kept.times as usize, self.kept.text.len()])?,
            "kv" => channel.send_json(&kv()?)?,
            "vfs" => channel.send_json(&vfs()?)?,
            "password" => {
                let stored = hash_password("secret")?;
                channel.send_json(&[verify_password("secret", &stored)?, verify_password("wrong", &stored)?])?;
            }
            "bell" => {
                let channel = channel.clone();
                self.bell = Some(call_later(Duration::from_millis(50), move |app: &mut App| {
                    let pending = app.bell.as_ref().is_some_and(Timer::pending);
                    Ok(channel.send_json(&json!({"bell": true, "pending": pending}))?)
                })?);
            }
            "no bell" => self.bell.take().iter().for_each(Timer::cancel),
            "alarm" => set_timer("alarm", Duration::from_millis(50))?,
            "no alarm" => cancel_timer("alarm")?,
            "clock" => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                channel.send_json(&now.as_secs())?;
            }
            "broadcast" => {
                assert!(broadcast("to all").is_empty());
                assert!(broadcast([1, 255]).is_empty());
                send_ws_text_to_path("/", "by path");
            }
            "fill" => channel.send_json(&filled(channel))?,
            "bye" => channel.close(4000, "bye")?,
            "bye all" => drop(close_channels(&guesthouse::channels(), 4001, "all")),
            "close by push" => {
                let blob = LazyLoadBlob { mime: None, bytes: vec![15, 161] };
                send_ws_push(
                    &guesthouse::our().node,
                    channel.id(),
                    guesthouse::http_server::WsMessageType::Close,
                    &blob,
                )?;
                log::info!("{} left", guesthouse::channels().len());
            }
            "claims" => channel.send_json(&channel.claims())?,
            "our" => channel.send(guesthouse::our().to_string())?,
            "ask" => channel.send(asked()?)?,
            "tell" => Request::to(&prices()).body("later").context("7").expects_response(Duration::from_secs(5)).send(),
            "spawn" => channel.send(spawned())?,
            "rights" => channel.send_json(&rights())?,
            _ => channel.send(message)?,
        }
        Ok(())
    }

    fn on_channel_request(&mut self, channel: &Channel, request: &ChannelRequest) -> Result<Reply> {
        Ok(match request.body.as_str() {
            Some("refuse") => return Err(RequestRefused("not today".into()).into()),
            Some("fail") => return Err(fail("on purpose")),
            Some("later") => {
                channel.send(request.answer("late"))?;
                Reply::Later
            }
            Some("numbers") => return Ok(Reply::Body(json!(request.json::<Vec<u8>>()?))),
            Some("big") => Reply::json("x".repeat(2 << 20))?,
            Some("message") => Reply::Unhandled,
            _ => Reply::json(&request.body)?,
        })
    }

    fn on_close(&mut self, channel: &Channel) -> Result {
        log::info!("channel on {} closed", channel.path());
        Ok(())
    }

    fn on_away(&mut self, channel: &Channel) -> Result {
        assert!(channel.away());
        let _ = broadcast(format!("{} is away", channel.query_param("name").unwrap_or("nobody")));
        Ok(())
    }

    fn on_back(&mut self, channel: &Channel) -> Result {
        let _ = broadcast(format!("{} is back", channel.query_param("name").unwrap_or("nobody")));
        Ok(())
    }

    fn on_rooms_changed(&mut self) -> Result {
        while let Some(PresenceChange { room, joined, left, updated }) = self.rooms.next_change() {
            let names = |members: Vec<guesthouse::rooms::Member<String>>| -> Vec<String> {
                members.into_iter().map(|member| member.info).collect()
            };
            let updated: Vec<_> = updated.into_iter().map(|(before, after)| [before.info, after.info]).collect();
            let told = json!({"room": room, "joined": names(joined), "left": names(left), "updated": updated});
            self.rooms.broadcast_json(&room, &told);
        }
        Ok(())
    }

    fn on_http(&mut self, request: HttpRequest) -> Result<HttpResponse> {
        match (request.method(), request.bound_path()) {
            (_, "/hello") if request.query_param("fail").is_some() => Err(fail("on purpose")),
            ("GET", "/hello") => Ok("hello".into()),
            ("GET", "/secret") => Ok(HttpResponse::json(&request.claims())),
            ("POST", "/hello") => {
                let given: Value = request.json()?;
                Ok(HttpResponse::json(&json!({"got": given})).with_status(201).with_header("x-mine", "yes"))
            }
            _ => Ok(HttpResponse::new(405).with_header("allow", "GET, POST")),
        }
    }

    fn on_request(&mut self, request: IncomingRequest) -> Result<Option<Response>> {
        guesthouse::capabilities::save_capabilities(&request.capabilities);
        let ticket = Capability::of(guesthouse::our(), json!({"shelf": 7}));
        let answer = json!({"from": request.source.process.to_string(), "body": request.json::<Value>()?});
        Ok(Some(Response::json(&answer).capabilities([ticket])))
    }

    fn on_response(&mut self, response: IncomingResponse) -> Result {
        let context = response.context.unwrap_or_default();
        let _ = broadcast(format!("{}: {}", String::from_utf8(context)?, String::from_utf8(response.body)?));
        Ok(())
    }

    fn on_send_error(&mut self, error: SendError) -> Result {
        let _ = broadcast(format!("{error}"));
        Ok(())
    }

    fn on_timer(&mut self, id: &str) -> Result {
        let _ = broadcast(format!("timer {id}"));
        Ok(())
    }

    fn on_handover(&mut self) -> Result {
        self.kept.change(|kept| kept.text = "handed over".into())?;
        Ok(())
    }
}

impl App {
    fn obey(&mut self, channel: &Channel, message: FromClient) -> Result {
        match message {
            FromClient::Say { text, .. } if text.is_empty() => return Err(BadMessage("say something".into()).into()),
            FromClient::Say { text, loud } => {
                channel.send(if loud == Some(true) { text.to_uppercase() } else { text })?;
            }
            FromClient::Join { room, name } => drop(self.rooms.join(&room, channel, name)?),
            FromClient::Close { code, reason } => channel.close(code, &reason)?,
        }
        Ok(())
    }
}

fn kv() -> Result<Value> {
    let notes = KeyValues::new("notes");
    notes.clear()?;
    notes.set_json("key", &json!({"a": [1, "é"]}))?;
    notes.set(b"\xff\x00", b"\x01")?;
    notes.compare_and_set("other", None, Some(b"1"))?;
    let conflict = notes.compare_and_set("other", Some(b"2"), None);
    assert_eq!(conflict, Err(KvError::Conflict(Some(b"1".to_vec()))));
    notes.delete("other")?;
    let empty = matches!(notes.set("", "x"), Err(KvError::Refused(..)));
    Ok(json!([
        notes.get_json::<Value>("key")?,
        notes.get("none")?,
        notes.get(b"\xff\x00")?,
        notes.all_keys("")?,
        empty
    ]))
}

fn vfs() -> Result<Value> {
    let drive = Drive::new("drive");
    let _ = drive.delete_folder("", true);
    drive.write("a/b.txt", "one")?;
    drive.append("a/b.txt", " two")?;
    drive.append("c.txt", "new")?;
    drive.copy("a/b.txt", "d.txt")?;
    drive.rename("d.txt", "e.txt")?;
    drive.make_folder("f")?;
    drive.delete("c.txt")?;
    let names: Vec<_> = drive.list("")?.into_iter().map(|entry| (entry.name, entry.is_folder)).collect();
    let refused = [
        matches!(drive.read("none"), Err(VfsError::NotFound(_))),
        matches!(drive.read("../x"), Err(VfsError::BadPath(_))),
        matches!(drive.delete_folder("a", false), Err(VfsError::NotEmpty(_))),
        matches!(Drive::new("pkg").write("x", ""), Err(VfsError::ReadOnly(_))),
    ];
    Ok(json!([drive.read_text("a/b.txt")?, drive.size("e.txt")?, drive.exists("c.txt")?, names, refused]))
}

/// How many messages a client that does not read takes.
fn filled(channel: &Channel) -> usize {
    let big = "x".repeat(1 << 19);
    (0..100).take_while(|_| channel.send(&big).is_ok()).count()
}

fn prices() -> guesthouse::Address {
    ProcessId::new("prices", "market", "test.os").here()
}

fn asked() -> Result<String> {
    let answer = Request::to(&prices()).json("tea").blob("leaf", None).send_and_await_response(Duration::from_secs(5));
    match answer {
        Ok(answer) => Ok(format!("{}", answer.json::<f64>()?)),
        Err(error) => Ok(error.to_string()),
    }
}

fn spawned() -> String {
    match Spawn::of("/build/app.wasm").name("child").start() {
        Ok(id) => id.to_string(),
        Err(error) => error.to_string(),
    }
}

fn rights() -> Vec<String> {
    let mut held: Vec<_> = guesthouse::capabilities::our_capabilities().iter().map(ToString::to_string).collect();
    held.sort();
    held
}

#[allow(unconditional_recursion)]
#[inline(never)]
fn recursed(number: u64) -> u64 {
    let page = std::hint::black_box([number; 512]);
    recursed(number + 1) + page[(number % 512) as usize]
}

fn allocated() -> usize {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(vec![1; 1 << 20]);
        if std::hint::black_box(&all).len() == usize::MAX {
            return all.len();
        }
    }
}

fn looped(mut number: u64) -> u64 {
    while std::hint::black_box(number) != 0 {
        number = std::hint::black_box(number | 1);
    }
    number
}

guesthouse::export!(App);

#[cfg(test)]
mod tests;
