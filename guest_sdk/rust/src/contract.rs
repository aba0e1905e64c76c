//! The contract, as `wit-bindgen` makes it of `wit/` when this crate is compiled: every call of the host, without help.

// Generated code: the contract's own documentation comments are on what needs them.
#![allow(missing_docs, unsafe_code, clippy::all)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "process",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "__export_guest",
    default_bindings_module: "guesthouse::contract",
    additional_derives: [PartialEq, Eq, Hash],
    additional_derives_ignore: ["attribute-value"], // which may be a float
});

pub use self::exports::guesthouse::process::guest;
pub use self::guesthouse::process::types;

#[cfg(target_arch = "wasm32")]
pub use self::guesthouse::process::{capabilities, http_server, messaging, spawning, system, tracing};

/// In tests, the same functions of a fake host, with the same types.
#[cfg(not(target_arch = "wasm32"))]
pub use crate::testing::calls::{capabilities, http_server, messaging, spawning, system, tracing};

/// What the fake host takes the types from.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod raw {
    pub use super::guesthouse::process::{http_server, spawning, system, tracing};
}
