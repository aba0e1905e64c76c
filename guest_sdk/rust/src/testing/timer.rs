//! The fake host's clock and its `timer:distro:sys`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::calls::messaging::answered;
use super::exchanges::{Answer, SentRequest};
use super::node::{Node, Posted};
use crate::contract::types::{IncomingResponse, LazyLoadBlob, Message, SendError};

const MOST_TIMERS: usize = 1000;
const MAX_ID: usize = 256;
const LONGEST: u64 = 366 * 24 * 3600 * 1000;

/// What the process is to be told, and when. Time passes when a test says so, or a process waits for a timer.
#[derive(Default)]
pub(crate) struct FakeTimers {
    pub now: Duration,
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    /// What is due, by the number of it.
    signals: HashMap<u64, Signal>,
    durable: HashMap<String, Duration>,
    numbers: u64,
}

enum Signal {
    /// The response to a `SetTimer`.
    Response(Box<SentRequest>),
    /// A durable timer, unless it was moved or cancelled.
    Durable(String),
}

impl FakeTimers {
    fn at(&mut self, when: Duration, signal: Signal) {
        self.numbers += 1;
        self.due.push(Reverse((when, self.numbers)));
        self.signals.insert(self.numbers, signal);
    }
}

impl Node {
    /// Answer a request to the timer; `None` if the answer comes when its time has come.
    pub fn set_timer(&mut self, sent: &SentRequest) -> Option<Vec<u8>> {
        let asked = sent.json();
        let answer = if let Some(milliseconds) = asked.get("SetTimer") {
            match (milliseconds.as_u64().filter(|most| *most <= LONGEST), sent.expects_response) {
                (None, _) => bad("a time must be from 0 to 366 days"),
                (_, None) => bad("SetTimer must expect a response: it is the timer's signal"),
                (Some(milliseconds), Some(seconds)) if milliseconds >= seconds.saturating_mul(1000) => {
                    bad("the timer is longer than the request waits")
                }
                (Some(milliseconds), _) => {
                    let when = self.timers.now + Duration::from_millis(milliseconds);
                    self.timers.at(when, Signal::Response(Box::new(sent.clone())));
                    return None;
                }
            }
        } else if let Some(fields) = asked.get("Set") {
            self.set_durable(&fields["id"], &fields["milliseconds"])
        } else if let Some(id) = asked.get("Cancel") {
            self.timers.durable.remove(id.as_str().unwrap_or_default());
            json!("Ok")
        } else {
            bad("unknown action")
        };
        Some(answer.to_string().into_bytes())
    }

    fn set_durable(&mut self, id: &Value, milliseconds: &Value) -> Value {
        let Some(id) = id.as_str().filter(|id| (1..=MAX_ID).contains(&id.chars().count())) else {
            return bad("an id must be a text of 1 to 256 characters");
        };
        let Some(milliseconds) = milliseconds.as_u64().filter(|most| *most <= LONGEST) else {
            return bad("a time must be from 0 to 366 days");
        };
        if !self.timers.durable.contains_key(id) && self.timers.durable.len() >= MOST_TIMERS {
            return json!({"Err": "TooMany"});
        }
        let when = self.timers.now + Duration::from_millis(milliseconds);
        self.timers.durable.insert(id.into(), when);
        self.timers.at(when, Signal::Durable(id.into()));
        json!("Ok")
    }

    /// Let time pass until the next timer before then is due, and fire it. Whether there was one.
    pub fn fire_timer_until(&mut self, until: Duration) -> bool {
        match self.timers.due.peek() {
            Some(Reverse((when, _))) if *when <= until => {}
            _ => return false,
        }
        if let Some((response, blob)) = self.fire_timer() {
            self.mailbox.push_back(Posted { message: Ok(Message::Response(response)), blob, exchange: None });
        }
        true
    }

    fn fire_timer(&mut self) -> Option<(IncomingResponse, Option<LazyLoadBlob>)> {
        let Reverse((when, number)) = self.timers.due.pop()?;
        self.timers.now = self.timers.now.max(when);
        match self.timers.signals.remove(&number)? {
            Signal::Response(sent) => Some(answered(self, &sent, Answer::default())),
            Signal::Durable(id) => {
                if self.timers.durable.get(&id) == Some(&when) {
                    self.timers.durable.remove(&id);
                    let body = json!({"Timer": {"id": id}}).to_string();
                    self.post_request(self.here("timer"), body.into_bytes());
                }
                None
            }
        }
    }

    /// The process waits for a timer, with this context, and time passes.
    pub fn wait_for_timer(
        &mut self,
        context: Option<&[u8]>,
    ) -> Result<(IncomingResponse, Option<LazyLoadBlob>), SendError> {
        loop {
            assert!(!self.timers.due.is_empty(), "the timer that the process waits for is set");
            match self.fire_timer() {
                Some((response, blob)) if response.context.as_deref() == context => return Ok((response, blob)),
                Some((response, blob)) => {
                    let message = Ok(Message::Response(response));
                    self.mailbox.push_back(Posted { message, blob, exchange: None });
                }
                None => {}
            }
        }
    }
}

fn bad(text: &str) -> Value {
    json!({"Err": {"InputError": {"error": text}}})
}
