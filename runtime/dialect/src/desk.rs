//! Who takes what was translated: a node.

use async_trait::async_trait;
use sortie_contract::{Mistake, Timestamp};

use crate::envelope::Translated;

/// Takes jobs.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Whether jobs are taken now: a node that is paused, restored, full or stopping takes none, and leaves all of them where they are.
    fn is_open(&self) -> bool;

    /// The time.
    fn now(&self) -> Timestamp;

    /// What the node is called.
    fn node(&self) -> &str;

    /// Takes a job. `true` if its mission was there before. Once it is taken, its mission is on record: no crash takes it back.
    ///
    /// # Errors
    /// [`Untaken`]
    async fn take(&self, job: &Translated) -> Result<bool, Untaken>;
}

/// Why a job is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untaken {
    /// It never will be.
    Refused(Vec<Mistake>),
    /// It may be, a little later, and so may all others: the node takes none now.
    NotNow(String),
    /// It may be, a little later; others may be now.
    Alone(String),
}
