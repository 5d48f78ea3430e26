//! What TOML cannot say, nulls and whole numbers beyond 63 bits: in the file of a case it is a text of JSON, under a key of its own.

use serde_json::{Map, Value};

use super::case::{Case, Says, Word};

/// Whether TOML can say this.
pub(super) fn can_be_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Number(number) => !number.is_u64() || number.is_i64(),
        Value::Array(all) => all.iter().all(can_be_said),
        Value::Object(all) => all.values().all(can_be_said),
        Value::Bool(_) | Value::String(_) => true,
    }
}

/// The members that TOML can say, of what is only compared: fewer of them fit whatever all of them do.
pub(super) fn sayable(members: Map<String, Value>) -> Map<String, Value> {
    let kept = members.into_iter().filter_map(|(key, value)| match value {
        Value::Object(inner) => Some((key, Value::Object(sayable(inner)))),
        value => can_be_said(&value).then_some((key, value)),
    });
    kept.collect()
}

impl Case {
    /// The case as its file says it.
    pub(super) fn for_a_file(mut self) -> Self {
        if let Some(inputs) = self.mission.get("inputs").filter(|inputs| !can_be_said(inputs)) {
            self.inputs_json = Some(inputs.to_string());
            self.mission.remove("inputs");
        }
        // Elsewhere in an envelope null is the same as absent.
        self.mission = sayable(std::mem::take(&mut self.mission));
        for Says { with, answer, answer_json, .. } in &mut self.tools {
            *with = with.take().map(sayable);
            if let Some(untold) = answer.take_if(|answer| !can_be_said(answer)) {
                *answer_json = Some(untold.to_string());
            }
        }
        for child in &mut self.children {
            child.with = child.with.take().map(sayable);
        }
        for entry in self.models.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(untold) = entry.get("answer").filter(|answer| !can_be_said(answer)) {
                let untold = untold.to_string();
                entry.remove("answer");
                entry.insert("answer_json".to_owned(), untold.into());
            }
        }
        for person in &mut self.people {
            match &person.says {
                Word::Amend(arguments) if !arguments.values().all(can_be_said) => {
                    person.says = Word::AmendJson(Value::Object(arguments.clone()).to_string());
                }
                _ => {}
            }
        }
        for call in self.expect.calls.iter_mut().flatten() {
            call.with = sayable(std::mem::take(&mut call.with));
        }
        self
    }

    /// The case that a file says.
    ///
    /// # Errors
    /// A text of JSON is none, or stands beside what it stands for.
    pub(super) fn of_a_file(mut self) -> Result<Self, String> {
        if let Some(text) = self.inputs_json.take() {
            let inputs = json("inputs_json", &text, self.mission.contains_key("inputs"))?;
            self.mission.insert("inputs".to_owned(), inputs);
        }
        for Says { name, answer, answer_json, .. } in &mut self.tools {
            if let Some(text) = answer_json.take() {
                *answer =
                    Some(json(&format!("answer_json of an entry [[tool]] of `{name}`"), &text, answer.is_some())?);
            }
        }
        for entry in self.models.iter_mut().filter_map(Value::as_object_mut) {
            let place = "answer_json of an entry [[model]]";
            match entry.remove("answer_json") {
                None => {}
                Some(Value::String(text)) => {
                    let answer = json(place, &text, entry.contains_key("answer"))?;
                    entry.insert("answer".to_owned(), answer);
                }
                Some(_) => return Err(format!("{place}: it is a text of JSON")),
            }
        }
        for person in &mut self.people {
            if let Word::AmendJson(text) = &person.says {
                match json("amend_json", text, false)? {
                    Value::Object(arguments) => person.says = Word::Amend(arguments),
                    _ => return Err("amend_json: arguments are an object".to_owned()),
                }
            }
        }
        Ok(self)
    }
}

fn json(key: &str, text: &str, is_said: bool) -> Result<Value, String> {
    if is_said {
        return Err(format!("{key}: the same is said twice, once as JSON"));
    }
    serde_json::from_str(text).map_err(|error| format!("{key}: this is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_be_said_is_what_toml_takes() {
        for (value, does) in [
            (json!({"a": [1, "b", true, {"c": -1.5}]}), true),
            (json!({"a": null}), false),
            (json!([1, null]), false),
            (json!(i64::MAX), true),
            (json!({"a": i64::MAX as u64 + 1}), false),
        ] {
            assert_eq!(can_be_said(&value), does, "{value}");
            assert_eq!(toml::to_string(&json!({ "value": value })).is_ok() && does, does, "{value}");
        }
        let members = json!({"a": null, "b": {"c": null, "d": 1}, "e": [{"f": null}], "g": [1]});
        let Value::Object(members) = members else { unreachable!("it is one") };
        assert_eq!(Value::Object(sayable(members)), json!({"b": {"d": 1}, "g": [1]}));
    }
}
