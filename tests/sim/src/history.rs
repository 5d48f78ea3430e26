//! What happened: a line for people, a number for each kind.

use sortie_contract::Timestamp;

use crate::Counts;

/// The history of a seed so far.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) lines: Vec<String>,
    pub(crate) counts: Counts,
}

impl History {
    pub(crate) fn line(&mut self, wall: Timestamp, text: &str) {
        self.lines.push(format!("{wall:.3} {text}"));
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
