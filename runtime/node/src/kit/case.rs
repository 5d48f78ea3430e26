//! A case: the situation that a plugin is put into, and what is to come of it. A file in TOML.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sortie_contract::Timestamp;
use sortie_contract::artifact::ArtifactName;
use sortie_contract::duration::duration;
use sortie_contract::request::Reach;

/// When a case begins that does not say: a Monday evening.
const START: &str = "2026-01-05T20:00:00Z";

/// What a case can say.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The envelope, as a control plane dispatches it; what is left out is filled in.
    pub(crate) mission: Map<String, Value>,
    /// The mission's inputs as a text of JSON, where TOML cannot say them: it knows no null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inputs_json: Option<String>,
    /// When it is dispatched (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<String>,
    /// The memory that the plugin gets, in MiB; without it what a node gives, and what the plugin says that it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_mib: Option<u64>,
    /// What lies in the workspace: texts by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) files: BTreeMap<String, String>,
    /// Tools that this node has beside those that are built in, or what is otherwise with those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) toolbox: BTreeMap<String, Declared>,
    /// What tools answer: the first entry that fits a call and is not used up. `Read`, `Write`, `Edit`, `Glob` and `Grep` without an entry
    /// do what they do.
    #[serde(default, rename = "tool", skip_serializing_if = "Vec::is_empty")]
    pub(crate) tools: Vec<Says>,
    /// What models answer: entries as in the file of a scripted model (docs/MODELS.md). Without any, the node has no model.
    #[serde(default, rename = "model", skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<Value>,
    /// What missions come to that the plugin dispatches: the first entry that fits an order and is not used up.
    #[serde(default, rename = "child", skip_serializing_if = "Vec::is_empty")]
    pub(crate) children: Vec<Child>,
    /// What people say: the first entry that fits a request and is not used up.
    #[serde(default, rename = "person", skip_serializing_if = "Vec::is_empty")]
    pub(crate) people: Vec<Person>,
    /// Somebody cancels it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cancel: Option<Cancel>,
    /// What is to come of it. What is not said is not looked at.
    pub(crate) expect: Expect,
}

/// Somebody cancels the mission.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// Once its plugin has asked for so many calls (tools, models, people); 0: once it is dispatched.
    #[serde(default)]
    pub(crate) call: u32,
    /// How long after that, such as "2s". No time goes by while a plugin computes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// Once so much of what its plugin did is on record: calls, and log lines, milestones, judgements, artifacts, looks at the clock, timers. It
    /// comes as well where the plugin computes from there on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host_calls: Option<u32>,
    /// And once no more of its calls than so many have no result yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) under_way: Option<usize>,
    /// What they say.
    #[serde(default)]
    pub(crate) reason: String,
}

/// A tool that a node has.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Declared {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// JSON Schema of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema: Option<Value>,
    /// Whether it changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_only: Option<bool>,
    /// Whether doing it twice is doing it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idempotent: Option<bool>,
    /// Its effect classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effects: Option<Vec<String>>,
    /// What a call costs, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost_usd: Option<f64>,
}

/// What a tool answers to a call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Says {
    /// The tool.
    pub(crate) name: String,
    /// Only to calls whose arguments have these, whatever else they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<Map<String, Value>>,
    /// The result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Value>,
    /// The result as a text of JSON, where TOML cannot say it: it knows no null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer_json: Option<String>,
    /// The error, in place of a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Fault>,
    /// What it leaves in the workspace, where it answers: texts by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) writes: BTreeMap<String, String>,
    /// How long it takes, such as "2s".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) takes: Option<String>,
    /// So many times; without it, again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u32>,
}

/// An error of a call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// Which.
    pub(crate) kind: FaultKind,
    /// What the plugin is told.
    pub(crate) text: String,
}

/// Errors that a tool can end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// It tried and failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It may not be.
    Denied,
    /// Nobody knows whether it happened.
    Uncertain,
}

/// What a mission comes to that the plugin dispatches.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Child {
    /// Only of orders that have these, whatever else they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<Map<String, Value>>,
    /// How it ends. One that is `completed` says that it is done: a required output that is not among its artifacts fails it all the same.
    pub(crate) status: Ends,
    /// The line for people; of one that is cancelled, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<String>,
    /// What it recommends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_action: Option<String>,
    /// What it leaves: texts by name. The plugin reads them with `missions.artifact`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) artifacts: BTreeMap<String, LeftBy>,
    /// Its verdicts on its success criteria, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) criteria: Vec<Judged>,
    /// The node does not take it, in place of all that: what is wrong and where, such as "/inputs/path: there is no such file".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// How long it takes, such as "5m".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) takes: Option<String>,
    /// So many times; without it, again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u32>,
}

/// How a mission ends that the plugin dispatches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ends {
    /// It did what it was asked.
    #[default]
    Completed,
    /// It could not.
    Failed,
    /// Somebody cancels it.
    Cancelled,
    /// It comes to no end in its time.
    TimedOut,
}

/// What a mission leaves that the plugin dispatches.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum LeftBy {
    /// A text, as `text/plain`.
    Text(String),
    /// One of another kind.
    Of {
        /// This.
        text: String,
        /// Its media type.
        media_type: String,
    },
}

/// What it says of one of its success criteria.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judged {
    /// Whether it is met.
    pub(crate) met: bool,
    /// Why.
    #[serde(default)]
    pub(crate) evidence: String,
}

/// What somebody says to what the mission asks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    /// Only to requests whose text has this in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<String>,
    /// How long that takes, such as "8h".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// What they say.
    pub(crate) says: Word,
    /// Who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// Why, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// So many times; without it, again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u32>,
}

/// What somebody says.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// No.
    Deny,
    /// A call may be made.
    Approve,
    /// A call may be made, and each later one of its tool, or of the mission, that needs it.
    ApproveFor(Reach),
    /// A call may be made with these arguments in place of its own.
    Amend(Map<String, Value>),
    /// The same, as a text of JSON.
    AmendJson(String),
    /// The answer to a question.
    Answer(String),
    /// A budget is raised.
    Grant {
        /// By so many calls of models.
        #[serde(default)]
        llm_calls: u64,
        /// By so much money, in US dollars.
        #[serde(default)]
        cost_usd: f64,
    },
}

/// What is to come of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expect {
    /// `completed`, `failed`, `timed_out`, `cancelled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// Why: `done`, `plugin_failed`, `tool_failed`, `criterion_unmet`, `output_missing`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Wanted>,
    /// The recommendation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_action: Option<Wanted>,
    /// Verdicts on the success criteria, in their order: `met`, `unmet`, `not_judged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) criteria: Option<Vec<String>>,
    /// All milestones, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) milestones: Option<Vec<Wanted>>,
    /// All calls, in the order in which the plugin asks for them; a model is `model`, people are `ask`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<Vec<WantedCall>>,
    /// Artifacts by name; others may be there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) artifacts: BTreeMap<String, WantedArtifact>,
    /// The longest that it may take from its dispatch to its end, such as "1h".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) within: Option<String>,
}

/// A text that is wanted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Wanted {
    /// Just this.
    Whole(String),
    /// One that has this in it.
    Part {
        /// This.
        contains: String,
    },
}

/// An artifact that is wanted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum WantedArtifact {
    /// Whether there is one of that name.
    There(bool),
    /// One with this text, or with this in it.
    Text(Wanted),
}

/// A call that is wanted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedCall {
    /// The tool.
    pub(crate) tool: String,
    /// Arguments that it has, whatever else it has.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) with: Map<String, Value>,
}

impl Child {
    /// Whether a mission can come to that.
    fn is_possible(&self) -> Result<(), String> {
        if let Some(name) = self.artifacts.keys().find(|name| ArtifactName::new(name.as_str()).is_err()) {
            return Err(format!(
                "artifacts of an entry [[child]]: `{name}` is no name of an artifact: a relative path without `.` and `..`"
            ));
        }
        let Some(refused) = &self.refused else { return Ok(()) };
        if !refused.starts_with('/') || !refused.contains(": ") {
            return Err(format!(
                "refused of an entry [[child]]: `{refused}` does not say where and what, as `/inputs/path: there is no such file` does"
            ));
        }
        let is_bare = self.status == Ends::Completed
            && self.summary.is_none()
            && self.artifacts.is_empty()
            && self.criteria.is_empty();
        if is_bare { Ok(()) } else { Err("an entry [[child]] that is `refused` comes to nothing else".to_owned()) }
    }
}

impl Wanted {
    pub(crate) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Whole(whole) => whole == text,
            Self::Part { contains } => text.contains(contains.as_str()),
        }
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Whole(whole) => whole.clone(),
            Self::Part { contains } => format!("… {contains} …"),
        }
    }
}

/// What a case can say, as a JSON Schema for editors.
pub(crate) fn schema() -> Schema {
    schemars::schema_for!(Case)
}

impl Case {
    /// Reads the case of a file.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let place = path.display();
        let text = crate::bounded::text(path).map_err(|error| format!("{place}: {error}"))?;
        Self::parse(&text).map_err(|why| format!("{place}: {why}"))
    }

    /// Reads a case.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let case = toml::from_str::<Self>(text).map_err(|error| error.to_string())?.of_a_file()?;
        case.begins()?;
        let times = case.tools.iter().map(|says| ("takes", says.takes.as_deref()));
        let times = times.chain(case.children.iter().map(|child| ("takes", child.takes.as_deref())));
        let times = times.chain(case.people.iter().map(|person| ("after", person.after.as_deref())));
        let cancelled = case.cancel.as_ref().and_then(|cancel| cancel.after.as_deref());
        for (key, time) in times.chain([("expect.within", case.expect.within.as_deref()), ("cancel.after", cancelled)])
        {
            time.map(|time| read_time(key, time)).transpose()?;
        }
        for Says { name, answer, error, .. } in &case.tools {
            if answer.is_some() == error.is_some() {
                return Err(format!(
                    "an entry [[tool]] of `{name}` needs one of `answer` (or `answer_json`) and `error`, and not both"
                ));
            }
        }
        case.children.iter().try_for_each(Child::is_possible)?;
        Ok(case)
    }

    /// The case as a file.
    ///
    /// # Errors
    /// TOML cannot say it.
    pub(crate) fn written(self) -> Result<String, String> {
        toml::to_string(&self.for_a_file()).map_err(|error| error.to_string())
    }

    /// When it begins.
    pub(crate) fn begins(&self) -> Result<Timestamp, String> {
        let start = self.start.as_deref().unwrap_or(START);
        start.parse().map_err(|error| format!("start: `{start}` is no time as RFC 3339 has them: {error}"))
    }

    /// The envelope: what the case says, and what it leaves out.
    pub(crate) fn envelope(&self, plugin: &str, tools: &[String]) -> Result<String, String> {
        let mut envelope = json!({
            "mission_id": "case", "vp_id": "vp.case", "vp_session_id": "case", "source_instance_id": "case",
            "target_instance_id": "*", "mission_type": "custom", "objective": "Do what the case says.", "plugin": plugin,
            "constraints": { "allowed_tools": tools }, "idempotency_key": "case", "trace_id": "case", "created_at": self.begins()?,
        });
        let fields = envelope.as_object_mut().ok_or("an envelope is an object")?;
        fields.extend(self.mission.clone());
        // Nobody is there to be told.
        fields.remove("callback");
        Ok(envelope.to_string())
    }
}

/// A time as people write them.
pub(crate) fn read_time(key: &str, text: &str) -> Result<Duration, String> {
    duration(text).map_err(|error| format!("{key}: `{text}` {error}"))
}

/// Whether a value has all that is wanted: of an object these members, of anything else just this.
pub(crate) fn has(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(all), Value::Object(some)) => {
            some.iter().all(|(key, wanted)| all.get(key).is_some_and(|value| has(value, wanted)))
        }
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => value == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_case_is_told_with_its_place() {
        let fine = "mission = {}\n[expect]\nstatus = \"completed\"\n";
        assert!(Case::parse(fine).is_ok());
        for (text, told) in [
            ("[expect]\n", "mission"),
            ("mission = {}\n", "expect"),
            ("mission = {}\n[expect]\nstatu = 1\n", "statu"),
            ("mission = {}\nstart = \"soon\"\n[expect]\n", "start"),
            ("mission = {}\n[[tool]]\nname = \"Read\"\n[expect]\n", "answer"),
            (
                "mission = {}\n[[tool]]\nname = \"Read\"\nanswer_json = \"nul\"\n[expect]\n",
                "answer_json of an entry [[tool]] of `Read`",
            ),
            ("mission = {}\n[[tool]]\nname = \"Read\"\nanswer = 1\nanswer_json = \"1\"\n[expect]\n", "twice"),
            ("mission = {}\n[[tool]]\nname = \"Read\"\nanswer = 1\ntakes = \"long\"\n[expect]\n", "takes"),
            ("mission = {}\n[[child]]\nstatus = \"lost\"\n[expect]\n", "lost"),
            ("mission = {}\n[[child]]\ntakes = \"long\"\n[expect]\n", "takes"),
            ("mission = {}\n[[child]]\nartifacts = { \"../a\" = \"x\" }\n[expect]\n", "../a"),
            ("mission = {}\n[[child]]\nrefused = \"no\"\n[expect]\n", "where and what"),
            (
                "mission = {}\n[[child]]\nrefused = \"/plugin: no\"\nsummary = \"x\"\n[expect]\n",
                "comes to nothing else",
            ),
            ("mission = {}\n[[person]]\nsays = { shout = \"no\" }\n[expect]\n", "shout"),
        ] {
            let why = Case::parse(text).expect_err(text);
            assert!(why.contains(told), "{text}: {why}");
        }
    }

    #[test]
    fn what_is_left_out_of_an_envelope_is_filled_in_and_nobody_is_told() {
        let mission = "[mission]\nobjective = \"x\"\ncallback = { status_url = \"https://a.example\" }\n[expect]\n";
        let case = Case::parse(mission).expect("a case");
        let envelope: Value =
            serde_json::from_str(&case.envelope("p", &["Read".to_owned()]).expect("one")).expect("JSON");
        assert_eq!(envelope["objective"], "x");
        assert_eq!(envelope["plugin"], "p");
        assert_eq!(envelope["constraints"]["allowed_tools"], json!(["Read"]));
        assert!(envelope.get("callback").is_none());
    }

    #[test]
    fn arguments_have_what_is_wanted() {
        for (value, wanted, does) in [
            (json!({"a": 1, "b": 2}), json!({"a": 1}), true),
            (json!({"a": 1}), json!({"a": 1.0}), true),
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 2}}), true),
            (json!({"a": [1, 2]}), json!({"a": [1]}), false),
            (json!({}), json!({"a": null}), false),
        ] {
            assert_eq!(has(&value, &wanted), does, "{value} {wanted}");
        }
    }
}
