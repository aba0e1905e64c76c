//! Starting other processes of the same package.

use crate::address::ProcessId;
use crate::capabilities::Capability;
use crate::contract::spawning as host;
use crate::errors::SpawnError;
use crate::system::OnExit;

/// A child to start:
///
/// ```no_run
/// # fn start() -> guesthouse::Result {
/// let child = guesthouse::Spawn::of("/build/worker.wasm").name("worker").start()?;
/// # Ok(()) }
/// ```
///
/// The manifest has to request `{ process = "kernel:distro:sys", params = "spawn" }`.
#[derive(Clone, Debug)]
pub struct Spawn {
    wasm_path: String,
    name: Option<String>,
    on_exit: OnExit,
    requested: Vec<Capability>,
    granted: Vec<ProcessId>,
    public: bool,
}

impl Spawn {
    /// From a component in the package's folder, or in its `pkg/`.
    pub fn of(wasm_path: &str) -> Self {
        Self {
            wasm_path: wasm_path.into(),
            name: None,
            on_exit: OnExit::None,
            requested: Vec::new(),
            granted: Vec::new(),
            public: false,
        }
    }

    /// Its name in the package; a free one by default.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What happens when it ends; with `Restart` it is also started again with the node.
    #[must_use]
    pub fn on_exit(mut self, on_exit: OnExit) -> Self {
        self.on_exit = on_exit;
        self
    }

    /// Those of this process's own capabilities that it gets.
    #[must_use]
    pub fn request_capabilities(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.requested.extend(capabilities);
        self
    }

    /// Processes that may message it.
    #[must_use]
    pub fn grant_capabilities(mut self, processes: impl IntoIterator<Item = ProcessId>) -> Self {
        self.granted.extend(processes);
        self
    }

    /// Any process may message it.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Start it. Waits until the component is compiled.
    ///
    /// # Errors
    /// It was not started; the error says why.
    pub fn start(&self) -> Result<ProcessId, SpawnError> {
        host::spawn(self.name.as_deref(), &self.wasm_path, &self.on_exit, &self.requested, &self.granted, self.public)
            .map_err(|reason| SpawnError { wasm_path: self.wasm_path.clone(), reason })
    }
}
