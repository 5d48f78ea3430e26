//! A second rehearsal before the same audience: what it has seen in the first is not shown again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sortie_contract::digest::Digest;
use sortie_engine::rehearsal::{Audience, Enough, Step};
use sortie_sandbox::BoxFuture;

/// An audience that comes in behind so many calls.
pub(super) struct Late {
    audience: Arc<dyn Audience>,
    missed: usize,
    shown: AtomicUsize,
}

impl Late {
    /// It sees all that comes behind the first `missed` calls.
    pub(super) fn new(audience: Arc<dyn Audience>, missed: usize) -> Self {
        Self { audience, missed, shown: AtomicUsize::new(0) }
    }

    /// How many calls were shown, with those that it missed.
    pub(super) fn shown(&self) -> usize {
        self.shown.load(Ordering::Relaxed)
    }
}

impl Audience for Late {
    fn sees(&self, step: &Step<'_>) -> Result<(), Enough> {
        let before = self.shown.fetch_add(1, Ordering::Relaxed);
        if before < self.missed { Ok(()) } else { self.audience.sees(step) }
    }

    fn artifact(&self, name: String, sha256: Option<Digest>) -> BoxFuture<'static, Option<Vec<u8>>> {
        self.audience.artifact(name, sha256)
    }

    fn artifact_of(
        &self,
        mission: String,
        name: String,
        sha256: Option<Digest>,
    ) -> BoxFuture<'static, Option<Vec<u8>>> {
        self.audience.artifact_of(mission, name, sha256)
    }

    fn patience(&self) -> BoxFuture<'static, ()> {
        self.audience.patience()
    }
}
