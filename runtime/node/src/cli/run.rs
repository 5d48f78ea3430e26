//! `sortie run`: the whole node in this process, for one mission.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};
use serde_json::Value;
use sortie_contract::MissionNo;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::beside::{self, Wanted};
use super::decide::Terminal;
use super::input::Input;
use super::look::exit_of;
use super::submit::again;
use super::text::{self, EventLines, Screen};
use super::{Exit, Failure};
use crate::config::Config;
use crate::node::{Node, system};
use crate::telemetry;
use sortie_engine::act::ActError;
use sortie_engine::intake::DispatchError;
use sortie_engine::recover::Others;
use sortie_engine::shown::DeliveryState;
use sortie_engine::views::Events;
use sortie_mission::{Mission, Refusal};
use sortie_models::Recorder;

/// What to run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The envelope; `-` is standard input. `created_at`, `idempotency_key`, ids and a window may be left out.
    #[arg(value_name = "ENVELOPE.json", value_hint = ValueHint::FilePath)]
    envelope: Input,
    /// Write what models answer into this file: a script for a model of protocol `scripted`, which answers the same.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

pub(super) async fn run(args: RunArgs, config: Config, token: Option<&str>, as_json: bool) -> Result<Exit, Failure> {
    telemetry::start(config.telemetry.format, telemetry::Usual::Warnings);
    // First: a signal that comes while the journal is read must not leave a mission behind that nobody follows.
    let signals = Signals::listen()?;
    let ambient = system();
    let input = args.envelope.read()?;
    let envelope = crate::blanks::filled(&input, "run", "terminal", Some(&config.node.instance_id))
        .map_err(|error| args.envelope.no_envelope(&error))?;
    let script = args.record.as_deref().map(Script::create).transpose()?;
    let node = match Node::open_as(&config, ambient, Others::Wait, script.is_some()).await {
        Err(taken) if taken.is_in_use() => {
            let file = args.envelope.to_argument();
            let is_a_nodes = script.is_none();
            let wanted = Wanted { file: &file, given: &input, envelope: &envelope, config: &config, token, is_a_nodes };
            return beside::run(wanted, taken, as_json).await;
        }
        opened => opened?,
    };
    // It is examined by the tools that there are.
    node.engine.start_providers();
    let dispatched = node.engine.dispatch(envelope).await.map_err(|error| Failure::unusable(refusal(error)));
    let exit = match dispatched {
        Ok(dispatched) => {
            node.start();
            for warning in &dispatched.reply.warnings {
                writeln!(std::io::stderr(), "warning: {}", text::plain(warning))?;
            }
            let reply = &dispatched.reply;
            let talk = again(reply.mission_id.as_str(), reply.status).filter(|_| dispatched.replayed);
            if let Some(talk) = talk {
                writeln!(std::io::stderr(), "{}", text::plain(&talk))?;
            }
            let no = node.engine.find(reply.mission_id.as_str())?.ok_or("the mission is gone")?;
            if dispatched.replayed {
                // An earlier process has left it behind, perhaps: nobody else drives it.
                node.engine.drive(no)?;
            }
            let followed =
                Followed { node: &node, no, news: node.engine.news(), signals, terminal: Terminal::default(), as_json };
            let followed = followed.follow().await;
            if followed.is_ok() {
                deliver(&node, no).await?;
            }
            followed
        }
        Err(failure) => Err(failure),
    };
    let recorder = node.recorder.clone();
    node.stop().await;
    if let (Some(script), Some(recorder)) = (script, recorder) {
        script.write(&recorder)?;
    }
    exit
}

/// The file that what models answer is written into.
struct Script<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Script<'a> {
    /// Made before anything runs: what cannot be kept must not be paid for.
    fn create(path: &'a Path) -> Result<Self, Failure> {
        let file =
            File::create(path).map_err(|error| Failure::unusable(format!("--record {}: {error}", path.display())))?;
        Ok(Self { path, file })
    }

    fn write(mut self, recorder: &Recorder) -> Result<(), Failure> {
        let (script, left_out) = recorder.script();
        self.file.write_all(script.as_bytes())?;
        if left_out > 0 {
            let path = self.path.display();
            writeln!(std::io::stderr(), "{path} has no room for {left_out} answers of models: they are not in it")?;
        }
        Ok(())
    }
}

/// How many events are read at once.
const EVENTS_AT_ONCE: usize = 256;

/// A mission that is followed to its end, or until nobody can be asked.
struct Followed<'a> {
    node: &'a Node,
    no: MissionNo,
    news: News,
    signals: Signals,
    terminal: Terminal,
    as_json: bool,
}

/// What says that there is something new of any mission.
type News = tokio::sync::broadcast::Receiver<MissionNo>;

/// What ends `sortie run` before its mission does: Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next of them, and how it is called.
    async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted at the terminal",
            _ = self.terminate.recv() => "`sortie run` was told to stop",
        }
    }
}

/// What came of asking.
enum Answered {
    /// A decision.
    Decision(Value),
    /// The end of the input: nobody answers.
    Nobody,
    /// There is nothing to decide about any more: the mission has ended, or was cancelled from here.
    NoLonger,
}

impl Followed<'_> {
    /// Shows the mission's events until the last, asks on a terminal what it asks, then says where its artifacts are.
    async fn follow(mut self) -> Result<Exit, Failure> {
        let mut shown = 0;
        let mut lines = EventLines::on(Screen::of_output());
        loop {
            let Events { events, more, .. } = self.node.engine.events(self.no, shown, EVENTS_AT_ONCE)?;
            for event in events {
                shown = event.id;
                let event: Value = serde_json::from_str(&event.json)?;
                if self.as_json {
                    text::json(&event)?;
                } else {
                    for line in lines.of(&event) {
                        writeln!(std::io::stdout(), "{line}")?;
                    }
                }
                if let Some(exit) = exit_of(event["status"].as_str().unwrap_or_default()) {
                    if !self.as_json {
                        artifacts(self.node, self.no, &event)?;
                    }
                    return Ok(exit);
                }
                if event["event_type"] != "mission.blocked" {
                    continue;
                }
                if let Some((no, request)) = self.asked(&event["detail"])?
                    && !self.decide(no, &request).await?
                {
                    return Ok(Exit::Blocked);
                }
            }
            if more {
                continue;
            }
            tokio::select! {
                // Any news is a reason to look; missed news too.
                _ = self.news.recv() => {}
                why = self.signals.any() => self.cancel(why).await,
            }
        }
    }

    /// Who asks people what, by the detail of an event: the mission itself, or one below it. None, where nobody need decide any more.
    fn asked(&self, detail: &Value) -> Result<Option<(MissionNo, Value)>, Failure> {
        let below = &detail["child_request"];
        let (Some(of), Some(request)) = (below["mission_id"].as_str(), below["request_id"].as_str()) else {
            return Ok(Some((self.no, detail["request"].clone())));
        };
        let (Some(no), Ok(request)) = (self.node.engine.find(of)?, request.parse()) else { return Ok(None) };
        Ok(self.mission(no)?.and_then(|mission| mission.request_view(request)).map(|request| (no, request)))
    }

    /// A mission that may ask something. One below that is gone, or that nobody can read, does not any more: what becomes of it is told.
    fn mission(&self, no: MissionNo) -> Result<Option<Mission>, Failure> {
        match self.node.engine.mission(no) {
            Err(_) if no != self.no => Ok(None),
            mission => Ok(Some(mission?)),
        }
    }

    /// Asks about a request of that mission and decides as somebody says; false where nobody can be asked.
    async fn decide(&mut self, no: MissionNo, request: &Value) -> Result<bool, Failure> {
        let id = request["request_id"].as_str().unwrap_or_default();
        if !self.is_open(no, id)? {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            let talk = format!(
                "nobody can be asked here; start `sortie serve` on the same data directory and decide about {} {id}",
                mission_id(self.node, no)?
            );
            writeln!(std::io::stderr(), "{}", text::plain(&talk))?;
            return Ok(false);
        }
        loop {
            let decision = match self.ask(no, request, id).await? {
                Answered::Decision(decision) => decision,
                Answered::Nobody => return Ok(false),
                Answered::NoLonger => return Ok(true),
            };
            match crate::http::requests::decide_here(&self.node.engine, no, id, &decision).await {
                // It came too late: the loop shows how the mission has ended, or goes on.
                Ok(()) | Err(ActError::AlreadyFinal | ActError::Refused(Refusal::Withdrawn { .. })) => return Ok(true),
                Err(ActError::Answer(mistakes)) => {
                    for mistake in mistakes {
                        writeln!(std::io::stderr(), "  {}", text::plain(&mistake.to_string()))?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks on the terminal, for as long as the request is open and no signal comes.
    async fn ask(&mut self, no: MissionNo, request: &Value, id: &str) -> Result<Answered, Failure> {
        let Some(mission) = self.mission(no)? else { return Ok(Answered::NoLonger) };
        let mission = mission.envelope().mission_id.to_string();
        let mut terminal = std::mem::take(&mut self.terminal);
        let answered = {
            let mut asking = std::pin::pin!(terminal.ask(&mission, request));
            loop {
                tokio::select! {
                    answer = &mut asking => break answer?.map_or(Answered::Nobody, Answered::Decision),
                    why = self.signals.any() => {
                        writeln!(std::io::stderr())?;
                        self.cancel(why).await;
                        break Answered::NoLonger;
                    }
                    _ = self.news.recv() => {
                        if !self.is_open(no, id)? {
                            writeln!(std::io::stderr(), "\nthere is nothing to decide about any more")?;
                            break Answered::NoLonger;
                        }
                    }
                }
            }
        };
        self.terminal = terminal;
        Ok(answered)
    }

    fn is_open(&self, no: MissionNo, id: &str) -> Result<bool, Failure> {
        let mission = self.mission(no)?;
        Ok(mission.is_some_and(|mission| mission.open_requests().iter().any(|open| open.no.to_string() == id)))
    }

    /// Cancels the mission; the loop shows how it has ended.
    async fn cancel(&self, why: &str) {
        // It may have ended in this moment.
        let _ = self.node.engine.cancel(self.no, why.to_owned(), "terminal".to_owned()).await;
    }
}

/// How long the mission's events may take to reach their receiver before this process ends without that.
const LAST_DELIVERIES: Duration = Duration::from_secs(15);

/// Waits until the receiver has what the mission has to send by now: all of it, once it is over.
async fn deliver(node: &Node, no: MissionNo) -> Result<(), Failure> {
    let until = tokio::time::Instant::now() + LAST_DELIVERIES;
    loop {
        let Some(delivery) = node.engine.show(no)?.delivery else { return Ok(()) };
        if delivery.delivered + delivery.skipped.len() as u64 >= delivery.total {
            return Ok(());
        }
        if tokio::time::Instant::now() >= until || delivery.state == DeliveryState::Parked {
            let why = delivery.error.map(|why| format!(" ({})", text::plain(&why))).unwrap_or_default();
            writeln!(
                std::io::stderr(),
                "not all events are delivered{why}; `sortie serve` on the same data directory goes on with it"
            )?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn mission_id(node: &Node, no: MissionNo) -> Result<String, Failure> {
    Ok(node.engine.mission(no)?.envelope().mission_id.to_string())
}

fn artifacts(node: &Node, no: MissionNo, last: &Value) -> Result<(), Failure> {
    let mission = node.engine.mission(no)?;
    let mut out = std::io::stdout().lock();
    for artifact in mission.artifacts() {
        let lies = match (node.engine.artifacts_of(no, mission.envelope()).place(), &node.shared) {
            (Ok(Some((_, place))), Some(shared)) => shared.address(place, &artifact.sha256),
            _ => node.artifacts.path(no, &artifact.sha256).display().to_string(),
        };
        writeln!(out, "artifact {}  {lies}", text::plain(artifact.name.as_str()))?;
    }
    writeln!(out, "next: {}", text::cell(&last["detail"]["next_action"]))?;
    Ok(())
}

fn refusal(error: DispatchError) -> String {
    let body = crate::http::problem_of(error);
    super::client::problem(reqwest::StatusCode::UNPROCESSABLE_ENTITY, &body.to_string())
}
