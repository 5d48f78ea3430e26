//! `time`: the only clock that a guest has is the one that the journal keeps.

use std::time::Duration;

use futures_util::FutureExt as _;
use wasmtime::component::Resource;

use super::tools::Pending;
use crate::bindings::sortie::mission::time::Host;
use crate::guest::Guest;
use crate::host::Call;

impl Host for Guest {
    fn now(&mut self) -> wasmtime::Result<u64> {
        let answer = self.mission("time.now")?.host.now();
        let now = self.answered(answer)?;
        Ok(u64::try_from(now.as_millisecond()).unwrap_or(0))
    }

    fn after(&mut self, milliseconds: u64) -> wasmtime::Result<Resource<Pending>> {
        let mission = self.mission("time.after")?;
        let host = std::sync::Arc::clone(&mission.host);
        self.begin(|| {
            let timer = host.after(Duration::from_millis(milliseconds));
            Call { number: None, answer: timer.map(|fired| fired.map(|()| Ok("null".to_owned()))).boxed() }
        })
    }
}
