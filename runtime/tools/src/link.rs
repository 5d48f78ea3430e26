//! How a node stands with a provider at the moment: what its driver last learned, for whoever calls and whoever looks.
//!
//! The one thing about tools that is not part of a snapshot: that a server is gone holds for every call from then on, whichever
//! [`Toolbox`](crate::Toolbox) it was decided by.

use parking_lot::Mutex;
use sortie_contract::{Timestamp, limit};

/// Whether a provider can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It is being reached, for the first time or again.
    Connecting,
    /// Its tools can be called.
    Connected,
    /// It could not be reached, or was lost; it is tried again after a while.
    Failed,
}

impl LinkState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connecting, Self::Connected, Self::Failed];

    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Failed => "failed",
        }
    }
}

/// How a provider stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether it can be called.
    pub state: LinkState,
    /// Since when it can be called, or cannot: one that is tried again and again has been out since it was lost.
    pub since: Timestamp,
    /// What went wrong last, however long ago.
    pub last_error: Option<String>,
}

/// How a node stands with one provider.
pub(crate) struct Link {
    pub(crate) provider: String,
    pub(crate) prefix: String,
    standing: Mutex<Standing>,
}

impl Link {
    pub(crate) fn new(provider: &str, prefix: &str, state: LinkState, since: Timestamp) -> Self {
        let standing = Mutex::new(Standing { state, since, last_error: None });
        Self { provider: provider.to_owned(), prefix: prefix.to_owned(), standing }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// It is so from now on; `error` says what went wrong.
    pub(crate) fn is_now(&self, state: LinkState, at: Timestamp, error: Option<&str>) {
        let mut standing = self.standing.lock();
        if (standing.state == LinkState::Connected) != (state == LinkState::Connected) {
            standing.since = at;
        }
        standing.state = state;
        if let Some(error) = error {
            standing.last_error = Some(limit::clip(error, limit::NOTE_BYTES_MAX / 8));
        }
    }

    /// Why its tools cannot be called; `None`, where they can.
    pub(crate) fn is_out(&self) -> Option<String> {
        let standing = self.standing.lock();
        let (state, since) = (standing.state.as_str(), standing.since);
        let why = standing.last_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        let is_out = standing.state != LinkState::Connected;
        is_out.then(|| format!("the tool provider `{}` is {state}, and out since {since}{why}", self.provider))
    }
}
