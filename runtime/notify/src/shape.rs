//! The forms of a message over HTTP: each with what its receiver takes for markup taken out of texts.

use std::io::Write;

use serde_json::{Value, json};
use sortie_contract::limit::clip;
use sortie_template::{AutoEscape, Templates, Writing};
use url::Url;

use crate::message::{Message, Section};

/// Longest text of a message that is no letter, in bytes: ntfy makes a file of more than 4,096.
const TEXT_BYTES_MAX: usize = 3_600;

/// Longest text of one block of Slack: it takes 3,000 characters.
const BLOCK_BYTES_MAX: usize = 2_900;

/// Longest title of a block of Slack: it takes 150 characters.
const TITLE_BYTES_MAX: usize = 148;

/// Buttons that ntfy shows.
const ACTIONS_MAX: usize = 3;

/// Most bytes that a template makes.
const RENDERED_BYTES_MAX: usize = 256 << 10;

/// A message as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) url: Url,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// How messages look to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Slack's incoming webhooks, and what speaks as they do.
    Slack,
    /// ntfy: the last part of the address is the topic.
    Ntfy,
    /// All of it, for programs.
    Json,
    /// What an operator wrote.
    Template { text: String, content_type: String },
}

impl Shape {
    /// A message for that address.
    pub(crate) fn post(&self, message: &Message, url: &Url) -> Result<Posted, String> {
        let (url, value) = match self {
            Self::Slack => (url.clone(), slack(message)),
            Self::Ntfy => {
                let (root, topic) = topic(url).ok_or("the address of an ntfy channel ends with its topic")?;
                (root, ntfy(message, &topic))
            }
            Self::Json => (url.clone(), whole(message)),
            Self::Template { text, content_type } => {
                let body = rendered(text, content_type, message)?;
                return Ok(Posted { url: url.clone(), content_type: content_type.clone(), body: body.into_bytes() });
            }
        };
        Ok(Posted { url, content_type: "application/json".to_owned(), body: value.to_string().into_bytes() })
    }
}

/// Everything, and the same as text.
fn whole(message: &Message) -> Value {
    let mut whole = serde_json::to_value(message).expect("a message is plain data");
    whole["text"] = message.text(TEXT_BYTES_MAX).into();
    whole
}

fn slack(message: &Message) -> Value {
    let header = json!({"type": "header", "text": {"type": "plain_text", "text": clip(&message.title, TITLE_BYTES_MAX), "emoji": false}});
    let section = |section: &Section| json!({"type": "section", "text": {"type": "mrkdwn", "text": block(section), "verbatim": true}});
    let blocks: Vec<Value> = std::iter::once(header).chain(message.sections.iter().map(section)).collect();
    // What a phone shows of it, and readers of screens.
    json!({"text": escaped(&message.title), "blocks": blocks})
}

fn block(section: &Section) -> String {
    let mut block = escaped(&section.heading);
    let mut left_out = 0;
    for line in &section.lines {
        let said = escaped(&line.said());
        let line = match &line.url {
            Some(url) => {
                let what = if line.decides { "Decide" } else { "Look" };
                format!("\n• {said} <{}|{what}>", address(url))
            }
            None => format!("\n• {said}"),
        };
        if block.len() + line.len() > BLOCK_BYTES_MAX {
            left_out += 1;
        } else {
            block.push_str(&line);
        }
    }
    if left_out > 0 {
        block.push_str(&format!("\n• {left_out} more that have no room here"));
    }
    if !section.more.is_empty() {
        block.push_str(&format!("\n• {}", escaped(&section.more)));
    }
    block
}

/// A text in which Slack finds nothing to do: `<!channel>` calls everybody, `<https://…|bank>` is a link; and no letter of it makes
/// code of what stands behind it, or strikes it out. `_` is left: names are full of it, and all that it could do is lean.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            // Each looks like the letter that it stands for, and means nothing.
            '*' => safe.push('∗'),
            '~' => safe.push('∼'),
            '`' => safe.push('ˋ'),
            other => safe.push(other),
        }
    }
    safe
}

/// An address within `<…|…>`.
fn address(url: &str) -> String {
    url.replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E").replace('|', "%7C")
}

/// The address of a server of ntfy, and the topic.
pub(crate) fn topic(url: &Url) -> Option<(Url, String)> {
    let mut segments: Vec<&str> = url.path_segments()?.collect();
    let topic = segments.pop().filter(|topic| !topic.is_empty())?.to_owned();
    let mut root = url.clone();
    root.set_path(&segments.join("/"));
    if !root.path().ends_with('/') {
        let path = format!("{}/", root.path());
        root.set_path(&path);
    }
    Some((root, topic))
}

/// As JSON, not in headers: these are ASCII, and end with a line.
fn ntfy(message: &Message, topic: &str) -> Value {
    let lines = message.sections.iter().flat_map(|section| &section.lines).filter(|line| line.decides);
    let action = |line: &crate::message::Line| json!({"action": "view", "label": format!("Decide {}", clip(&line.name, 40)), "url": line.url});
    let actions: Vec<Value> = lines.take(ACTIONS_MAX).map(action).collect();
    let mut value = json!({
        "topic": topic,
        "title": message.title,
        "message": message.text(TEXT_BYTES_MAX),
        "priority": if message.urgent { 4 } else { 3 },
    });
    if let Some(url) = &message.url {
        value["click"] = json!(url);
    }
    if !actions.is_empty() {
        value["actions"] = json!(actions);
    }
    value
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json")
}

/// A template, with the message in it. In one of JSON, `{{ title }}` writes a whole JSON text, with its quotes.
fn rendered(template: &str, content_type: &str, message: &Message) -> Result<String, String> {
    let is_json = is_json(content_type);
    let escape = if is_json { AutoEscape::Json } else { AutoEscape::None };
    let mut out = Bounded(Vec::new());
    Templates::new(whole(message), Writing::Escaped(escape)).write(template, &mut out)?;
    let rendered = String::from_utf8(out.0).map_err(|_| "it makes no text".to_owned())?;
    if is_json {
        serde_json::from_str::<serde::de::IgnoredAny>(&rendered)
            .map_err(|error| format!("it makes no JSON: {error}; `{{{{ title }}}}` writes its quotes itself"))?;
    }
    Ok(rendered)
}

/// Where a template writes, as far as there is room.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED_BYTES_MAX {
            return Err(std::io::Error::other(format!("it makes more than {RENDERED_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::sample;

    fn url(text: &str) -> Url {
        text.parse().expect("an address")
    }

    fn posted(shape: &Shape, texts: &[&str]) -> Value {
        let posted = shape.post(&sample(texts, true), &url("https://x.example/base/alerts")).expect("a message");
        serde_json::from_slice(&posted.body).expect("JSON")
    }

    /// What missions say that would do something in a message.
    const HOSTILE: [&str; 6] = [
        "<!channel> <@U123> <https://evil.example|Approve>",
        "*bold* _it_ ~gone~ `code` ```block",
        "\"}],\"blocks\":[{\"type\":\"x\"}]",
        "a\r\nX-Actions: http, x\r\n\r\nbody",
        "{{ 7 * 7 }} {% for x in y %}",
        "&lt;b&gt; & <b>",
    ];

    #[test]
    fn slack_finds_nothing_to_do_in_what_missions_say() {
        let sent = posted(&Shape::Slack, &HOSTILE);
        assert_eq!(sent["text"], "factory-1: 6 requests wait for people");
        let blocks = sent["blocks"].as_array().expect("blocks");
        assert_eq!(blocks.len(), 2);
        let text = blocks[1]["text"]["text"].as_str().expect("a text");
        // Each bracket that is left is one of ours, around a link of ours.
        for (at, _) in text.match_indices('<') {
            assert!(text[at..].starts_with("<https://factory.example/go/m-"), "{text}");
        }
        assert_eq!(text.matches('<').count(), HOSTILE.len());
        assert_eq!(text.matches('>').count(), HOSTILE.len());
        assert!(!text.contains(['*', '`', '~', '\r']) && text.contains("&amp;lt;b&amp;gt;"), "{text}");
        let long = posted(&Shape::Slack, &["&".repeat(240).as_str(); 20]);
        let long = long["blocks"][1]["text"]["text"].as_str().expect("a text").to_owned();
        assert!(long.len() < 3_000 && long.contains("more that have no room here"), "{}", long.len());
    }

    #[test]
    fn the_document_shows_what_is_sent() {
        let document = include_str!("../../../docs/NOTIFICATIONS.md");
        let block = document.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
        let told: Value = serde_json::from_str(block).expect("JSON");
        let sent = posted(&Shape::Json, &["May it?"]);
        let keys = |value: &Value| {
            let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
            keys.sort();
            keys
        };
        for place in ["", "/sections/0", "/sections/0/lines/0"] {
            let [told, sent] = [&told, &sent].map(|message| keys(message.pointer(place).expect("it is there")));
            assert_eq!(told, sent, "{place}");
        }
    }

    #[test]
    fn ntfy_gets_json_and_buttons() {
        let sent = posted(&Shape::Ntfy, &HOSTILE);
        assert_eq!((sent["topic"].as_str(), sent["priority"].as_u64()), (Some("alerts"), Some(4)));
        assert_eq!(sent["actions"].as_array().map(Vec::len), Some(ACTIONS_MAX));
        assert_eq!(sent["actions"][0]["url"], "https://factory.example/go/m-0-1");
        assert_eq!(sent["click"], "https://factory.example/");
        let many = posted(&Shape::Ntfy, &["long ".repeat(60).as_str(); 20]);
        assert!(many["message"].as_str().is_some_and(|text| text.len() < 4_096));
        for (address, expected) in [
            ("https://ntfy.sh/a", Some(("https://ntfy.sh/", "a"))),
            ("https://h.example/ntfy/a", Some(("https://h.example/ntfy/", "a"))),
            ("https://h.example/a/", None),
            ("https://h.example", None),
        ] {
            let found = topic(&url(address));
            let found = found.as_ref().map(|(root, topic)| (root.as_str(), topic.as_str()));
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn a_template_writes_what_it_is_given_as_what_it_is() {
        let of = |text: &str, content_type: &str| {
            let shape = Shape::Template { text: text.to_owned(), content_type: content_type.to_owned() };
            let posted = shape.post(&sample(&HOSTILE, true), &url("https://x.example/"));
            posted.map(|posted| String::from_utf8(posted.body).expect("text"))
        };
        let json = "application/json";
        let sent = of(r#"{"content": {{ title }}, "all": {{ sections }}, "n": {{ sections|length }}}"#, json);
        let sent: Value = serde_json::from_str(&sent.expect("rendered")).expect("JSON");
        assert_eq!(sent["content"], "factory-1: 6 requests wait for people");
        assert_eq!(sent["all"][0]["lines"][2]["text"], HOSTILE[2]);
        assert_eq!(sent["n"], 1);
        let plain = of(
            "{{ title }}\n{% for s in sections %}{% for l in s.lines %}{{ l.text }};{% endfor %}{% endfor %}",
            "text/plain",
        );
        assert!(plain.expect("rendered").contains("{{ 7 * 7 }} {% for x in y %};"), "what missions say is no template");
        for (text, expected) in [
            (r#"{"content": "{{ title }}"}"#, "it makes no JSON"),
            ("{{ titel }}", "line 1"),
            ("{% for x in %}", "line 1"),
            ("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", "line 1"),
            ("{% for a in sections %}{% for b in sections %}", "line 1"),
        ] {
            let told = of(text, json).expect_err(text);
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
