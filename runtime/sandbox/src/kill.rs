//! How a run is stopped from outside.

use tokio_util::sync::CancellationToken;

/// Stops a run: a hot loop within milliseconds, a wait at once. Clones stop the same run.
#[derive(Debug, Clone, Default)]
pub struct Kill(CancellationToken);

impl Kill {
    /// A switch that nobody has thrown yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the run, or keeps it from starting. It cannot be taken back.
    pub fn now(&self) {
        self.0.cancel();
    }

    /// Whether it was thrown.
    #[must_use]
    pub fn is_thrown(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when it is thrown.
    pub async fn thrown(&self) {
        self.0.cancelled().await;
    }
}
