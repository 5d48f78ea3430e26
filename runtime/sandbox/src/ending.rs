//! How a run ends, and what is made of wasmtime's errors.

use sortie_contract::limit::{NOTE_BYTES_MAX, clip};
use sortie_contract::plugin::{Crash, Verdict};

use crate::guest::Guest;
use crate::host::Stop;
use crate::side::Stopped;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The plugin returned by itself.
    Returned(Verdict),
    /// The plugin did not get to its end.
    Crashed(Crash),
    /// The run was stopped by [`crate::Kill`] or [`Stop::Over`].
    Killed,
}

/// What `error` says of a guest that did not return.
pub(crate) fn explain(guest: &Guest, error: &wasmtime::Error) -> Ending {
    if guest.kill.is_thrown() {
        return Ending::Killed;
    }
    match guest.side.stopped() {
        Some(Stopped::Stop(Stop::Over)) => return Ending::Killed,
        Some(Stopped::Stop(Stop::Crash(crash))) => return Ending::Crashed(crash.clone()),
        Some(Stopped::NoMission(function)) => {
            let said = guest.said.error().map(|said| format!("; it said: {said}")).unwrap_or_default();
            return Ending::Crashed(Crash::Trapped(format!("`{function}` needs a running mission{said}")));
        }
        None => {}
    }
    if guest.limiter.refused() {
        return Ending::Crashed(Crash::OutOfMemory { limit_bytes: guest.limiter.memory_bytes_max() });
    }
    let cause = error.root_cause().to_string();
    // wasmtime has no public type for it; a hostile guest in the tests keeps the wording honest.
    if cause.contains("fuel allocated for hostcalls") {
        return Ending::Crashed(Crash::LimitExceeded("one call passed more data than the node takes".to_owned()));
    }
    let text = match guest.said.error() {
        Some(said) => format!("{said} ({cause})"),
        None => cause,
    };
    Ending::Crashed(Crash::Trapped(clip(&text, NOTE_BYTES_MAX)))
}

/// The same, where nobody can stop the guest (`describe`, `check`).
pub(crate) fn crash(guest: &Guest, error: &wasmtime::Error) -> Crash {
    match explain(guest, error) {
        Ending::Crashed(crash) => crash,
        Ending::Killed | Ending::Returned(_) => Crash::Trapped("the run was stopped".to_owned()),
    }
}
