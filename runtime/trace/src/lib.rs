//! Missions as traces: a mission is a span, its runs are spans below it, and what a run calls (tools, models, people) are spans below that.
//!
//! A span is a view of the record, as an event is: [`Tree`] folds the records of a mission and gives out each span once it has ended. Nothing
//! is measured for it, nobody waits for it, and nothing of it is kept but how far in the journal's order a collector has been told. So a node
//! that was killed goes on where it was: ids are made of names that never change (`sortie_contract::trace`), and the spans of before and behind
//! are one tree. The queue of a collector that is down is the journal itself.
//!
//! Owned here: what becomes a span, what of a record may leave the node with it (never arguments, results, texts or secrets), and how a
//! collector is told. Never here: how records are read, which a node says through [`Source`].

mod config;
mod exporter;
mod otlp;
mod place;
mod span;
mod tree;

pub use config::{ConfigError, TracesConfig, examine};
pub use exporter::{Counters, Entry, Exporter, Setup, Source, SourceError};
pub use span::{Kind, Span, Value};
pub use tree::{Sampling, Told, Tree};
