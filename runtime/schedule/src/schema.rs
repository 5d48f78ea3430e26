//! The JSON Schema (2020-12) of a schedule: served to those who write control planes.
//!
//! What [`Schedule::parse`](crate::Schedule::parse) takes, the schema takes. The other way round it holds as far as a schema can say it: that
//! an expression is one, that a zone is known, that some time is left to fire at is said in words.

use serde_json::{Map, Value, json};
use sortie_contract::envelope::OnWindowEnd;
use sortie_contract::limit;

use crate::parse::{ID_BYTES_MAX, NOT_OF_A_TEMPLATE};
use crate::policy::Overlap;

/// The JSON Schema of a schedule.
#[must_use]
pub fn schedule_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Schedule",
        "description": "A schedule, which makes missions. `null` is the same as absent; unknown keys are refused.",
        "type": "object",
        "required": ["id", "mission"],
        "anyOf": [{ "required": ["at"] }, { "required": ["every"] }, { "required": ["once"] }],
        "properties": properties(),
        "additionalProperties": false,
    })
}

/// The same of one that need not be whole: the path says its `id`, or nobody looks at its mission.
#[must_use]
pub fn partial_schedule_schema(required: &[&str]) -> Value {
    let mut schema = schedule_schema();
    schema["required"] = json!(required);
    schema
}

fn properties() -> Map<String, Value> {
    let count = |least: u32, most: u32| json!({ "type": ["integer", "null"], "minimum": least, "maximum": most });
    let overlaps = Overlap::ALL.map(Overlap::as_str);
    let ends = OnWindowEnd::ALL.map(OnWindowEnd::as_str);
    let fields = [
        (
            "id",
            "Its name; its missions begin with it.",
            json!({ "type": "string", "pattern": format!("^[A-Za-z0-9._:-]{{1,{ID_BYTES_MAX}}}$") }),
        ),
        (
            "zone",
            "The zone of its times, by its name in the IANA list; required beside `at`, `once` and `except`.",
            text(),
        ),
        ("at", "Expressions as in crontab.", texts()),
        ("every", "An interval of real time, such as `1h 30m`.", text()),
        ("offset", "When within each interval it fires; shorter than `every`.", text()),
        ("once", "Single times, by the zone's clock or with an offset.", texts()),
        ("except", "Days and ranges that are left out, and calendars by name.", texts()),
        ("on_gap", "What a fixed time does that the clock leaves out.", names(&["end", "skip"])),
        ("on_fold", "What a fixed time does that the clock shows twice.", names(&["first", "both"])),
        ("start_at", "From when on it fires.", text()),
        ("end_at", "Until when, exclusively; later than `start_at`.", text()),
        ("runs", "How often it fires.", count(1, u32::MAX)),
        ("opens_for", "How long after its time its mission may run.", text()),
        ("on_window_end", "Whether a mission ends with its window, or goes on in the next one.", names(&ends)),
        ("carry_over_max", "How often a mission is carried over at most.", count(0, limit::CARRY_OVER_MAX)),
        ("overlap", "What happens to a fire while a mission of the schedule runs.", names(&overlaps)),
        ("catch_up", "How late a fire may be made up for.", text()),
        ("catch_up_policy", "Which of the late fires are made up for.", names(&["all", "last", "none"])),
        ("jitter", "Spreads fires over that long; shorter than `opens_for`.", text()),
        ("pause_after_failures", "After so many failures in a row it waits for a person.", count(1, u32::MAX)),
        ("allow_frequent", "It may fire more often than once a minute.", json!({ "type": ["boolean", "null"] })),
        ("note", "For people.", json!({ "type": ["string", "null"], "maxLength": limit::NOTE_BYTES_MAX })),
        ("mission", "The envelope of its missions; its texts are templates.", template()),
        ("vars", "What its templates may name.", json!({ "type": ["object", "null"] })),
    ];
    fields
        .into_iter()
        .map(|(name, description, mut schema)| {
            schema["description"] = description.into();
            (name.to_owned(), schema)
        })
        .collect()
}

/// Of its fields none can be said to be of a type: where a template stands, it may become any.
fn template() -> Value {
    json!({ "type": "object", "propertyNames": { "not": { "enum": NOT_OF_A_TEMPLATE } } })
}

fn text() -> Value {
    json!({ "type": ["string", "null"] })
}

/// One text, or a list of them.
fn texts() -> Value {
    json!({ "type": ["string", "array", "null"], "maxItems": limit::LIST_ENTRIES_MAX, "items": { "type": "string" } })
}

fn names(names: &[&str]) -> Value {
    let all: Vec<Value> = names.iter().map(|&name| name.into()).chain([Value::Null]).collect();
    json!({ "enum": all })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{KEYS, VARS};
    use crate::{Calendars, Form, Schedule};

    #[test]
    fn the_schema_has_the_keys_that_are_read_and_no_others() {
        let (properties, known) = (properties(), KEYS.into_iter().chain([VARS]));
        assert_eq!(properties.keys().map(String::as_str).collect::<Vec<_>>(), known.collect::<Vec<_>>());
    }

    /// A choice that the schema names and the reader does not know, or the other way round, is a schedule that somebody cannot write.
    #[test]
    fn each_name_of_a_choice_is_one_that_is_read_and_no_other_is() {
        let takes = |key: &str, value: &Value| {
            let text = json!({ "id": "a", "every": "1h", "mission": {}, key: value }).to_string();
            Schedule::parse(&text, Form::Json, &Calendars::none()).is_ok()
        };
        let mut choices = 0;
        for (key, schema) in properties() {
            let Some(names) = schema["enum"].as_array() else { continue };
            choices += 1;
            for name in names {
                assert!(takes(&key, name), "{key}: {name}");
            }
            assert!(!takes(&key, &json!("no such")), "{key}");
        }
        assert!(choices >= 5, "{choices}");
        for (key, schema) in properties().iter().filter(|(_, schema)| schema["maximum"].is_number()) {
            let (least, most) =
                (schema["minimum"].as_u64().expect("a bound"), schema["maximum"].as_u64().expect("a bound"));
            assert!(takes(key, &json!(least)) && takes(key, &json!(most)), "{key}");
            assert!(!takes(key, &json!(most + 1)) && (least == 0 || !takes(key, &json!(least - 1))), "{key}");
        }
        for key in NOT_OF_A_TEMPLATE {
            assert!(!takes("mission", &json!({ key: "x" })), "{key}");
        }
    }
}
