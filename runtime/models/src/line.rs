//! What carries a round to a provider and brings back what it answered, raw: over HTTP, or out of a script.

mod http;
pub(crate) mod script;

use std::time::Duration;

pub(crate) use http::{Http, KeyHeader, Marks};

/// What came back, to its last byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// How long to wait before the next attempt, as the provider says.
    pub(crate) wait: Option<Duration>,
    /// The key does not stand in it.
    pub(crate) body: String,
}

/// Why nothing came back, or not all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nobody was asked, and asking again would not help.
    NotAsked(String),
    /// The same, for something on this host. Who asked is told `why`; `host` has its paths, and is for who runs it.
    AtHome { why: String, host: String },
    /// There was no connection, so that nobody was asked.
    NotReached(String),
    /// The connection broke before a byte of an answer was there: whether anything was done nobody knows.
    NoAnswer(String),
    /// The answer began, and its end never came.
    Cut(String),
}
