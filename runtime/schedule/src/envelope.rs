//! The envelope of a fire: what the schedule's `[mission]` comes to at its time.
//!
//! Owns what templates see, and what is filled in where nothing is written. Never knows what an
//! envelope must be: who takes it says that.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sortie_contract::envelope::OnWindowEnd;
use sortie_contract::{Mistake, Pointer, limit};
use sortie_template::{Fill, Templates, Writing};

use crate::code::INVALID_TEMPLATE;
use crate::schedule::{Fire, Schedule};
use crate::window::FireWindow;

/// What the templates of a schedule see.
pub const NAMES: [&str; 5] = ["scheduled_at", "date", "previous", "schedule", "vars"];

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
        let place = Pointer::root().join("mission");
        let mut envelope = Fill::new(&templates, &NAMES).envelope(&self.mission(), &place, &mut found);
        if !found.is_empty() {
            found.truncate(limit::MISTAKES_MAX);
            let mistake = |(at, detail)| Mistake::new(at, INVALID_TEMPLATE, detail);
            return Err(found.into_iter().map(mistake).collect());
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

#[cfg(test)]
mod tests {
    use sortie_template::SOURCE_BYTES_MAX;

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
            for is in
                [json!({"mission_type": "automation"}), json!({"mission_type": "custom", "plugin": "automation@1"})]
            {
                let mut mission = is;
                mission["inputs"] = json!({"steps": [{"with": source}]});
                let envelope = envelope(&mission, &previous).expect("valid");
                assert_eq!(envelope["inputs"]["steps"][0]["with"], expected, "{source}");
            }
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
                json!({"mission_type": "automation", "inputs": {"steps": "{{ steps.a.result ~ date }}"}}),
                "/mission/inputs/steps",
                "write two",
            ),
        ] {
            let found = envelope(&mission, &Previous::default()).expect_err("wrong");
            assert_eq!((found.len(), found[0].pointer.as_str()), (1, at), "{found:?}");
            assert!(found[0].detail.contains(says), "{:?}", found[0]);
        }
    }
}
