//! Whether a model goes in circles: the same call with the same result again and again, or the same edit back and forth.
//!
//! First it is told so; where that does not help, it is given up. Nothing here knows what a tool does beyond the arguments of `Edit` and
//! `Write`. What counts as "the same" is the call and its result together: a test that fails in another way each time is work, not a circle.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use sortie_plugin::Value;

use crate::Wish;
use crate::tell::Told;

/// So many calls are remembered.
const REMEMBERED: usize = 60;

/// How often one thing happens until the model is told, and until it is given up.
struct Patience {
    told: usize,
    given_up: usize,
}

/// The same call that fails, with nothing changed between.
const FAILING: Patience = Patience { told: 3, given_up: 5 };
/// The same that goes well: looking twice is no mistake.
const IDLE: Patience = Patience { told: 4, given_up: 7 };
/// The same that fails whatever was changed between.
const UNMOVED: Patience = Patience { told: 6, given_up: 10 };
/// The same edit back and forth: each turn back counts.
const BACK_AND_FORTH: Patience = Patience { told: 2, given_up: 4 };

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Circle {
    /// The model is told.
    Nudge(String),
    /// It is no use.
    GiveUp(String),
}

/// What was seen of the calls so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circles {
    calls: VecDeque<Seen>,
    /// How many changes there were that were not there before.
    changes: usize,
    edits: BTreeMap<String, Edits>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    call: u64,
    result: u64,
    changes: usize,
}

/// The last edits of one file: what was there and what came in its place.
#[derive(Debug, Clone, Default)]
struct Edits {
    last: Vec<(Option<u64>, u64)>,
    turns_back: usize,
}

impl Circles {
    /// Looks at one more call and its result.
    pub(crate) fn see(&mut self, wish: &Wish, told: &Told) -> Option<Circle> {
        let seen = Seen {
            call: digest(&(&wish.name, wish.input.to_string())),
            result: digest(&told.content),
            changes: self.changes,
        };
        let is_new = !self.calls.iter().any(|other| other.call == seen.call);
        self.calls.push_back(seen);
        if self.calls.len() > REMEMBERED {
            self.calls.pop_front();
        }
        let same = |other: &&Seen| (other.call, other.result) == (seen.call, seen.result);
        let ever = self.calls.iter().filter(same).count();
        let lately = self.calls.iter().filter(same).filter(|other| other.changes == seen.changes).count();
        let again =
            |times: usize, how: &str| format!("`{}` was called {times} times with the same arguments {how}", wish.name);
        if told.is_error {
            let circle = FAILING.of(lately, || again(lately, "and failed the same way"));
            return circle
                .or_else(|| UNMOVED.of(ever, || again(ever, "and failed the same way, whatever was changed between")));
        }
        let edited = edit(wish).and_then(|(path, old, new)| self.edited(path, old, new));
        if edited.is_some() {
            return edited;
        }
        let idle = IDLE.of(lately, || again(lately, "and said the same"));
        if is_new && edit(wish).is_some() {
            self.changes += 1;
        }
        idle
    }

    fn edited(&mut self, path: &str, old: Option<u64>, new: u64) -> Option<Circle> {
        let edits = self.edits.entry(path.to_owned()).or_default();
        let before = edits.last.len().checked_sub(1).map(|at| edits.last[at]);
        let is_back = match (old, before) {
            (Some(old), Some((Some(last_old), last_new))) => (old, new) == (last_new, last_old),
            (None, Some((_, last_new))) => {
                let two_before = edits.last.len().checked_sub(2).map(|at| edits.last[at].1);
                two_before == Some(new) && last_new != new
            }
            _ => false,
        };
        edits.turns_back = if is_back { edits.turns_back + 1 } else { 0 };
        edits.last.push((old, new));
        if edits.last.len() > 2 {
            edits.last.remove(0);
        }
        let times = edits.turns_back;
        BACK_AND_FORTH
            .of(times, || format!("`{path}` was changed back and forth between the same two texts {times} times"))
    }
}

impl Patience {
    fn of(&self, times: usize, what: impl FnOnce() -> String) -> Option<Circle> {
        if times >= self.given_up {
            return Some(Circle::GiveUp(what()));
        }
        (times == self.told).then(|| {
            Circle::Nudge(format!(
                "You are going in circles: {}. Stop, say what you know now that you did not know before, and try another way; if there is \
                 none, say so and end.",
                what()
            ))
        })
    }
}

/// The file that a call changes, and between what.
fn edit(wish: &Wish) -> Option<(&str, Option<u64>, u64)> {
    let text = |key: &str| wish.input.get(key).and_then(Value::as_str);
    let path = text("path")?;
    match wish.name.to_ascii_lowercase().as_str() {
        "edit" => Some((path, Some(digest(text("old")?)), digest(text("new")?))),
        "write" => Some((path, None, digest(text("content")?))),
        _ => None,
    }
}

/// The same in each run: the hasher has no seed.
fn digest<T: Hash + ?Sized>(what: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
