//! The process itself: its address, its log, its end.

use log::{LevelFilter, Log, Metadata, Record};

use crate::address::Address;
use crate::contract::system as host;
pub use crate::contract::system::Verbosity;
pub use crate::contract::types::OnExit;

/// This process's own address.
pub fn our() -> Address {
    host::our()
}

/// Write a line to the process's log. The macros of the crate `log` do the same: `log::info!("…")`.
pub fn print_to_log(text: &str, verbosity: Verbosity) {
    host::print(verbosity, text);
}

/// What happens when this process ends.
pub fn get_on_exit() -> OnExit {
    host::get_on_exit()
}

/// Change what happens when this process ends.
pub fn set_on_exit(on_exit: &OnExit) {
    host::set_on_exit(on_exit);
}

struct HostLog;

impl Log for HostLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let verbosity = match record.level() {
            log::Level::Error => Verbosity::Error,
            log::Level::Warn => Verbosity::Warning,
            log::Level::Info => Verbosity::Info,
            log::Level::Debug | log::Level::Trace => Verbosity::Debug,
        };
        host::print(verbosity, &record.args().to_string());
    }

    fn flush(&self) {}
}

/// Let the macros of `log` write to the process's log.
pub(crate) fn log_to_host() {
    if log::set_logger(&HostLog).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// Write panics to the process's log, in one line, the place first. After it the process ends.
#[cfg(target_arch = "wasm32")]
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), |at| format!("{}:{}: ", at.file(), at.line()));
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("a panic");
        host::print(Verbosity::Error, &format!("{place}panicked: {text}"));
    }));
}
