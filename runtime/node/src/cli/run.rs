//! `sortie run`: the whole node in this process, for one mission.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::{MissionNo, Timestamp};

use super::input::Input;
use super::look::exit_of;
use super::{Exit, Failure, text};
use crate::config::Config;
use crate::node::{Node, system};
use crate::telemetry;
use sortie_engine::act::ActError;
use sortie_engine::intake::DispatchError;
use sortie_engine::recover::Others;
use sortie_engine::views::Events;

/// What to run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The envelope; `-` is standard input. `created_at`, `idempotency_key`, ids and a window may be left out.
    #[arg(value_name = "ENVELOPE.json")]
    envelope: Input,
}

pub(super) async fn run(args: RunArgs, config: Config, as_json: bool) -> Result<Exit, Failure> {
    telemetry::start(config.telemetry.format);
    let ambient = system();
    let input = args.envelope.read()?;
    let envelope = complete(&input, &config, ambient.wall()).map_err(|error| args.envelope.unusable(error))?;
    let node = Node::open(&config, ambient, Others::Wait).await?;
    let dispatched = node.engine.dispatch(envelope).await.map_err(|error| Failure::unusable(refusal(error)));
    let exit = match dispatched {
        Ok(dispatched) => {
            node.start();
            for warning in &dispatched.warnings {
                writeln!(std::io::stderr(), "warning: {}", text::plain(warning))?;
            }
            let followed = follow(&node, dispatched.mission_id.as_str(), as_json).await;
            if followed.is_ok() {
                deliver(&node).await?;
            }
            followed
        }
        Err(failure) => Err(failure),
    };
    node.stop().await;
    exit
}

/// How many events are read at once.
const EVENTS_AT_ONCE: usize = 256;

/// Shows the mission's events until the last, asks on a terminal what it asks, then says where its artifacts are.
async fn follow(node: &Node, id: &str, as_json: bool) -> Result<Exit, Failure> {
    let engine = &node.engine;
    let no = engine.find(id)?.ok_or("the mission is gone")?;
    let mut news = engine.news();
    let mut shown = 0;
    loop {
        let Events { events, more, .. } = engine.events(no, shown, EVENTS_AT_ONCE)?;
        for event in events {
            shown = event.id;
            let event: Value = serde_json::from_str(&event.json)?;
            if as_json {
                text::json(&event)?;
            } else {
                writeln!(std::io::stdout(), "{}", text::event(&event))?;
            }
            if let Some(exit) = exit_of(event["status"].as_str().unwrap_or_default()) {
                if !as_json {
                    artifacts(node, no, &event)?;
                }
                return Ok(exit);
            }
            if event["event_type"] == "mission.blocked" {
                let request = &event["detail"]["request"];
                let id = request["request_id"].as_str().unwrap_or_default();
                let no_longer = || -> Result<bool, Failure> {
                    let (mission, _) = engine.read(no)?;
                    Ok(!mission.open_requests().iter().any(|open| open.no.to_string() == id))
                };
                if no_longer()? {
                    continue;
                }
                if !std::io::stdin().is_terminal() {
                    let talk = format!(
                        "nobody can be asked here; start `sortie serve` on the same data directory and decide about {} {id}",
                        mission_id(node, no)?
                    );
                    writeln!(std::io::stderr(), "{}", text::plain(&talk))?;
                    return Ok(Exit::Blocked);
                }
                let asked = request.clone();
                let Some(answer) = tokio::task::spawn_blocking(move || super::decide::ask(&asked)).await?? else {
                    return Ok(Exit::Blocked);
                };
                match crate::http::requests::decide_here(engine, no, id, &answer).await {
                    // It came too late: the loop shows how the mission has ended.
                    Ok(()) | Err(ActError::AlreadyFinal) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if more {
            continue;
        }
        tokio::select! {
            // Any news is a reason to look; missed news too.
            _ = news.recv() => {}
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                // It may have ended in this moment; the loop shows how.
                let _ = engine.cancel(no, "interrupted at the terminal".to_owned(), "terminal".to_owned()).await;
            }
        }
    }
}

/// How long the mission's events may take to reach their receiver before this process ends without that.
const LAST_DELIVERIES: Duration = Duration::from_secs(15);

/// Waits until the receiver has the mission's events.
async fn deliver(node: &Node) -> std::io::Result<()> {
    let delivered = async {
        while !node.engine.undelivered() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(LAST_DELIVERIES, delivered).await.is_err() {
        writeln!(
            std::io::stderr(),
            "not all events are delivered; `sortie serve` on the same data directory goes on with it"
        )?;
    }
    Ok(())
}

fn mission_id(node: &Node, no: MissionNo) -> Result<String, Failure> {
    Ok(node.engine.read(no)?.0.envelope().mission_id.to_string())
}

fn artifacts(node: &Node, no: MissionNo, last: &Value) -> Result<(), Failure> {
    let (mission, _) = node.engine.read(no)?;
    let mut out = std::io::stdout().lock();
    for artifact in mission.artifacts() {
        let path = node.artifacts.path(no, &artifact.sha256);
        writeln!(out, "artifact {}  {}", text::plain(artifact.name.as_str()), path.display())?;
    }
    writeln!(out, "next: {}", text::cell(&last["detail"]["next_action"]))?;
    Ok(())
}

fn refusal(error: DispatchError) -> String {
    let body = crate::http::problem_of(error);
    super::client::problem(reqwest::StatusCode::UNPROCESSABLE_ENTITY, &body.to_string())
}

/// Fills in what may be left out of a file. Running it twice are two missions, unless it names its ids.
fn complete(input: &str, config: &Config, now: Timestamp) -> Result<String, serde_json::Error> {
    // Each value as it was written: what is wrong with one is for the reader of envelopes to say.
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(input)?;
    let unique = Digest::of(format!("{now}{}{input}", std::process::id()).as_bytes()).to_string();
    let defaults = [
        ("mission_id", json!(format!("run-{}", &unique[..24]))),
        ("idempotency_key", json!(format!("run-{}", &unique[..24]))),
        ("trace_id", json!(&unique[..32])),
        ("vp_id", json!("vp.local")),
        ("source_instance_id", json!("terminal")),
        ("target_instance_id", json!(config.node.instance_id)),
        ("created_at", json!(now)),
    ];
    for (key, value) in defaults {
        if !fields.contains_key(key) {
            fields.insert(key.to_owned(), to_raw_value(&value)?);
        }
    }
    serde_json::to_string(&fields)
}
