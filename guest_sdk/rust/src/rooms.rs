//! Rooms: some of a process's channels, who get the same messages and see who is there.
//!
//! A room exists as long as a channel is in it. A channel that is closed, by either end, leaves its rooms at once. Rooms are in memory:
//! after a restart or an upgrade there are none, and each channel that stayed open comes to `on_resume`: join its rooms
//! there.

use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::rc::{Rc, Weak};

use serde::Serialize;

use crate::channel::{Channel, Watcher, broadcast_to, watch};
use crate::errors::PushError;
use crate::message::{Sendable, json_text};

/// Characters of a room's name.
pub const MAX_NAME: usize = 256;

/// A channel in a room, and what the process says of it there, such as a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<T> {
    /// The channel.
    pub channel: Channel,
    /// What the process says of it.
    pub info: T,
}

/// What changed in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct PresenceChange<T> {
    /// Its name.
    pub room: String,
    /// The new members.
    pub joined: Vec<Member<T>>,
    /// The members that are gone.
    pub left: Vec<Member<T>>,
    /// Members with another info: before and after.
    pub updated: Vec<(Member<T>, Member<T>)>,
}

/// Limits of the rooms of a process.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimits {
    /// Rooms with members.
    pub rooms: usize,
    /// Members of one room.
    pub members: usize,
    /// Rooms that one channel is in.
    pub joined: usize,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self { rooms: 10_000, members: 20_000, joined: 100 }
    }
}

/// A channel could not join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomError {
    /// The room has as many members as a room may have: this many.
    RoomFull(usize),
    /// The process has as many rooms as it may have: this many.
    TooManyRooms(usize),
    /// The channel is in as many rooms as a channel may be: this many.
    TooManyJoined(usize),
    /// The channel is closed.
    ChannelNotFound(u32),
    /// A name has 1 to 256 characters.
    BadName,
}

impl fmt::Display for RoomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoomFull(most) => write!(f, "the room has {most} members, which is the limit"),
            Self::TooManyRooms(most) => write!(f, "this process has {most} rooms, which is the limit"),
            Self::TooManyJoined(most) => write!(f, "the channel is in {most} rooms, which is the limit"),
            Self::ChannelNotFound(id) => write!(f, "channel {id} is closed: it cannot join a room"),
            Self::BadName => write!(f, "the name of a room has 1 to {MAX_NAME} characters"),
        }
    }
}

impl std::error::Error for RoomError {}

/// The rooms of a process: make them in `on_start`. `T` is what the process says of a member.
pub struct Rooms<T> {
    table: Rc<RefCell<Table<T>>>,
}

struct Table<T> {
    limits: RoomLimits,
    is_watched: bool,
    rooms: HashMap<String, Room<T>>,
    joined: HashMap<u32, Vec<String>>,
    numbers: u64,
    /// Rooms with changes that were not taken, and the changes of each.
    order: VecDeque<String>,
    changes: HashMap<String, VecDeque<PresenceChange<T>>>,
}

/// Members by the number of their joining, and that number by their channel.
struct Room<T> {
    members: BTreeMap<u64, Member<T>>,
    numbers: HashMap<u32, u64>,
}

impl<T: Clone + PartialEq + 'static> Rooms<T> {
    /// Rooms whose changes nobody wants to know.
    pub fn new() -> Self {
        Self::of(RoomLimits::default(), false)
    }

    /// Rooms whose changes come to [`on_rooms_changed`](crate::Process::on_rooms_changed), where
    /// [`next_change`](Self::next_change) takes them.
    pub fn watched() -> Self {
        Self::of(RoomLimits::default(), true)
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(self, limits: RoomLimits) -> Self {
        self.table.borrow_mut().limits = limits;
        self
    }

    fn of(limits: RoomLimits, is_watched: bool) -> Self {
        let table = Rc::new(RefCell::new(Table {
            limits,
            is_watched,
            rooms: HashMap::new(),
            joined: HashMap::new(),
            numbers: 0,
            order: VecDeque::new(),
            changes: HashMap::new(),
        }));
        let watcher: Weak<RefCell<Table<T>>> = Rc::downgrade(&table);
        watch(watcher);
        Self { table }
    }

    /// Add an open channel to a room, or replace its info there. Returns whether it was not there before.
    ///
    /// # Errors
    /// It would be over a limit, or the channel is closed; see [`RoomError`].
    pub fn join(&self, room: &str, channel: &Channel, info: T) -> Result<bool, RoomError> {
        if room.is_empty() || room.chars().count() > MAX_NAME {
            return Err(RoomError::BadName);
        }
        if !channel.is_open() {
            return Err(RoomError::ChannelNotFound(channel.id()));
        }
        self.table.borrow_mut().join(room, channel, info)
    }

    /// Remove a channel from a room. Returns whether it was there.
    pub fn leave(&self, room: &str, channel: &Channel) -> bool {
        self.table.borrow_mut().leave(room, channel.id())
    }

    /// Who is in a room, in the order in which they joined.
    pub fn members(&self, room: &str) -> Vec<Member<T>> {
        let table = self.table.borrow();
        table.rooms.get(room).map_or_else(Vec::new, |room| room.members.values().cloned().collect())
    }

    /// What the process says of a channel in a room; `None` if it is not there.
    pub fn member(&self, room: &str, channel: &Channel) -> Option<Ref<'_, T>> {
        Ref::filter_map(self.table.borrow(), |table| {
            let room = table.rooms.get(room)?;
            Some(&room.members.get(room.numbers.get(&channel.id())?)?.info)
        })
        .ok()
    }

    /// The rooms that a channel is in, in the order in which it joined them.
    pub fn joined(&self, channel: &Channel) -> Vec<String> {
        self.table.borrow().joined.get(&channel.id()).cloned().unwrap_or_default()
    }

    /// The rooms that have members.
    pub fn names(&self) -> Vec<String> {
        self.table.borrow().rooms.keys().cloned().collect()
    }

    /// Send one message to the members of a room; it is passed to the host once.
    ///
    /// Returns the channels that refused it, and why: usually `ChannelFull`. They stay in the room;
    /// [`close`](crate::close_channels) them, or let them miss the message.
    pub fn broadcast(&self, room: &str, message: impl Sendable) -> Vec<(Channel, PushError)> {
        self.broadcast_but(room, message, &[])
    }

    /// `broadcast` to all but some.
    pub fn broadcast_but(&self, room: &str, message: impl Sendable, but: &[Channel]) -> Vec<(Channel, PushError)> {
        let members = self.members(room);
        let to = members.iter().map(|member| &member.channel).filter(|channel| !but.contains(channel));
        broadcast_to(to, message)
    }

    /// `broadcast` a value as JSON text.
    ///
    /// # Panics
    /// When JSON cannot express it.
    pub fn broadcast_json(&self, room: &str, value: &(impl Serialize + ?Sized)) -> Vec<(Channel, PushError)> {
        self.broadcast(room, json_text(value))
    }

    /// The next change that was not taken yet, in order within a room. Those who left one after another are one change.
    ///
    /// `members` may be ahead of it.
    pub fn next_change(&self) -> Option<PresenceChange<T>> {
        self.table.borrow_mut().take()
    }
}

impl<T: Clone + PartialEq + 'static> Default for Rooms<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + PartialEq> Table<T> {
    fn join(&mut self, room: &str, channel: &Channel, info: T) -> Result<bool, RoomError> {
        let after = Member { channel: channel.clone(), info };
        let known = self.rooms.get(room).and_then(|known| known.numbers.get(&channel.id())).copied();
        if let (Some(number), Some(known)) = (known, self.rooms.get_mut(room)) {
            if known.members.get(&number).is_some_and(|before| before.info == after.info) {
                return Ok(false);
            }
            if let Some(before) = known.members.insert(number, after.clone()) {
                self.queue(room, vec![], vec![], vec![(before, after)]);
            }
            return Ok(false);
        }
        self.check_limits(room, channel.id())?;
        self.numbers += 1;
        let entry = self.rooms.entry(room.into());
        let known = entry.or_insert_with(|| Room { members: BTreeMap::new(), numbers: HashMap::new() });
        known.members.insert(self.numbers, after.clone());
        known.numbers.insert(channel.id(), self.numbers);
        self.joined.entry(channel.id()).or_default().push(room.into());
        self.queue(room, vec![after], vec![], vec![]);
        Ok(true)
    }

    fn check_limits(&self, room: &str, channel_id: u32) -> Result<(), RoomError> {
        let RoomLimits { rooms, members, joined } = self.limits;
        match self.rooms.get(room) {
            None if self.rooms.len() >= rooms => return Err(RoomError::TooManyRooms(rooms)),
            Some(known) if known.members.len() >= members => return Err(RoomError::RoomFull(members)),
            _ => {}
        }
        if self.joined.get(&channel_id).is_some_and(|rooms| rooms.len() >= joined) {
            return Err(RoomError::TooManyJoined(joined));
        }
        Ok(())
    }

    fn leave(&mut self, room: &str, channel_id: u32) -> bool {
        let Some(known) = self.rooms.get_mut(room) else {
            return false;
        };
        let Some(member) = known.numbers.remove(&channel_id).and_then(|number| known.members.remove(&number)) else {
            return false;
        };
        if known.members.is_empty() {
            self.rooms.remove(room);
        }
        if let Some(joined) = self.joined.get_mut(&channel_id) {
            joined.retain(|name| name != room);
            if joined.is_empty() {
                self.joined.remove(&channel_id);
            }
        }
        self.queue(room, vec![], vec![member], vec![]);
        true
    }

    fn queue(
        &mut self,
        room: &str,
        joined: Vec<Member<T>>,
        left: Vec<Member<T>>,
        updated: Vec<(Member<T>, Member<T>)>,
    ) {
        if !self.is_watched {
            return;
        }
        let waiting = self.changes.entry(room.into()).or_insert_with(|| {
            self.order.push_back(room.into());
            VecDeque::new()
        });
        match waiting.back_mut() {
            Some(last) if !last.left.is_empty() && !left.is_empty() => last.left.extend(left),
            _ => waiting.push_back(PresenceChange { room: room.into(), joined, left, updated }),
        }
    }

    fn take(&mut self) -> Option<PresenceChange<T>> {
        let room = self.order.front()?;
        let waiting = self.changes.get_mut(room)?;
        let change = waiting.pop_front();
        if waiting.is_empty() {
            self.changes.remove(room);
            self.order.pop_front();
        }
        change
    }
}

impl<T: Clone + PartialEq> Watcher for RefCell<Table<T>> {
    fn left(&self, channel: &Channel) {
        let mut table = self.borrow_mut();
        for room in table.joined.get(&channel.id()).cloned().unwrap_or_default() {
            table.leave(&room, channel.id());
        }
    }

    fn has_news(&self) -> bool {
        !self.borrow().order.is_empty()
    }
}
