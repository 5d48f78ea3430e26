//! Spans in the form of OTLP, as a collector takes it over HTTP: its JSON, which every collector reads that speaks HTTP at all, and which
//! needs no compiler of protobuf. Ids are hex digits there, and numbers of 64 bits texts.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::span::{Kind, Span, Value};

/// As the header says it.
pub(crate) const CONTENT_TYPE: &str = "application/json";

/// Whose spans they are.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) instance: String,
    pub(crate) version: &'static str,
}

/// A request to a collector.
pub(crate) fn request(service: &Service, spans: &[Span]) -> Vec<u8> {
    let resource = [
        attribute("service.name", &service.name.as_str().into()),
        attribute("service.instance.id", &service.instance.as_str().into()),
        attribute("service.version", &service.version.into()),
    ];
    let spans: Vec<Json> = spans.iter().map(wire).collect();
    let request = json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{ "scope": { "name": "sortie", "version": service.version }, "spans": spans }],
        }],
    });
    request.to_string().into_bytes()
}

/// What a collector says of a request of which it took something.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "partialSuccess")]
    partial: Option<Partial>,
}

#[derive(Deserialize)]
struct Partial {
    #[serde(rename = "rejectedSpans", default)]
    rejected: Count,
}

/// A number of 64 bits: a text by the letter of the form, a number by the habit of many.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u64),
    Text(String),
}

impl Default for Count {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// How many spans a collector did not take, as its answer to a success says. What cannot be read says nothing.
pub(crate) fn rejected(answer: &[u8]) -> u64 {
    let partial = serde_json::from_slice(answer).ok().and_then(|answer: Answer| answer.partial);
    match partial.map(|partial| partial.rejected) {
        Some(Count::Number(count)) => count,
        Some(Count::Text(text)) => text.parse().unwrap_or(0),
        None => 0,
    }
}

fn wire(span: &Span) -> Json {
    let attributes: Vec<Json> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let events: Vec<Json> =
        span.events.iter().map(|(at, name)| json!({ "timeUnixNano": nanoseconds(*at), "name": name })).collect();
    json!({
        "traceId": span.trace_id,
        "spanId": id(span.id),
        "parentSpanId": span.parent.map(id).unwrap_or_default(),
        // Sampled.
        "flags": 1,
        "name": span.name,
        "kind": match span.kind {
            Kind::Internal => 1,
            Kind::Client => 3,
            Kind::Consumer => 5,
        },
        "startTimeUnixNano": nanoseconds(span.begun_at),
        "endTimeUnixNano": nanoseconds(span.ended_at),
        "attributes": attributes,
        "events": events,
        // An error, or nothing said.
        "status": { "code": if span.failed { 2 } else { 0 } },
    })
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Double(number) => json!({ "doubleValue": number }),
        Value::Bool(bool) => json!({ "boolValue": bool }),
    };
    json!({ "key": name, "value": value })
}

fn id(span: u64) -> String {
    format!("{span:016x}")
}

fn nanoseconds(at: Timestamp) -> String {
    at.as_nanosecond().max(0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hex_digits_and_long_numbers_texts() {
        let at = |nanosecond| Timestamp::from_nanosecond(nanosecond).expect("a time");
        let span = Span {
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            id: 0x0102_0304_0506_0708,
            parent: Some(9),
            name: "execute_tool Read".to_owned(),
            kind: Kind::Client,
            begun_at: at(1_000),
            ended_at: at(3_000),
            attributes: vec![("a", "b".into()), ("n", 7_u64.into()), ("d", 0.5.into()), ("yes", true.into())],
            events: vec![(at(2_000), "resumed")],
            failed: true,
        };
        let service = Service { name: "sortie".to_owned(), instance: "factory-1".to_owned(), version: "0.0.0" };
        let bytes = request(&service, &[span.clone(), Span { parent: None, failed: false, ..span }]);
        let read: Json = serde_json::from_slice(&bytes).expect("JSON");
        let spans = &read["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["spanId"], "0102030405060708");
        assert_eq!((&spans[0]["parentSpanId"], &spans[1]["parentSpanId"]), (&json!("0000000000000009"), &json!("")));
        assert_eq!((&spans[0]["startTimeUnixNano"], &spans[0]["kind"]), (&json!("1000"), &json!(3)));
        assert_eq!(spans[0]["attributes"][1]["value"]["intValue"], "7");
        assert_eq!((&spans[0]["status"]["code"], &spans[1]["status"]["code"]), (&json!(2), &json!(0)));
    }

    #[test]
    fn what_a_collector_refused_is_counted_however_it_says_it() {
        for (answer, expected) in [
            ("", 0),
            ("{}", 0),
            ("<html>", 0),
            (r#"{"partialSuccess":null}"#, 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":3}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":"many"}}"#, 0),
        ] {
            assert_eq!(rejected(answer.as_bytes()), expected, "{answer}");
        }
    }
}
