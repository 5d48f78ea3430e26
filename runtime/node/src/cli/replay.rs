//! `sortie replay`: the plugin once more on its recorded answers, doing nothing: how an author tests a fix against last
//! night's failure, and goes through it call by call.

mod stop;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::FutureExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::record::{HostQuestion, Stamped};
use sortie_contract::tool::{EffectClass, ToolInfo, ToolName};
use sortie_contract::{MicroUsd, limit};
use sortie_engine::look::parse_record;
use sortie_engine::rehearsal::{Audience, Enough, Step, Wanted};
use sortie_mission::replay::{Asked, Recorded};
use sortie_sandbox::{BoxFuture, Options};

use super::client::Client;
use super::compiled::Workshop;
use super::input::component;
use super::{Exit, Failure, text};
use crate::replay::{Difference, Replayed, Verdict};
use stop::Break;

/// What to replay.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The mission's id.
    #[arg(value_parser = super::named, add = super::complete::missions())]
    id: String,
    /// Run this build of the plugin instead of the one that the mission ran on.
    #[arg(long, value_name = "FILE.wasm")]
    plugin: Option<PathBuf>,
    /// Stop behind this call.
    #[arg(long, value_name = "CALL", value_parser = clap::value_parser!(u32).range(1..))]
    until: Option<u32>,
    /// Show such a call whole and wait for Enter behind it, or stop there where no terminal is: call=N, tool=NAME, model, or text=PART of its
    /// arguments. May be given several times.
    #[arg(long, value_name = "WHERE")]
    r#break: Vec<Break>,
    /// Print each value whole, however long it is.
    #[arg(long)]
    whole: bool,
}

pub(super) async fn replay(args: ReplayArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let records = records_of(&args.id, client).await?;
    let component = match &args.plugin {
        Some(file) => component(file)?,
        None => {
            let request = client.request(Method::GET, &["v1", "missions", &args.id, "plugin"]);
            client.send(request).await?.bytes().await?.to_vec()
        }
    };
    let workshop = Workshop::open(|dir| Options { instances_max: 1, ..Options::new(dir) })?;
    let installed = workshop.install(component).await?;
    let tools = tools_of(client).await?;

    let can_wait = !as_json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let ReplayArgs { id, until, r#break: breaks, whole, .. } = args;
    let audience = Arc::new(Page { client: client.clone(), id, as_json, whole, until, breaks, can_wait });
    let replayed = crate::replay::replay(
        &workshop.sandbox,
        installed.identity.digest,
        &records,
        tools,
        audience as Arc<dyn Audience>,
    )
    .await?;
    show(&replayed, &installed.identity.digest.to_string(), as_json)?;
    Ok(match replayed.verdict {
        None => Exit::Stopped,
        Some(Verdict::Same) => Exit::Completed,
        Some(Verdict::Mended) => Exit::Mended,
        Some(Verdict::Different) => Exit::Different,
    })
}

fn show(replayed: &Replayed, plugin: &str, as_json: bool) -> std::io::Result<()> {
    let Replayed { verdict, says, recorded, calls, difference } = replayed;
    let verdict = verdict.map_or("stopped", Verdict::as_str);
    if as_json {
        let difference = json!(difference);
        return text::json(&json!({
            "verdict": verdict, "says": says, "recorded": recorded, "plugin": plugin, "calls": calls, "difference": difference,
        }));
    }
    let mut out = std::io::stdout().lock();
    if let Some(difference) = difference.as_ref().filter(|difference| difference.recorded.is_some()) {
        writeln!(out)?;
        parts(&mut out, difference, "")?;
        writeln!(out)?;
    }
    writeln!(out, "recorded: {}\n{verdict}: {}", text::plain(recorded), text::plain(says))
}

/// Where a build leaves the record, line by line.
pub(super) fn parts(out: &mut impl std::io::Write, difference: &Difference, indent: &str) -> std::io::Result<()> {
    let side =
        |name: &str, what: Option<&str>| format!("{name}: {}", text::plain(what.unwrap_or("the end of its run")));
    writeln!(out, "{indent}{} calls are the same; then", difference.same)?;
    writeln!(out, "{indent}  {}", side("recorded", difference.recorded.as_ref().map(|asked| asked.what.as_str())))?;
    writeln!(out, "{indent}  {}", side("this build", difference.wanted.as_ref().map(|asked| asked.what.as_str())))?;
    for line in difference.diff.lines() {
        writeln!(out, "{indent}    {}", text::plain(line))?;
    }
    Ok(())
}

/// The records of a mission that a node has.
pub(super) async fn records_of(id: &str, client: &Client) -> Result<Vec<Stamped>, Failure> {
    let shown = client.page(&["v1", "missions", id, "journal"], &[]).await?;
    let shown = shown["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let records: Vec<Stamped> = shown.iter().filter_map(parse_record).collect();
    if records.len() != shown.len() || records.is_empty() {
        return Err(
            "the node shows records that this version of sortie does not know; use the node's own version".into()
        );
    }
    Ok(records)
}

/// The tools that a node has.
pub(super) async fn tools_of(client: &Client) -> Result<Vec<ToolInfo>, Failure> {
    let tools = client.page(&["v1", "tools"], &[]).await?;
    Ok(tools["items"].as_array().into_iter().flatten().filter_map(tool).collect())
}

/// What a node has of an artifact.
pub(super) async fn artifact_of(id: &str, name: &str, client: &Client) -> Option<Vec<u8>> {
    let segments: Vec<&str> = ["v1", "missions", id, "artifacts"].into_iter().chain(name.split('/')).collect();
    Some(client.send(client.request(Method::GET, &segments)).await.ok()?.bytes().await.ok()?.to_vec())
}

/// A tool as the node lists it.
fn tool(item: &Value) -> Option<ToolInfo> {
    let effects = item["effects"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Some(ToolInfo {
        name: ToolName::new(item["name"].as_str()?),
        description: item["description"].as_str().unwrap_or_default().to_owned(),
        input_schema: item["input_schema"].clone(),
        effects: effects.map(|class| EffectClass(class.to_owned())).collect(),
        read_only: item["read_only"] == true,
        idempotent: item["repeat"] == "idempotent",
        price: MicroUsd::ZERO,
    })
}

/// How long a build may wait for nothing but a signal that is not on record: long enough to get there.
pub(super) const NEVER: Duration = Duration::from_secs(5);

/// Shows each call as a line, or whole, and waits or stops where it was told to.
struct Page {
    client: Client,
    id: String,
    as_json: bool,
    whole: bool,
    until: Option<u32>,
    breaks: Vec<Break>,
    /// Somebody is there to press Enter.
    can_wait: bool,
}

impl Audience for Page {
    fn sees(&self, step: &Step<'_>) -> Result<(), Enough> {
        let wanted = Wanted::of(step.asked);
        let call = step.call.map(|(call, _)| call.0);
        let breaks = self.breaks.iter().any(|place| place.meets(call, &wanted));
        // Whoever reads this has had enough when it cannot be written any more.
        let written = if self.as_json {
            self.json(step, &wanted, self.whole || breaks)
        } else if self.whole || breaks {
            in_full(step, &wanted)
        } else {
            line(step)
        };
        let is_last = self.until.is_some_and(|until| call.is_none_or(|call| call >= until));
        if written.is_err() || is_last || (breaks && !(self.can_wait && goes_on())) { Err(Enough) } else { Ok(()) }
    }

    fn artifact(&self, name: String, _: Option<Digest>) -> BoxFuture<'static, Option<Vec<u8>>> {
        let (client, id) = (self.client.clone(), self.id.clone());
        async move { artifact_of(&id, &name, &client).await }.boxed()
    }

    fn artifact_of(&self, mission: String, name: String, _: Option<Digest>) -> BoxFuture<'static, Option<Vec<u8>>> {
        let client = self.client.clone();
        async move { artifact_of(&mission, &name, &client).await }.boxed()
    }

    fn patience(&self) -> BoxFuture<'static, ()> {
        tokio::time::sleep(NEVER).boxed()
    }
}

impl Page {
    fn json(&self, step: &Step<'_>, wanted: &Wanted, whole: bool) -> std::io::Result<()> {
        let mut shown = match step.call {
            Some((call, at)) => {
                json!({"call": call, "at": at, "asked": wanted.words, "answer": answer(step.answer, limit::ID_BYTES_MAX)})
            }
            None => json!({"beyond": true, "asked": wanted.words}),
        };
        if whole {
            shown["tool"] = json!(wanted.tool);
            shown["arguments"] = json!(wanted.arguments);
            shown["answer"] = json!(answer(step.answer, usize::MAX));
        }
        text::json(&shown)
    }
}

/// A call in a line.
fn line(step: &Step<'_>) -> std::io::Result<()> {
    let asked = text::plain(&step.asked.to_string());
    let mut out = std::io::stdout().lock();
    match step.call {
        Some((call, at)) => {
            let answer = in_words(step.asked, step.answer).unwrap_or_else(|| answer(step.answer, limit::ID_BYTES_MAX));
            let answer = text::plain(&answer);
            let arrow = if answer.is_empty() { "" } else { "  ->  " };
            writeln!(out, "{call:>5}  {at:.3}  {asked}{arrow}{answer}")
        }
        None => writeln!(out, "    +  behind the record: {asked}"),
    }
}

/// A call with all that it was made with and all that came of it.
fn in_full(step: &Step<'_>, wanted: &Wanted) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let what = wanted.tool.as_ref().map_or_else(|| wanted.words.clone(), |tool| format!("`{tool}`"));
    match step.call {
        Some((call, at)) => writeln!(out, "{call:>5}  {at:.3}  {}", text::plain(&what))?,
        None => writeln!(out, "    +  behind the record: {}", text::plain(&what))?,
    }
    for (name, value) in [("asks with", wanted.arguments.clone()), ("is told", answer(step.answer, usize::MAX))] {
        if value.is_empty() {
            continue;
        }
        let laid_out = serde_json::from_str::<Value>(&value)
            .ok()
            .filter(|value| value.is_object() || value.is_array())
            .map_or(value, |value| format!("{value:#}"));
        writeln!(out, "       {name}:")?;
        for line in text::plain_lines(&laid_out).lines() {
            writeln!(out, "         {line}")?;
        }
    }
    Ok(())
}

/// What the record answers, where its own text is a number that says nothing by itself.
fn in_words(asked: Asked<'_>, recorded: &Recorded) -> Option<String> {
    let Recorded::Answer { answer, .. } = recorded else { return None };
    match asked {
        Asked::WaitAny { among } => {
            let place: usize = answer.parse().ok()?;
            Some(match among.get(place)? {
                Some(call) => format!("call {call} is ready first"),
                None => format!("number {} of them is ready first, a timer or a signal", place + 1),
            })
        }
        Asked::Question(HostQuestion::Closing) => {
            let share: u32 = answer.parse().ok()?;
            let spent = f64::from(1000_u32.checked_sub(share)?) / 10.0;
            Some(format!("when {spent} % of one is spent"))
        }
        _ => None,
    }
}

/// What the record answers, cut at so many bytes.
fn answer(recorded: &Recorded, bytes_max: usize) -> String {
    let clip = |text: &str| if text.len() <= bytes_max { text.to_owned() } else { limit::clip(text, bytes_max) };
    match recorded {
        Recorded::Call { outcome: None, .. } => "no result yet".to_owned(),
        Recorded::Call { outcome: Some(Ok(answer)), .. } => clip(&answer.result),
        Recorded::Call { outcome: Some(Err(error)), .. } | Recorded::Refused { error } => {
            format!("{}: {error}", error.code())
        }
        Recorded::Answer { answer, .. } => clip(answer),
        Recorded::Described(info) => clip(&info.description),
        Recorded::Stored(artifact) => format!("{} bytes", artifact.bytes),
        Recorded::Noted => String::new(),
    }
}

/// Waits for Enter; the end of the input, or a word that begins with `q`, stops it.
fn goes_on() -> bool {
    let mut line = String::new();
    let asked = write!(std::io::stderr(), "       Enter goes on, q stops: ").and_then(|()| std::io::stderr().flush());
    let read = asked.and_then(|()| std::io::stdin().read_line(&mut line));
    read.is_ok_and(|read| read > 0) && !line.trim_start().starts_with('q')
}

#[cfg(test)]
mod tests {
    use sortie_contract::Timestamp;
    use sortie_contract::id::CallNo;

    use super::*;

    #[test]
    fn a_number_that_says_nothing_is_told_in_words() {
        let among = [Some(CallNo(2)), None];
        let (wait, closing) = (Asked::WaitAny { among: &among }, Asked::Question(HostQuestion::Closing));
        for (asked, answer, expected) in [
            (wait, "0", Some("call 2 is ready first")),
            (wait, "1", Some("number 2 of them is ready first, a timer or a signal")),
            (wait, "2", None),
            (closing, "50", Some("when 95 % of one is spent")),
            (closing, "25", Some("when 97.5 % of one is spent")),
            (closing, "soon", None),
            (Asked::Question(HostQuestion::Now), "50", None),
        ] {
            let recorded = Recorded::Answer { answer: answer.to_owned(), at: Timestamp::UNIX_EPOCH, ran_ms: 0 };
            assert_eq!(in_words(asked, &recorded).as_deref(), expected, "{asked}: {answer}");
        }
    }
}
