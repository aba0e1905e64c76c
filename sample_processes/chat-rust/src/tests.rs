//! The room, in a fake host.

use guesthouse::serde_json::{Value, json};
use guesthouse::testing::{FakeChannel, FakeHost};

use super::Chat;

fn enter(host: &FakeHost, name: &str) -> FakeChannel {
    let channel = host.open();
    channel.send_json(&json!({"type": "name", "name": name}));
    channel
}

fn say(channel: &FakeChannel, text: &str) {
    channel.send_json(&json!({"type": "say", "text": text}));
}

fn told(channel: &FakeChannel, kinds: &[&str]) -> Vec<Value> {
    let wanted = |message: &Value| kinds.iter().any(|kind| message["type"] == *kind);
    channel.json().into_iter().filter(wanted).collect()
}

#[test]
fn a_newcomer_is_welcomed_with_a_name_the_people_and_the_history() {
    let host = FakeHost::run::<Chat>();
    say(&enter(&host, "Ada"), "anyone?");
    let welcome = &told(&host.open(), &["welcome"])[0];
    assert_eq!((&welcome["name"], &welcome["people"]), (&json!("guest"), &json!(["Ada"])));
    assert_eq!((&welcome["history"][0]["name"], &welcome["history"][0]["text"]), (&json!("Ada"), &json!("anyone?")));
}

#[test]
fn everyone_gets_what_anyone_says_in_one_order() {
    let host = FakeHost::run::<Chat>();
    let people: Vec<_> = ["Ada", "Ben", "Cy"].iter().map(|name| enter(&host, name)).collect();
    for number in 0..6 {
        say(&people[number % 3], &number.to_string());
    }
    for person in &people {
        let texts: Vec<_> = told(person, &["said"]).iter().map(|said| said["text"].clone()).collect();
        assert_eq!(texts, ["0", "1", "2", "3", "4", "5"]);
    }
}

#[test]
fn who_says_something_joins_before_it_is_said_and_who_only_looks_is_not_announced() {
    let host = FakeHost::run::<Chat>();
    let ada = enter(&host, "Ada");
    let guest = host.open();
    say(&guest, "hello");
    host.open().close();
    let kinds: Vec<_> = ada.json().iter().map(|message| message["type"].clone()).collect();
    assert_eq!(kinds, ["welcome", "named", "joined", "joined", "said"]);
}

#[test]
fn joining_renaming_and_leaving_are_told_to_all() {
    let host = FakeHost::run::<Chat>();
    let ada = enter(&host, "Ada");
    let ben = enter(&host, "Ben");
    ben.send_json(&json!({"type": "name", "name": " Ben \t jamin"}));
    ben.close();
    assert_eq!(
        told(&ada, &["joined", "renamed", "left"])[1..],
        [
            json!({"type": "joined", "name": "Ben", "people": ["Ada", "Ben"]}),
            json!({"type": "renamed", "before": "Ben", "name": "Ben jamin", "people": ["Ada", "Ben jamin"]}),
            json!({"type": "left", "name": "Ben jamin", "people": ["Ada"]}),
        ]
    );
}

#[test]
fn two_people_never_have_one_name() {
    let host = FakeHost::run::<Chat>();
    enter(&host, "Ada");
    assert_eq!(told(&enter(&host, "ada"), &["named"]), [json!({"type": "named", "name": "ada 2"})]);
}

#[test]
fn a_bare_string_may_come_as_binary() {
    let host = FakeHost::run::<Chat>();
    let channel = host.open();
    channel.send(br#""Hello World""#);
    assert_eq!(told(&channel, &["said"])[0]["text"], "Hello World");
}

#[test]
fn what_is_not_understood_gets_a_reason_and_reaches_nobody_else() {
    let host = FakeHost::run::<Chat>();
    let ada = enter(&host, "Ada");
    let stranger = host.open();
    let before = ada.received();
    let long = json!({"type": "say", "text": "x".repeat(2001)}).to_string();
    let deep = "[".repeat(100_000);
    let messages = [
        &b"\xff\xfe"[..],
        b"not json",
        b"[]",
        b"null",
        br#"{"type": "say"}"#,
        br#"{"type": "say", "text": 7}"#,
        br#"{"type": "say", "text": "   "}"#,
        br#"{"type": "name", "name": ""}"#,
        br#"{"type": "name", "name": "a\u0000b"}"#,
        br#"{"type": "name", "name": "a\u202eb"}"#,
        br#"{"type": "name", "name": "\ud800"}"#,
        br#"{"type": "name", "name": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#,
        long.as_bytes(),
        deep.as_bytes(),
    ];
    for message in messages {
        stranger.send(message);
    }
    let errors = told(&stranger, &["error"]);
    assert_eq!(errors.len(), messages.len());
    assert!(errors.iter().all(|error| error["reason"].as_str().is_some_and(|reason| reason.ends_with('.'))));
    assert_eq!(ada.received(), before);
    assert!(host.log().is_empty());
}

#[test]
fn history_keeps_the_last_fifty() {
    let host = FakeHost::run::<Chat>();
    let ada = enter(&host, "Ada");
    for number in 0..60 {
        say(&ada, &number.to_string());
    }
    let welcome = &told(&host.open(), &["welcome"])[0];
    let texts: Vec<_> = welcome["history"].as_array().unwrap().iter().map(|entry| entry["text"].clone()).collect();
    assert_eq!(texts, (10..60).map(|number| json!(number.to_string())).collect::<Vec<_>>());
}

#[test]
fn a_client_that_reads_too_slowly_is_closed_with_1013_and_leaves() {
    let host = FakeHost::run::<Chat>();
    let (ada, slow) = (enter(&host, "Ada"), enter(&host, "Slow"));
    slow.stop_reading();
    let text = "x".repeat(2000);
    for _ in 0..3000 {
        say(&ada, &text);
    }
    assert_eq!(slow.closed(), Some((1013, "you read too slowly: connect again".into())));
    assert_eq!(told(&ada, &["left"]), [json!({"type": "left", "name": "Slow", "people": ["Ada"]})]);
    assert_eq!(told(&ada, &["said"]).len(), 3000);
}

#[test]
fn after_a_restart_everyone_is_welcomed_anew() {
    let mut host = FakeHost::run::<Chat>();
    let (ada, ben) = (enter(&host, "Ada"), enter(&host, "Ben"));
    host.restart();
    say(&ada, "back");
    assert_eq!(told(&ben, &["welcome"]).len(), 2);
    assert_eq!(told(&ben, &["said"])[0]["text"], "back");
}
