//! Processes of Guesthouse in Rust.
//!
//! ```
//! use guesthouse::{Channel, Message, Process, Result};
//!
//! struct Echo;
//!
//! impl Process for Echo {
//!     fn on_start() -> Result<Self> {
//!         Ok(Self)
//!     }
//!
//!     fn on_message(&mut self, channel: &Channel, message: Message) -> Result {
//!         channel.send(message)?;
//!         Ok(())
//!     }
//! }
//!
//! guesthouse::export!(Echo);
//!
//! let host = guesthouse::testing::FakeHost::run::<Echo>();
//! let channel = host.open();
//! channel.send("hello");
//! assert_eq!(channel.texts(), ["hello"]);
//! ```
//!
//! See `docs/guest-rust.md`.

pub mod address;
pub mod capabilities;
mod channel;
mod channel_requests;
pub mod contract;
pub mod errors;
mod failure;
mod http;
pub mod http_server;
pub mod kv;
mod message;
mod messaging;
mod modules;
pub mod passwords;
mod process;
pub mod rooms;
mod run;
mod spawning;
mod state;
mod system;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod timers;
pub mod vfs;

pub use address::{Address, ProcessId};
pub use capabilities::Capability;
pub use channel::{Channel, broadcast, broadcast_to, channels, close_channels};
pub use channel_requests::{ChannelRequest, Reply, RequestRefused};
pub use errors::{BindError, CloseError, PushError, SendError, SpawnError, StateError};
pub use failure::{Failure, Result, fail};
pub use http::{BadBody, HttpRequest, HttpResponse};
pub use http_server::{
    ChannelPolicy, HttpBinding, WsBinding, bind_http_path, bind_http_path_with, bind_http_static_path, bind_ws_path,
    bind_ws_path_with, serve_ui,
};
pub use message::{BadMessage, Message, Payload, Sendable};
pub use messaging::{IncomingRequest, IncomingResponse, LazyLoadBlob, Request, Response};
pub use process::Process;
#[cfg(target_arch = "wasm32")]
pub use run::run;
pub use spawning::Spawn;
pub use state::{Saved, SavedError, clear_state, get_state, set_state};
pub use system::{OnExit, Verbosity, get_on_exit, our, print_to_log, set_on_exit};
pub use timers::call_later;

pub use contract::tracing;

// So that a process needs no line of its own for them.
pub use log;
pub use serde_json;

/// Make a process of a type that implements [`Process`]: once in a crate, whose `crate-type` is `cdylib`.
///
/// `export!(main run)` makes one of a function `fn run(our: guesthouse::Address)`, which calls [`contract`] itself and runs until it
/// returns.
#[macro_export]
macro_rules! export {
    (main $run:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            impl $crate::contract::guest::Guest for Exported {
                fn run(our: $crate::Address) {
                    $crate::begin();
                    $run(our);
                }
            }

    $crate::contract::__export_guest!(Exported with_types_in $crate::contract);
        };
    };
    ($process:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            impl $crate::contract::guest::Guest for Exported {
                fn run(_our: $crate::Address) {
                    $crate::run::<$process>();
                }
            }

    $crate::contract::__export_guest!(Exported with_types_in $crate::contract);
        };
    };
}

/// Let panics and the macros of `log` write to the process's log; for `export!(main …)`.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub fn begin() {
    system::log_panics();
    system::log_to_host();
}
