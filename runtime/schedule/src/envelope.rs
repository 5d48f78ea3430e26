//! The envelope of a fire: what the schedule's `[mission]` comes to at its time.
//!
//! Owns what templates see, which of them are the plugin's own, and what is filled in where nothing is written. Never knows what an
//! envelope must be: who takes it says that.

use std::cell::Cell;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sortie_contract::envelope::OnWindowEnd;
use sortie_contract::{Mistake, Pointer, limit};
use sortie_template::{SOURCE_BYTES_MAX, Templates, Writing};

use crate::code::INVALID_TEMPLATE;
use crate::schedule::{Fire, Schedule};
use crate::window::FireWindow;

/// What the templates of a schedule see.
pub const NAMES: [&str; 5] = ["scheduled_at", "date", "previous", "schedule", "vars"];

/// What templates within the inputs of an `automation` see once it runs. A text that names these is that plugin's, and left as it is.
const OF_THE_PLUGIN: [&str; 8] = ["inputs", "objective", "mission", "steps", "item", "index", "result", "failure"];

/// Functions of the template language.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// Most bytes of a text with templates in it.
const BYTES_MAX: usize = 64 << 10;

/// Most bytes of what all templates of an envelope come to.
const MADE_BYTES_MAX: usize = 1 << 20;

/// Most marks of an end that are looked at for that of one expression.
const ENDS_MAX: usize = 16;

/// What became of the mission before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its id; `None` where there is none yet.
    pub mission_id: Option<String>,
    /// How it ended.
    pub status: Option<String>,
    /// The summary of its last event.
    pub summary: String,
    /// Its artifacts, as its final event lists them.
    pub artifacts: Vec<Value>,
}

impl Schedule {
    /// The envelope of a fire on the node of this name, with its window. The same for the same arguments.
    ///
    /// # Errors
    /// All texts that are no templates, or that name what is not there, with their places in the schedule.
    pub fn envelope(
        &self,
        fire: Fire,
        window: FireWindow,
        previous: &Previous,
        node: &str,
    ) -> Result<Map<String, Value>, Vec<Mistake>> {
        let templates = Templates::new(self.scope(fire.at, previous), Writing::Json);
        let mut found = Vec::new();
        let mut envelope = Map::new();
        let room = Cell::new(MADE_BYTES_MAX);
        let mission = self.mission();
        let is_automation = mission.get("mission_type").and_then(Value::as_str) == Some("automation");
        for (name, value) in &mission {
            let at = Pointer::root().join("mission").join(name);
            // What runs later takes what is put in here for a template where it looks like one.
            let into_templates = is_automation && name == "inputs";
            let text = Text { templates: &templates, into_templates, room: &room };
            envelope.insert(name.clone(), text.render(value, &at, &mut found));
        }
        if !found.is_empty() {
            found.truncate(limit::MISTAKES_MAX);
            return Err(found);
        }
        let id = self.mission_id(fire.at).to_string();
        let own = [
            ("mission_id", Value::from(id.as_str())),
            ("idempotency_key", Value::from(id.as_str())),
            ("autonomy_window", window_of(window)),
        ];
        let absent = [
            ("trace_id", Value::from(id.as_str())),
            ("created_at", Value::from(fire.at.to_string())),
            ("source_instance_id", Value::from(node)),
            ("target_instance_id", Value::from(node)),
        ];
        for (name, value) in absent {
            envelope.entry(name).or_insert(value);
        }
        if self.on_window_end() == OnWindowEnd::Suspend {
            envelope.entry("on_window_end").or_insert_with(|| OnWindowEnd::Suspend.as_str().into());
            envelope.entry("carry_over_max").or_insert_with(|| self.carry_over_max().into());
        }
        envelope.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Ok(envelope)
    }

    /// Whether what became of the mission before may have a part in it.
    #[must_use]
    pub fn names_previous(&self) -> bool {
        Value::Object(self.mission()).to_string().contains("previous")
    }

    fn scope(&self, at: Timestamp, previous: &Previous) -> Value {
        json!({
            "scheduled_at": at.to_string(),
            "date": self.zone().local(at).date().to_string(),
            "previous": previous,
            "schedule": {"id": self.id(), "zone": self.zone().name(), "note": self.note()},
            "vars": self.vars().unwrap_or_default(),
        })
    }
}

fn window_of(window: FireWindow) -> Value {
    let mut shown = Map::from_iter([("start_at".to_owned(), Value::from(window.opens.to_string()))]);
    shown.extend(window.closes.map(|closes| ("end_at".to_owned(), Value::from(closes.to_string()))));
    Value::Object(shown)
}

/// Whose template a text is.
enum Whose {
    /// The schedule's.
    Ours,
    /// The plugin's: of names that it will see, when it runs.
    Plugins,
}

/// How the texts of one field are rendered.
struct Text<'a> {
    templates: &'a Templates,
    /// Whether what comes out is a template to somebody else.
    into_templates: bool,
    /// So many bytes may still come out of templates.
    room: &'a Cell<usize>,
}

impl Text<'_> {
    fn render(&self, value: &Value, at: &Pointer, found: &mut Vec<Mistake>) -> Value {
        match value {
            Value::String(source) if source.contains("{{") || source.contains("{%") => {
                self.string(source).unwrap_or_else(|detail| {
                    found.push(Mistake::new(at.clone(), INVALID_TEMPLATE, detail));
                    Value::Null
                })
            }
            Value::Array(items) => {
                let render = |(index, item)| self.render(item, &at.clone().join(index), found);
                Value::Array(items.iter().enumerate().map(render).collect())
            }
            Value::Object(fields) => {
                let render =
                    |(key, field): (&String, &Value)| (key.clone(), self.render(field, &at.clone().join(key), found));
                Value::Object(fields.iter().map(render).collect())
            }
            other => other.clone(),
        }
    }

    /// One text. One that is a single `{{ … }}` keeps the type of its value.
    fn string(&self, source: &str) -> Result<Value, String> {
        if source.len() > BYTES_MAX {
            return Err(format!("a text with templates has at most {BYTES_MAX} bytes: split it"));
        }
        if source.contains("{%") {
            return match self.whose(&Templates::names_of_text(source)?)? {
                Whose::Ours => {
                    let mut text = Vec::new();
                    self.templates.write(source, &mut text)?;
                    self.makes(text.len())?;
                    Ok(self.inert(Value::from(String::from_utf8_lossy(&text).into_owned())))
                }
                Whose::Plugins => Ok(Value::from(source)),
            };
        }
        let (mut text, mut rest) = (String::with_capacity(source.len()), source);
        while let Some((before, behind)) = rest.split_once("{{") {
            let (inner, names, after) = expression(behind)?;
            text.push_str(before);
            match self.whose(&names)? {
                Whose::Plugins => text.extend(["{{", inner, "}}"]),
                Whose::Ours => {
                    let value = self.templates.value(inner)?;
                    self.makes(value.to_string().len())?;
                    if before.is_empty() && text.is_empty() && after.is_empty() {
                        return Ok(self.inert(value));
                    }
                    match self.inert(value) {
                        Value::String(value) => text.push_str(&value),
                        other => text.push_str(&other.to_string()),
                    }
                }
            }
            rest = after;
        }
        text.push_str(rest);
        Ok(Value::from(text))
    }

    /// So many bytes come out of a template.
    fn makes(&self, bytes: usize) -> Result<(), String> {
        let left = self.room.get().checked_sub(bytes);
        self.room.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| format!("the templates of an envelope come to {MADE_BYTES_MAX} bytes at most"))
    }

    fn whose(&self, names: &BTreeSet<String>) -> Result<Whose, String> {
        let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !FUNCTIONS.contains(name)).collect();
        let plugins = |name: &&str| self.into_templates && OF_THE_PLUGIN.contains(name);
        if let Some(unknown) = names.iter().find(|name| !NAMES.contains(name) && !plugins(name)) {
            return Err(format!("`{unknown}` is not known here; known are {}", NAMES.join(", ")));
        }
        match (names.iter().any(plugins), names.iter().any(|name| NAMES.contains(name))) {
            (true, true) => Err(format!(
                "what the schedule knows ({}) and what the mission will know ({}) stand in one template: write two",
                NAMES.join(", "),
                OF_THE_PLUGIN.join(", ")
            )),
            (true, false) => Ok(Whose::Plugins),
            (false, _) => Ok(Whose::Ours),
        }
    }

    /// A value that nobody takes for a template: what an earlier mission wrote is data.
    fn inert(&self, value: Value) -> Value {
        if !self.into_templates {
            return value;
        }
        match value {
            Value::String(text) => Value::String(escaped(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.inert(item)).collect()),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(key, field)| (key, self.inert(field))).collect())
            }
            other => other,
        }
    }
}

/// The expression that a text begins with, the names in it, and what is behind it. A text within it may hold the mark of its end.
fn expression(text: &str) -> Result<(&str, BTreeSet<String>, &str), String> {
    let mut first = None;
    for (end, _) in text.match_indices("}}").take(ENDS_MAX) {
        if end > SOURCE_BYTES_MAX {
            let most = format!("an expression has at most {SOURCE_BYTES_MAX} bytes: put a part of it into `vars`");
            return Err(first.unwrap_or(most));
        }
        let inner = &text[..end];
        match Templates::names(inner) {
            Ok(names) => return Ok((inner, names, &text[end + 2..])),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    Err(first.unwrap_or_else(|| "`{{` is not closed by `}}`".to_owned()))
}

/// A text whose marks of templates are written as texts.
fn escaped(text: &str) -> String {
    let (mut escaped, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        escaped.push_str(before);
        let mark = from.get(..2).filter(|mark| ["{{", "{%", "{#"].contains(mark));
        match mark {
            Some(mark) => escaped.extend(["{{ '", mark, "' }}"]),
            None => escaped.push('{'),
        }
        rest = &from[mark.map_or(1, str::len)..];
    }
    escaped.push_str(rest);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclusion::Calendars;
    use crate::parse::Form;
    use crate::position::Origin;

    fn envelope(mission: &Value, previous: &Previous) -> Result<Map<String, Value>, Vec<Mistake>> {
        let text = json!({
            "id": "nightly", "zone": "America/Chicago", "at": "0 2 * * *", "opens_for": "4h", "vars": {"depth": 3, "who": ["a", "b"]},
            "mission": mission,
        });
        let schedule = Schedule::parse(&text.to_string(), Form::Json, &Calendars::none()).expect("a schedule");
        let after = "2026-11-25T00:00:00Z".parse().expect("a time");
        let fire = schedule.next(after).expect("it fires");
        schedule.envelope(fire, schedule.window(fire, Origin::Scheduled, fire.due), previous, "factory-1")
    }

    #[test]
    fn what_is_not_written_is_filled_in() {
        let envelope = envelope(&json!({"vp_id": "vp", "objective": "Look."}), &Previous::default()).expect("valid");
        assert_eq!(
            Value::Object(envelope),
            json!({
                "vp_id": "vp", "objective": "Look.", "trace_id": "nightly:20261125T080000Z",
                "created_at": "2026-11-25T08:00:00Z", "source_instance_id": "factory-1", "target_instance_id": "factory-1",
                "mission_id": "nightly:20261125T080000Z", "idempotency_key": "nightly:20261125T080000Z",
                "autonomy_window": {"start_at": "2026-11-25T08:00:00Z", "end_at": "2026-11-25T12:00:00Z"},
            })
        );
    }

    #[test]
    fn texts_are_templates() {
        let previous = Previous {
            mission_id: Some("nightly:x".to_owned()),
            status: Some("completed".to_owned()),
            summary: "All {{ steps.a.result }} done.".to_owned(),
            artifacts: vec![json!({"name": "report.md"})],
        };
        for (source, expected) in [
            (json!("of {{ date }}"), json!("of 2026-11-25")),
            (json!("{{ scheduled_at }}"), json!("2026-11-25T08:00:00Z")),
            (json!("{{ vars.depth }}"), json!(3)),
            (json!("depth {{ vars.depth }} of {{ vars.who }}"), json!("depth 3 of [\"a\",\"b\"]")),
            (json!({"a": ["{{ schedule.id }}", 7]}), json!({"a": ["nightly", 7]})),
            (json!("{{ previous.artifacts[0].name }}"), json!("report.md")),
            (json!("{% if previous.status == 'completed' %}again{% else %}first{% endif %}"), json!("again")),
            (json!("{{ '}}' }}"), json!("}}")),
            (json!("no template { here }"), json!("no template { here }")),
            // Only the inputs of an automation hold templates of somebody else.
            (json!("{{ previous.summary }}"), json!("All {{ steps.a.result }} done.")),
        ] {
            let envelope = envelope(&json!({"x": source}), &previous).expect("valid");
            assert_eq!(envelope["x"], expected, "{source}");
        }
        for (source, expected) in [
            (json!("{{ steps.a.result }} of {{ date }}"), json!("{{ steps.a.result }} of 2026-11-25")),
            (json!("{% for s in steps %}{{ s }}{% endfor %}"), json!("{% for s in steps %}{{ s }}{% endfor %}")),
            (
                json!("{{ result.id | tojson }} {{ failure.step }}"),
                json!("{{ result.id | tojson }} {{ failure.step }}"),
            ),
            (json!("{{ previous.summary }}"), json!("All {{ '{{' }} steps.a.result }} done.")),
        ] {
            let mission = json!({"mission_type": "automation", "inputs": {"steps": [{"with": source}]}});
            let envelope = envelope(&mission, &previous).expect("valid");
            assert_eq!(envelope["inputs"]["steps"][0]["with"], expected, "{source}");
        }
    }

    #[test]
    fn what_is_long_and_flat_overflows_nothing() {
        for part in [".a", "[0]", "|upper", "+1", " and 1", "~1", "**1", " if 1", "()"] {
            let most = "{{ date}}".len();
            let long = format!("{{{{ date{}}}}}", part.repeat((SOURCE_BYTES_MAX - most) / part.len()));
            // Whatever it comes to.
            let _ = envelope(&json!({"objective": long}), &Previous::default());
        }
    }

    #[test]
    fn an_envelope_does_not_grow_without_end() {
        let long = Previous { summary: "x".repeat(1 << 10), ..Previous::default() };
        let texts: Vec<&str> = vec!["{{ previous.summary }}"; 2_000];
        let found = envelope(&json!({"inputs": {"a": texts}}), &long).expect_err("too much");
        assert!(found[0].detail.contains("1048576"), "{:?}", found[0]);
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said_with_its_place() {
        for (mission, at, says) in [
            (json!({"objective": "{{ dat }}"}), "/mission/objective", "`dat` is not known here"),
            (json!({"objective": "{{ steps.a }}"}), "/mission/objective", "`steps` is not known here"),
            (json!({"inputs": {"a": ["{{ vars.nope }}"]}}), "/mission/inputs/a/0", "not there"),
            (json!({"objective": "{{ date "}), "/mission/objective", "not closed"),
            (json!({"objective": "{{ date | nope }}"}), "/mission/objective", "nope"),
            (json!({"objective": "{% for n in range(99999) %}{{ n }}{% endfor %}"}), "/mission/objective", "work"),
            (json!({"objective": format!("{{{{ date{} }}}}", "|upper".repeat(10_000))}), "/mission/objective", "2048"),
            (
                json!({"objective": format!("{{% if date{} %}}{{% endif %}}", ".a".repeat(9_000))}),
                "/mission/objective",
                "2048",
            ),
            (
                json!({"mission_type": "automation", "inputs": {"a": "{{ steps.a.result ~ date }}"}}),
                "/mission/inputs/a",
                "write two",
            ),
        ] {
            let found = envelope(&mission, &Previous::default()).expect_err("wrong");
            assert_eq!((found.len(), found[0].pointer.as_str()), (1, at), "{found:?}");
            assert!(found[0].detail.contains(says), "{:?}", found[0]);
        }
    }
}
