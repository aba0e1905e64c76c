//! Addresses and names of processes: `node@process:package:publisher`.

use std::fmt;
use std::str::FromStr;

pub use crate::contract::types::{Address, ProcessId};

/// A text is no address, or no process id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress(String);

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not like node@process:package:publisher", self.0)
    }
}

impl std::error::Error for BadAddress {}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.process_name, self.package_name, self.publisher_node)
    }
}

impl FromStr for ProcessId {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [process, package, publisher] if parts.iter().all(|part| !part.is_empty() && !part.contains('@')) => {
                Ok(Self::new(process, package, publisher))
            }
            _ => Err(BadAddress(text.into())),
        }
    }
}

impl ProcessId {
    /// The id `process:package:publisher`.
    pub fn new(process: &str, package: &str, publisher: &str) -> Self {
        Self { process_name: process.into(), package_name: package.into(), publisher_node: publisher.into() }
    }

    /// The address of this process on the node that this one runs on.
    pub fn here(self) -> Address {
        Address { node: crate::our().node, process: self }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.process)
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text.split_once('@') {
            Some((node, process)) if !node.is_empty() => {
                let process = process.parse().map_err(|_| BadAddress(text.into()))?;
                Ok(Self { node: node.into(), process })
            }
            _ => Err(BadAddress(text.into())),
        }
    }
}

/// A module of the node, such as `kv:distro:sys`.
pub(crate) fn module(name: &str) -> Address {
    ProcessId::new(name, "distro", "sys").here()
}
