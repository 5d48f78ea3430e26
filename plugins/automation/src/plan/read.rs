//! Reads the JSON of `inputs.steps` field by field, so that every mistake has its place and none hides another.

mod action;
mod afterwards;
mod fields;

use serde_json::{Map, Value as Json};
use sortie_plugin::Mistake;

use crate::template::{FAILURE, ITEM_NAMES, Language, Question, Shape};

use super::graph::{Draft, Named};
use super::{Each, ITEMS_MAX, STEPS_MAX, Source, Step};

/// Longest id of a step: as long as a mission's.
const ID_BYTES_MAX: usize = 200;

/// Where the steps are.
const STEPS: &str = "/inputs/steps";

/// Everything that a step can say.
pub(crate) const KEYS: &[&str] = &[
    "id",
    "tool",
    "model",
    "mission",
    "sleep",
    "steps",
    "with",
    "needs",
    "if",
    "for_each",
    "concurrency",
    "retry",
    "until",
    "timeout",
    "artifact",
    "milestone",
    "criterion",
    "on_error",
    "compensate",
    "finally",
];

/// Reads all steps, as far as they can be read.
pub(super) fn steps<'e>(language: &'e Language<'e>, source: Source<'e>, mistakes: &mut Vec<Mistake>) -> Vec<Draft<'e>> {
    let mut complain = |code, detail: String| mistakes.push(Mistake::new(STEPS, code, detail));
    let items = match source.inputs.get("steps") {
        None | Some(Json::Null) => {
            complain("required", "an automation mission says in inputs.steps what is to be done".into());
            return Vec::new();
        }
        Some(Json::Array(items)) => items,
        Some(_) => {
            complain("wrong_type", "it must be a list of steps".into());
            return Vec::new();
        }
    };
    let mut reader = Reader { language, source, mistakes, seen: 0 };
    let level = Level { names: Names { all: &[], own_items: false }, depth: 0, in_each: false };
    reader.steps(STEPS, items, level)
}

/// What reading needs everywhere.
struct Reader<'e, 'm> {
    language: &'e Language<'e>,
    source: Source<'e>,
    mistakes: &'m mut Vec<Mistake>,
    /// How many steps were met so far.
    seen: usize,
}

/// The names that templates see besides those that all see.
#[derive(Clone, Copy)]
struct Names<'n> {
    all: &'n [&'static str],
    /// Whether `item` and `index` among them are those of the step's own `for_each`.
    own_items: bool,
}

impl Names<'_> {
    /// These, and one more.
    fn and(&self, name: &'static str) -> Vec<&'static str> {
        self.all.iter().copied().chain([name]).collect()
    }
}

/// Where a graph of steps stands.
#[derive(Clone, Copy)]
struct Level<'n> {
    /// What its steps see from around it.
    names: Names<'n>,
    /// In how many sub-graphs it is.
    depth: usize,
    /// It runs once for each of some items.
    in_each: bool,
}

impl<'e> Reader<'e, '_> {
    /// Reads the steps of a graph.
    fn steps(&mut self, place: &str, items: &'e [Json], level: Level<'_>) -> Vec<Draft<'e>> {
        if items.is_empty() {
            self.complain(place.to_owned(), "empty", "there must be at least one step");
        }
        let before = self.seen;
        self.seen += items.len();
        if self.seen > STEPS_MAX {
            // Of those that are too many the first ones are told, and not each of the graphs that they lie in.
            if before <= STEPS_MAX {
                let detail = format!("there may be at most {STEPS_MAX} steps, with those of sub-graphs");
                self.complain(place.to_owned(), "too_many", detail);
            }
            return Vec::new();
        }
        let step = |(index, item)| self.step(&format!("{place}/{index}"), item, level);
        items.iter().enumerate().filter_map(step).collect()
    }

    fn step(&mut self, place: &str, item: &'e Json, level: Level<'_>) -> Option<Draft<'e>> {
        let fields = self.object(place, item, KEYS)?;
        let id = self.id(place, fields).unwrap_or_default();
        let kind = self.kind(place, fields);
        let is_finally = self.is_finally(place, fields);
        self.meaningless(place, fields, kind, is_finally);
        let mut needs = self.needs(place, fields);
        let mut around = level.names.all.to_vec();
        around.extend(is_finally.then_some(FAILURE));
        let outside = Names { all: &around, own_items: false };
        let each = self.each(place, fields, outside, &mut needs);
        let mut all = around.clone();
        if each.is_some() {
            all.retain(|name| !ITEM_NAMES.contains(name));
            all.extend(ITEM_NAMES);
        }
        let names = Names { all: &all, own_items: each.is_some() };
        let in_each = level.in_each || each.is_some();
        let within = Level { names: Names { own_items: false, ..names }, depth: level.depth + 1, in_each };
        let mut afterwards = Vec::new();
        let its = if kind == action::Kind::Graph { within } else { Level { names, ..within } };
        let step = Step {
            id,
            place: place.to_owned(),
            action: self.action(place, fields, kind, its, &mut needs),
            condition: self.condition(place, fields, names, &mut needs),
            retry: self.retry(place, fields),
            until: self.until(place, fields, names, &mut afterwards),
            timeout: self.duration(place, fields, "timeout").filter(|timeout| self.is_positive(place, *timeout)),
            artifact: self.artifact(place, fields, names, &mut afterwards),
            milestone: self.milestone(place, fields, names, &mut afterwards),
            criterion: self.criterion(place, fields, outside, &mut afterwards),
            goes_on: self.goes_on(place, fields),
            compensate: self.compensate(place, fields, names, &mut afterwards),
            is_finally,
            each,
            needs: Vec::new(),
            unconditional: false,
        };
        if level.in_each && step.criterion.is_some() {
            let detail = "within a `for_each` it would be judged once for each item, and the last would count: judge it in a step outside";
            self.complain(format!("{place}/criterion"), "invalid", detail);
        }
        Some(Draft { step, needs, afterwards })
    }

    fn id(&mut self, place: &str, fields: &'e Map<String, Json>) -> Option<&'e str> {
        let id = self.required_text(place, fields, "id")?;
        let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        if plain && id.len() <= ID_BYTES_MAX {
            return Some(id);
        }
        self.complain(format!("{place}/id"), "invalid", "an id has letters, digits and `._:-`, at most 200 of them");
        None
    }

    fn needs(&mut self, place: &str, fields: &'e Map<String, Json>) -> Vec<Named> {
        let place = format!("{place}/needs");
        let ids = match fields.get("needs") {
            None | Some(Json::Null) => return Vec::new(),
            Some(Json::Array(ids)) => ids,
            Some(_) => {
                self.complain(place, "wrong_type", "it must be a list of ids of steps");
                return Vec::new();
            }
        };
        let mut needs = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let place = format!("{place}/{index}");
            match id {
                Json::String(id) => needs.push(Named { id: id.clone(), place, look: Default::default() }),
                _ => self.complain(place, "wrong_type", "it must be the id of a step"),
            }
        }
        needs
    }

    fn each(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        needs: &mut Vec<Named>,
    ) -> Option<Each<'e>> {
        let concurrency = self.count(place, fields, "concurrency", 1, u64::MAX);
        let Some(value) = fields.get("for_each").filter(|value| !value.is_null()) else {
            if is_there(fields, "concurrency") {
                let detail = "it says how many items of a `for_each` are done together, and there is none";
                self.complain(format!("{place}/concurrency"), "invalid", detail);
            }
            return None;
        };
        let place = format!("{place}/for_each");
        let text = self.shape(&place, value, names, needs);
        let (items, of_envelope) = (text.shape, text.of_envelope);
        let list = matches!(items, Shape::Typed { .. } | Shape::List(_) | Shape::Fixed(Json::Array(_)));
        if !list && !self.has_mistake_at(&place) {
            self.complain(place, "wrong_type", "it must be a list, or one {{ … }} that gives a list");
        } else if value.as_array().is_some_and(|items| items.len() > ITEMS_MAX) {
            self.complain(place, "too_many", format!("it has more than {ITEMS_MAX} items"));
        }
        let concurrency = concurrency.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        Some(Each { items, of_envelope, concurrency })
    }

    fn condition(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        needs: &mut Vec<Named>,
    ) -> Option<Question<'e>> {
        let value = fields.get("if").filter(|value| !value.is_null())?;
        self.question(format!("{place}/if"), value, names, needs)
    }

    fn goes_on(&mut self, place: &str, fields: &'e Map<String, Json>) -> bool {
        match fields.get("on_error").filter(|value| !value.is_null()).map(Json::as_str) {
            None | Some(Some("fail")) => false,
            Some(Some("continue")) => true,
            Some(_) => {
                self.complain(format!("{place}/on_error"), "invalid", "it must be `fail` or `continue`");
                false
            }
        }
    }

    fn is_finally(&mut self, place: &str, fields: &'e Map<String, Json>) -> bool {
        match fields.get("finally") {
            None | Some(Json::Null | Json::Bool(false)) => false,
            Some(Json::Bool(true)) => true,
            Some(_) => {
                self.complain(format!("{place}/finally"), "wrong_type", "it must be true or false");
                false
            }
        }
    }
}

/// Whether a key says something.
fn is_there(fields: &Map<String, Json>, key: &str) -> bool {
    fields.get(key).is_some_and(|value| !value.is_null())
}
