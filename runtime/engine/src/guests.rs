//! What runs plugins, as the driver sees it: the sandbox, or the simulator's scripts.
//!
//! Owned here: the trait between them. Never here: what a plugin may do, and what becomes of its run.

use futures_util::FutureExt as _;
use sortie_contract::Mistake;
use sortie_contract::digest::Digest;
use sortie_contract::plugin::{Brief, Crash};
use sortie_sandbox::{BoxFuture, Ending, Installed, Run, Sandbox};

/// Runs plugins, and knows which there are.
pub trait Guests: Send + Sync + 'static {
    /// What is installed under a name: each of its versions.
    fn installed(&self, name: &str) -> Vec<Installed>;

    /// What the plugin finds wrong with a brief, without any grant and under tight limits; a crash where it did not get to an
    /// answer.
    fn check(&self, plugin: Digest, brief: Brief) -> BoxFuture<'_, Result<Vec<Mistake>, Crash>>;

    /// The memory that a plugin of a mission that starts now may have, in bytes.
    fn memory_bytes_max(&self) -> u64;

    /// Runs a mission to its end. Dropping the future stops the run, too.
    fn run(&self, run: Run) -> BoxFuture<'_, Ending>;
}

impl Guests for Sandbox {
    fn installed(&self, name: &str) -> Vec<Installed> {
        self.plugins_named(name)
    }

    fn check(&self, plugin: Digest, brief: Brief) -> BoxFuture<'_, Result<Vec<Mistake>, Crash>> {
        async move { Self::check(self, &plugin, brief).await }.boxed()
    }

    fn memory_bytes_max(&self) -> u64 {
        Self::memory_bytes_max(self)
    }

    fn run(&self, run: Run) -> BoxFuture<'_, Ending> {
        Self::run(self, run).boxed()
    }
}
