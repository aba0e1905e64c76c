//! The SDK in its fake host.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use guesthouse::serde_json::{Value, json};
use guesthouse::testing::{Answer, FakeChannel, FakeHost, FakeHttp};
use guesthouse::{Capability, Message, ProcessId, Verbosity};

use super::App;

fn started() -> FakeHost {
    let mut host = FakeHost::new();
    for module in ["kv", "vfs", "timer", "passwords"] {
        host.grant(&format!("{module}:distro:sys"));
    }
    host.start::<App>();
    host
}

fn answer(message: &str) -> Value {
    let host = started();
    let channel = host.open();
    channel.send(message);
    assert_eq!(channel.texts().len(), 1, "{:?}", host.log());
    guesthouse::serde_json::from_str(&channel.texts()[0]).unwrap()
}

fn last_line(host: &FakeHost) -> (Verbosity, String) {
    let line = host.log().pop().unwrap();
    (line.level, line.text)
}

fn line_of(text: &str) -> usize {
    include_str!("lib.rs").lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn text_and_bytes_come_back() {
    let host = started();
    let channel = host.open();
    channel.send("héllo");
    channel.send([0, 255]);
    assert_eq!(channel.received(), [Message::Text("héllo".into()), Message::Binary(vec![0, 255])]);
    assert_eq!(last_line(&host), (Verbosity::Info, "started".into()));
}

#[test]
fn what_a_handler_returns_is_logged_with_its_line_and_the_process_goes_on() {
    let host = started();
    let channel = host.open();
    for (message, code, text) in [
        ("fail", r#""fail" => return"#, "on purpose"),
        ("parse", r#""parse" => drop"#, "invalid digit found in string"),
    ] {
        channel.send(message);
        let line = line_of(code);
        let expected = format!("on_message failed: src/lib.rs:{line}: {text}");
        assert_eq!(last_line(&host), (Verbosity::Error, expected));
    }
    channel.send("still there");
    assert_eq!(channel.texts(), ["still there"]);
}

#[test]
fn a_panic_fails_the_test() {
    let host = started();
    let channel = host.open();
    assert!(catch_unwind(AssertUnwindSafe(|| channel.send("panic"))).is_err());
}

#[test]
fn typed_messages_are_decoded_and_what_does_not_fit_is_told_to_its_client() {
    let host = started();
    let channel = host.open();
    channel.send_json(&json!({"type": "say", "text": "hello", "loud": true}));
    assert_eq!(channel.texts(), ["HELLO"]);
    for (message, error) in [
        (r#"{"type": "say"}"#, "missing field `text`"),
        (r#"{"type": "say", "text": ""}"#, "say something"),
        (r#"{"type": "say", "text": "x", "more": 1}"#, "unknown field `more`"),
        (r#"{"type": "shout"}"#, "unknown variant `shout`"),
        ("{", "EOF while parsing"),
    ] {
        channel.send(message);
        let told = channel.json_last();
        assert_eq!(told["type"], "error");
        assert!(told["error"].as_str().unwrap().starts_with(error), "{told}");
    }
    assert_eq!(host.log().len(), 1);
}

trait Last {
    fn json_last(&self) -> Value;
}

impl Last for FakeChannel {
    fn json_last(&self) -> Value {
        guesthouse::serde_json::from_str(self.texts().last().unwrap()).unwrap()
    }
}

#[test]
fn a_channel_whose_opening_fails_is_closed_with_1011() {
    let host = started();
    let channel = host.open_path("/?policy=refuse-entry").unwrap();
    assert_eq!(channel.closed(), Some((1011, "the process failed to open the channel".into())));
    assert!(last_line(&host).1.starts_with("on_open failed: src/lib.rs:"));
}

#[test]
fn only_bound_paths_can_be_opened_and_by_those_who_may() {
    let host = started();
    assert_eq!(host.open_path("/none").err().unwrap().status, 404);
    assert_eq!(host.open_as("/", false).err().unwrap().status, 401);
    assert!(host.open_as("/rooms/red", false).is_ok());
    assert_eq!(host.get("/none").unwrap_err().status, 404);
    assert_eq!(host.http(FakeHttp::new("GET", "/secret").anonymous()).unwrap_err().status, 401);
}

#[test]
fn state_is_a_struct_that_outlives_a_restart() {
    let mut host = started();
    let channel = host.open();
    channel.send("state");
    host.restart();
    channel.send("state");
    assert_eq!(channel.texts(), [r#"{"kept":1}"#, "resumed", r#"{"kept":2}"#]);
    assert_eq!(host.state().unwrap(), br#"{"times":2,"text":""}"#);
}

#[test]
fn state_of_an_earlier_version_is_read_and_what_is_not_stored_is_not_changed() {
    let mut host = FakeHost::new();
    host.set_state(r#"{"times": 7}"#);
    host.start::<App>();
    let channel = host.open();
    channel.send("big state");
    channel.send("kept");
    assert_eq!(channel.texts(), ["true", "[7,0]"]);
}

#[test]
#[should_panic(expected = "the stored state does not fit its type")]
fn state_of_another_type_is_not_overwritten() {
    let mut host = FakeHost::new();
    host.set_state("[]");
    host.start::<App>();
}

#[test]
fn a_handover_is_told() {
    let host = started();
    host.hand_over();
    assert!(String::from_utf8(host.state().unwrap()).unwrap().contains("handed over"));
}

#[test]
fn kv_keeps_what_it_is_given() {
    assert_eq!(answer("kv"), json!([{"a": [1, "é"]}, null, [1], [[107, 101, 121], [255, 0]], true]));
}

#[test]
fn a_drive_has_files_and_folders() {
    let entries = json!([["a", true], ["e.txt", false], ["f", true]]);
    assert_eq!(answer("vfs"), json!(["one two", 7, false, entries, [true, true, true, true]]));
}

#[test]
fn passwords_are_hashed_and_verified() {
    assert_eq!(answer("password"), json!([true, false]));
}

#[test]
fn modules_refuse_a_process_without_the_capability() {
    let host = FakeHost::run::<App>();
    let channel = host.open();
    for (message, module) in
        [("kv", "kv"), ("vfs", "vfs"), ("password", "passwords"), ("bell", "timer"), ("alarm", "timer")]
    {
        channel.send(message);
        let text = last_line(&host).1;
        assert!(text.contains(&format!("add \"{module}:distro:sys\" to its request-capabilities")), "{text}");
    }
}

#[test]
fn timers_fire_when_they_are_due_and_not_after_they_were_cancelled() {
    let host = started();
    let channel = host.open();
    channel.send("bell");
    host.advance(Duration::from_millis(49));
    assert!(channel.texts().is_empty());
    host.advance(Duration::from_millis(1));
    assert_eq!(channel.texts(), [r#"{"bell":true,"pending":false}"#]);
    channel.send("bell");
    channel.send("no bell");
    host.advance(Duration::from_secs(100_000));
    assert_eq!(channel.texts().len(), 1);
}

#[test]
fn a_durable_timer_outlives_a_restart() {
    let mut host = started();
    let channel = host.open();
    channel.send("alarm");
    host.restart();
    host.advance(Duration::from_secs(1));
    assert_eq!(channel.texts(), ["resumed", "timer alarm"]);
    channel.send("alarm");
    channel.send("no alarm");
    host.advance(Duration::from_secs(1));
    assert_eq!(channel.texts().len(), 2);
}

#[test]
fn everybody_gets_a_broadcast() {
    let host = started();
    let (one, other) = (host.open(), host.open_path("/rooms/red").unwrap());
    one.send("broadcast");
    let to_all = [Message::Text("to all".into()), Message::Binary(vec![1, 255])];
    assert_eq!(one.received()[..2], to_all);
    assert_eq!(one.texts(), ["to all", "by path"]);
    assert_eq!(other.received()[1..], to_all);
}

#[test]
fn what_a_slow_client_gets_is_for_its_policy_to_say() {
    let host = started();
    for (policy, sent, got, closed) in [("none", "7", 8, false), ("drop", "100", 8, false), ("close", "", 0, true)] {
        let channel = host.open_path(&format!("/?policy={policy}")).unwrap();
        channel.stop_reading();
        channel.send("fill");
        assert_eq!(channel.closed().map(|(code, _)| code == 1013), closed.then_some(true), "{policy}");
        channel.resume_reading();
        let texts = channel.texts();
        assert_eq!((texts.len(), texts.last().map_or("", String::as_str)), (got, sent), "{policy}");
    }
    let waits = host.open_path("/?policy=wait").unwrap();
    waits.stop_reading();
    waits.send("fill");
    waits.resume_reading();
    assert_eq!(waits.texts().len(), 101);
}

#[test]
fn a_channel_that_the_process_closes_is_forgotten_without_on_close() {
    let host = started();
    for (message, closed) in [("bye", (4000, "bye".into())), ("bye all", (4001, "all".into()))] {
        let channel = host.open();
        channel.send(message);
        assert_eq!(channel.closed(), Some(closed));
    }
    let channel = host.open();
    channel.send("close by push");
    assert_eq!(channel.closed(), Some((4001, String::new())));
    assert_eq!(last_line(&host).1, "0 left");
    host.open().close();
    assert_eq!(last_line(&host).1, "channel on / closed");
}

#[test]
fn a_bad_close_is_a_named_error() {
    let host = started();
    let channel = host.open();
    channel.send_json(&json!({"type": "close", "code": 1005, "reason": ""}));
    channel.send_json(&json!({"type": "close", "code": 4000, "reason": "x".repeat(124)}));
    let errors: Vec<_> = host.log().into_iter().filter(|line| line.level == Verbosity::Error).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(channel.closed().is_none());
}

#[test]
fn requests_over_a_channel_are_answered() {
    let host = started();
    let channel = host.open();
    let ask = |body: Value| {
        channel.send(format!(r#"{{"request":7,"body":{body}}}"#));
        channel.json_last()
    };
    assert_eq!(ask(json!({"a": 1})), json!({"response": 7, "body": {"a": 1}}));
    assert_eq!(ask(json!("refuse")), json!({"response": 7, "error": "not today"}));
    assert_eq!(ask(json!("fail")), json!({"response": 7, "error": "the process failed to answer"}));
    assert!(last_line(&host).1.starts_with("on_channel_request failed: src/lib.rs:"));
    assert_eq!(ask(json!("later")), json!({"response": 7, "body": "late"}));
    assert!(ask(json!("numbers"))["error"].as_str().unwrap().starts_with("invalid type: string"));
    assert_eq!(ask(json!("big")), json!({"response": 7, "error": "the process failed to answer"}));
    channel.send(r#"{"request":7,"body":"message"}"#);
    assert_eq!(channel.json_last()["type"], "error"); // it came to on_message
    channel.send(r#"{"request":0}"#);
    assert_eq!(channel.json_last()["type"], "error");
}

#[test]
fn who_is_away_and_back_is_told_also_after_a_restart() {
    let mut host = started();
    let ada = host.open();
    let ben = host.open_path("/?name=ben").unwrap();
    ben.go_away();
    ben.go_away();
    assert_eq!(ada.texts(), ["ben is away"]);
    host.restart();
    assert_eq!(ada.texts(), ["ben is away", "resumed", "ben is away"]);
    ben.come_back();
    assert_eq!(ada.texts().last().unwrap(), "ben is back");
    assert_eq!(ben.texts(), ["ben is away", "resumed", "ben is away", "ben is back"]);
}

#[test]
fn rooms_tell_who_came_and_went_and_those_who_leave_together_are_one_change() {
    let host = started();
    let enter = |name: &str| host.open_path(&format!("/rooms/red?name={name}")).unwrap();
    let ada = enter("Ada");
    let (ben, cy) = (enter("Ben"), enter("Cy"));
    assert_eq!(ada.json_last(), json!({"room": "red", "joined": ["Cy"], "left": [], "updated": []}));
    ben.send_json(&json!({"type": "join", "room": "red", "name": "Bea"}));
    assert_eq!(ada.json_last()["updated"], json!([["Ben", "Bea"]]));
    cy.close();
    assert_eq!(ada.json_last()["left"], json!(["Cy"]));
    let other = host.open();
    other.send_json(&json!({"type": "join", "room": "", "name": "x"}));
    assert!(last_line(&host).1.ends_with("the name of a room has 1 to 256 characters"));
    other.send("bye all");
    assert_eq!(ada.closed(), Some((4001, "all".into())));
}

#[test]
fn http_requests_are_answered() {
    let host = started();
    assert_eq!(host.get("/hello").unwrap().text(), "hello");
    let posted = host.http(FakeHttp::new("POST", "/hello").json(&json!({"a": 1}))).unwrap();
    assert_eq!((posted.status, posted.json()), (201, json!({"got": {"a": 1}})));
    assert_eq!(posted.headers, [("x-mine".into(), "yes".into())]);
    let bad = host.http(FakeHttp::new("POST", "/hello").body("{")).unwrap();
    assert_eq!(bad.status, 400);
    assert!(bad.text().starts_with("the body does not fit: EOF"));
    let failed = host.get("/hello?fail=1").unwrap();
    assert_eq!((failed.status, failed.text()), (500, "the process failed to answer\n"));
    assert!(last_line(&host).1.starts_with("on_http failed: src/lib.rs:"));
    let put = host.http(FakeHttp::new("PUT", "/hello")).unwrap();
    assert_eq!((put.status, put.mime), (405, None));
}

#[test]
fn what_a_token_claims_is_known_where_clients_are_logged_in() {
    let host = started();
    let claims = json!({"user": 7});
    let channel = host.open_by(FakeHttp::new("GET", "/").claims(claims.clone())).unwrap();
    channel.send("claims");
    assert_eq!(channel.json_last(), claims);
    let asked = |path| host.http(FakeHttp::new("GET", path).claims(claims.clone())).unwrap();
    assert_eq!(asked("/secret").json(), claims);
    assert_eq!(asked("/hello").text(), "hello");
    assert_eq!(host.get("/secret").unwrap().json(), Value::Null);
}

#[test]
fn other_processes_are_asked_and_answered() {
    let mut host = started();
    let channel = host.open();
    channel.send("ask");
    channel.send("tell");
    host.process("prices:market:test.os", |sent| match sent.json().as_str() {
        Some("tea") => {
            assert_eq!(sent.blob.as_ref().unwrap().bytes, b"leaf");
            Some(Answer::new("2.5"))
        }
        _ => Some(Answer::new("told")),
    });
    channel.send("ask");
    channel.send("tell");
    let gone = "fake.os@prices:market:test.os does not run, or ended before it answered";
    assert_eq!(channel.texts(), [gone, gone, "2.5", "7: told"]);

    let answer = host.request("other:other:test.os", "[1]").unwrap();
    assert_eq!(answer.json(), json!({"from": "other:other:test.os", "body": [1]}));
    assert_eq!(answer.capabilities[0].params, r#"{"shelf":7}"#);
    assert!(host.request("other:other:test.os", "no JSON").is_none());
}

#[test]
fn a_private_process_answers_those_with_its_capability() {
    let mut host = started();
    host.private_process("prices:market:test.os", |_| Some(Answer::new("1")));
    let channel = host.open();
    channel.send("ask");
    host.grant("prices:market:test.os");
    channel.send("ask");
    assert_eq!(channel.texts(), ["this process may not message fake.os@prices:market:test.os", "1"]);
}

#[test]
fn children_need_the_right_and_a_component() {
    let mut host = started();
    let channel = host.open();
    channel.send("spawn");
    assert!(channel.texts()[0].contains("request the capability \"spawn\""));
    let kernel = guesthouse::Address { node: "fake.os".into(), process: ProcessId::new("kernel", "distro", "sys") };
    host.grant_capability(&Capability::of(kernel, "spawn"));
    channel.send("spawn");
    assert!(channel.texts()[1].contains("the package has no component there"));
    host.component("/build/app.wasm");
    channel.send("spawn");
    channel.send("spawn");
    assert_eq!(channel.texts()[2], "child:app:guesthouse.os");
    assert!(channel.texts()[3].contains("has a process of that name"));
    assert_eq!(host.spawned().len(), 1);
}

#[test]
fn addresses_are_written_and_read() {
    let address: guesthouse::Address = "a.os@p:q:r.os".parse().unwrap();
    assert_eq!(address.to_string(), "a.os@p:q:r.os");
    for wrong in ["", "p:q:r", "@p:q:r", "a@p:q", "a@p:q:r:s", "a@p::r", "a@p@:q:r"] {
        assert!(wrong.parse::<guesthouse::Address>().is_err(), "{wrong}");
    }
}
