//! What a step does: `tool`, `model`, `mission`, `sleep` or `steps`; when its result counts, `until`; what undoes it, `compensate`.

use serde_json::{Map, Value as Json};

use crate::duration;
use crate::plan::graph::{self, Named};
use crate::plan::literal;
use crate::plan::{ASK, Action, Call, Compensate, MISSION, MODEL, NESTING_MAX, Retry, Until};
use crate::template::{FAILURE, RESULT, Shape};

use super::{Level, Names, Reader, is_there};

/// What a mission says of one that it dispatches.
const ORDER: [&str; 10] = [
    "objective",
    "mission_type",
    "plugin",
    "inputs",
    "constraints",
    "budget",
    "autonomy_window",
    "success_criteria",
    "artifact_policy",
    "on_expiry",
];

/// What a step can do. Each is a key, and it has one of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tool,
    Ask,
    Model,
    Mission,
    Sleep,
    Graph,
}

impl<'e> Reader<'e, '_> {
    /// Which of these a step does. Of several, the others are mistakes.
    pub(super) fn kind(&mut self, place: &str, fields: &'e Map<String, Json>) -> Kind {
        let there: Vec<_> =
            ["model", "mission", "sleep", "steps", "tool"].into_iter().filter(|key| is_there(fields, key)).collect();
        for key in there.iter().skip(1) {
            let detail = format!(
                "a step has one of `tool`, `model`, `mission`, `sleep` and `steps`: it has `{}` already",
                there[0]
            );
            self.complain(format!("{place}/{key}"), "invalid", detail);
        }
        match there.first() {
            Some(&"model") => Kind::Model,
            Some(&"mission") => Kind::Mission,
            Some(&"sleep") => Kind::Sleep,
            Some(&"steps") => Kind::Graph,
            _ => match fields.get("tool").and_then(Json::as_str) {
                Some(tool) if tool.eq_ignore_ascii_case(ASK) => Kind::Ask,
                _ => Kind::Tool,
            },
        }
    }

    /// Keys that mean nothing beside what a step does, with what to do about each.
    pub(super) fn meaningless(&mut self, place: &str, fields: &'e Map<String, Json>, kind: Kind, is_finally: bool) {
        let told = |key: &str| match (kind, key) {
            (Kind::Model, "with") => Some("a step calls a tool `with` arguments or asks a `model`, not both"),
            (Kind::Mission, "with") => Some(
                "a step calls a tool `with` arguments or dispatches a `mission`, not both: what that gets are its `inputs`",
            ),
            (Kind::Sleep, "with") => Some("`sleep` takes no arguments: it is the duration itself"),
            (Kind::Sleep, "retry" | "until" | "timeout") => Some(
                "a `sleep` cannot fail and has no result: put this on the step that can, or sleep for a shorter time",
            ),
            (Kind::Graph, "with") => {
                Some("a sub-graph takes no arguments: its steps see `item`, `inputs` and the steps around it")
            }
            (Kind::Ask | Kind::Model | Kind::Sleep, "compensate") => {
                Some("there is nothing to undo: put it on the step whose call changes something")
            }
            (_, "compensate") if is_finally => Some(
                "a `finally` step runs when what failed was undone already: nothing would come to its own `compensate`",
            ),
            _ => None,
        };
        for key in ["with", "retry", "until", "timeout", "compensate"] {
            if let Some(why) = told(key).filter(|_| is_there(fields, key)) {
                self.complain(format!("{place}/{key}"), "invalid", why);
            }
        }
    }

    /// What the step does, read.
    pub(super) fn action(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        kind: Kind,
        level: Level<'_>,
        needs: &mut Vec<Named>,
    ) -> Action<'e> {
        let names = level.names;
        match kind {
            Kind::Model => {
                let with = self.model(place, &fields["model"], names, needs);
                Action::Call(Call { tool: MODEL, with })
            }
            Kind::Mission => {
                let with = self.mission(place, &fields["mission"], names, needs);
                Action::Call(Call { tool: MISSION, with })
            }
            Kind::Sleep => Action::Sleep(self.sleep(place, &fields["sleep"], names, needs)),
            Kind::Graph => {
                let drafts = self.graph(&format!("{place}/steps"), &fields["steps"], level);
                Action::Graph(graph::connect(drafts, Some(needs), self.mistakes))
            }
            Kind::Tool | Kind::Ask => Action::Call(self.call(place, fields, names, needs)),
        }
    }

    /// `tool` and `with`.
    fn call(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        needs: &mut Vec<Named>,
    ) -> Call<'e> {
        let tool = self.required_text(place, fields, "tool").unwrap_or_default();
        if tool.eq_ignore_ascii_case(MODEL) {
            let detail = "a model is no tool: write `model` with its `prompt` in place of `tool` and `with`";
            self.complain(format!("{place}/tool"), "invalid", detail);
        }
        if tool.eq_ignore_ascii_case(MISSION) {
            let detail = "a mission is no tool: write `mission` with its `objective` in place of `tool` and `with`";
            self.complain(format!("{place}/tool"), "invalid", detail);
        }
        if tool.eq_ignore_ascii_case(ASK) {
            self.question_for_people(place, fields);
        }
        Call { tool, with: self.with(place, fields, names, needs) }
    }

    fn with(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        needs: &mut Vec<Named>,
    ) -> Shape<'e> {
        let place = format!("{place}/with");
        match fields.get("with") {
            None | Some(Json::Null) => Shape::Fixed(Json::Object(Map::new())),
            Some(value) => {
                let shape = self.shape(&place, value, names, needs).shape;
                if !matches!(value, Json::Object(_))
                    && !matches!(shape, Shape::Typed { .. })
                    && !self.has_mistake_at(&place)
                {
                    self.complain(place, "wrong_type", "it must be an object: the arguments of the tool");
                }
                shape
            }
        }
    }

    /// What a step asks of a model, in place of `tool` and `with`.
    fn model(&mut self, place: &str, model: &'e Json, names: Names<'_>, needs: &mut Vec<Named>) -> Shape<'e> {
        let place = format!("{place}/model");
        if let Some(asked) = self.object(&place, model, &["prompt", "system", "schema", "model", "max_tokens"]) {
            self.required_text(&place, asked, "prompt");
            self.text(&place, asked, "system");
            self.text(&place, asked, "model");
        }
        let shape = self.shape(&place, model, names, needs).shape;
        for key in ["schema", "max_tokens"] {
            let Some(value) = outline(&shape, key) else { continue };
            let place = format!("{place}/{key}");
            if let Some((code, why)) = literal::wrong_for_model(key, &value).filter(|_| !self.has_mistake_at(&place)) {
                self.complain(place, code, why);
            }
        }
        shape
    }

    /// What a step dispatches, in place of `tool` and `with`: the fields of an envelope that a mission says of a child. What the node holds
    /// against them it says when they are dispatched, for their texts are known then.
    fn mission(&mut self, place: &str, order: &'e Json, names: Names<'_>, needs: &mut Vec<Named>) -> Shape<'e> {
        let place = format!("{place}/mission");
        if let Some(asked) = self.object(&place, order, &ORDER) {
            self.required_text(&place, asked, "objective");
            self.required_text(&place, asked, "mission_type");
            self.text(&place, asked, "plugin");
        }
        self.shape(&place, order, names, needs).shape
    }

    /// What the step `ask` asks. Its arguments are the plugin's own, so that what is wrong with them is known here.
    fn question_for_people(&mut self, place: &str, fields: &'e Map<String, Json>) {
        let place = format!("{place}/with");
        match fields.get("with") {
            None | Some(Json::Null) => {
                self.complain(format!("{place}/question"), "required", "say in `question` what people are asked");
            }
            Some(Json::Object(with)) => {
                self.required_text(&place, with, "question");
            }
            // One template, of which nothing is known yet, or a mistake that is told as such.
            Some(_) => {}
        }
    }

    /// A duration, or a text with templates that gives one.
    fn sleep(&mut self, place: &str, value: &'e Json, names: Names<'_>, needs: &mut Vec<Named>) -> Shape<'e> {
        let place = format!("{place}/sleep");
        let shape = self.shape(&place, value, names, needs).shape;
        let is_wrong = match &shape {
            Shape::Fixed(fixed) => fixed.as_str().and_then(duration::parse).is_none(),
            Shape::Text { .. } | Shape::Typed { .. } => false,
            Shape::List(_) | Shape::Object(_) => true,
        };
        if is_wrong && !self.has_mistake_at(&place) {
            self.complain(place, "bad_duration", duration::EXPECTED);
        }
        shape
    }

    /// The steps of a sub-graph.
    fn graph(&mut self, place: &str, value: &'e Json, level: Level<'_>) -> Vec<graph::Draft<'e>> {
        let Json::Array(items) = value else {
            self.complain(place.to_owned(), "wrong_type", "it must be a list of steps");
            return Vec::new();
        };
        if level.depth > NESTING_MAX {
            let detail = format!(
                "sub-graphs are nested at most {NESTING_MAX} deep: take these steps out of the one around them"
            );
            self.complain(place.to_owned(), "too_many", detail);
            return Vec::new();
        }
        self.steps(place, items, level)
    }

    /// `until`. What it names counts for `afterwards`: it may be the step itself.
    pub(super) fn until(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        afterwards: &mut Vec<Named>,
    ) -> Option<Until<'e>> {
        let value = fields.get("until").filter(|value| !value.is_null())?;
        if !is_there(fields, "retry") {
            let detail = "say with `retry` how often it is tried, and how long it rests in between";
            self.complain(format!("{place}/until"), "invalid", detail);
        } else if fields["retry"]["attempts"] == 1 {
            let detail = "with one attempt there is nothing to wait for: allow more, or judge the result with `if` of the next step";
            self.complain(format!("{place}/retry/attempts"), "out_of_range", detail);
        }
        if value.is_boolean() {
            let detail = "it must look at the step's `result`: this is answered before there is one";
            self.complain(format!("{place}/until"), "invalid", detail);
            return None;
        }
        let all = names.and(RESULT);
        let mut found = Vec::new();
        let question = self.question(format!("{place}/until"), value, Names { all: &all, ..names }, &mut found);
        let sees_itself = self.own(fields, &found);
        afterwards.extend(found);
        Some(Until { question: question?, sees_itself, source: value.as_str().unwrap_or_default() })
    }

    /// `compensate`. What it names counts for `afterwards`: it may be the step itself.
    pub(super) fn compensate(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        afterwards: &mut Vec<Named>,
    ) -> Option<Compensate<'e>> {
        let value = fields.get("compensate").filter(|value| !value.is_null())?;
        let place = format!("{place}/compensate");
        let asked = self.object(&place, value, &["tool", "with", "retry", "timeout"])?;
        let mut all = names.and(RESULT);
        all.push(FAILURE);
        let mut found = Vec::new();
        let call = self.call(&place, asked, Names { all: &all, ..names }, &mut found);
        let sees_itself = self.own(fields, &found);
        afterwards.extend(found);
        let retry = if is_there(asked, "retry") { self.retry(&place, asked) } else { Retry::default() };
        let timeout = self.duration(&place, asked, "timeout").filter(|timeout| self.is_positive(&place, *timeout));
        Some(Compensate { call, sees_itself, retry, timeout })
    }

    /// Whether a step is among those that it names.
    fn own(&self, fields: &Map<String, Json>, named: &[Named]) -> bool {
        fields.get("id").and_then(Json::as_str).is_some_and(|id| named.iter().any(|named| named.id == id))
    }
}

/// A field of a shape, as far as it is known before anything is rendered: of what has templates in it, its type.
fn outline(shape: &Shape<'_>, key: &str) -> Option<Json> {
    let field = match shape {
        Shape::Fixed(value) => return value.get(key).cloned(),
        Shape::Object(fields) => fields.iter().find_map(|(name, field)| (*name == key).then_some(field))?,
        _ => return None,
    };
    match field {
        Shape::Fixed(value) => Some(value.clone()),
        Shape::Text { .. } => Some(Json::String(String::new())),
        Shape::Typed { .. } => None,
        Shape::List(_) => Some(Json::Array(Vec::new())),
        Shape::Object(_) => Some(Json::Object(Map::new())),
    }
}
