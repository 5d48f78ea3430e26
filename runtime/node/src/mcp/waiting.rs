//! Waiting for a mission: its events are progress, and what it asks is asked of the client's person.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::{Method, header};
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use sortie_contract::Status;
use sortie_mcp::serve::{Answer, Reply, Said, Talk};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::api::{self, Api, Ask, Trouble};
use super::{Service, asking, tools};

/// How long a call waits unless it says it, and at most, in seconds. Sessions may be silent for longer.
const WAIT: u64 = 60;
const WAIT_MAX: u64 = 600;

/// How long a wait stays away from a node that does not answer, or whose stream ended.
const PAUSE: Duration = Duration::from_secs(1);

/// How long at least a decision is brought to a node that is away: nobody says it a second time.
const GRACE: Duration = Duration::from_secs(10);

/// How often it is looked whether a question is still open, while somebody thinks about it.
const LOOK: Duration = Duration::from_secs(2);

/// Most bytes of one event that are kept: events list artifacts.
const EVENT_BYTES_MAX: usize = 4 << 20;

pub(super) fn input() -> Map<String, Value> {
    tools::object(json!({
        "type": "object",
        "properties": {
            "mission_id": {"type": "string"},
            "timeout_seconds": {"type": "integer", "minimum": 0, "maximum": WAIT_MAX, "default": WAIT, "description": "How long to wait at most."},
            "past_requests": {"type": "boolean", "default": false, "description": "Go on waiting though it asks something that nobody here answers."},
        },
        "required": ["mission_id"],
        "additionalProperties": false,
    }))
}

/// What a call waits for.
struct Wait {
    mission: String,
    until: Instant,
    past_requests: bool,
}

impl Wait {
    fn read(mut arguments: Map<String, Value>) -> Result<Self, Trouble> {
        let mission = tools::text(&mut arguments, "mission_id")?;
        let seconds = match arguments.remove("timeout_seconds") {
            None | Some(Value::Null) => Some(WAIT),
            Some(value) => value.as_u64().filter(|seconds| *seconds <= WAIT_MAX),
        };
        let told = || Trouble::Arguments(format!("`timeout_seconds` must be a number from 0 to {WAIT_MAX}"));
        let until = Instant::now() + Duration::from_secs(seconds.ok_or_else(told)?);
        let past_requests = match arguments.remove("past_requests") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(past)) => past,
            Some(_) => return Err(Trouble::Arguments("`past_requests` must be true or false".to_owned())),
        };
        match arguments.keys().next() {
            None => Ok(Self { mission, until, past_requests }),
            Some(other) => Err(Trouble::Arguments(format!("there is no argument `{}`", tools::clip(other)))),
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// Whether a mission's state is its last.
pub(super) fn is_final(mission: &Value) -> bool {
    status(mission).is_some_and(Status::is_final)
}

/// A mission's status.
pub(super) fn status(mission: &Value) -> Option<Status> {
    serde_json::from_value(mission["status"].clone()).ok()
}

/// Whether another mission, below it, asks people what it waits for: they are asked there.
fn is_asked_below(mission: &Value) -> bool {
    let wait = &mission["waits_for"];
    status(mission) == Some(Status::Blocked) && wait["what"] == "people" && wait["mission_id"].is_string()
}

/// The requests that nobody has decided about: name and request.
pub(super) fn open(mission: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let open = mission["pending_requests"].as_array().into_iter().flatten();
    open.filter_map(|request| Some((request["request_id"].as_str()?, request)))
}

impl<A: Api> Service<A> {
    /// The state of a mission once it has ended, or asks what nobody here answers, or the time is over.
    pub(super) async fn wait(
        &self,
        caller: &A::Caller,
        arguments: Map<String, Value>,
        talk: &Talk,
    ) -> Result<Answer, Trouble> {
        let wait = Wait::read(arguments)?;
        let (mut refused, mut may_ask) = (BTreeSet::new(), talk.can_ask());
        let mut events = Events::default();
        loop {
            let mission = match self.mission(caller, &wait.mission).await {
                Ok(mission) => mission,
                // It may come back: a node that is started anew goes on with its missions.
                Err(Trouble::Away(_)) if !wait.is_over() => {
                    sleep(PAUSE).await;
                    continue;
                }
                Err(trouble) => return Err(trouble),
            };
            if is_final(&mission) {
                return Ok(Answer::data(mission));
            }
            if is_asked_below(&mission) && !wait.past_requests {
                return Ok(Answer::data(mission));
            }
            let asks = open(&mission)
                .find(|(id, _)| !refused.contains(*id))
                .map(|(id, request)| (id.to_owned(), request.clone()));
            if let Some((id, request)) = asks {
                let may_decide = match may_ask {
                    true => self.may_decide(caller, &wait.mission, &id).await,
                    false => Ok(false),
                };
                if matches!(may_decide, Err(Trouble::Away(_))) && !wait.is_over() {
                    sleep(PAUSE).await;
                    continue;
                }
                if may_decide? {
                    match self.ask(caller, &wait, &id, &request, talk, &mut events).await? {
                        Some(Reply::Said(Said::Form(form))) => {
                            self.decide_surely(caller, &wait, &id, &asking::decision(&request, form)).await?;
                        }
                        Some(Reply::Said(Said::No)) => {
                            refused.insert(id);
                        }
                        Some(Reply::Later) => return Ok(Answer::data(mission)),
                        Some(Reply::Nobody) => may_ask = false,
                        None => {}
                    }
                    if !wait.is_over() {
                        continue;
                    }
                }
                if !wait.past_requests {
                    return Ok(Answer::data(mission));
                }
            } else if !refused.is_empty() && open(&mission).next().is_some() && !wait.past_requests {
                return Ok(Answer::data(mission));
            }
            if wait.is_over() {
                return Ok(Answer::data(mission));
            }
            if let Ok(Some(event)) =
                timeout_at(wait.until, self.next_event(caller, &wait.mission, &mission, &mut events)).await
            {
                tell(talk, &event).await;
            }
        }
    }

    /// Decides about a request as somebody said, also where the node is away for a while: the same decision is taken twice. That there is
    /// nothing to decide any more is no failure.
    async fn decide_surely(&self, caller: &A::Caller, wait: &Wait, id: &str, decision: &Value) -> Result<(), Trouble> {
        let until = wait.until.max(Instant::now() + GRACE);
        loop {
            match self.decide(caller, &wait.mission, id, decision).await {
                Err(Trouble::Away(_)) if Instant::now() < until => sleep(PAUSE).await,
                Err(trouble) if !is_too_late(&trouble) && trouble.code() != Some("not_found") => return Err(trouble),
                Ok(()) | Err(_) => return Ok(()),
            }
        }
    }

    /// Asks the client's person about a request, for as long as it is open and there is time; nothing, where that ended first.
    async fn ask(
        &self,
        caller: &A::Caller,
        wait: &Wait,
        id: &str,
        request: &Value,
        talk: &Talk,
        events: &mut Events,
    ) -> Result<Option<Reply>, Trouble> {
        let question = asking::question(&wait.mission, request);
        let mut asking = pin!(talk.ask(id, &question));
        loop {
            let mission = tokio::select! {
                biased;
                reply = &mut asking => return Ok(Some(reply)),
                mission = async {
                    let mission = self.mission(caller, &wait.mission).await?;
                    // Not every decision is followed by an event at once.
                    let _ = timeout(LOOK, self.next_event(caller, &wait.mission, &mission, events)).await;
                    self.mission(caller, &wait.mission).await
                } => mission,
                () = sleep_until(wait.until) => return Ok(None),
            };
            match mission {
                Ok(mission) if open(&mission).any(|(still, _)| still == id) => {}
                Ok(_) => return Ok(None),
                Err(Trouble::Away(_)) => sleep(PAUSE).await,
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// The next event of a mission after those of its state; nothing, where the stream has ended. It may be dropped while it waits.
    async fn next_event(&self, caller: &A::Caller, id: &str, mission: &Value, events: &mut Events) -> Option<Value> {
        if events.stream.is_none() {
            let after = mission["sequence"].as_u64().unwrap_or_default();
            let ask = Ask::new(Method::GET, ["v1", "missions", id, "events"])
                .with_header(header::ACCEPT, "text/event-stream")
                .with_header(header::HeaderName::from_static("last-event-id"), after.to_string());
            let response = api::good(&self.api, caller, ask).await.ok();
            *events =
                Events { stream: response.map(|response| response.into_body().into_data_stream()), read: Vec::new() };
        }
        let event = events.next().await;
        if event.is_none() {
            events.stream = None;
            sleep(PAUSE).await;
        }
        event
    }
}

/// Whether somebody else was first, or the mission has ended.
pub(super) fn is_too_late(trouble: &Trouble) -> bool {
    matches!(trouble.code(), Some("already_decided" | "already_final" | "request_withdrawn"))
}

/// An event is progress: so many of them, and what the last one says.
async fn tell(talk: &Talk, event: &Value) {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = format!("{}: {}", text(&event["status"]), text(&event["summary"]));
    talk.progress(f64::from(number(&event["sequence"])), None, &told).await;
}

/// A stream of server-sent events, of which only the data is looked at.
#[derive(Default)]
struct Events {
    stream: Option<BodyDataStream>,
    read: Vec<u8>,
}

impl Events {
    async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let data = line.strip_prefix(b"data:").and_then(|data| serde_json::from_slice(data).ok());
                if let Some(event @ Value::Object(_)) = data {
                    return Some(event);
                }
            }
            let chunk = self.stream.as_mut()?.next().await?.ok()?;
            if self.read.len() + chunk.len() > EVENT_BYTES_MAX {
                return None;
            }
            self.read.extend_from_slice(&chunk);
        }
    }
}
