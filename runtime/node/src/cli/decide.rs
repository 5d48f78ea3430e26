//! `requests`, `approve`, `deny`, `answer`: what missions ask of people, and people's answers.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};
use sortie_contract::envelope::read_strictly;
use sortie_contract::request::RequestKind;
use sortie_contract::{Mistake, limit};
use tokio::sync::mpsc;

use super::client::{Client, Commands};
use super::look::{PageArgs, items, say_more};
use super::text::{self, Screen};
use super::{Exit, Failure};

/// Which request.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// The mission's id.
    #[arg(value_parser = super::named, add = super::complete::missions())]
    id: String,
    /// The request's id, such as `r1`.
    #[arg(value_parser = super::named, add = super::complete::requests())]
    request: String,
    /// Why: part of the record.
    #[arg(long, default_value = "")]
    note: String,
}

/// How far an approval reaches.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Reach {
    Call,
    Tool,
    Mission,
}

/// A yes.
#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    which: RequestArgs,
    /// Approve this call, every call of the tool, or every call of the mission.
    /// Without it, this call.
    #[arg(long = "for", value_enum)]
    reach: Option<Reach>,
    /// Approve the call with these arguments in place of its own: JSON, or @FILE.
    #[arg(long, value_name = "JSON|@FILE")]
    arguments: Option<String>,
    /// For a request for more budget: how many US dollars more.
    #[arg(long, value_name = "USD")]
    amount: Option<f64>,
}

pub(super) async fn requests(which: &PageArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let page = which.get(client, &["v1", "requests"]).await?;
    if as_json {
        text::json(&page)?;
        return Ok(Exit::Completed);
    }
    let tools = tools(client).await;
    let screen = Screen::of_output();
    let mut out = io::stdout().lock();
    for item in items(&page) {
        let mission = text::cell(&item["mission_id"]);
        for line in shown(item, &mission, &tools, &screen, client.commands()) {
            writeln!(out, "{line}")?;
        }
        for command in commands(item, &mission, client.commands()) {
            writeln!(out, "    {command}")?;
        }
    }
    say_more(&page);
    Ok(Exit::Completed)
}

/// The node's tools, which say what their calls do; nothing, where they cannot be seen.
pub(super) async fn tools(client: &Client) -> Value {
    client.page(&["v1", "tools"], &[]).await.unwrap_or_default()
}

/// Most bytes of a call's arguments in a list; of longer ones it says where they are whole.
const ARGUMENTS_BYTES_MAX: usize = 2000;

/// A request of `mission` in lines: all that is decided about.
pub(super) fn shown(request: &Value, mission: &str, tools: &Value, screen: &Screen, of: &Commands) -> Vec<String> {
    let [id, kind, question] = ["request_id", "kind", "question"].map(|key| text::cell(&request[key]));
    let expires = screen.when(&request["expires_at"]);
    let mut lines = vec![format!("{mission}  {id}  {kind}  expires {expires}"), format!("  {question}")];
    let Some(tool) = request["tool"].as_str() else { return lines };
    let mut known = tools["items"].as_array().into_iter().flatten();
    let classes: Vec<String> = known
        .find(|known| known["name"] == tool)
        .and_then(|known| known["effects"].as_array())
        .map(|effects| effects.iter().map(text::cell).collect())
        .unwrap_or_default();
    let classes = if classes.is_empty() { String::new() } else { format!("  ({})", classes.join(", ")) };
    lines.push(format!("  tool {}{classes}", text::plain(tool)));
    let whole = request["arguments"].to_string();
    lines.push(if is_cut(request) {
        format!("  arguments {}; whole: {}", size(request), whole_of("journal", mission, of))
    } else if whole.len() > ARGUMENTS_BYTES_MAX {
        format!("  arguments {}; whole: {}", size(request), whole_of("show", mission, of))
    } else {
        format!("  arguments {}", text::plain(&whole))
    });
    if kind == RequestKind::Input.as_str() {
        // A question of the plugin is no tool's.
        lines.insert(1, format!("  {} asks, in its own words:", text::plain(tool)));
        lines.extend(form(request, mission, of));
    }
    if let Some(wanted) = request.get("arguments_wanted") {
        let wanted = limit::clip(&wanted.to_string(), ARGUMENTS_BYTES_MAX);
        lines.push(format!("  changed when it was approved; its plugin wanted {}", text::plain(&wanted)));
    }
    lines
}

/// The command that shows something of `mission` whole.
fn whole_of(command: &str, mission: &str, of: &Commands) -> String {
    of.line(&format!("{command} {} --json", text::word(mission)))
}

/// The commands that decide a request of `mission`, ready to be copied.
pub(super) fn commands(request: &Value, mission: &str, of: &Commands) -> Vec<String> {
    let which = format!("{} {}", text::word(mission), text::word(request["request_id"].as_str().unwrap_or_default()));
    let command = |decision: &Value| {
        Some(of.line(&match decision.as_str()? {
            "approve" | "repeat" => format!("approve {which}"),
            "grant" => format!("approve {which} --amount USD"),
            "deny" => format!("deny {which}"),
            "answer" if is_plain(request) => format!("answer {which} TEXT"),
            "answer" => format!("answer {which} JSON"),
            "record" => format!("answer {which} RESULT"),
            _ => return None,
        }))
    };
    request["decisions"].as_array().into_iter().flatten().filter_map(command).collect()
}

/// Most fields of a form that are listed.
const FIELDS_MAX: usize = 20;

/// What a tool wants to know, field by field; where it is to be found, in a list, which has no room for it.
fn form(request: &Value, mission: &str, of: &Commands) -> Vec<String> {
    let Some(fields) = request["schema"]["properties"].as_object() else {
        return vec![format!("  its form: {}", whole_of("show", mission, of))];
    };
    let required =
        |name: &str| request["schema"]["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let mut lines: Vec<String> = fields
        .iter()
        .take(FIELDS_MAX)
        .map(|(name, field)| {
            let must = if required(name) { "" } else { ", may be left out" };
            let told = ["title", "description"].into_iter().filter_map(|key| field[key].as_str()).collect::<Vec<_>>();
            let default = field.get("default").map(|default| format!(", else {default}")).unwrap_or_default();
            let choices = choices(field);
            let kind = field["type"].as_str().unwrap_or("choice");
            let line = format!("{name} ({kind}{must}{default}{choices}) {}", told.join(": "));
            format!("  field {}", text::plain(limit::clip(&line, ARGUMENTS_BYTES_MAX).trim_end()))
        })
        .collect();
    if fields.len() > FIELDS_MAX {
        lines.push(format!("  and {} more: {}", fields.len() - FIELDS_MAX, whole_of("show", mission, of)));
    }
    lines
}

/// What a field may be, where it says so: itself, or each of several.
fn choices(field: &Value) -> String {
    let several = &field["items"];
    let (of, what) = if several.is_object() { (several, "some of") } else { (field, "one of") };
    let listed = ["enum", "oneOf", "anyOf"].into_iter().find_map(|key| of[key].as_array().map(|all| (key, all)));
    let Some((key, all)) = listed else { return String::new() };
    let choice = |one: &Value| match (key, one["title"].as_str()) {
        ("enum", _) => one.to_string(),
        (_, Some(title)) => format!("{} ({title})", one["const"]),
        (_, None) => one["const"].to_string(),
    };
    format!(", {what} {}", all.iter().map(choice).collect::<Vec<_>>().join(", "))
}

/// Whether the only thing to be said is a text.
fn is_plain(request: &Value) -> bool {
    let fields = request["schema"]["properties"].as_object();
    fields.is_none_or(|fields| fields.len() == 1 && fields.values().all(|field| field["type"] == "string"))
}

/// How large arguments are, and by what they are known again.
fn size(request: &Value) -> String {
    format!("{} bytes, sha256 {}", request["arguments_bytes"], text::cell(&request["arguments_sha256"]))
}

/// Whether the node shows the beginning of arguments only.
fn is_cut(request: &Value) -> bool {
    let shown = request["arguments"].as_str().map(|text| text.len() as u64);
    shown.zip(request["arguments_bytes"].as_u64()).is_some_and(|(shown, bytes)| shown < bytes)
}

/// Approves a call, lets an uncertain one be repeated, or grants budget.
pub(super) async fn approve(args: ApproveArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let ApproveArgs { which, reach, arguments, amount } = args;
    let arguments = arguments.as_deref().map(changed).transpose()?;
    let decision = approval(&kind(&which, client).await?, reach, amount, arguments).map_err(Failure::unusable)?;
    decide(&which, decision, client, as_json).await
}

/// Arguments that are given on the command line or in a file.
fn changed(given: &str) -> Result<Value, Failure> {
    let text = match given.strip_prefix('@') {
        Some(file) => crate::bounded::text(file.as_ref())
            .map_err(|error| Failure::unusable(format!("{file} cannot be read: {error}")))?,
        None => given.to_owned(),
    };
    strict(&text, "the arguments of the call").map_err(Failure::unusable)
}

/// JSON that somebody decides with, read as strictly as the node reads a decision: of two equal keys one says the contrary of the other.
fn strict(text: &str, what: &str) -> Result<Value, String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| format!("{what} must be JSON: {error}"))?;
    let wrong = |mistakes: &[Mistake]| {
        let told = mistakes.iter().map(|mistake| format!("at `{}`: {}", mistake.pointer, mistake.detail));
        format!("{what} cannot be taken: {}", told.collect::<Vec<_>>().join("; "))
    };
    match read_strictly(text) {
        Ok((value, mistakes)) if mistakes.is_empty() => Ok(value),
        Ok((_, mistakes)) => Err(wrong(&mistakes)),
        Err(mistake) => Err(wrong(&[mistake])),
    }
}

/// What approving a request of a kind is; nothing that was said goes unheard.
fn approval(
    kind: &str,
    reach: Option<Reach>,
    amount: Option<f64>,
    arguments: Option<Value>,
) -> Result<Value, &'static str> {
    if let Some(arguments) = arguments {
        return match (kind, reach, amount) {
            ("budget" | "uncertain" | "input", ..) => {
                Err("--arguments has an effect on a call that waits for its approval only: leave it out")
            }
            (_, None | Some(Reach::Call), None) => Ok(json!({"decision": "approve", "arguments": arguments})),
            (_, Some(_), _) => Err("changed arguments approve the one call that they are of: leave --for out"),
            (_, _, Some(_)) => Err("--amount has an effect on an open request for budget only: leave it out"),
        };
    }
    Ok(match (kind, reach, amount) {
        ("budget", None, Some(amount)) => json!({"decision": "grant", "amount": amount}),
        ("budget", None, None) => return Err("say how many US dollars more with --amount"),
        ("budget", Some(_), _) => return Err("--for has no effect on a request for budget: leave it out"),
        ("uncertain", None, None) => json!({"decision": "repeat"}),
        ("uncertain", ..) => {
            return Err(
                "an uncertain call is repeated, once: neither --for nor --amount has an effect; leave them out",
            );
        }
        (_, _, Some(_)) => return Err("--amount has an effect on an open request for budget only: leave it out"),
        (_, reach, None) => {
            json!({"decision": "approve", "for": format!("{:?}", reach.unwrap_or(Reach::Call)).to_lowercase()})
        }
    })
}

pub(super) async fn deny(which: RequestArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    decide(&which, json!({"decision": "deny"}), client, as_json).await
}

/// Answers a question, or records what an uncertain call returned.
pub(super) async fn answer(
    which: RequestArgs,
    answer: String,
    client: &Client,
    as_json: bool,
) -> Result<Exit, Failure> {
    let decision = if kind(&which, client).await? == "uncertain" {
        let result = strict(&answer, "what the call returned").map_err(Failure::unusable)?;
        json!({"decision": "record", "result": result})
    } else {
        json!({"decision": "answer", "text": answer})
    };
    decide(&which, decision, client, as_json).await
}

/// What an open request asks for; nothing, where it is not open: the node then says why.
async fn kind(which: &RequestArgs, client: &Client) -> Result<String, Failure> {
    let mission = client.get(&["v1", "missions", &which.id], "mission_id").await?;
    let mut open = mission["pending_requests"].as_array().into_iter().flatten();
    let request = open.find(|request| request["request_id"] == which.request.as_str());
    Ok(request.map(|request| text::cell(&request["kind"])).unwrap_or_default())
}

async fn decide(which: &RequestArgs, mut decision: Value, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    decision["note"] = json!(which.note);
    let request = client.request(Method::POST, &["v1", "missions", &which.id, "requests", &which.request]);
    let request = request.header("content-type", "application/json").body(decision.to_string());
    let mission = client.json(request, "mission_id").await?;
    if as_json {
        text::json(&mission)?;
    } else {
        writeln!(io::stdout(), "{}  {}", text::cell(&mission["mission_id"]), text::cell(&mission["status"]))?;
    }
    Ok(Exit::Completed)
}

/// The terminal that `sortie run` asks on. Its lines are read by a thread, and only once something is asked: a prompt holds up
/// neither a signal nor news of the mission.
#[derive(Default)]
pub(super) struct Terminal(Option<mpsc::Receiver<io::Result<String>>>);

impl Terminal {
    /// The next line; `None` at the end of the input.
    async fn line(&mut self) -> io::Result<Option<String>> {
        self.0.get_or_insert_with(lines).recv().await.transpose()
    }

    /// Asks about a request; `None` where nobody answers (the end of the input). May be dropped while it waits.
    pub(super) async fn ask(&mut self, mission: &str, request: &Value) -> io::Result<Option<Value>> {
        present(mission, request)?;
        let kind = request["kind"].as_str().unwrap_or_default();
        loop {
            let mut talk = io::stderr();
            let kind = if is_plain(request) { kind } else { FORM };
            write!(talk, "{}", choice(kind))?;
            talk.flush()?;
            let Some(line) = self.line().await? else { return Ok(None) };
            if let Some(decision) = decision(kind, line.trim()) {
                return Ok(Some(decision));
            }
        }
    }
}

/// Reads standard input line by line, until its end or until nobody takes them any more.
fn lines() -> mpsc::Receiver<io::Result<String>> {
    // Answers that were typed ahead wait in the terminal, not here.
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What is asked for by a tool's form that takes more than a text.
const FORM: &str = "form";

/// Shows what is decided about.
fn present(mission: &str, request: &Value) -> io::Result<()> {
    let mut talk = io::stderr().lock();
    if request["kind"] == RequestKind::Input.as_str() && !request["tool"].is_null() {
        writeln!(talk, "{} asks, in its own words:", text::cell(&request["tool"]))?;
    }
    writeln!(talk, "{}", text::cell(&request["question"]))?;
    if !request["schema"].is_null() {
        form(request, mission, &Commands::default()).iter().try_for_each(|line| writeln!(talk, "{line}"))?;
    }
    if !request["tool"].is_null() {
        writeln!(talk, "  {} {}", text::cell(&request["tool"]), text::cell(&request["arguments"]))?;
        if is_cut(request) {
            writeln!(talk, "  These arguments are cut: this is their beginning only, of {}.", size(request))?;
        }
    }
    writeln!(talk, "  expires {}", Screen::of_output().when(&request["expires_at"]))
}

/// What can be answered to a request of a kind.
fn choice(kind: &str) -> &'static str {
    match kind {
        "approval" => "[y]es, yes to [t]his tool from now on, [n]o: ",
        "uncertain" => "[r]epeat, [n]o: ",
        "budget" => "how many US dollars more, or [n]o: ",
        FORM => "answer, as a JSON object with these fields, or [n]o: ",
        _ => "answer: ",
    }
}

/// What a line decides about a request of a kind; nothing, where it has to be asked again.
fn decision(kind: &str, line: &str) -> Option<Value> {
    Some(match (kind, line.to_lowercase().as_str()) {
        (FORM, "n" | "no") => json!({"decision": "deny"}),
        ("input" | FORM, _) if !line.is_empty() => json!({"decision": "answer", "text": line}),
        ("approval", "y" | "yes") => json!({"decision": "approve"}),
        ("approval", "t") => json!({"decision": "approve", "for": "tool"}),
        ("uncertain", "r" | "repeat") => json!({"decision": "repeat"}),
        ("approval" | "uncertain" | "budget", "n" | "no") => json!({"decision": "deny"}),
        ("budget", amount) => {
            let amount = amount.parse::<f64>().ok().filter(|usd| usd.is_finite() && *usd > 0.0)?;
            json!({"decision": "grant", "amount": amount})
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn screen() -> Screen {
        Screen::fixed(Some(80), false, TimeZone::UTC, "2026-01-02T00:00:00Z")
    }

    #[test]
    fn a_request_names_the_commands_that_decide_it() {
        for (kind, decisions, expected) in [
            ("approval", json!(["approve", "deny"]), vec!["sortie approve m r1", "sortie deny m r1"]),
            ("budget", json!(["grant", "deny"]), vec!["sortie approve m r1 --amount USD", "sortie deny m r1"]),
            ("input", json!(["answer"]), vec!["sortie answer m r1 TEXT"]),
            (
                "uncertain",
                json!(["repeat", "record", "deny"]),
                vec!["sortie approve m r1", "sortie answer m r1 RESULT", "sortie deny m r1"],
            ),
        ] {
            let request = json!({"request_id": "r1", "kind": kind, "decisions": decisions});
            assert_eq!(commands(&request, "m", &Commands::default()), expected, "{kind}");
        }
        let request = json!({"request_id": "r1", "decisions": ["deny"]});
        assert_eq!(commands(&request, "m; rm -rf ~", &Commands::default()), ["sortie deny 'm; rm -rf ~' r1"]);
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        let (reach, amount) = (Some(Reach::Tool), Some(5.0));
        for (kind, reach, amount, expected) in [
            ("approval", None, None, Ok(json!({"decision": "approve", "for": "call"}))),
            ("approval", reach, None, Ok(json!({"decision": "approve", "for": "tool"}))),
            ("approval", None, amount, Err("--amount")),
            ("approval", reach, amount, Err("--amount")),
            ("uncertain", None, None, Ok(json!({"decision": "repeat"}))),
            ("uncertain", reach, None, Err("--for")),
            ("uncertain", None, amount, Err("--amount")),
            ("budget", None, amount, Ok(json!({"decision": "grant", "amount": 5.0}))),
            ("budget", None, None, Err("--amount")),
            ("budget", reach, amount, Err("--for")),
            ("input", None, amount, Err("--amount")),
            // It is not open: the node says why.
            ("", None, None, Ok(json!({"decision": "approve", "for": "call"}))),
        ] {
            match (approval(kind, reach, amount, None), expected) {
                (Ok(said), Ok(expected)) => assert_eq!(said, expected, "{kind}"),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{kind}: {said}"),
                (said, _) => panic!("{kind}, {reach:?}, {amount:?}: {said:?}"),
            }
        }
    }

    #[test]
    fn what_is_said_twice_is_not_decided_by_the_last_word() {
        for (given, expected) in [
            ("{\"a\": 1, \"b\": [{\"c\": 2}]}", Ok(json!({"a": 1, "b": [{"c": 2}]}))),
            ("7", Ok(json!(7))),
            ("{\"path\": \"a\", \"path\": \"b\"}", Err("at `/path`")),
            ("{\"b\": [{\"c\": 2, \"c\": 2}]}", Err("at `/b/0/c`")),
            ("{\"a\": 1", Err("the arguments must be JSON: EOF")),
            ("{'a': 1}", Err("must be JSON: key must be a string")),
        ] {
            match (strict(given, "the arguments"), expected) {
                (Ok(said), Ok(expected)) => assert_eq!(said, expected, "{given}"),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{given}: {said}"),
                (said, _) => panic!("{given}: {said:?}"),
            }
        }
    }

    #[test]
    fn arguments_are_changed_where_a_call_waits_for_its_approval() {
        let changed = json!({"path": "b"});
        for (kind, reach, amount, expected) in [
            ("approval", None, None, None),
            ("approval", Some(Reach::Call), None, None),
            ("", None, None, None),
            ("approval", Some(Reach::Tool), None, Some("--for")),
            ("approval", None, Some(1.0), Some("--amount")),
            ("budget", None, Some(1.0), Some("--arguments")),
            ("uncertain", None, None, Some("--arguments")),
            ("input", None, None, Some("--arguments")),
        ] {
            match (approval(kind, reach, amount, Some(changed.clone())), expected) {
                (Ok(said), None) => assert_eq!(said, json!({"decision": "approve", "arguments": changed}), "{kind}"),
                (Err(said), Some(expected)) => assert!(said.contains(expected), "{kind}: {said}"),
                (said, _) => panic!("{kind}, {reach:?}, {amount:?}: {said:?}"),
            }
        }
    }

    #[test]
    fn a_line_decides_or_is_asked_for_again() {
        for (kind, line, expected) in [
            ("approval", "Y", Some(json!({"decision": "approve"}))),
            ("approval", "t", Some(json!({"decision": "approve", "for": "tool"}))),
            ("approval", "no", Some(json!({"decision": "deny"}))),
            ("approval", "maybe", None),
            ("approval", "", None),
            ("uncertain", "repeat", Some(json!({"decision": "repeat"}))),
            ("uncertain", "y", None),
            ("budget", "2.5", Some(json!({"decision": "grant", "amount": 2.5}))),
            ("budget", "n", Some(json!({"decision": "deny"}))),
            ("budget", "inf", None),
            ("budget", "-1", None),
            ("input", "no", Some(json!({"decision": "answer", "text": "no"}))),
            (FORM, "no", Some(json!({"decision": "deny"}))),
            (FORM, "{}", Some(json!({"decision": "answer", "text": "{}"}))),
            (FORM, "", None),
            ("input", "", None),
        ] {
            assert_eq!(decision(kind, line), expected, "{kind}: {line:?}");
        }
    }

    #[test]
    fn a_changed_call_shows_what_its_plugin_wanted() {
        let request = json!({"request_id": "r2", "kind": "budget", "question": "More?", "tool": "Write", "expires_at": "",
            "arguments": {"path": "b"}, "arguments_wanted": {"path": "a\u{202e}"}});
        let lines = shown(&request, "m", &json!({}), &screen(), &Commands::default());
        assert!(lines.iter().any(|line| line.contains(r#"arguments {"path":"b"}"#)), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains(r#"wanted {"path":"a\u{202e}"}"#)), "{lines:?}");
    }

    #[test]
    fn what_a_tool_asks_is_shown_as_its_words_with_its_form() {
        let schema = json!({"properties": {"name": {"type": "string", "title": "Name\u{202e}"}, "n": {"type": "integer", "default": 1}},
            "required": ["name"]});
        let mut request = json!({"request_id": "r1", "kind": "input", "question": "Who?", "tool": "mcp__a__b", "arguments": {},
            "expires_at": "", "schema": schema});
        let lines = shown(&request, "m", &json!({}), &screen(), &Commands::default());
        assert_eq!(lines[1..3], ["  mcp__a__b asks, in its own words:", "  Who?"]);
        for says in ["field name (string) Name\\u{202e}", "field n (integer, may be left out, else 1)"] {
            assert!(lines.iter().any(|line| line.ends_with(says)), "{says}: {lines:?}");
        }
        for (field, says) in [
            (json!({"type": "string", "enum": ["a", "b"]}), r#"field f (string, one of "a", "b")"#),
            (
                json!({"oneOf": [{"const": "a", "title": "A\u{202e}"}, {"const": "b"}]}),
                r#"field f (choice, one of "a" (A\u{202e}), "b")"#,
            ),
            (
                json!({"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}}),
                r#"field f (array, some of "a" (A))"#,
            ),
            (json!({"type": "array", "items": {"type": "string", "enum": ["a"]}}), r#"field f (array, some of "a")"#),
        ] {
            request["schema"] = json!({"properties": {"f": field}, "required": ["f"]});
            let lines = shown(&request, "m", &json!({}), &screen(), &Commands::default());
            assert!(lines.iter().any(|line| line.ends_with(says)), "{says}: {lines:?}");
        }
        request["schema"] = Value::Null;
        let lines = shown(&request, "m", &json!({}), &screen(), &Commands::default());
        assert!(lines.iter().any(|line| line.ends_with("its form: sortie show m --json")), "{lines:?}");
        let lines = shown(&request, "m; x", &json!({}), &screen(), &Commands::default());
        assert!(lines.iter().any(|line| line.ends_with("its form: sortie show 'm; x' --json")), "{lines:?}");
    }

    #[test]
    fn a_request_shows_what_is_decided_about() {
        let tools = json!({"items": [{"name": "Write", "effects": ["workspace_write"]}]});
        let long = json!({"content": "x".repeat(ARGUMENTS_BYTES_MAX)});
        for (arguments, bytes, says) in [
            (json!({"path": "a\u{202e}b"}), 18, vec![r#"arguments {"path":"a\u{202e}b"}"#]),
            (long, 2_014, vec!["2014 bytes, sha256 abc", "sortie show m --json"]),
            // What is no object is no less what is decided about.
            (json!("rm -rf x"), 8, vec![r#"arguments "rm -rf x""#]),
            (
                json!("{\"content\": \"cut"),
                70_000,
                vec!["arguments 70000 bytes, sha256 abc", "sortie journal m --json"],
            ),
        ] {
            let request = json!({"request_id": "r1", "kind": "approval", "question": "May it?", "tool": "Write",
                "arguments": arguments, "arguments_bytes": bytes, "arguments_sha256": "abc",
                "expires_at": "2026-01-02T03:04:05Z"});
            let lines = shown(&request, "m", &tools, &screen(), &Commands::default());
            assert_eq!(lines[0], "m  r1  approval  expires 2026-01-02 03:04:05 UTC (in 3 h)");
            assert_eq!(lines[2], "  tool Write  (workspace_write)");
            assert!(says.iter().all(|says| lines[3].contains(says)), "{lines:?}");
        }
    }
}
