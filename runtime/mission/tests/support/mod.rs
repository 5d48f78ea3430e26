//! A mission under test: an envelope from JSON, a clock that is set by hand, and the journal that its decisions make.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::Envelope;
use sortie_contract::id::{CallNo, InstanceId, LaneId, RunNo, SessionId};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::overview::Overview;
use sortie_contract::plugin::{self, PluginIdentity};
use sortie_contract::record::{Accepted, ArtifactSource, HostQuestion, Record, Stamped};
use sortie_contract::request::{Decision, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, EffectClass, ToolAnswer, ToolInfo, ToolName, Written};
use sortie_contract::{Event, Status};
use sortie_mission::{
    Admission, Ceilings, Changed, Command, Conditions, Denial, Ending, Handle, Mission, NodeRules, Now, Outgoing,
    Refusal, Standing, admit,
};

/// The time at which every test begins.
pub(crate) fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

/// `noon` and so many seconds, as envelopes write it.
pub(crate) fn at(second: i64) -> String {
    moment(second).to_string()
}

/// `noon` and so many seconds.
pub(crate) fn moment(second: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(second)
}

/// How long a request of the node under test waits for an answer: a day.
pub(crate) const ANSWER_SECONDS: i64 = 86_400;

/// The text of an envelope with these fields in place of the usual ones; `null` takes a field out.
pub(crate) fn envelope_text(fields: Value) -> String {
    let mut json = json!({
        "mission_id": "m-1",
        "vp_id": "vp.coder.primary",
        "source_instance_id": "simone",
        "target_instance_id": "factory-1",
        "mission_type": "automation",
        "objective": "Write the weekly report.",
        "idempotency_key": "key-1",
        "trace_id": "trace-1",
        "created_at": "2026-11-22T11:59:00Z",
        "inputs": {"steps": []},
    });
    let (Value::Object(json), Value::Object(fields)) = (&mut json, fields) else { panic!("fields are an object") };
    for (key, value) in fields {
        if value.is_null() {
            json.remove(&key);
        } else {
            json.insert(key, value);
        }
    }
    serde_json::to_string(json).expect("JSON")
}

/// A valid envelope with these fields in place of the usual ones.
pub(crate) fn envelope(fields: Value) -> Envelope {
    Envelope::parse(&envelope_text(fields)).unwrap_or_else(|rejected| panic!("{:?}", rejected.mistakes)).envelope
}

/// A tool with these effect classes.
pub(crate) fn tool(name: &str, effects: &[&str], read_only: bool, idempotent: bool) -> ToolInfo {
    let effects = effects.iter().map(|&class| EffectClass(class.to_owned())).collect();
    ToolInfo { effects, read_only, idempotent, ..ToolInfo::undeclared(ToolName::new(name)) }
}

/// The tools of the node under test.
pub(crate) fn tools() -> Vec<ToolInfo> {
    vec![
        tool("Read", &[], true, false),
        tool("Write", &["workspace_write"], false, true),
        tool("Edit", &["workspace_write"], false, false),
        tool("WebFetch", &[], true, false),
        tool("mcp__mail__send", &["outbound_email"], false, false),
        tool("mcp__odd__thing", &[], false, false),
    ]
}

/// A tool of the node under test.
pub(crate) fn the(name: &str) -> ToolInfo {
    tools().into_iter().find(|tool| tool.name.as_str() == name).expect("a tool of the node")
}

/// The node under test.
pub(crate) fn rules() -> NodeRules {
    let lane = |name: &str| LaneId::new(name).expect("a lane");
    NodeRules {
        instance_id: InstanceId::new("factory-1").expect("an id"),
        lanes: vec![lane("runtime.general"), lane("runtime.coder.external")],
        default_lane: lane("runtime.general"),
        ceilings: Ceilings { runtime_ms: 60 * 60_000, llm_calls: Some(1_000), cost: Some(MicroUsd(50_000_000)) },
        shared_storage: false,
        classes: vec![EffectClass("deploys".to_owned())],
    }
}

/// What intake says to an envelope at noon.
pub(crate) fn intake(fields: Value) -> Result<Admission, Denial> {
    admit(&envelope(fields), &rules(), &tools(), noon())
}

/// The code and place of each mistake that intake finds.
pub(crate) fn mistakes(fields: Value) -> Vec<(String, String)> {
    match intake(fields) {
        Err(Denial::Mistakes(mistakes)) => {
            mistakes.into_iter().map(|mistake| (mistake.code, mistake.pointer.as_str().to_owned())).collect()
        }
        other => panic!("expected mistakes, got {other:?}"),
    }
}

/// An artifact of that name.
pub(crate) fn artifact(name: &str) -> Artifact {
    Artifact {
        name: ArtifactName::new(name).expect("a name"),
        media_type: "text/markdown".to_owned(),
        bytes: 3,
        sha256: Digest::of(name.as_bytes()),
    }
}

/// A file that a call wrote, with this content; `changed` is the content of which it kept a part.
pub(crate) fn written(path: &str, content: &str, changed: Option<&str>) -> Written {
    let of = |text: &str| Digest::of(text.as_bytes());
    Written { path: path.to_owned(), sha256: Some(of(content)), changed: changed.map(of) }
}

/// What a mission's head says of it, but for its run time, which goes on in between.
pub(crate) fn head_of(mission: &Mission) -> (Standing, (u32, u32), Overview) {
    (mission.standing(), (mission.crashes(), mission.outlived()), Overview { ran_ms: 0, ..mission.overview() })
}

/// It is a mission's turn, on a node with these tools.
pub(crate) fn start(tools: &[ToolInfo]) -> Command<'_> {
    Command::Start(conditions(tools))
}

/// The conditions of a run beside others, on a node with these tools.
pub(crate) fn conditions(tools: &[ToolInfo]) -> Conditions<'_> {
    Conditions {
        tools,
        memory_bytes_max: MEMORY_BYTES_MAX,
        alone: false,
        crashes_alone_max: CRASHES_ALONE_MAX,
        open_until: None,
    }
}

/// The crashes of one that runs alone which the node under test takes.
pub(crate) const CRASHES_ALONE_MAX: u32 = 3;

/// The memory that the node under test gives a plugin.
pub(crate) const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// The record of what a plugin is handed.
pub(crate) fn granted(tools: &[ToolName]) -> Record {
    Record::Granted { tools: tools.to_vec(), memory_bytes_max: Some(MEMORY_BYTES_MAX) }
}

/// The node answered a question that says all by itself.
pub(crate) fn answer(run: RunNo, question: HostQuestion, answer: &str) -> Command<'static> {
    answer_about(run, question, "", answer)
}

/// The node answered a question about something.
pub(crate) fn answer_about(run: RunNo, question: HostQuestion, about: &str, answer: &str) -> Command<'static> {
    Command::Answer { run, question, about: about.to_owned(), answer: answer.to_owned() }
}

/// An artifact is in the store, from the plugin's memory.
pub(crate) fn put(run: RunNo, artifact: Artifact) -> Command<'static> {
    Command::StoreArtifact { run, artifact, source: ArtifactSource::Memory }
}

/// What becomes of a call.
#[derive(Debug)]
pub(crate) enum Called {
    Granted(CallNo),
    Refused(CallError),
    Held(CallNo, RequestNo, RequestKind),
    /// It waits for its payment, until then.
    Unpaid(CallNo, Timestamp),
}

/// A mission and everything that came of it.
pub(crate) struct Tested {
    pub(crate) mission: Mission,
    pub(crate) records: Vec<Stamped>,
    pub(crate) events: Vec<Event>,
    pub(crate) outgoing: Vec<Outgoing>,
    pub(crate) now: Now,
}

impl Tested {
    /// Admits an envelope at noon; it waits then.
    pub(crate) fn queued(fields: Value) -> Self {
        Self::admitted(Arc::new(envelope(fields)), &rules())
    }

    pub(crate) fn admitted(envelope: Arc<Envelope>, rules: &NodeRules) -> Self {
        let admission = admit(&envelope, rules, &tools(), noon()).expect("an envelope that the node takes");
        let accepted = Accepted {
            envelope: String::new(),
            session: envelope.vp_session_id.clone().unwrap_or_else(|| SessionId::of(&envelope.vp_id)),
            lane: admission.lane,
            plugin: PluginIdentity {
                name: "automation".into(),
                version: "1.0.0".into(),
                digest: Digest::of(b"plugin"),
            },
            budget: admission.budget,
            unknown_approvals: admission.unknown_approvals,
            warnings: admission.warnings,
        };
        let now = Now {
            wall: noon(),
            ran_ms: 0,
            out_ms: None,
            next_window: None,
            wider: Default::default(),
            expires_at: moment(ANSWER_SECONDS),
            on_expiry: sortie_contract::envelope::OnExpiry::End,
        };
        let first = Stamped { at: now.wall, ran_ms: 0, record: Record::Accepted(Box::new(accepted)) };
        let mission = Mission::begin(envelope, &first).expect("a first record");
        let (events, outgoing) = (mission.event_of(&first).into_iter().collect(), mission.outgoing_of(&first));
        Self { mission, records: vec![first], events, outgoing, now }
    }

    /// Admits an envelope and starts its first run.
    pub(crate) fn running(fields: Value) -> Self {
        let mut tested = Self::queued(fields);
        tested.start().expect("it starts");
        tested
    }

    /// It is its turn.
    pub(crate) fn start(&mut self) -> Result<Vec<Record>, Refusal> {
        self.take(start(&tools()))
    }

    /// Lets time pass; the mission's own as well while its run clock goes.
    pub(crate) fn pass(&mut self, seconds: i64) -> &mut Self {
        self.shift(seconds);
        if self.mission.takes_run_time() {
            self.now.ran_ms += u64::try_from(seconds).expect("time passes forward") * 1_000;
        }
        self
    }

    /// Moves the wall clock, and nothing else.
    pub(crate) fn shift(&mut self, seconds: i64) {
        self.now.wall += SignedDuration::from_secs(seconds);
        self.now.expires_at = self.now.wall + SignedDuration::from_secs(ANSWER_SECONDS);
    }

    /// Does what the shell does with a command: decides, keeps, applies, looks at the events.
    pub(crate) fn take(&mut self, command: Command<'_>) -> Result<Vec<Record>, Refusal> {
        let records = self.mission.decide(self.now, command)?;
        let (head, mut changes_head) = (head_of(&self.mission), false);
        for record in &records {
            let stamped = Stamped { at: self.now.wall, ran_ms: self.now.ran_ms, record: record.clone() };
            changes_head |= self.mission.changes_head(record);
            self.mission.apply(&stamped).unwrap_or_else(|illegal| panic!("decided, but {illegal}"));
            self.events.extend(self.mission.event_of(&stamped));
            self.outgoing.extend(self.mission.outgoing_of(&stamped));
            self.records.push(stamped);
        }
        // So a head that was written with those records only is true after each command.
        assert!(changes_head || head == head_of(&self.mission), "{records:?} change what the head says");
        Ok(records)
    }

    /// The current run.
    pub(crate) fn run(&self) -> RunNo {
        self.mission.run().expect("it runs")
    }

    /// Calls a tool, which may cost so much.
    pub(crate) fn calls(&mut self, tool: &ToolInfo, cost: u64) -> Called {
        self.calls_with(tool, "{}", cost)
    }

    /// The same, with these arguments.
    pub(crate) fn calls_with(&mut self, tool: &ToolInfo, arguments: &str, cost: u64) -> Called {
        let (run, arguments) = (self.run(), arguments.to_owned());
        let digest = Digest::of(arguments.as_bytes());
        let command = Command::Call { run, tool: tool.into(), arguments, digest, quote: Spend::money(MicroUsd(cost)) };
        match self.take(command).expect("an answer").as_slice() {
            [Record::CallStarted { call, .. }] | [Record::CallStarted { call, .. }, Record::Closing { .. }] => {
                Called::Granted(*call)
            }
            [Record::CallRefused { error, .. }] => Called::Refused(error.clone()),
            [Record::CallHeld { call, .. }, Record::Requested { request, call: of, kind, .. }] => {
                assert_eq!(call, of, "the request is the call's own");
                Called::Held(*call, *request, *kind)
            }
            [Record::CallHeld { call, .. }, Record::PaymentAwaited { call: of, until, .. }] => {
                assert_eq!(call, of, "it waits itself");
                Called::Unpaid(*call, *until)
            }
            other => panic!("neither granted nor refused nor held: {other:?}"),
        }
    }

    /// Calls a tool of which nobody has to be asked.
    pub(crate) fn call(&mut self, tool: &ToolInfo, cost: u64) -> Result<CallNo, CallError> {
        match self.calls(tool, cost) {
            Called::Granted(call) => Ok(call),
            Called::Refused(error) => Err(error),
            held @ (Called::Held(..) | Called::Unpaid(..)) => panic!("it waits: {held:?}"),
        }
    }

    /// Calls a tool of which somebody is asked for this.
    pub(crate) fn held(&mut self, tool: &ToolInfo, cost: u64, kind: RequestKind) -> (CallNo, RequestNo) {
        match self.calls(tool, cost) {
            Called::Held(call, request, asked) if asked == kind => (call, request),
            other => panic!("nobody is asked for {kind}: {other:?}"),
        }
    }

    /// Calls a tool that is not paid for at the moment, and of which nobody is asked.
    pub(crate) fn unpaid(&mut self, tool: &ToolInfo, cost: u64) -> CallNo {
        match self.calls(tool, cost) {
            Called::Unpaid(call, _) => call,
            other => panic!("it does not wait for its payment: {other:?}"),
        }
    }

    /// The plugin asks people something.
    pub(crate) fn asks(&mut self, question: &str) -> (CallNo, RequestNo) {
        let command = Command::Ask { run: self.run(), question: question.to_owned() };
        match self.take(command).expect("an answer").as_slice() {
            [Record::Asked { call, .. }, Record::Requested { request, kind: RequestKind::Input, .. }] => {
                (*call, *request)
            }
            other => panic!("nobody is asked: {other:?}"),
        }
    }

    /// Ada decides.
    pub(crate) fn decide(&mut self, request: RequestNo, decision: Decision) -> Result<Vec<Record>, Refusal> {
        self.take(Command::Decide { request, decision, by: "ada".to_owned(), note: "noted".to_owned(), changed: None })
    }

    /// Ada approves a call with other arguments, which may cost so much; the node has the tool so.
    pub(crate) fn amend(
        &mut self,
        request: RequestNo,
        arguments: &str,
        tool: Handle<'_>,
        cost: u64,
    ) -> Result<Vec<Record>, Refusal> {
        let changed = Some(Changed { tool, quote: Spend::money(MicroUsd(cost)) });
        let decision = Decision::Amend { arguments: arguments.to_owned() };
        self.take(Command::Decide { request, decision, by: "ada".to_owned(), note: "noted".to_owned(), changed })
    }

    /// Ada decides, and this is what becomes of the call.
    pub(crate) fn decided(&mut self, request: RequestNo, decision: Decision) -> Record {
        let expected = decision.clone();
        match self.decide(request, decision).expect("a decision").as_slice() {
            [Record::Decided { request: decided, decision: taken, by, note }, follows] => {
                assert_eq!((*decided, taken, by.as_str(), note.as_str()), (request, &expected, "ada", "noted"));
                follows.clone()
            }
            other => panic!("no decision and what follows: {other:?}"),
        }
    }

    /// The run is dropped from memory, having waited since its latest record.
    pub(crate) fn suspend(&mut self, until: Option<Timestamp>) -> Result<Vec<Record>, Refusal> {
        let (run, records) = (self.run(), self.mission.records());
        self.take(Command::Suspend { run, records, until })
    }

    /// The node is killed and comes back: nothing is left of the mission but its records. It gets a turn.
    pub(crate) fn crash(&mut self) -> Vec<Record> {
        self.mission = Mission::fold(self.mission.envelope().clone(), &self.records).expect("its own records");
        self.now.ran_ms = self.mission.ran_ms();
        assert!(self.mission.wants_turn(self.now), "its run broke off");
        self.start().expect("its next run")
    }

    /// Ends a call that wrote `wrote` and cost so much.
    pub(crate) fn done(&mut self, call: CallNo, wrote: &[&str], cost: u64) {
        self.left(call, wrote.iter().map(|&path| written(path, path, None)).collect(), cost);
    }

    /// Ends a call that left these files behind.
    pub(crate) fn left(&mut self, call: CallNo, wrote: Vec<Written>, cost: u64) {
        let outcome = Ok(ToolAnswer { result: "null".to_owned(), wrote });
        let spent = Some(Spend::money(MicroUsd(cost)));
        self.take(Command::CallDone { run: self.run(), call, outcome, spent }).expect("the call was in flight");
    }

    /// Ends a call so; its tool does not say what it did cost.
    pub(crate) fn ends(&mut self, call: CallNo, outcome: Result<(), CallError>) -> Vec<Record> {
        let outcome = outcome.map(|()| ToolAnswer { result: "null".to_owned(), wrote: Vec::new() });
        self.take(Command::CallDone { run: self.run(), call, outcome, spent: None }).expect("the call was in flight")
    }

    /// What is spent and what is set aside, in micro-dollars.
    pub(crate) fn money(&self) -> (u64, u64) {
        (self.mission.spent().cost.0, self.mission.reserved().cost.0)
    }

    /// The plugin stores an artifact.
    pub(crate) fn store(&mut self, name: &str) {
        self.take(put(self.run(), artifact(name))).expect("there is room");
    }

    /// The plugin's run ends.
    pub(crate) fn ended(&mut self, ending: Ending) -> &Event {
        self.take(Command::PluginEnded { run: self.run(), ending, uncollected: Vec::new() }).expect("it ran");
        self.events.last().expect("a final event")
    }

    /// The plugin says that it is done.
    pub(crate) fn says_done(&mut self) -> &Event {
        let summary = "Wrote the report.".to_owned();
        self.ended(Ending::Returned(plugin::Verdict::Done { summary, next_action: None }))
    }

    /// The final event: type, status and reason.
    pub(crate) fn end(&self) -> (&'static str, Status, &str) {
        let event = self.events.last().expect("an event");
        (event.event_type.as_str(), event.status, event.detail["reason"].as_str().unwrap_or(""))
    }

    /// The types of all events.
    pub(crate) fn event_types(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.event_type.as_str()).collect()
    }
}
