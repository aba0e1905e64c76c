//! What this process may do.

use std::fmt;

use serde::Serialize;

use crate::address::Address;
use crate::contract::capabilities as host;
pub use crate::contract::types::Capability;

impl Capability {
    /// One whose params are a value, such as `json!({"shelf": 7})`.
    ///
    /// # Panics
    /// When JSON cannot express the value.
    pub fn of(issuer: Address, params: impl Serialize) -> Self {
        // Through a value, whose objects are sorted, as the host has them.
        let value = serde_json::to_value(params).expect("the params of a capability are JSON");
        Self { issuer, params: value.to_string() }
    }

    /// The right to message a process.
    pub fn messaging(process: Address) -> Self {
        Self::of(process, "messaging")
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.params, self.issuer)
    }
}

/// Keep capabilities that came with messages of this run, or that this process issues, also for later runs.
/// Others are left out: [`our_capabilities`] tells. They are durable once this returns.
pub fn save_capabilities(capabilities: &[Capability]) {
    host::save(capabilities);
}

/// Give capabilities up, also for later runs; also those that every process has.
pub fn drop_capabilities(capabilities: &[Capability]) {
    host::drop(capabilities);
}

/// The capabilities that this process holds.
pub fn our_capabilities() -> Vec<Capability> {
    host::ours()
}
