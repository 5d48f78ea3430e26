//! A session: turns of a model and its tools, as a state machine that does nothing by itself.
//!
//! [`Session::step`] says what is to be done, and the outside tells what came of it: [`Session::answered`], [`Session::called`],
//! [`Session::landed`]. Given the same it does the same, which is what a replay needs.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;

use sortie_plugin::{CallError, Value, json};

use crate::circles::{Circle, Circles};
use crate::conversation::{Conversation, text};
use crate::tell::{Told, middle_cut};
use crate::{Transcript, Wish};

/// How often in a row a model may say nothing, or stop in mid-sentence, or an answer may not arrive, before it is no use to go on.
const AGAIN_MAX: u32 = 3;

/// Most of a plan that is remembered, in bytes.
const PLAN_BYTES_MAX: usize = 4_000;

/// Most failures that are remembered, and most of each, in bytes.
const FAILURES_MAX: usize = 5;
const FAILURE_BYTES_MAX: usize = 600;

/// So many turns before the last one the model is told that they come to an end.
const TURNS_WARNED: u32 = 3;

/// What is told of a call that was cut off.
const CUT_CALL: &str =
    "your answer was cut off before the arguments of this call were complete: make it again, with less in it";

/// What an agent is told at its beginning, and its bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who it is, what its tools are for, what it is to keep to. Put [`DATA_RULES`](crate::DATA_RULES) into it.
    pub system: String,
    /// What it is to do: the first message, which is never left out.
    pub task: String,
    /// The model; none: the node's default.
    pub model: Option<String>,
    /// Most tokens of an answer.
    pub max_tokens: u64,
    /// How much it thinks: `low`, `medium`, `high`.
    pub reasoning: Option<String>,
    /// Most turns.
    pub max_turns: u32,
    /// Most bytes of a conversation; then something of it is left out.
    pub context_bytes: usize,
    /// What it is told when the mission lands, for the one answer that it has then.
    pub last_words: String,
}

impl Settings {
    /// With usual bounds.
    #[must_use]
    pub fn new(system: impl Into<String>, task: impl Into<String>) -> Self {
        Self {
            system: system.into(),
            task: task.into(),
            model: None,
            max_tokens: 8_192,
            reasoning: None,
            max_turns: 100,
            context_bytes: 400_000,
            last_words: "The mission is at its limit. Call no tool. Say in a few lines what is done, what is left, and how to go on."
                .to_owned(),
        }
    }

    /// As many bytes of conversation as fit into a model's context beside its answer; tokens of code have three bytes or more.
    #[must_use]
    pub fn context_tokens(mut self, tokens: Option<u64>) -> Self {
        if let Some(tokens) = tokens {
            let room = tokens.saturating_sub(self.max_tokens).saturating_mul(5) / 2;
            let own = self.system.len() + 8_192;
            self.context_bytes =
                usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(own).clamp(8_192, 2_000_000);
        }
        self
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask the model; then [`Session::answered`].
    Ask(Value),
    /// Make these calls; then [`Session::called`], with what is told of each.
    Call(Vec<Wish>),
    /// Say that the mission lands; then [`Session::landed`].
    Land,
    /// Nothing: it is over, unless the plugin goes on.
    End(Ending),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The model said this and asked for nothing more.
    Said(String),
    /// The mission was at one of its limits; the model's last words, if there was time for them.
    Landed(Option<String>),
    /// The model refused, in these words.
    Refused(String),
    /// It went in circles: how.
    Circles(String),
    /// All turns are used.
    Turns(u32),
    /// It said nothing, or came to no end, several times.
    Nothing(String),
    /// The model could not be asked.
    Failed(CallError),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(_) => f.write_str("the model is done"),
            Self::Landed(_) => f.write_str("the mission came to its limit before the work was done"),
            Self::Refused(text) if text.trim().is_empty() => f.write_str("the model refused"),
            Self::Refused(text) => write!(f, "the model refused: {}", middle_cut(text.trim(), 500)),
            Self::Circles(how) => write!(f, "the model went in circles: {how}"),
            Self::Turns(turns) => write!(f, "all {turns} turns are used"),
            Self::Nothing(what) => f.write_str(what),
            Self::Failed(error) => write!(f, "the model could not be asked: {error}"),
        }
    }
}

#[derive(Debug, Clone)]
enum State {
    Ready,
    Asking,
    Calling(Vec<Wish>),
    Landing,
    Over(Ending),
}

/// A conversation with a model, and how far it has come.
#[derive(Debug, Clone)]
pub struct Session {
    settings: Settings,
    conversation: Conversation,
    transcript: Transcript,
    circles: Circles,
    state: State,
    turns: u32,
    is_landing: bool,
    /// What it said before it was cut off in mid-sentence.
    partial: String,
    /// How often in a row it was cut off, said nothing, or its answer did not arrive.
    cut_off: u32,
    silent: u32,
    unanswered: u32,
    plan: Option<String>,
    failures: Vec<(String, String)>,
    calls: BTreeMap<String, u32>,
    warnings: Vec<String>,
}

impl Session {
    /// One that has not begun.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut transcript = Transcript::default();
        transcript.add(json!({ "kind": "begin", "system": settings.system, "task": settings.task }));
        Self {
            conversation: Conversation::new(&settings.task),
            settings,
            transcript,
            circles: Circles::default(),
            state: State::Ready,
            turns: 0,
            is_landing: false,
            partial: String::new(),
            cut_off: 0,
            silent: 0,
            unanswered: 0,
            plan: None,
            failures: Vec::new(),
            calls: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    /// What is to be done.
    pub fn step(&mut self) -> Next {
        match &self.state {
            State::Over(ending) => Next::End(ending.clone()),
            State::Landing => Next::Land,
            State::Calling(wishes) => Next::Call(wishes.clone()),
            State::Ready if self.turns >= self.settings.max_turns && !self.is_landing => {
                self.end(Ending::Turns(self.turns))
            }
            State::Ready | State::Asking => {
                if let Some(turns) = self.conversation.fit(self.settings.context_bytes, &self.memory()) {
                    self.transcript.add(json!({ "kind": "cut", "turns_left_out": turns, "memory": self.memory() }));
                }
                self.state = State::Asking;
                Next::Ask(self.request())
            }
        }
    }

    fn request(&self) -> Value {
        let Settings { system, model, max_tokens, reasoning, .. } = &self.settings;
        let mut request =
            json!({ "system": system, "messages": self.conversation.messages(), "max_tokens": max_tokens });
        if let Some(model) = model {
            request["model"] = model.as_str().into();
        }
        if let Some(reasoning) = reasoning {
            request["reasoning"] = reasoning.as_str().into();
        }
        request
    }

    /// The model's answer.
    pub fn answered(&mut self, answer: Result<Value, CallError>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.unanswered(error),
        };
        self.turns += 1;
        self.unanswered = 0;
        let blocks = match &answer["content"] {
            Value::Array(blocks) => blocks.clone(),
            Value::String(said) => vec![text(said)],
            _ => Vec::new(),
        };
        let mut line = json!({ "kind": "answer", "turn": self.turns, "content": blocks });
        for key in ["stop_reason", "usage", "cost_usd", "model"] {
            line[key] = answer[key].clone();
        }
        self.transcript.add(line);
        let said: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        let said = said.join("\n");
        self.note_plan(&said);
        let stop = answer["stop_reason"].as_str().unwrap_or_default();
        if stop == "refusal" {
            self.end(Ending::Refused(said));
            return;
        }
        let wishes: Vec<Wish> = blocks.iter().filter(|block| block["type"] == "tool_use").map(wish).collect();
        if self.is_landing {
            let said = if said.trim().is_empty() { None } else { Some(said) };
            self.end(Ending::Landed(said));
        } else if !wishes.is_empty() {
            self.silent = 0;
            self.wished(&blocks, wishes, stop == "max_tokens");
        } else if stop == "max_tokens" {
            self.stopped_short(&blocks, &said);
        } else if said.trim().is_empty() {
            self.said_nothing();
        } else {
            self.conversation.said(&blocks);
            let said = mem::take(&mut self.partial) + &said;
            (self.cut_off, self.silent) = (0, 0);
            self.end(Ending::Said(said));
        }
    }

    fn wished(&mut self, blocks: &[Value], mut wishes: Vec<Wish>, is_cut: bool) {
        self.conversation.said(blocks);
        self.partial.clear();
        self.cut_off = if is_cut { self.cut_off + 1 } else { 0 };
        if self.cut_off > AGAIN_MAX {
            let what = format!("the model's calls were cut off at {} tokens, several times", self.settings.max_tokens);
            self.end(Ending::Nothing(what));
            return;
        }
        if is_cut && let Some(last) = wishes.last_mut() {
            // Whatever there is of its arguments, they are not what was meant.
            last.input = Value::Null;
        }
        self.state = State::Calling(wishes);
    }

    fn stopped_short(&mut self, blocks: &[Value], said: &str) {
        self.cut_off += 1;
        if self.cut_off > AGAIN_MAX {
            let what =
                format!("the model came to no end: each answer was cut off at {} tokens", self.settings.max_tokens);
            self.end(Ending::Nothing(what));
            return;
        }
        if !blocks.is_empty() {
            self.conversation.said(blocks);
            self.partial.push_str(said);
        }
        self.say("Your answer was cut off at its limit. Go on exactly where you stopped.");
    }

    fn said_nothing(&mut self) {
        self.silent += 1;
        if self.silent >= AGAIN_MAX {
            self.end(Ending::Nothing("the model said nothing, several times".to_owned()));
            return;
        }
        // Nothing goes into the conversation: providers take no empty message.
        self.say("You said nothing. Go on with a call of a tool, or say that you are done and what you have found.");
    }

    fn unanswered(&mut self, error: CallError) {
        self.transcript.add(json!({ "kind": "no_answer", "error": error.code(), "why": error.to_string() }));
        match error {
            CallError::BudgetExhausted(_) if !self.is_landing => self.close(),
            _ if self.is_landing => drop(self.end(Ending::Landed(None))),
            CallError::Failed(why) | CallError::TimedOut(why) if self.unanswered + 1 < AGAIN_MAX => {
                self.unanswered += 1;
                self.say(&format!(
                    "(Your last answer did not arrive: {} If you called a tool, write its arguments as one JSON object.)",
                    middle_cut(&why, 500)
                ));
            }
            error => drop(self.end(Ending::Failed(error))),
        }
    }

    /// What is told of the calls that [`Session::step`] asked for, in their order.
    pub fn called(&mut self, told: &[Told]) {
        let State::Calling(wishes) = mem::replace(&mut self.state, State::Ready) else { return };
        let mut blocks = Vec::new();
        let (mut nudges, mut given_up) = (Vec::new(), None);
        for (wish, told) in wishes.iter().zip(told) {
            *self.calls.entry(wish.name.clone()).or_default() += 1;
            let content = if wish.input.is_null() && self.cut_off > 0 { CUT_CALL } else { &told.content };
            self.transcript.add(json!({
                "kind": "result", "turn": self.turns, "tool": wish.name, "tool_use_id": wish.id,
                "is_error": told.is_error, "content": content,
            }));
            blocks.push(json!({
                "type": "tool_result", "tool_use_id": wish.id, "content": content, "is_error": told.is_error,
            }));
            self.note_failure(wish, told);
            match self.circles.see(wish, told) {
                Some(Circle::Nudge(nudge)) => nudges.push(nudge),
                Some(Circle::GiveUp(how)) => given_up = Some(how),
                None => {}
            }
        }
        self.conversation.tell(blocks);
        for nudge in nudges {
            self.say(&nudge);
        }
        if self.settings.max_turns.checked_sub(self.turns) == Some(TURNS_WARNED)
            && self.settings.max_turns > 2 * TURNS_WARNED
        {
            self.say(&format!("{TURNS_WARNED} turns are left. Bring what you have to a state that is sound."));
        }
        if let Some(how) = given_up {
            self.end(Ending::Circles(how));
        }
    }

    /// A request that asks something beside the conversation: what is answered does not become a part of it. With a schema the answer has an
    /// `output` that fits it.
    #[must_use]
    pub fn question(&self, what: &str, schema: Option<&Value>) -> Value {
        let mut aside = self.conversation.clone();
        if let State::Over(Ending::Said(said)) = &self.state
            && !aside.ends_with_the_model()
        {
            aside.said(&[text(said)]);
        }
        aside.tell([text(what)]);
        let mut request = self.request();
        request["messages"] = aside.messages().into();
        if let Some(schema) = schema {
            request["output_schema"] = schema.clone();
        }
        request
    }

    /// Notes the answer to such a question for people.
    pub fn note_answer(&mut self, what: &str, answer: &Result<Value, CallError>) {
        let line = match answer {
            Ok(answer) => json!({
                "kind": "aside", "asked": what, "content": answer["content"], "output": answer["output"], "usage": answer["usage"],
                "cost_usd": answer["cost_usd"], "model": answer["model"],
            }),
            Err(error) => json!({ "kind": "aside", "asked": what, "error": error.code(), "why": error.to_string() }),
        };
        self.transcript.add(line);
    }

    /// Says something to the model, in the user's place, with what it is told next.
    pub fn say(&mut self, what: &str) {
        self.transcript.add(json!({ "kind": "say", "turn": self.turns, "text": what }));
        self.conversation.tell([text(what)]);
        if matches!(self.state, State::Asking) {
            self.state = State::Ready;
        }
    }

    /// Goes on after an ending, with something that the model is told.
    pub fn go_on(&mut self, what: &str) {
        self.state = State::Ready;
        self.say(what);
    }

    /// The mission is at a limit: the model gets one answer more.
    pub fn close(&mut self) {
        if !self.is_landing {
            self.is_landing = true;
            self.state = State::Landing;
        }
    }

    /// The node knows that the mission lands.
    pub fn landed(&mut self) {
        self.state = State::Ready;
        let words = self.settings.last_words.clone();
        self.say(&words);
    }

    /// Whether the mission lands.
    #[must_use]
    pub fn is_landing(&self) -> bool {
        self.is_landing
    }

    /// How many answers there were.
    #[must_use]
    pub fn turns(&self) -> u32 {
        self.turns
    }

    /// How often each tool was asked for.
    #[must_use]
    pub fn calls(&self) -> &BTreeMap<String, u32> {
        &self.calls
    }

    /// The plan, as the model last wrote it.
    #[must_use]
    pub fn plan(&self) -> Option<&str> {
        self.plan.as_deref()
    }

    /// What failed and was not seen to work since: the call, and what was told of it.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.failures.iter().map(|(call, why)| (call.as_str(), why.as_str()))
    }

    /// The transcript so far.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The same, to add to it.
    pub fn transcript_mut(&mut self) -> &mut Transcript {
        &mut self.transcript
    }

    /// What whoever looks into the mission's log may want to know, since this was last asked.
    pub fn take_warnings(&mut self) -> Vec<String> {
        mem::take(&mut self.warnings)
    }

    fn end(&mut self, ending: Ending) -> Next {
        self.transcript.add(json!({ "kind": "end", "turn": self.turns, "how": ending.to_string() }));
        if !matches!(ending, Ending::Said(_)) {
            self.warnings.push(ending.to_string());
        }
        self.state = State::Over(ending.clone());
        Next::End(ending)
    }

    /// What must not be forgotten when something is left out.
    fn memory(&self) -> String {
        let plan =
            self.plan.as_deref().map(|plan| format!("The plan, as you last wrote it:\n{plan}\n")).unwrap_or_default();
        if self.failures.is_empty() {
            return plan;
        }
        let failures: Vec<String> = self.failures.iter().map(|(call, why)| format!("- {call}: {why}")).collect();
        format!("{plan}What failed and was not seen to work since:\n{}\n", failures.join("\n"))
    }

    /// A plan is what stands behind a line that begins with the word, to the end of what was said.
    fn note_plan(&mut self, said: &str) {
        let mut at = 0;
        let mut begins = None;
        for line in said.split_inclusive('\n') {
            let word = line.trim_start_matches(['#', '*', '_', ' ', '\t']).to_ascii_lowercase();
            if word.strip_prefix("plan").is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)) {
                begins = Some(at);
            }
            at += line.len();
        }
        if let Some(at) = begins {
            self.plan = Some(middle_cut(said[at..].trim(), PLAN_BYTES_MAX));
        }
    }

    fn note_failure(&mut self, wish: &Wish, told: &Told) {
        let call = format!("{} {}", wish.name, middle_cut(&wish.input.to_string(), 300));
        self.failures.retain(|(known, _)| *known != call);
        if told.is_error {
            self.failures.push((call, middle_cut(&told.content, FAILURE_BYTES_MAX)));
            if self.failures.len() > FAILURES_MAX {
                self.failures.remove(0);
            }
        }
    }
}

fn wish(block: &Value) -> Wish {
    let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
    Wish { id: text("id"), name: text("name"), input: block["input"].clone() }
}
