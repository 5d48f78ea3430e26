//! What a message of a stream holds: the text of a job, in whichever fields it came, and what becomes of one that is none.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sortie_contract::mistake::code;
use sortie_contract::{Mistake, Pointer, limit};

/// The fields of a message.
pub(crate) type Fields = BTreeMap<String, Vec<u8>>;

/// Fields that hold a job as one text; the first that is there counts.
const WHOLE: [&str; 3] = ["envelope", "body", "data"];

/// Fields of a job that is not one text and are JSON there.
const OF_JSON: [&str; 4] = ["payload", "priority", "timeout_seconds", "max_retries"];

/// Most bytes of a text that goes on to the dead letters.
const DEAD_BYTES_MAX: usize = 4 << 20;

/// The text of the job that a message holds, of at most so many bytes.
pub(crate) fn job_of(fields: &Fields, bytes_max: usize) -> Result<String, Vec<Mistake>> {
    let bytes: usize = fields.values().map(Vec::len).sum();
    if bytes > bytes_max {
        let detail = format!("the message has {bytes} bytes, and an envelope at most {bytes_max}");
        return Err(vec![Mistake::new(Pointer::root(), code::TOO_LONG, detail)]);
    }
    if let Some((name, bytes)) = WHOLE.iter().find_map(|name| fields.get_key_value(*name)) {
        return text(name, bytes).map(str::to_owned);
    }
    if !fields.contains_key("job_id") {
        let detail = format!("the message has no field `{}`, and none that a job is made of", WHOLE.join("`, `"));
        return Err(vec![Mistake::new(Pointer::root(), code::REQUIRED, detail)]);
    }
    let mut job = Map::new();
    for (name, bytes) in fields {
        let text = text(name, bytes)?;
        let value = match OF_JSON.contains(&name.as_str()) {
            true => crate::envelope::read(text)?,
            false => Value::from(text),
        };
        job.insert(name.clone(), value);
    }
    Ok(Value::from(job).to_string())
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, Vec<Mistake>> {
    std::str::from_utf8(bytes).map_err(|error| {
        let name = limit::clip(name, limit::QUOTE_BYTES_MAX);
        let detail = format!("the field `{name}` is no UTF-8 text from byte {} on", error.valid_up_to());
        vec![Mistake::new(Pointer::root(), code::NOT_JSON, detail)]
    })
}

/// The fields of the dead letter that a message becomes: what it held, from where, and why it is dead.
pub(crate) fn dead_letter(id: &str, fields: &Fields, why: &[Mistake]) -> Vec<(&'static str, String)> {
    let told = why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let held = WHOLE.iter().find_map(|name| fields.get(*name));
    let held = held.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let held = held.unwrap_or_else(|| {
        let fields = fields.iter().map(|(name, bytes)| (name.clone(), Value::from(String::from_utf8_lossy(bytes))));
        Value::from(fields.collect::<Map<_, _>>()).to_string()
    });
    let mut envelope: Value = serde_json::from_str(&held).unwrap_or_default();
    // As the control plane's own bridge leaves it, where it is an object.
    let envelope = match envelope.as_object_mut() {
        Some(job) => {
            job.insert("failure_error".to_owned(), told.as_str().into());
            job.insert("retry_count".to_owned(), 0.into());
            envelope.to_string()
        }
        None => held,
    };
    let job = fields.get("job_id").map(|job| String::from_utf8_lossy(job).into_owned());
    let job = job.or_else(|| Some(serde_json::from_str::<Value>(&envelope).ok()?["job_id"].as_str()?.to_owned()));
    vec![
        ("job_id", limit::clip(&job.unwrap_or_default(), limit::KEY_BYTES_MAX)),
        ("envelope", limit::clip(&envelope, DEAD_BYTES_MAX)),
        ("error", told),
        ("errors", json!(why).to_string()),
        ("message_id", id.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(of: &[(&str, &str)]) -> Fields {
        of.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_job_is_found_in_each_form_of_a_message() {
        let whole = r#"{"job_id":"a"}"#;
        for name in WHOLE {
            assert_eq!(job_of(&fields(&[("job_id", "b"), (name, whole)]), 100).as_deref(), Ok(whole));
        }
        let flat = fields(&[
            ("job_id", "7"),
            ("idempotency_key", "k"),
            ("priority", "50"),
            ("payload", r#"{"task":"do it"}"#),
        ]);
        let job: Value = serde_json::from_str(&job_of(&flat, 1_000).expect("a job")).expect("JSON");
        assert_eq!(job, json!({"job_id": "7", "idempotency_key": "k", "priority": 50, "payload": {"task": "do it"}}));
        for (odd, code) in [
            (fields(&[("x", "y")]), code::REQUIRED),
            (fields(&[("job_id", "a"), ("payload", "{")]), code::NOT_JSON),
            (fields(&[("envelope", &"x".repeat(101))]), code::TOO_LONG),
            (Fields::from([("envelope".to_owned(), vec![0xff])]), code::NOT_JSON),
            (Fields::new(), code::REQUIRED),
        ] {
            assert_eq!(job_of(&odd, 100).expect_err("none")[0].code, code, "{odd:?}");
        }
    }

    #[test]
    fn a_dead_letter_has_what_the_message_had_and_why_it_is_dead() {
        let why = [Mistake::new(Pointer::raw("/payload/task"), code::REQUIRED, "`task` is missing")];
        let letter = |of: &Fields| dead_letter("1-0", of, &why).into_iter().collect::<BTreeMap<_, _>>();
        let told = letter(&fields(&[("envelope", r#"{"job_id":"a","payload":{}}"#)]));
        let envelope: Value = serde_json::from_str(&told["envelope"]).expect("JSON");
        assert_eq!((told["job_id"].as_str(), told["message_id"].as_str()), ("a", "1-0"));
        assert!(envelope["failure_error"].as_str().is_some_and(|told| told.contains("/payload/task")), "{envelope}");
        assert_eq!(letter(&fields(&[("job_id", "b"), ("envelope", "no JSON")]))["envelope"], "no JSON");
        assert_eq!(letter(&fields(&[("x", "y")]))["job_id"], "");
        assert!(letter(&fields(&[("x", "y")]))["envelope"].contains(r#""x":"y""#));
    }
}
