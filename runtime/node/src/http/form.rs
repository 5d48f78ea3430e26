//! Small bodies of what is done: read into their form, or each mistake told with its place.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sortie_contract::mistake::code;
use sortie_contract::time::rfc3339;
use sortie_contract::{Mistake, Pointer, Timestamp, limit};

use axum::http::StatusCode;

use super::error::Problem;

/// A small body of this form; an empty one is an empty object.
pub(super) fn form<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    form_but(body, |_| false)
}

/// The same, where some of what is a mistake elsewhere is none.
pub(super) fn form_but<T: DeserializeOwned>(body: &[u8], is_fine: impl Fn(&Mistake) -> bool) -> Result<T, Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let (value, mut mistakes) = super::body::json(body, "a JSON object")?;
    mistakes.retain(|mistake| !is_fine(mistake));
    if !mistakes.is_empty() {
        return Err(invalid(&mistakes));
    }
    // A list would be read by the order of its items.
    if !value.is_object() {
        return Err(invalid(&[Mistake::new(Pointer::root(), code::WRONG_TYPE, "the body must be a JSON object")]));
    }
    serde_path_to_error::deserialize(&value).map_err(|error| invalid(&[misread(&value, &error)]))
}

/// The place of a field that could not be read, and why.
fn misread(value: &Value, error: &serde_path_to_error::Error<serde_json::Error>) -> Mistake {
    use serde_path_to_error::Segment;
    let (mut place, mut here) = (Pointer::root(), Some(value));
    for segment in error.path() {
        let (below, found) = match segment {
            Segment::Map { key } => (place.join(key), here.and_then(|here| here.get(key))),
            Segment::Seq { index } => (place.join(*index), here.and_then(|here| here.get(index))),
            Segment::Enum { .. } | Segment::Unknown => break,
        };
        // A key that may not be there is told where it is, a long one above it.
        if below.as_str().len() > limit::POINTER_BYTES_MAX {
            break;
        }
        (place, here) = (below, found);
    }
    let why = limit::clip(&error.inner().to_string(), limit::NOTE_BYTES_MAX);
    let named = |before: &str| why.strip_prefix(before)?.split('`').nth(1);
    if let Some(field) = named("missing field ") {
        return Mistake::new(place.join(field), code::REQUIRED, format!("`{field}` must be there"));
    }
    let code = if why.starts_with("unknown field ") { "unknown_key" } else { code::WRONG_TYPE };
    Mistake::new(place, code, why)
}

/// A moment that a field names.
pub(super) fn moment(field: &str, text: &str) -> Result<Timestamp, Problem> {
    rfc3339(text).map_err(|_| {
        let detail = format!("`{field}` must be an RFC 3339 time such as 2026-11-22T20:00:00Z");
        unusable(field, code::INVALID_TIME, &detail)
    })
}

/// One of the names of something.
pub(super) fn choice<T: Copy>(field: &str, text: Option<&str>, names: &[(&str, T)]) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| Some(*value));
    found.ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        unusable(field, code::UNKNOWN_VALUE, &format!("`{field}` must be one of {}", names.join(", ")))
    })
}

/// That a field of a body asks for what there is not.
pub(super) fn unusable(field: &str, code: &str, detail: &str) -> Problem {
    invalid(&[Mistake::new(Pointer::root().join(field), code, detail)])
}

fn invalid(mistakes: &[Mistake]) -> Problem {
    let detail = match mistakes {
        [only] => only.detail.clone(),
        all => format!("the body has {} mistakes", all.len()),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_action", detail).with("errors", json!(mistakes))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Sent {
            #[serde(default)]
            keep: bool,
            from: String,
            #[serde(default)]
            counts: Vec<u8>,
        }
        let long = format!(r#"{{"{}": 1}}"#, "k".repeat(5_000));
        for (body, status, errors) in [
            (r#"{"from": "x", "keep": true, "counts": [1]}"#, 200, ""),
            (r#"{"from": "x", "keep": "yes"}"#, 422, "/keep wrong_type"),
            (r#"{"from": "x", "keep": null}"#, 422, "/keep wrong_type"),
            (r#"{"from": "x", "counts": [1, "2"]}"#, 422, "/counts/1 wrong_type"),
            (r#"{"from": "x", "counts": [1, 300]}"#, 422, "/counts/1 wrong_type"),
            (r#"{"keep": true}"#, 422, "/from required"),
            ("", 422, "/from required"),
            (r#"{"from": "x", "a/b": 1}"#, 422, "/a~1b unknown_key"),
            (&long, 422, " unknown_key"),
            (r#"{"from": "x", "from": "y"}"#, 422, "/from duplicate_key"),
            ("[1]", 422, " wrong_type"),
            ("{", 400, ""),
        ] {
            let problem = match form::<Sent>(body.as_bytes()) {
                Ok(sent) => {
                    assert!(sent.keep && sent.from == "x" && sent.counts == [1]);
                    json!({"status": 200})
                }
                Err(problem) => problem.body(),
            };
            let told: Vec<String> = problem["errors"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|error| {
                    format!(
                        "{} {}",
                        error["pointer"].as_str().unwrap_or_default(),
                        error["code"].as_str().unwrap_or_default()
                    )
                })
                .collect();
            assert_eq!((problem["status"].as_u64(), told.join(", ").as_str()), (Some(status), errors), "{body}");
        }
    }
}
