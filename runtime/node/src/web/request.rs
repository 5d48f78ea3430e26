//! A request on a page: what is asked, of what, until when, what becomes of it then, and the forms to decide about it.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::decision::{CHOICE, LIST, NUMBER, TEXT};
use super::diff;
use super::door::Viewer;
use super::frame::{decides_nothing, form_key};
use super::text::{Clock, block, dollars, json, moment, path, plain, str};

/// The request of a mission, with all that one needs to decide.
pub(super) struct Asked<'a> {
    pub(super) mission_id: &'a str,
    /// As the mission shows it.
    pub(super) request: &'a Value,
    /// What becomes of it when nobody answers.
    pub(super) on_expiry: &'a str,
    /// When the mission's window ends, and the mission with it.
    pub(super) window_ends: Option<Timestamp>,
}

/// What each class is about, in the order in which an inbox has them.
pub(super) const KINDS: [(&str, &str); 4] = [
    ("approval", "May this call be made?"),
    ("input", "Questions"),
    ("budget", "More budget?"),
    ("uncertain", "Did this happen?"),
];

impl Asked<'_> {
    fn id(&self) -> String {
        format!("{}/{}", self.mission_id, str(self.request, "request_id"))
    }

    /// Whether all that is asked for is on the page: what is cut nobody changes, and who decides is told.
    fn is_whole(&self) -> bool {
        let (arguments, bytes) = (&self.request["arguments"], &self.request["arguments_bytes"]);
        arguments.as_str().is_none_or(|text| bytes.as_u64().is_none_or(|bytes| text.len() as u64 >= bytes))
    }

    /// The request, with forms for who may decide.
    pub(super) fn shown(&self, viewer: &Viewer, clock: &Clock, form: &str, can_be_marked: bool) -> Markup {
        let kind = str(self.request, "kind");
        let title = format!("request-{}", self.id());
        html! {
            article class="request" aria-labelledby=(title) {
                h3 id=(title) {
                    @if can_be_marked && matches!(kind, "approval" | "input" | "budget" | "uncertain") && viewer.operates() {
                        input type="checkbox" name="item" value=(self.id()) form=(form) aria-label=(format!("Mark {}", plain(&self.id())));
                        " "
                    }
                    a href=(path(&["missions", self.mission_id])) { (plain(self.mission_id)) } " · " (plain(str(self.request, "request_id")))
                    @if let Some(tool) = self.request["tool"].as_str() { " · " code { (plain(tool)) } }
                }
                p class="question" { (block(str(self.request, "question"))) }
                (self.arguments())
                (self.money())
                (self.expiry(clock))
                @if viewer.operates() { (self.forms(viewer)) }
                @else { p class="dim" { "This token may not decide: it has not the scope " code { "operate" } "." } }
            }
        }
    }

    fn arguments(&self) -> Markup {
        let arguments = &self.request["arguments"];
        let diff = self.request["tool"].as_str().and_then(|tool| diff::of_call(tool, arguments));
        html! {
            @if !arguments.is_null() {
                @match diff {
                    Some(diff) => {
                        (diff.shown)
                        @if !diff.rest.is_empty() {
                            p { "Beside that the call says:" }
                            pre tabindex="0" role="group" aria-label="Further arguments" { (json(&Value::Object(diff.rest))) }
                        }
                        details { summary { "Arguments" } pre tabindex="0" { (json(arguments)) } }
                    }
                    None => pre tabindex="0" role="group" aria-label="Arguments" { (json(arguments)) }
                }
                @if !self.is_whole() {
                    p class="notice bad" {
                        "Only the beginning: they have " (self.request["arguments_bytes"].as_u64().unwrap_or(0)) " bytes, SHA-256 "
                        code { (plain(str(self.request, "arguments_sha256"))) } ". The whole is in the journal of the mission."
                    }
                }
            }
        }
    }

    fn money(&self) -> Markup {
        let budget = &self.request["budget"];
        if budget.is_null() {
            return html! {};
        }
        let row = |name: &str, key: &str| {
            let of = &budget[key];
            html! {
                tr {
                    th scope="row" { (name) }
                    td class="num" { (of["cost_usd"].as_f64().map_or_else(|| "no limit".to_owned(), dollars)) }
                    td class="num" { (of["llm_calls"].as_u64().map_or_else(|| "no limit".to_owned(), |calls| calls.to_string())) }
                }
            }
        };
        html! {
            table class="small" {
                caption class="sr" { "What is wanted and what there is" }
                thead { tr { td {} th scope="col" { "Money" } th scope="col" { "Model calls" } } }
                tbody { (row("Wanted", "wanted")) (row("Spent", "spent")) (row("Set aside", "reserved")) (row("Limit", "limit")) }
            }
        }
    }

    fn expiry(&self, clock: &Clock) -> Markup {
        let at = moment(&self.request["expires_at"]).filter(|at| !clock.is_never(*at));
        let what = then(self.on_expiry, at, self.window_ends);
        html! {
            p class="expiry" {
                "Asked " (clock.brief(&self.request["asked_at"])) ". "
                @if at.is_some() { "Expires " (clock.time(&self.request["expires_at"])) ". " }
                (what)
            }
        }
    }

    fn forms(&self, viewer: &Viewer) -> Markup {
        let action = path(&["missions", self.mission_id, "requests", str(self.request, "request_id")]);
        let own = self.id();
        let note = html! {
            label for=(format!("note-{own}")) { "Note" }
            input id=(format!("note-{own}")) name="note" maxlength="2000";
        };
        let button = |decision: &str, name: &str, class: &str| {
            html! { button type="submit" name="decision" value=(decision) class=(class) { (name) } " " }
        };
        let form = |inner: Markup| {
            html! { form method="post" action=(action) class="decide" { (form_key(viewer)) (decides_nothing()) (inner) } }
        };
        match str(self.request, "kind") {
            "approval" => html! {
                (form(html! {
                    label for=(format!("for-{own}")) { "Reaches" }
                    select id=(format!("for-{own}")) name="for" {
                        option value="" { "this call" }
                        option value="tool" { "every such call of this mission" }
                        option value="mission" { "every call of this mission that needs approval" }
                    }
                    (note) (button("approve", "Approve", "primary")) (button("deny", "Deny", "danger"))
                }))
                @if self.is_whole() { (self.amend(&form)) }
            },
            "input" => form(html! {
                (self.answer()) (note) (button("answer", "Answer", "primary"))
                button type="submit" name="decision" value="deny" class="danger" formnovalidate { "Do not answer" }
            }),
            "budget" => form(html! {
                label for=(format!("usd-{own}")) { "US dollars" }
                input id=(format!("usd-{own}")) name="cost_usd" inputmode="decimal";
                label for=(format!("calls-{own}")) { "Model calls" }
                input id=(format!("calls-{own}")) name="llm_calls" inputmode="numeric";
                (note) (button("grant", "Grant", "primary")) (button("deny", "Deny", "danger"))
            }),
            "uncertain" => form(html! {
                p { "The node does not know whether this call was made. Look outside, then say." }
                label for=(format!("result-{own}")) { "It was made, and returned this (JSON)" }
                textarea id=(format!("result-{own}")) name="result" rows="3" spellcheck="false" {}
                (note) (button("record", "Record that result", "primary")) (button("repeat", "Make it again", ""))
                (button("deny", "Deny", "danger"))
            }),
            _ => html! {},
        }
    }

    fn amend(&self, form: &impl Fn(Markup) -> Markup) -> Markup {
        let own = self.id();
        // Shown as they are, hidden letters too: what is sent back is what is in the field.
        let arguments = format!("{:#}", self.request["arguments"]);
        html! {
            details {
                summary { "Approve with other arguments" }
                (form(html! {
                    label for=(format!("arguments-{own}")) { "Arguments (JSON); they are held against the tool's schema and the mission's constraints" }
                    textarea id=(format!("arguments-{own}")) name="arguments" rows="8" spellcheck="false" { "\n" (arguments) }
                    label for=(format!("amended-{own}")) { "Note" }
                    input id=(format!("amended-{own}")) name="note" maxlength="2000";
                    button type="submit" name="decision" value="amend" class="primary" { "Approve so" }
                }))
            }
        }
    }

    /// Fields for an answer: those of the form that a tool asks for, or one for a text.
    fn answer(&self) -> Markup {
        let own = self.id();
        match self.request["schema"]["properties"].as_object() {
            Some(fields) if fields.values().all(is_plain) => {
                let required = self.request["schema"]["required"].as_array();
                let must = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
                html! { @for (name, schema) in fields { (field(&own, name, schema, must(name))) } }
            }
            Some(_) => html! {
                label for=(format!("text-{own}")) { "Answer: a JSON object of this form" }
                pre tabindex="0" { (json(&self.request["schema"])) }
                textarea id=(format!("text-{own}")) name="text" rows="6" required spellcheck="false" {}
            },
            None => html! {
                label for=(format!("text-{own}")) { "Answer" }
                textarea id=(format!("text-{own}")) name="text" rows="3" required {}
            },
        }
    }
}

/// What becomes of a request that nobody answers until it expires, which is at the latest when the window of its mission ends.
fn then(on_expiry: &str, expires_at: Option<Timestamp>, window_ends: Option<Timestamp>) -> &'static str {
    let is_window = expires_at.is_some() && expires_at == window_ends;
    match on_expiry {
        "end" => "Then the mission ends as timed out.",
        "deny" if is_window => "Then the mission's window ends, and the mission with it.",
        "deny" => "Then it counts as denied, and the mission goes on.",
        "wait" if expires_at.is_some() => "Then the mission's window ends, and the mission with it.",
        "wait" => "It does not expire.",
        _ => "",
    }
}

/// Whether a field of a form can be one field of a page.
fn is_plain(schema: &Value) -> bool {
    match str(schema, "type") {
        "string" | "number" | "integer" | "boolean" => true,
        "array" => !choices(&schema["items"]).is_empty(),
        _ => false,
    }
}

/// What can be chosen: the value and its name.
fn choices<'a>(schema: &'a Value) -> Vec<(&'a str, &'a str)> {
    if let Some(all) = schema["enum"].as_array() {
        let names = schema["enumNames"].as_array();
        let name = |at: usize| names.and_then(|names| names.get(at)?.as_str());
        return all
            .iter()
            .enumerate()
            .filter_map(|(at, one)| one.as_str().map(|one| (one, name(at).unwrap_or(one))))
            .collect();
    }
    let titled = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    let one = |one: &'a Value| {
        let value = one["const"].as_str()?;
        Some((value, one["title"].as_str().unwrap_or(value)))
    };
    titled.into_iter().flatten().filter_map(one).collect()
}

fn field(own: &str, name: &str, schema: &Value, must: bool) -> Markup {
    let id = format!("field-{own}-{name}");
    let title = schema["title"].as_str().unwrap_or(name);
    let default = &schema["default"];
    let all = choices(schema);
    let kind = str(schema, "type");
    let input = match kind {
        "boolean" => html! {
            select id=(id) name=(format!("{CHOICE}{name}")) required[must] {
                option value="" { "–" }
                option value="true" selected[default == true] { "yes" }
                option value="false" selected[default == false] { "no" }
            }
        },
        "array" => html! {
            select id=(id) name=(format!("{LIST}{name}")) multiple required[must] {
                @for (value, shown) in choices(&schema["items"]) {
                    option value=(value) selected[default.as_array().is_some_and(|all| all.iter().any(|one| one == value))] { (plain(shown)) }
                }
            }
        },
        "string" if !all.is_empty() => html! {
            select id=(id) name=(format!("{TEXT}{name}")) required[must] {
                option value="" { "–" }
                @for (value, shown) in all { option value=(value) selected[default == value] { (plain(shown)) } }
            }
        },
        "string" => html! {
            input id=(id) name=(format!("{TEXT}{name}")) required[must] value=[default.as_str()];
        },
        _ => html! {
            input id=(id) name=(format!("{NUMBER}{name}")) required[must] inputmode="decimal"
                value=[(!default.is_null()).then(|| default.to_string())];
        },
    };
    html! {
        label for=(id) { (plain(title)) @if must { " (needed)" } }
        @if let Some(said) = schema["description"].as_str() { p class="dim" { (plain(said)) } }
        (input)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_of_a_tool_has_a_field_for_each_of_its_questions() {
        for (schema, expected) in [
            (json!({"type": "string", "title": "<i>"}), "name=\"s:x\""),
            (json!({"type": "integer", "default": 3}), "value=\"3\""),
            (json!({"type": "boolean", "default": false}), "<option value=\"false\" selected>"),
            (json!({"type": "string", "enum": ["a", "b"], "enumNames": ["Ah", "Be"]}), "<option value=\"b\">Be"),
            (json!({"type": "string", "oneOf": [{"const": "a", "title": "Ah"}]}), "<option value=\"a\">Ah"),
            (json!({"type": "array", "items": {"anyOf": [{"const": "a", "title": "Ah"}]}}), "multiple"),
        ] {
            assert!(is_plain(&schema), "{schema}");
            let shown = field("m/r1", "x", &schema, true).into_string();
            assert!(shown.contains(expected) && !shown.contains("<i>"), "{schema}: {shown}");
        }
        for schema in [json!({"type": "object"}), json!({"type": "array", "items": {"type": "string"}}), json!({})] {
            assert!(!is_plain(&schema), "{schema}");
        }
    }

    #[test]
    fn what_becomes_of_one_that_nobody_answers_is_told_as_it_is() {
        let [soon, later] = ["2026-11-26T06:00:00Z", "2026-11-26T08:00:00Z"].map(|at| at.parse::<Timestamp>().ok());
        for (on_expiry, expires_at, window_ends, expected) in [
            ("end", soon, later, "ends as timed out"),
            ("deny", soon, later, "counts as denied"),
            ("deny", soon, None, "counts as denied"),
            ("deny", soon, soon, "window ends"),
            ("wait", soon, soon, "window ends"),
            ("wait", None, None, "does not expire"),
            // A window behind which there is another one ends no question.
            ("wait", None, later, "does not expire"),
        ] {
            let said = then(on_expiry, expires_at, window_ends);
            assert!(said.contains(expected), "{on_expiry} {expires_at:?} {window_ends:?}: {said}");
        }
    }

    #[test]
    fn what_is_cut_is_told_and_cannot_be_changed() {
        let asked = |arguments: Value, bytes: u64| json!({"arguments": arguments, "arguments_bytes": bytes});
        for (request, expected) in [
            (asked(json!({"a": 1}), 7), true),
            (asked(json!("beginning"), 9_000), false),
            (asked(json!("no json"), 7), true),
            (json!({}), true),
        ] {
            assert_eq!(
                Asked { mission_id: "m", request: &request, on_expiry: "end", window_ends: None }.is_whole(),
                expected,
                "{request}"
            );
        }
    }
}
