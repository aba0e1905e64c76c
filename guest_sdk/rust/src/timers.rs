//! Timers, by `timer:distro:sys`: the manifest has to request `request-capabilities = ["timer:distro:sys"]`.

use std::any::Any;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::time::Duration;

use serde_json::json;

use crate::address::module;
use crate::capabilities::{Capability, our_capabilities};
use crate::contract::types::{Address, SendErrorKind};
use crate::errors::SendError;
use crate::failure::{Result, log_failure};
use crate::messaging::Request;
use crate::modules::{Refusal, ask, refused};
use crate::process::Process;

/// Begins the context of the requests whose answers wake the process. Those of its earlier runs arrive, too.
const CONTEXT: &[u8] = b"guesthouse.timers ";
const LONGEST_WAKE: Duration = Duration::from_secs(24 * 3600);
/// How much longer than its timer a request waits: the answer of a busy node is late.
const SPARE: Duration = Duration::from_secs(3600);
const SLACK: usize = 64;

type Callback = Box<dyn FnOnce(&mut dyn Any) -> Result>;

/// Calls that are to come. The node is asked to wake the process for the next of them, not for each, so timers that are set
/// and cancelled all the time take no room there.
#[derive(Default)]
struct Wakeups {
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    callbacks: HashMap<u64, Callback>,
    /// What the node was asked for: when, by context.
    asked: HashMap<Vec<u8>, Duration>,
    numbers: u64,
    allowed: bool,
}

thread_local! {
    static WAKEUPS: RefCell<Wakeups> = RefCell::default();
}

/// A call that is to come. It is lost when the process ends: see [`set_timer`] for one that is not.
#[derive(Debug)]
pub struct Timer(u64);

impl Timer {
    /// Do not call. After the call, and a second time, it does nothing.
    pub fn cancel(&self) {
        let callback = WAKEUPS.with_borrow_mut(|wakeups| wakeups.callbacks.remove(&self.0));
        drop(callback); // which may own a timer itself
    }

    /// Whether the call is still to come.
    pub fn pending(&self) -> bool {
        WAKEUPS.with_borrow(|wakeups| wakeups.callbacks.contains_key(&self.0))
    }
}

/// Call a function with the process after that time, between two messages:
///
/// ```
/// # use guesthouse::{Process, Result, Channel};
/// # struct Quiz; impl Process for Quiz { fn on_start() -> Result<Self> { Ok(Self) } }
/// # fn on_open(channel: &Channel) -> Result {
/// use std::time::Duration;
/// let channel = channel.clone();
/// let bell = guesthouse::call_later(Duration::from_secs(30), move |_: &mut Quiz| Ok(channel.send("time is up")?))?;
/// # Ok(()) }
/// ```
///
/// A failure of it is logged. The call is lost when this run of the process ends.
///
/// # Errors
/// `NotAuthorised`: the manifest does not request `timer:distro:sys`.
pub fn call_later<P: Process>(
    time: Duration,
    callback: impl FnOnce(&mut P) -> Result + 'static,
) -> std::result::Result<Timer, SendError> {
    check_allowed()?;
    let callback: Callback = Box::new(|process| match process.downcast_mut() {
        Some(process) => callback(process),
        None => Err(crate::fail("call_later was given a function for another process than this one")),
    });
    let number = WAKEUPS.with_borrow_mut(|wakeups| {
        wakeups.numbers += 1;
        wakeups.callbacks.insert(wakeups.numbers, callback);
        wakeups.due.push(Reverse((now().saturating_add(time), wakeups.numbers)));
        if wakeups.due.len() > 2 * wakeups.callbacks.len() + SLACK {
            let Wakeups { due, callbacks, .. } = wakeups;
            due.retain(|Reverse((_, number))| callbacks.contains_key(number));
        }
        wakeups.numbers
    });
    arm();
    Ok(Timer(number))
}

/// Ask to be woken for the next timer, unless that was asked for.
fn arm() {
    let asked = WAKEUPS.with_borrow_mut(|wakeups| {
        while let Some(Reverse((_, number))) = wakeups.due.peek()
            && !wakeups.callbacks.contains_key(number)
        {
            wakeups.due.pop();
        }
        let Reverse((due, _)) = wakeups.due.peek()?;
        let wake = (*due).min(now() + LONGEST_WAKE);
        if wakeups.asked.values().any(|asked| *asked <= wake) {
            return None;
        }
        wakeups.numbers += 1;
        let context = [CONTEXT, wakeups.numbers.to_string().as_bytes()].concat();
        wakeups.asked.insert(context.clone(), wake);
        Some((context, wake.saturating_sub(now())))
    });
    if let Some((context, time)) = asked {
        let milliseconds = whole_milliseconds(time);
        let request = Request::to(&module("timer")).json(&json!({"SetTimer": milliseconds}));
        request.context(context).expects_response(time + SPARE).send();
    }
}

/// Whether a response or an error is about a timer; then what is due is called.
pub(crate) fn woken(
    process: &mut dyn Any,
    source: &Address,
    context: Option<&[u8]>,
    error: Option<&SendError>,
) -> bool {
    let Some(context) = context.filter(|context| context.starts_with(CONTEXT) && *source == module("timer")) else {
        return false;
    };
    WAKEUPS.with_borrow_mut(|wakeups| wakeups.asked.remove(context));
    if let Some(error) = error.filter(|error| error.kind != SendErrorKind::Timeout) {
        log::error!("a timer failed: {error}"); // the next timer that is set tries again
        return true;
    }
    let now = now();
    let take = || {
        WAKEUPS.with_borrow_mut(|wakeups| {
            let Reverse((due, number)) = *wakeups.due.peek()?;
            (due <= now).then(|| {
                wakeups.due.pop();
                wakeups.callbacks.remove(&number)
            })
        })
    };
    while let Some(callback) = take() {
        if let Some(Err(failure)) = callback.map(|callback| callback(process)) {
            log_failure("the callback of a timer", &failure);
        }
    }
    arm();
    true
}

/// A new run of the process: it has no timers yet.
pub(crate) fn begin() {
    WAKEUPS.take();
}

/// Without the capability the request would fail later, far from the line that set the timer.
fn check_allowed() -> std::result::Result<(), SendError> {
    if WAKEUPS.with_borrow(|wakeups| wakeups.allowed) {
        return Ok(());
    }
    let target = module("timer");
    let needed = Capability::messaging(target.clone());
    if !our_capabilities().contains(&needed) {
        let kind = SendErrorKind::NotAuthorised;
        return Err(SendError { kind, target, body: Vec::new(), blob: None, context: None, missing: Some(needed) });
    }
    WAKEUPS.with_borrow_mut(|wakeups| wakeups.allowed = true);
    Ok(())
}

/// A durable timer was not set or not cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerError {
    /// The process has 1000 durable timers, or its package 10,000.
    TooManyTimers,
    /// The node could not write it; its log says why.
    NotStored,
    /// Refused otherwise: the node's word for it, and its reason.
    Refused(String, String),
    /// The node did not answer, or the process may not ask.
    Unanswered(Box<SendError>),
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyTimers => {
                f.write_str("the process or its package has as many durable timers as the node allows")
            }
            Self::NotStored => f.write_str("the node could not write the timer; its log says why"),
            Self::Refused(kind, reason) => refused(f, kind, reason),
            Self::Unanswered(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TimerError {}

/// Set a durable timer: when its time has come the process gets it at `on_timer`, even if process or node were restarted
/// meanwhile. Setting one again moves it. It is durable once this returns.
///
/// # Arguments
/// The id has 1 to 256 characters; each process has its own. The time is a year at most.
///
/// # Errors
/// See [`TimerError`].
pub fn set_timer(id: &str, time: Duration) -> std::result::Result<(), TimerError> {
    asked(&json!({"Set": {"id": id, "milliseconds": whole_milliseconds(time)}}))
}

/// Cancel a durable timer; one that is not set is none.
///
/// # Errors
/// See [`TimerError`].
pub fn cancel_timer(id: &str) -> std::result::Result<(), TimerError> {
    asked(&json!({"Cancel": id}))
}

fn asked(body: &serde_json::Value) -> std::result::Result<(), TimerError> {
    match ask("timer", body, None) {
        Ok(_) => Ok(()),
        Err(Refusal::Unanswered(error)) => Err(TimerError::Unanswered(Box::new(error))),
        Err(Refusal::Refused(kind, reason, _)) => Err(match kind.as_str() {
            "TooMany" => TimerError::TooManyTimers,
            "IOError" => TimerError::NotStored,
            _ => TimerError::Refused(kind, reason),
        }),
    }
}

fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Time since some moment.
#[cfg(target_arch = "wasm32")]
fn now() -> Duration {
    use std::time::Instant;
    thread_local!(static START: Instant = Instant::now());
    START.with(Instant::elapsed)
}

#[cfg(not(target_arch = "wasm32"))]
fn now() -> Duration {
    crate::testing::now()
}
