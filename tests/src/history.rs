//! What clients did and heard, written down while it happens, and whether one store that does one thing at a time could have answered so.
//!
//! As Jepsen does: each operation has a beginning and an end by one clock; it took effect at one moment in between, or, where no answer
//! came, at some moment behind its beginning, or never. A history is linearizable where such moments can be chosen. For what is asked of a
//! node here that needs no search: of each key one operation made the mission, and all others came before or behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::node::is_final;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// That a mission be taken, under the key of the history.
    Dispatch,
    /// How it stands.
    Look,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It was taken by this very dispatch.
    Taken,
    /// It had been taken before.
    Known,
    /// It is there, with this status.
    Stands(String),
    /// There is no such mission.
    Nothing,
    /// It was refused, and nothing was done: overload, a store that is away.
    Refused,
    /// No answer came: it may have been done, and may still be.
    Silence,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What was asked.
    pub asked: Asked,
    /// What was heard.
    pub heard: Heard,
    /// When it was sent, since the history began.
    pub begun: Duration,
    /// When its answer was there.
    pub ended: Duration,
}

/// What no store that does one thing at a time could have answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Which mission.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// The operations that cannot both be true.
    pub between: Vec<Operation>,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)?;
        self.between.iter().try_for_each(|operation| write!(f, "\n  {operation:?}"))
    }
}

/// Everything that was asked and heard.
#[derive(Debug)]
pub struct History {
    began: Instant,
    operations: BTreeMap<String, Vec<Operation>>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: Instant::now(), operations: BTreeMap::new() }
    }
}

impl History {
    /// Now, as operations have it.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Writes down what was begun then, and was answered now.
    pub fn heard(&mut self, key: &str, asked: Asked, begun: Duration, heard: Heard) {
        let ended = self.now();
        self.operations.entry(key.to_owned()).or_default().push(Operation { asked, heard, begun, ended });
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.values().map(Vec::len).sum()
    }

    /// Whether nothing was written down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// What in it cannot be.
    #[must_use]
    pub fn contradictions(&self) -> Vec<Contradiction> {
        self.operations.iter().flat_map(|(key, operations)| contradictions(key, operations)).collect()
    }
}

fn contradictions(key: &str, operations: &[Operation]) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut wrong = |what: &str, between: &[&Operation]| {
        let between = between.iter().map(|operation| (*operation).clone()).collect();
        found.push(Contradiction { key: key.to_owned(), what: what.to_owned(), between });
    };
    let dispatches = || operations.iter().filter(|operation| operation.asked == Asked::Dispatch);
    let takers: Vec<&Operation> = dispatches().filter(|operation| operation.heard == Heard::Taken).collect();
    if let [first, second, ..] = takers.as_slice() {
        wrong("two dispatches made the mission", &[first, second]);
    }
    // The earliest moment at which it can have been made.
    let makers = || dispatches().filter(|operation| matches!(operation.heard, Heard::Taken | Heard::Silence));
    let maker = takers.first().copied().or_else(|| makers().min_by_key(|operation| operation.begun));
    for seen in operations.iter().filter(|operation| sees(operation)) {
        match maker {
            None => wrong("it was there, and nobody made it", &[seen]),
            Some(maker) if seen.ended < maker.begun => wrong("it was there before it was made", &[seen, maker]),
            Some(_) => {}
        }
    }
    // The latest moment at which it can have been made: whatever looks behind that sees it.
    let is_certain = operations.iter().filter(|operation| sees(operation) || operation.heard == Heard::Taken);
    if let Some(certain) = is_certain.min_by_key(|operation| operation.ended) {
        let blind = operations.iter().filter(|operation| operation.heard == Heard::Nothing);
        for blind in blind.filter(|blind| blind.begun > certain.ended) {
            wrong("it was there, and was not", &[certain, blind]);
        }
    }
    let ends =
        operations.iter().filter(|operation| matches!(&operation.heard, Heard::Stands(status) if is_final(status)));
    if let Some(end) = ends.min_by_key(|operation| operation.ended) {
        let behind = operations.iter().filter(|operation| operation.begun > end.ended);
        for later in behind.filter(|later| matches!(later.heard, Heard::Stands(_)) && later.heard != end.heard) {
            wrong("a final status changed", &[end, later]);
        }
    }
    found
}

fn sees(operation: &Operation) -> bool {
    matches!(operation.heard, Heard::Known | Heard::Stands(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation((asked, heard, begun, ended): (Asked, Heard, u64, u64)) -> Operation {
        Operation { asked, heard, begun: Duration::from_millis(begun), ended: Duration::from_millis(ended) }
    }

    fn stands(status: &str) -> Heard {
        Heard::Stands(status.to_owned())
    }

    #[test]
    fn what_can_have_been_is_no_contradiction() {
        use Asked::{Dispatch, Look};
        let histories = [
            vec![(Dispatch, Heard::Taken, 0, 10), (Dispatch, Heard::Known, 5, 8)],
            vec![(Look, Heard::Nothing, 0, 20), (Dispatch, Heard::Taken, 5, 10), (Look, stands("queued"), 6, 7)],
            vec![(Dispatch, Heard::Silence, 0, 10), (Dispatch, Heard::Known, 50, 60)],
            vec![(Dispatch, Heard::Silence, 0, 10), (Look, Heard::Nothing, 20, 30), (Dispatch, Heard::Taken, 40, 50)],
            vec![(Dispatch, Heard::Refused, 0, 10), (Look, Heard::Nothing, 20, 30)],
            vec![(Dispatch, Heard::Taken, 0, 1), (Look, stands("running"), 2, 9), (Look, stands("completed"), 3, 4)],
            vec![(Look, Heard::Silence, 0, 10), (Dispatch, Heard::Silence, 0, 10)],
        ];
        for history in histories {
            let operations: Vec<_> = history.into_iter().map(operation).collect();
            assert_eq!(contradictions("m", &operations), [], "{operations:?}");
        }
    }

    #[test]
    fn what_cannot_have_been_is_named() {
        use Asked::{Dispatch, Look};
        let histories = [
            (vec![(Dispatch, Heard::Taken, 0, 10), (Dispatch, Heard::Taken, 5, 8)], "two dispatches"),
            (vec![(Dispatch, Heard::Known, 0, 10)], "nobody made it"),
            (vec![(Dispatch, Heard::Refused, 0, 10), (Look, stands("queued"), 20, 30)], "nobody made it"),
            (vec![(Dispatch, Heard::Known, 0, 10), (Dispatch, Heard::Taken, 20, 30)], "before it was made"),
            (vec![(Look, stands("queued"), 0, 10), (Dispatch, Heard::Silence, 20, 30)], "before it was made"),
            (vec![(Dispatch, Heard::Taken, 0, 10), (Look, Heard::Nothing, 20, 30)], "and was not"),
            (
                vec![(Dispatch, Heard::Silence, 0, 5), (Dispatch, Heard::Known, 6, 9), (Look, Heard::Nothing, 20, 30)],
                "and was not",
            ),
            (
                vec![
                    (Dispatch, Heard::Taken, 0, 1),
                    (Look, stands("completed"), 2, 3),
                    (Look, stands("running"), 4, 5),
                ],
                "a final status changed",
            ),
            (
                vec![(Dispatch, Heard::Taken, 0, 1), (Look, stands("failed"), 2, 3), (Look, stands("completed"), 4, 5)],
                "a final status changed",
            ),
        ];
        for (history, words) in histories {
            let operations: Vec<_> = history.into_iter().map(operation).collect();
            let found = contradictions("m", &operations);
            assert!(found.iter().any(|found| found.what.contains(words)), "{words}: {found:?}");
        }
    }
}
