//! A chat room, as the sample `chat` is in Python. Every behaviour is here; the page in `ui/` only shows what it is told.

use std::collections::{HashSet, VecDeque};
use std::time::SystemTime;

use guesthouse::rooms::{PresenceChange, RoomError, Rooms};
use guesthouse::{BadMessage, Channel, Message, Process, PushError, Result, bind_ws_path, close_channels};
use serde::{Deserialize, Serialize};

const HISTORY: usize = 50;
const MAX_NAME: usize = 32;
const MAX_TEXT: usize = 2000;
/// The room of all channels, each with its name.
const EVERYONE: &str = "everyone";
/// The room of those who took a name or said something: only they are announced.
const PEOPLE: &str = "people";

/// What clients send.
#[derive(Deserialize)]
#[serde(untagged)]
enum FromClient {
    Text(String),
    Command(Command),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Command {
    Say { text: String },
    Name { name: String },
}

/// What clients get.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum ToClient<'a> {
    Welcome { name: &'a str, people: Vec<String>, history: &'a VecDeque<Entry> },
    Said(&'a Entry),
    Named { name: &'a str },
    Joined { name: &'a str, people: Vec<String> },
    Left { name: &'a str, people: Vec<String> },
    Renamed { before: &'a str, name: &'a str, people: Vec<String> },
    Error { reason: &'a str },
}

#[derive(Serialize)]
struct Entry {
    id: u64,
    name: String,
    text: String,
    at: u64,
}

/// One room for all channels.
struct Chat {
    rooms: Rooms<String>,
    history: VecDeque<Entry>,
    said: u64,
}

impl Process for Chat {
    fn on_start() -> Result<Self> {
        bind_ws_path("/")?;
        Ok(Self { rooms: Rooms::watched(), history: VecDeque::new(), said: 0 })
    }

    fn on_open(&mut self, channel: &Channel) -> Result {
        let name = self.free_name("guest", None);
        match self.rooms.join(EVERYONE, channel, name.clone()) {
            Err(RoomError::RoomFull(_)) => channel.close(1013, "the chat is full: come back later")?,
            joined => {
                joined?;
                let people = self.people();
                self.tell(channel, &ToClient::Welcome { name: &name, people, history: &self.history });
            }
        }
        Ok(())
    }

    fn on_message(&mut self, channel: &Channel, message: Message) -> Result {
        let bytes = message.as_bytes();
        let value: guesthouse::serde_json::Value =
            guesthouse::serde_json::from_slice(bytes).map_err(|_| BadMessage("Messages are JSON.".into()))?;
        let no_command = r#"Send {"type": "say", "text": …} or {"type": "name", "name": …}."#;
        match FromClient::deserialize(value).map_err(|_| BadMessage(no_command.into()))? {
            FromClient::Text(text) | FromClient::Command(Command::Say { text }) => self.say(channel, &text),
            FromClient::Command(Command::Name { name }) => self.rename(channel, &name),
        }
    }

    fn on_bad_message(&mut self, channel: &Channel, error: &BadMessage) -> Result {
        self.tell(channel, &ToClient::Error { reason: &error.0 });
        Ok(())
    }

    fn on_rooms_changed(&mut self) -> Result {
        while let Some(PresenceChange { room, joined, left, updated }) = self.rooms.next_change() {
            if room != PEOPLE {
                continue;
            }
            for member in joined {
                self.tell_all(&ToClient::Joined { name: &member.info, people: self.people() });
            }
            for (before, after) in updated {
                let people = self.people();
                self.tell_all(&ToClient::Renamed { before: &before.info, name: &after.info, people });
            }
            for member in left {
                self.tell_all(&ToClient::Left { name: &member.info, people: self.people() });
            }
        }
        Ok(())
    }
}

impl Chat {
    fn say(&mut self, channel: &Channel, text: &str) -> Result {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 {
            return Err(BadMessage("An empty message says nothing.".into()).into());
        }
        if length > MAX_TEXT {
            return Err(BadMessage(format!("A message may have {MAX_TEXT} characters; yours has {length}.")).into());
        }
        let name = self.name_of(channel);
        self.rooms.join(PEOPLE, channel, name.clone())?;
        self.on_rooms_changed()?; // who joins is announced before what they say
        self.said += 1;
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let entry = Entry { id: self.said, name, text: text.into(), at };
        self.tell_all(&ToClient::Said(&entry));
        self.history.push_back(entry);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        Ok(())
    }

    fn rename(&mut self, channel: &Channel, given: &str) -> Result {
        let mut name = given.split_whitespace().collect::<Vec<_>>().join(" ");
        if name.is_empty() || name.chars().count() > MAX_NAME || name.contains(is_invisible) {
            return Err(BadMessage(format!("A name has 1 to {MAX_NAME} visible characters.")).into());
        }
        let before = self.name_of(channel);
        if name != before {
            name = self.free_name(&name, Some(channel));
            self.rooms.join(EVERYONE, channel, name.clone())?;
        }
        if name != before || self.rooms.member(PEOPLE, channel).is_none() {
            self.tell(channel, &ToClient::Named { name: &name });
        }
        if channel.is_open() {
            // it may have been too slow for that
            self.rooms.join(PEOPLE, channel, name)?;
        }
        Ok(())
    }

    fn people(&self) -> Vec<String> {
        let mut names: Vec<_> = self.rooms.members(PEOPLE).into_iter().map(|member| member.info).collect();
        names.sort_by_cached_key(|name| name.to_lowercase());
        names
    }

    fn name_of(&self, channel: &Channel) -> String {
        self.rooms.member(EVERYONE, channel).map(|name| name.clone()).unwrap_or_default()
    }

    fn free_name(&self, wanted: &str, channel: Option<&Channel>) -> String {
        let others = self.rooms.members(EVERYONE).into_iter().filter(|member| Some(&member.channel) != channel);
        let taken: HashSet<_> = others.map(|member| member.info.to_lowercase()).collect();
        let mut name = wanted.to_owned();
        let mut number = 1;
        while taken.contains(&name.to_lowercase()) {
            number += 1;
            name = format!("{} {number}", wanted.chars().take(MAX_NAME - 5).collect::<String>());
        }
        name
    }

    fn tell(&self, channel: &Channel, message: &ToClient) {
        if channel.send_json(message) == Err(PushError::ChannelFull) {
            drop_slow([channel]);
        } // another error: its client has left
    }

    fn tell_all(&self, message: &ToClient) {
        let refused = self.rooms.broadcast_json(EVERYONE, message);
        let full = refused.iter().filter(|(_, error)| *error == PushError::ChannelFull);
        drop_slow(full.map(|(channel, _)| channel));
    }
}

/// Close channels of clients that read too slowly, so that nobody misses a message unknowingly.
fn drop_slow<'a>(channels: impl IntoIterator<Item = &'a Channel>) {
    close_channels(channels, 1013, "you read too slowly: connect again");
}

/// What hides in a name: controls, and characters that are not seen or change the direction of text.
fn is_invisible(each: char) -> bool {
    each.is_control()
        || matches!(
            each,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

guesthouse::export!(Chat);

#[cfg(test)]
mod tests;
