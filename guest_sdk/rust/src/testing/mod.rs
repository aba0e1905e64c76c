//! A host for tests, in `cargo test`: a node with one process. It keeps the rules of the real one: a channel belongs to its
//! process, a payload to its message; a full outbox, a bad path, a too long reason are the same named errors. It has `kv`,
//! `vfs`, `timer` and `passwords`, for a process that is granted them. Time passes only by [`FakeHost::advance`].
//!
//! Each thread has one, and so has each test: `cargo test` runs each in a thread of its own.

pub(crate) mod calls;
mod channels;
mod exchanges;
mod host;
mod kv;
mod node;
mod passwords;
mod paths;
mod timer;
mod vfs;

pub use channels::FakeChannel;
pub use exchanges::{Answer, FakeHttp, FakeLimits, HttpAnswer, LogLine, Refused, SentRequest, Spawned};
pub use host::FakeHost;

/// Time that passed in the host of this thread.
pub(crate) fn now() -> std::time::Duration {
    node::with(|node| node.timers.now)
}
