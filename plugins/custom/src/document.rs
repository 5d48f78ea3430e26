//! The page: Markdown, section by section. It knows no mission and is tested as ordinary Rust.

use sortie_plugin::Value;

/// A briefing as it grows.
pub(crate) struct Document {
    text: String,
    written: usize,
    left_out: Vec<String>,
}

impl Document {
    pub(crate) fn new(title: &str) -> Self {
        Self { text: format!("# {}\n", title.trim()), written: 0, left_out: Vec::new() }
    }

    /// Adds what there is to say of a topic, or notes that there is nothing.
    pub(crate) fn section(&mut self, topic: &str, section: &Value) {
        let lines: Vec<String> = match section {
            Value::Array(items) => items.iter().map(|item| format!("- {}", plain(item))).collect(),
            Value::Object(fields) => fields.iter().map(|(key, value)| format!("- {key}: {}", plain(value))).collect(),
            Value::Null => Vec::new(),
            single => vec![plain(single)],
        };
        if lines.iter().all(|line| line.trim().is_empty()) {
            self.left_out.push(topic.to_owned());
        } else {
            self.written += 1;
            self.text.push_str(&format!("\n## {topic}\n\n{}\n", lines.join("\n")));
        }
    }

    /// Adds notes from a file, which may not be there.
    pub(crate) fn notes(&mut self, notes: Option<&str>) {
        self.section("notes", &notes.map_or(Value::Null, |notes| Value::from(notes.trim())));
    }

    /// How many sections there are.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// The topics on which there is nothing.
    pub(crate) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The whole page.
    pub(crate) fn text(&self) -> String {
        match self.left_out.as_slice() {
            [] => self.text.clone(),
            topics => format!("{}\nNothing on: {}.\n", self.text, topics.join(", ")),
        }
    }
}

/// Whether a section can be written down.
pub(crate) fn fits(section: &Value) -> bool {
    match section {
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(fields) => fields.values().all(is_plain),
        _ => true,
    }
}

fn is_plain(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use sortie_plugin::json;

    use super::*;

    #[test]
    fn what_is_missing_is_left_out_and_named() {
        let mut document = Document::new("Monday");
        document.section("telemetry", &json!({ "failed": 2, "blocked": 1 }));
        document.section("wiki", &json!(null));
        document.section("news", &json!([]));
        document.section("triage", &json!(["renew certificate", "answer vendor"]));
        document.section("mood", &json!("fine"));
        document.notes(None);
        assert_eq!(
            document.text(),
            "# Monday\n\n## telemetry\n\n- failed: 2\n- blocked: 1\n\n## triage\n\n- renew certificate\n- answer vendor\n\
             \n## mood\n\nfine\n\nNothing on: wiki, news, notes.\n"
        );
    }

    #[test]
    fn a_section_that_is_too_deep_does_not_fit() {
        for (section, expected) in [
            (json!("a"), true),
            (json!([1, "a"]), true),
            (json!({ "a": null }), true),
            (json!([[1]]), false),
            (json!({ "a": {} }), false),
        ] {
            assert_eq!(fits(&section), expected, "{section}");
        }
    }
}
