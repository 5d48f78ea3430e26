//! Headers: which a call may send, with secrets in them, and what is shown of those that come back.

use serde_json::{Map, Value};
use sortie_contract::limit;
use sortie_contract::tool::CallError;
use sortie_egress::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use sortie_egress::{Opened, Redactor, Template};

use super::super::TRACEPARENT;

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const FENCING_TOKEN: HeaderName = HeaderName::from_static("sortie-fencing-token");

/// Most headers of a request: far more than any service wants.
const SENT_MAX: usize = 64;

/// Longest value of one, in bytes, as it is written: what servers take.
const VALUE_BYTES_MAX: usize = 8 << 10;

/// Most headers of an answer that are shown.
const SHOWN_MAX: usize = 100;

/// Most bytes of one that are shown, and of all.
const SHOWN_BYTES_MAX: usize = 4 << 10;
const ALL_SHOWN_BYTES_MAX: usize = 64 << 10;

/// What says how a message is carried belongs to the connection, and what tells calls apart to the node.
const NOT_FOR_CALLS: [&str; 20] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "sortie-fencing-token",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    // They make another method of the one that was granted.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// What asks for parts of an answer.
const PARTS_OF: [&str; 2] = ["range", "if-range"];

/// What means the same to every host, and opens nothing.
const FOR_ALL_ORIGINS: [HeaderName; 6] =
    [ACCEPT, ACCEPT_LANGUAGE, USER_AGENT, IDEMPOTENCY_KEY, FENCING_TOKEN, TRACEPARENT];

/// Headers of an answer whose values open something: a record is no place for them.
const CREDENTIALS: [&str; 6] = [
    "authentication-info",
    "authorization",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
];

/// The headers of a call, with names in the place of secrets.
pub(super) struct Wanted(Vec<(HeaderName, Text)>);

enum Text {
    Plain(HeaderValue),
    Secret(Template),
}

impl Wanted {
    pub(super) fn of(given: &Map<String, Value>) -> Result<Self, CallError> {
        let wrong = |place: &str, why: String| {
            let place = limit::clip(place, limit::QUOTE_BYTES_MAX);
            Err(CallError::InvalidArguments(format!("/headers/{place}: {why}")))
        };
        if given.len() > SENT_MAX {
            return wrong("", format!("there are {}, {SENT_MAX} are sent", given.len()));
        }
        let mut headers: Vec<(HeaderName, Text)> = Vec::with_capacity(given.len() + 2);
        for (key, value) in given {
            let Ok(name) = HeaderName::try_from(key.as_str()) else {
                return wrong(key, "this is no name of a header".to_owned());
            };
            if NOT_FOR_CALLS.contains(&name.as_str()) {
                return wrong(key, format!("`{name}` is set by the node itself and not by calls; leave it out"));
            }
            if headers.iter().any(|(other, _)| *other == name) {
                return wrong(key, "it is there twice".to_owned());
            }
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(yes) => yes.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return wrong(key, "a header's value is a text".to_owned());
                }
            };
            if text.len() > VALUE_BYTES_MAX {
                return wrong(key, format!("it has {} bytes, {VALUE_BYTES_MAX} are sent", text.len()));
            }
            // The text between names can be judged now, and the values are by those who read them.
            let Ok(plain) = HeaderValue::try_from(text.as_str()) else {
                return wrong(key, "a header's value is one line without control characters".to_owned());
            };
            let text = if Template::is_in(&text) {
                match Template::parse(&text) {
                    Ok(template) => Text::Secret(template),
                    Err(why) => return wrong(key, why.to_string()),
                }
            } else {
                Text::Plain(plain)
            };
            headers.push((name, text));
        }
        if let Some((name, _)) = headers.iter().find(|(name, _)| PARTS_OF.contains(&name.as_str()))
            && headers.iter().any(|(_, text)| matches!(text, Text::Secret(_)))
        {
            let why = "is not sent beside a secret: of an answer that shows the secret it would bring a part, which nobody recognises";
            return wrong(name.as_str(), format!("`{name}` {why}"));
        }
        Ok(Self(headers))
    }

    pub(super) fn set_unless_given(&mut self, name: HeaderName, value: HeaderValue) {
        if !self.0.iter().any(|(given, _)| *given == name) {
            self.0.push((name, Text::Plain(value)));
        }
    }

    /// The secrets that they name.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|(_, text)| match text {
            Text::Secret(template) => Some(template.names()).into_iter().flatten(),
            Text::Plain(_) => None.into_iter().flatten(),
        })
    }

    /// As they are sent: all to the origin that was asked for, to another just what opens nothing there.
    pub(super) fn filled(&self, opened: &Opened, is_same_origin: bool) -> Result<HeaderMap, CallError> {
        let mut headers = HeaderMap::with_capacity(self.0.len());
        for (name, text) in &self.0 {
            let value = match text {
                Text::Plain(value) if is_same_origin || FOR_ALL_ORIGINS.contains(name) => value.clone(),
                Text::Secret(template) if is_same_origin => opened.fill(template).ok_or_else(|| {
                    CallError::Failed(format!("/headers/{name}: with its secret it cannot be sent as a header"))
                })?,
                Text::Plain(_) | Text::Secret(_) => continue,
            };
            headers.insert(name.clone(), value);
        }
        Ok(headers)
    }
}

/// What is shown of an answer's headers, by name in small letters; several of one name are joined with commas. What opens something is
/// `***`, and beyond a bound they are left out.
pub(super) fn shown(headers: &HeaderMap, redactor: &Redactor) -> Map<String, Value> {
    let (mut shown, mut bytes) = (Map::new(), 0);
    for name in headers.keys().take(SHOWN_MAX) {
        let value = if CREDENTIALS.contains(&name.as_str()) {
            "***".to_owned()
        } else {
            let values: Vec<_> =
                headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            redactor.cut(&values.join(", "), SHOWN_BYTES_MAX).0
        };
        let name = redactor.text(name.as_str()).into_owned();
        bytes += name.len() + value.len();
        if bytes > ALL_SHOWN_BYTES_MAX {
            break;
        }
        shown.insert(name, Value::String(value));
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(headers: &Value) -> Result<Wanted, String> {
        Wanted::of(headers.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_call_may_not_send_is_told_with_its_place() {
        for name in NOT_FOR_CALLS {
            let error = wanted(&json!({ name.to_ascii_uppercase(): "x" })).err().unwrap();
            assert!(error.starts_with("/headers/") && error.contains("by the node itself"), "{error}");
        }
        let many: Map<String, Value> = (0..=SENT_MAX).map(|number| (format!("x-{number}"), json!("x"))).collect();
        for (headers, expected) in [
            (json!({ "a b": "x" }), "no name"),
            (json!({ "": "x" }), "no name"),
            (json!({ ":path": "x" }), "no name"),
            (json!({ "${secret:a}": "x" }), "no name"),
            (json!({ "accept": "x", "Accept": "y" }), "/headers/Accept: it is there twice"),
            (json!({ "x": "a\r\nHost: evil" }), "one line"),
            (json!({ "x": null }), "is a text"),
            (json!({ "x": ["a"] }), "is a text"),
            (json!({ "x": "a".repeat(VALUE_BYTES_MAX + 1) }), "are sent"),
            (json!({ "x": "${secret:}" }), "${secret:NAME}"),
            (Value::Object(many), "64 are sent"),
            (
                json!({ "Range": "bytes=3-", "authorization": "${secret:a}" }),
                "/headers/range: `range` is not sent beside",
            ),
            (json!({ "authorization": "${secret:a}", "if-range": "x" }), "not sent beside a secret"),
            (json!({ "range": "${secret:a}" }), "not sent beside a secret"),
        ] {
            let error = wanted(&headers).err().expect(expected);
            assert!(error.contains(expected) && error.len() < 300, "{error}");
        }
        assert!(wanted(&json!({ "range": "bytes=3-" })).is_ok());
        assert!(wanted(&json!({ "x-count": 7, "x-is": true, "Authorization": "Bearer ${secret:a}" })).is_ok());
    }

    #[test]
    fn what_is_shown_of_an_answer_is_bounded_and_opens_nothing() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("set-cookie", "session=1"), ("link", "a"), ("link", "b"), ("x-latin", "caf\u{e9}")] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let none = Redactor::new([]);
        let expected = json!({ "set-cookie": "***", "link": "a, b", "x-latin": "caf\u{e9}" });
        assert_eq!(Value::Object(shown(&headers, &none)), expected);
        for number in 0..200 {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            headers.insert(name, HeaderValue::try_from("y".repeat(10_000)).unwrap());
        }
        let all = serde_json::to_string(&shown(&headers, &none)).unwrap();
        assert!(all.len() < 2 * ALL_SHOWN_BYTES_MAX, "{}", all.len());
    }
}
