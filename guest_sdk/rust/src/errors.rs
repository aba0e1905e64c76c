//! Errors of calls of the host. Each says what to do about it.

use std::error::Error;
use std::fmt;

use crate::capabilities::Capability;
use crate::contract::types::{Address, LazyLoadBlob, SendError as RawSendError, SendErrorKind, SendFailure};
use crate::contract::{http_server as http, spawning, system};

pub use http::{CloseError, PushError};

/// A path was not bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError {
    /// What was to be bound.
    pub path: String,
    /// Why it was not.
    pub reason: http::BindError,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.reason {
            http::BindError::BadPath => {
                write!(f, "{path:?} cannot be bound: use an absolute path such as \"/rooms/:room\"")
            }
            http::BindError::TooMany => {
                write!(f, "{path:?}: the process has as many bindings as the node allows: unbind some")
            }
            http::BindError::NoSubdomain => {
                write!(f, "{path:?}: another package has the host name of this one: rename the package")
            }
            http::BindError::BadSubprotocol => write!(f, "{path:?}: a subprotocol is no token, or there are over 16"),
            http::BindError::NoUi => write!(f, "{path:?}: the package has no ui folder: add one"),
            http::BindError::NotAuthorised(missing) => {
                write!(f, "{path:?}: the process may not use the HTTP server: it lacks {missing}")
            }
        }
    }
}

impl Error for BindError {}

/// State was not stored; the old state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// It is larger than this process may store: it lacks this capability.
    TooBig(Capability),
    /// The node could not write it; its log says why.
    NotWritten,
}

impl From<system::StateError> for StateError {
    fn from(raw: system::StateError) -> Self {
        match raw {
            system::StateError::TooBig(missing) => Self::TooBig(missing),
            system::StateError::Storage => Self::NotWritten,
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBig(missing) => write!(f, "the state is larger than this process may store: it lacks {missing}"),
            Self::NotWritten => f.write_str("the node could not write the state: its log says why"),
        }
    }
}

impl Error for StateError {}

/// A request was not delivered, or not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    /// Why.
    pub kind: SendErrorKind,
    /// Its receiver.
    pub target: Address,
    /// What was sent.
    pub body: Vec<u8>,
    /// What was sent with it.
    pub blob: Option<LazyLoadBlob>,
    /// The request's context.
    pub context: Option<Vec<u8>>,
    /// The capability that the process lacks, if it is that.
    pub missing: Option<Capability>,
}

impl From<RawSendError> for SendError {
    fn from(raw: RawSendError) -> Self {
        let RawSendError { kind, target, request, lazy_load_blob, missing } = raw;
        Self { kind, target, body: request.body, blob: lazy_load_blob, context: None, missing }
    }
}

impl From<SendFailure> for SendError {
    fn from(raw: SendFailure) -> Self {
        Self { context: raw.context, ..raw.error.into() }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match self.kind {
            SendErrorKind::Offline => write!(f, "{target}: its node cannot be reached"),
            SendErrorKind::Timeout => write!(f, "{target} did not answer in time"),
            SendErrorKind::NoSuchProcess => write!(f, "{target} does not run, or ended before it answered"),
            SendErrorKind::MailboxFull => write!(f, "{target} has no room for more messages: try again later"),
            SendErrorKind::NotAuthorised if target.process.publisher_node == "sys" => {
                let process = &target.process;
                write!(
                    f,
                    "this process may not use {process}: add \"{process}\" to its request-capabilities in package.toml, \
                     and have it granted"
                )
            }
            SendErrorKind::NotAuthorised => write!(f, "this process may not message {target}"),
        }
    }
}

impl Error for SendError {}

/// No process was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnError {
    /// The component.
    pub wasm_path: String,
    /// Why.
    pub reason: spawning::SpawnError,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = match &self.reason {
            spawning::SpawnError::NameTaken => "the package has a process of that name, or it is no name",
            spawning::SpawnError::NoFileAtPath => {
                "the package has no component there, or it cannot be compiled (the log says why)"
            }
            spawning::SpawnError::NotAuthorised(_) => {
                "request the capability \"spawn\" of kernel:distro:sys in package.toml"
            }
            spawning::SpawnError::TooMany => "the package has as many processes as the node allows",
        };
        write!(f, "no process was started from {:?}: {remedy}", self.wasm_path)
    }
}

impl Error for SpawnError {}
