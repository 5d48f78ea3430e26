//! What clients did and heard, written down while it happens, and whether one store that does one thing at a time could have answered so.
//!
//! As Jepsen does: each operation has a beginning and an end by one clock; it took effect at one moment in between, or, where no answer
//! came, at some moment behind its beginning, or never. A history is linearizable where such moments can be chosen. For what is asked of a
//! node here that needs no search: of each key one operation made the mission, and all others came before or behind it.
//!
//! Beside what clients heard stands what was done in the world ([`Effect`]): each call once, unless people had it made again, and by one
//! node at a time. A life of a node that lost a mission never has an effect for it again: it ends, and what starts anew is another life.

use std::collections::{BTreeMap, BTreeSet};
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

/// Something that was done in the world for a mission, as the world saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What.
    pub what: String,
    /// The `Idempotency-Key` that it was done under.
    pub call: String,
    /// Which life of which node did it, where that can be told.
    pub by: Option<String>,
    /// When it was asked for, since the history began.
    pub begun: Duration,
    /// When it was done.
    pub ended: Duration,
}

/// What no store that does one thing at a time could have answered, and no single owner done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Which mission.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// The operations that cannot both be true.
    pub between: Vec<Operation>,
    /// The effects that cannot both be right.
    pub effects: Vec<Effect>,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)?;
        self.between.iter().try_for_each(|operation| write!(f, "\n  {operation:?}"))?;
        self.effects.iter().try_for_each(|effect| write!(f, "\n  {effect:?}"))
    }
}

/// Everything that was asked and heard.
#[derive(Debug)]
pub struct History {
    began: Instant,
    operations: BTreeMap<String, Vec<Operation>>,
    effects: BTreeMap<String, Vec<Effect>>,
    /// What people had done again: they were asked about it.
    repeated: BTreeSet<String>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: Instant::now(), operations: BTreeMap::new(), effects: BTreeMap::new(), repeated: BTreeSet::new() }
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

    /// A moment, as the history has it; what was before it is its beginning.
    #[must_use]
    pub fn at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.began)
    }

    /// Writes down what was done in the world for a mission.
    pub fn done(&mut self, key: &str, effect: Effect) {
        self.effects.entry(key.to_owned()).or_default().push(effect);
    }

    /// Writes down that people had this done again of which nobody knew whether it was done.
    pub fn repeated(&mut self, what: &str) {
        self.repeated.insert(what.to_owned());
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
        let heard = self.operations.iter().flat_map(|(key, operations)| contradictions(key, operations));
        let done = self.effects.iter().flat_map(|(key, effects)| misdeeds(key, effects, &self.repeated));
        heard.chain(done).collect()
    }
}

fn contradictions(key: &str, operations: &[Operation]) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut wrong = |what: &str, between: &[&Operation]| {
        let between = between.iter().map(|operation| (*operation).clone()).collect();
        found.push(Contradiction { key: key.to_owned(), what: what.to_owned(), between, effects: Vec::new() });
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

/// What is wrong with what was done for one mission.
fn misdeeds(key: &str, effects: &[Effect], repeated: &BTreeSet<String>) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut wrong = |what: &str, effects: &[&Effect]| {
        let effects = effects.iter().map(|effect| (*effect).clone()).collect();
        found.push(Contradiction { key: key.to_owned(), what: what.to_owned(), between: Vec::new(), effects });
    };
    let (mut by_what, mut by_call) = (BTreeMap::<&str, &Effect>::new(), BTreeMap::<&str, &Effect>::new());
    for effect in effects {
        if let Some(before) = by_what.insert(&effect.what, effect) {
            if before.call != effect.call {
                wrong("one thing was done under two keys", &[before, effect]);
            } else if !repeated.contains(&effect.what) {
                wrong("it was done twice, and nobody was asked", &[before, effect]);
            }
        }
        if let Some(before) = by_call.insert(&effect.call, effect).filter(|before| before.what != effect.what) {
            wrong("two things were done under one key", &[before, effect]);
        }
    }
    // What people had done again may have been on its way for long: the first attempt at it says nothing of who the owner is.
    let mut owned: Vec<(&str, &Effect)> = effects
        .iter()
        .filter(|effect| !repeated.contains(&effect.what))
        .filter_map(|effect| Some((effect.by.as_deref()?, effect)))
        .collect();
    owned.sort_by_key(|(_, effect)| effect.begun);
    let mut former = BTreeMap::<&str, &Effect>::new();
    for pair in owned.windows(2) {
        let [(before, earlier), (now, later)] = [pair[0], pair[1]];
        if before == now {
            continue;
        }
        if later.begun < earlier.ended {
            wrong("two owners had effects at once", &[earlier, later]);
        }
        former.insert(before, earlier);
        if let Some(once) = former.get(now) {
            wrong("an owner that had been followed had an effect again", &[once, earlier, later]);
        }
    }
    found
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

    /// What, under which key, by whom, from when to when.
    type Deed = (&'static str, &'static str, &'static str, u64, u64);

    fn effect((what, call, by, begun, ended): Deed) -> Effect {
        Effect {
            what: what.to_owned(),
            call: call.to_owned(),
            by: (!by.is_empty()).then(|| by.to_owned()),
            begun: Duration::from_millis(begun),
            ended: Duration::from_millis(ended),
        }
    }

    fn found(deeds: &[Deed], repeated: &[&str]) -> Vec<String> {
        let mut history = History::default();
        deeds.iter().for_each(|deed| history.done("m", effect(*deed)));
        repeated.iter().for_each(|what| history.repeated(what));
        history.contradictions().into_iter().map(|found| found.what).collect()
    }

    #[test]
    fn effects_of_one_owner_at_a_time_are_no_contradiction() {
        let deeds: [(&[Deed], &[&str]); 5] = [
            (&[("w0", "m/1", "a#1", 0, 4), ("w1", "m/2", "a#1", 3, 7)], &[]),
            (&[("w0", "m/1", "a#1", 0, 4), ("w1", "m/2", "b#1", 4, 7), ("w2", "m/3", "a#2", 9, 12)], &[]),
            (&[("w0", "m/1", "a#1", 0, 4), ("w0", "m/1", "b#1", 6, 9)], &["w0"]),
            // It was on its way when its node was followed, and people were asked about it.
            (&[("w0", "m/1", "a#1", 0, 4), ("w1", "m/2", "b#1", 6, 9), ("w1", "m/2", "a#1", 8, 11)], &["w1"]),
            (&[("w0", "m/1", "", 0, 4), ("w1", "m/2", "", 2, 9)], &[]),
        ];
        for (deeds, repeated) in deeds {
            assert_eq!(found(deeds, repeated), Vec::<String>::new(), "{deeds:?}");
        }
    }

    #[test]
    fn effects_that_no_single_owner_has_are_named() {
        let deeds: [(&[Deed], &str); 6] = [
            (&[("w0", "m/1", "a#1", 0, 4), ("w0", "m/1", "a#1", 6, 9)], "done twice"),
            (&[("w0", "m/1", "", 0, 4), ("w0", "m/1", "", 6, 9)], "done twice"),
            (&[("w0", "m/1", "a#1", 0, 4), ("w0", "m/2", "b#1", 6, 9)], "under two keys"),
            (&[("w0", "m/1", "a#1", 0, 4), ("w1", "m/1", "a#1", 6, 9)], "under one key"),
            (&[("w0", "m/1", "a#1", 0, 4), ("w1", "m/2", "b#1", 3, 9)], "at once"),
            (&[("w0", "m/1", "a#1", 0, 4), ("w1", "m/2", "b#1", 6, 9), ("w2", "m/3", "a#1", 10, 12)], "followed"),
        ];
        for (deeds, words) in deeds {
            let found = found(deeds, &[]);
            assert!(found.iter().any(|what| what.contains(words)), "{words}: {found:?}");
        }
    }
}
