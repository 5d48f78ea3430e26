//! Reads the JSON of `inputs.steps` field by field, so that every mistake has its place and none hides another.

use core::time::Duration;

use serde_json::{Map, Value as Json};
use sortie_plugin::Mistake;

use crate::duration;
use crate::template::{Compiler, ITEM_NAMES, Language, Question, Shape};

use super::graph::{Draft, Named, named};
use super::literal;
use super::{ASK, ATTEMPTS_MAX, Artifact, Content, Criterion, Each, MODEL, Retry, STEPS_MAX, Source, Step, Text};

/// Longest id of a step: as long as a mission's.
const ID_BYTES_MAX: usize = 200;

/// Where the steps are.
const STEPS: &str = "/inputs/steps";

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
    if items.is_empty() {
        complain("empty", "there must be at least one step".into());
    }
    if items.len() > STEPS_MAX {
        complain("too_many", format!("there may be at most {STEPS_MAX} steps; these are {}", items.len()));
        return Vec::new();
    }
    let mut reader = Reader { language, source, mistakes };
    items.iter().enumerate().filter_map(|(index, item)| reader.step(&format!("{STEPS}/{index}"), item)).collect()
}

/// What reading needs everywhere.
struct Reader<'e, 'm> {
    language: &'e Language<'e>,
    source: Source<'e>,
    mistakes: &'m mut Vec<Mistake>,
}

impl<'e> Reader<'e, '_> {
    fn step(&mut self, place: &str, item: &'e Json) -> Option<Draft<'e>> {
        const KEYS: &[&str] = &[
            "id",
            "tool",
            "model",
            "with",
            "needs",
            "if",
            "for_each",
            "concurrency",
            "retry",
            "timeout",
            "artifact",
            "milestone",
            "criterion",
            "on_error",
        ];
        let fields = self.object(place, item, KEYS)?;
        let id = self.id(place, fields).unwrap_or_default();
        let model = fields.get("model").filter(|model| !model.is_null());
        let tool = match model {
            Some(_) => MODEL,
            None => self.required_text(place, fields, "tool").unwrap_or_default(),
        };
        if model.is_none() && tool.eq_ignore_ascii_case(MODEL) {
            let detail = "a model is no tool: write `model` with its `prompt` in place of `tool` and `with`";
            self.complain(format!("{place}/tool"), "invalid", detail);
        }
        let mut needs = self.needs(place, fields);
        let each = self.each(place, fields, &mut needs);
        let names: &[&str] = if each.is_some() { &ITEM_NAMES } else { &[] };
        if tool.eq_ignore_ascii_case(ASK) {
            self.question_for_people(place, fields);
        }
        let mut afterwards = Vec::new();
        let step = Step {
            id,
            place: place.to_owned(),
            tool,
            with: match model {
                Some(model) => self.model(place, fields, model, names, &mut needs),
                None => self.with(place, fields, names, &mut needs),
            },
            condition: self.condition(place, fields, names, &mut needs),
            retry: self.retry(place, fields),
            timeout: self.duration(place, fields, "timeout").filter(|timeout| self.is_positive(place, *timeout)),
            artifact: self.artifact(place, fields, names, &mut afterwards),
            milestone: self.milestone(place, fields, names, &mut afterwards),
            criterion: self.criterion(place, fields, &mut afterwards),
            goes_on: self.goes_on(place, fields),
            each,
            needs: Vec::new(),
            unconditional: false,
        };
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

    fn each(&mut self, place: &str, fields: &'e Map<String, Json>, needs: &mut Vec<Named>) -> Option<Each<'e>> {
        let concurrency = self.count(place, fields, "concurrency", 1, u64::MAX);
        let value = fields.get("for_each")?;
        let place = format!("{place}/for_each");
        let items = self.shape(&place, value, &[], needs).shape;
        let list = matches!(items, Shape::Typed { .. } | Shape::List(_) | Shape::Fixed(Json::Array(_)));
        if !list && !self.has_mistake_at(&place) {
            self.complain(place, "wrong_type", "it must be a list, or one {{ … }} that gives a list");
        }
        let concurrency = concurrency.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        Some(Each { items, concurrency })
    }

    fn with(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: &[&str],
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
    fn model(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        model: &'e Json,
        names: &[&str],
        needs: &mut Vec<Named>,
    ) -> Shape<'e> {
        for key in ["tool", "with"].into_iter().filter(|key| fields.get(*key).is_some_and(|value| !value.is_null())) {
            let detail = "a step calls a tool `with` arguments or asks a `model`, not both";
            self.complain(format!("{place}/{key}"), "invalid", detail);
        }
        let place = format!("{place}/model");
        if let Some(asked) = self.object(&place, model, &["prompt", "system", "schema", "model", "max_tokens"]) {
            self.required_text(&place, asked, "prompt");
            self.text(&place, asked, "system");
            self.text(&place, asked, "model");
        }
        self.shape(&place, model, names, needs).shape
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

    fn condition(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: &[&str],
        needs: &mut Vec<Named>,
    ) -> Option<Question<'e>> {
        let value = fields.get("if").filter(|value| !value.is_null())?;
        self.question(format!("{place}/if"), value, names, needs)
    }

    fn retry(&mut self, place: &str, fields: &'e Map<String, Json>) -> Retry {
        let place = format!("{place}/retry");
        let Some(value) = fields.get("retry").filter(|value| !value.is_null()) else { return Retry::default() };
        let Some(fields) = self.object(&place, value, &["attempts", "backoff", "factor"]) else {
            return Retry::default();
        };
        if !fields.contains_key("attempts") {
            self.complain(
                format!("{place}/attempts"),
                "required",
                "say how many attempts there are, the first included",
            );
        }
        let attempts = self.count(&place, fields, "attempts", 1, ATTEMPTS_MAX.into());
        let factor = match fields.get("factor") {
            None | Some(Json::Null) => 1.0,
            Some(factor) => match factor.as_f64() {
                Some(factor) if (1.0..=100.0).contains(&factor) => factor,
                _ => {
                    self.complain(format!("{place}/factor"), "out_of_range", "it must be a number from 1 to 100");
                    1.0
                }
            },
        };
        Retry {
            attempts: attempts.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
            backoff: self.duration(&place, fields, "backoff").unwrap_or(Retry::default().backoff),
            factor,
        }
    }

    fn artifact(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: &[&str],
        needs: &mut Vec<Named>,
    ) -> Option<Artifact<'e>> {
        let place = format!("{place}/artifact");
        let value = fields.get("artifact").filter(|value| !value.is_null())?;
        if value.is_string() {
            let name = self.shape(&place, value, names, needs);
            self.fixed(&place, &name.shape, "bad_name", literal::wrong_name);
            return Some(Artifact {
                name: name.shape,
                content: Content::Result,
                media_type: None,
                each_item: name.each_item,
            });
        }
        let fields = self.object(&place, value, &["name", "path", "content", "media_type"])?;
        let name = self.required_text(&place, fields, "name").map(|_| {
            let place = format!("{place}/name");
            let name = self.shape(&place, &fields["name"], names, needs);
            self.fixed(&place, &name.shape, "bad_name", literal::wrong_name);
            name
        });
        let mut each_item = name.as_ref().is_some_and(|name| name.each_item);
        let mut source = |reader: &mut Self, key: &str| {
            // A content may be null; a path cannot.
            let value = fields.get(key).filter(|value| key == "content" || !value.is_null())?;
            let text = reader.shape(&format!("{place}/{key}"), value, names, needs);
            each_item |= text.each_item;
            Some(text.shape)
        };
        let content = match (source(self, "path"), source(self, "content")) {
            (None, None) => Content::Result,
            (Some(path), None) => {
                self.fixed(&format!("{place}/path"), &path, "bad_path", literal::wrong_path);
                Content::File(path)
            }
            (None, Some(content)) => Content::This(content),
            (Some(_), Some(content)) => {
                self.complain(format!("{place}/content"), "invalid", "an artifact has a path or a content, not both");
                Content::This(content)
            }
        };
        let media_type = self.text(&place, fields, "media_type");
        if let Some(why) = media_type.and_then(literal::wrong_media_type) {
            self.complain(format!("{place}/media_type"), "bad_media_type", why);
        }
        Some(Artifact { name: name?.shape, content, media_type, each_item })
    }

    fn milestone(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: &[&str],
        needs: &mut Vec<Named>,
    ) -> Option<Text<'e>> {
        self.text(place, fields, "milestone")?;
        Some(self.shape(&format!("{place}/milestone"), &fields["milestone"], names, needs))
    }

    fn criterion(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        needs: &mut Vec<Named>,
    ) -> Option<Criterion<'e>> {
        let place = format!("{place}/criterion");
        let value = fields.get("criterion").filter(|value| !value.is_null())?;
        let fields = self.object(&place, value, &["text", "met"])?;
        let text = self.required_text(&place, fields, "text");
        let met = match fields.get("met") {
            Some(met) => self.question(format!("{place}/met"), met, &[], needs),
            None => {
                self.complain(format!("{place}/met"), "required", "say with one {{ … }} when the criterion is met");
                None
            }
        };
        let criteria = self.source.success_criteria;
        let index = text.and_then(|text| criteria.iter().position(|criterion| criterion == text));
        if index.is_none() && text.is_some() {
            let known = if criteria.is_empty() { "there are none".to_owned() } else { criteria.join("; ") };
            let detail = format!("it must be the text of one of the envelope's success_criteria: {known}");
            self.complain(format!("{place}/text"), "unknown_criterion", detail);
        }
        Some(Criterion {
            index: index?,
            met: met?,
            source: fields["met"].as_str().map_or_else(|| fields["met"].to_string(), str::to_owned),
        })
    }

    fn goes_on(&mut self, place: &str, fields: &'e Map<String, Json>) -> bool {
        match fields.get("on_error").map(Json::as_str) {
            None | Some(Some("fail")) => false,
            Some(Some("continue")) => true,
            Some(_) => {
                self.complain(format!("{place}/on_error"), "invalid", "it must be `fail` or `continue`");
                false
            }
        }
    }

    /// Something to be answered with yes or no: `true`, `false`, or one `{{ … }}`.
    fn question(
        &mut self,
        place: String,
        value: &'e Json,
        names: &[&str],
        needs: &mut Vec<Named>,
    ) -> Option<Question<'e>> {
        let mut compiler = Compiler::new(self.language, names);
        let question = compiler.question(&place, value);
        let Compiler { references, errors, .. } = compiler;
        if question.is_none() && errors.is_empty() {
            let code = if value.is_string() { "bad_template" } else { "wrong_type" };
            self.complain(place, code, "it must be true, false, or one {{ … }} and nothing around it");
        }
        for error in errors {
            self.complain(error.place, "bad_template", error.detail);
        }
        needs.extend(named(references));
        question
    }

    fn shape(&mut self, place: &str, value: &'e Json, names: &[&str], needs: &mut Vec<Named>) -> Text<'e> {
        let mut compiler = Compiler::new(self.language, names);
        let shape = compiler.shape(place, value);
        let Compiler { references, errors, .. } = compiler;
        for error in errors {
            self.complain(error.place, "bad_template", error.detail);
        }
        let each_item = references.item;
        needs.extend(named(references));
        Text { shape, each_item }
    }

    /// Holds a text against the node's rule for it, where it is fixed: what a template gives is known later.
    fn fixed(&mut self, place: &str, shape: &Shape<'_>, code: &'static str, wrong: fn(&str) -> Option<&'static str>) {
        let Shape::Fixed(value) = shape else { return };
        if self.has_mistake_at(place) {
            return;
        }
        match value {
            Json::String(text) => {
                if let Some(why) = wrong(text) {
                    self.complain(place.to_owned(), code, why);
                }
            }
            _ => self.complain(place.to_owned(), "wrong_type", "it must be a text"),
        }
    }

    fn duration(&mut self, place: &str, fields: &Map<String, Json>, key: &str) -> Option<Duration> {
        let value = fields.get(key).filter(|value| !value.is_null())?;
        let duration = value.as_str().and_then(duration::parse);
        if duration.is_none() {
            let detail = "it must be a duration such as \"500ms\", \"30s\", \"5m\", \"2h\" or \"1d\", at most a year";
            self.complain(format!("{place}/{key}"), "bad_duration", detail);
        }
        duration
    }

    fn is_positive(&mut self, place: &str, timeout: Duration) -> bool {
        if timeout.is_zero() {
            self.complain(format!("{place}/timeout"), "bad_duration", "a timeout must be longer than nothing");
        }
        !timeout.is_zero()
    }

    fn count(&mut self, place: &str, fields: &Map<String, Json>, key: &str, min: u64, max: u64) -> Option<u64> {
        let value = fields.get(key).filter(|value| !value.is_null())?;
        let count = value.as_u64().filter(|count| (min..=max).contains(count));
        if count.is_none() {
            let range = if max == u64::MAX { format!("{min} or more") } else { format!("from {min} to {max}") };
            self.complain(format!("{place}/{key}"), "out_of_range", format!("it must be a whole number, {range}"));
        }
        count
    }

    fn text(&mut self, place: &str, fields: &'e Map<String, Json>, key: &str) -> Option<&'e str> {
        match fields.get(key) {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text),
            Some(_) => {
                self.complain(format!("{place}/{key}"), "wrong_type", "it must be a text");
                None
            }
        }
    }

    fn required_text(&mut self, place: &str, fields: &'e Map<String, Json>, key: &str) -> Option<&'e str> {
        match fields.get(key) {
            None | Some(Json::Null) => {
                self.complain(format!("{place}/{key}"), "required", format!("`{key}` is missing"));
                None
            }
            Some(Json::String(text)) if text.trim().is_empty() => {
                self.complain(format!("{place}/{key}"), "empty", format!("`{key}` must not be empty"));
                None
            }
            Some(_) => self.text(place, fields, key),
        }
    }

    fn object(&mut self, place: &str, value: &'e Json, keys: &[&str]) -> Option<&'e Map<String, Json>> {
        let Json::Object(fields) = value else {
            self.complain(place.to_owned(), "wrong_type", format!("it must be an object with {}", keys.join(", ")));
            return None;
        };
        for key in fields.keys().filter(|key| !keys.contains(&key.as_str())) {
            let pointer = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
            self.complain(pointer, "unknown_key", format!("`{key}` is not known here; known are {}", keys.join(", ")));
        }
        Some(fields)
    }

    fn has_mistake_at(&self, place: &str) -> bool {
        self.mistakes.iter().any(|mistake| mistake.pointer.starts_with(place))
    }

    fn complain(&mut self, pointer: String, code: &'static str, detail: impl Into<String>) {
        self.mistakes.push(Mistake::new(pointer, code, detail));
    }
}
