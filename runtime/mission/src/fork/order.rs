//! What is ordered of a fork, and the envelope that comes of it: that of its mission, as it was sent, but for what it must have of its own.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::ForkedFrom;
use sortie_contract::plugin::{PluginIdentity, PluginRef};
use sortie_contract::record::{Accepted, Record, Stamped};
use sortie_contract::{InstanceId, MissionId, Mistake, Pointer, SessionId, limit};

use super::{Point, told_of_limits};

/// What a fork has not of the mission that it comes from: its events go nowhere else, its window is over or another's, and where it comes
/// from is its own.
const LEFT_OUT: [&str; 3] = ["callback", "autonomy_window", "forked_from"];

/// What is to be forked, and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// The mission.
    pub of: MissionId,
    /// Up to where its record is taken over.
    pub at: Point,
    /// Other inputs: a JSON object, as text.
    pub inputs: Option<String>,
    /// Another plugin, or another version of it.
    pub plugin: Option<PluginRef>,
    /// Whether it begins with a copy of the workspace, as that is now, or with an empty one.
    pub copies: bool,
    /// What makes a second order the same one.
    pub key: String,
}

impl Order {
    /// The name of the fork: the same for the same key.
    #[must_use]
    pub fn mission_id(&self) -> MissionId {
        let digest = Digest::of(format!("{}\n{}", self.of, self.key).as_bytes()).to_string();
        let end = format!(".fork-{}", &digest[..12]);
        let of = limit::clip(self.of.as_str(), limit::ID_BYTES_MAX - end.len() - 3);
        MissionId::new(format!("{}{end}", of.trim_end_matches('…')))
            .expect("an id with letters, digits, a point and a hyphen behind")
    }

    /// What a second order is compared by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let plugin = self.plugin.as_ref().map(ToString::to_string);
        let at = match self.at {
            Point::Call(at) => json!(at),
            word => json!(word.to_string()),
        };
        Digest::of(json!([self.of, at, self.inputs, plugin, self.copies]).to_string().as_bytes())
    }
}

/// Why no envelope can be made of an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDraft {
    /// That of the mission cannot be read.
    #[error("the mission has no envelope that can be read")]
    NoEnvelope,
    /// Something of the order is wrong.
    #[error("the fork cannot be made as it is asked for")]
    Wrong(Mistake),
}

/// The envelope of a fork, while it is made.
#[derive(Debug)]
pub struct Draft {
    fields: BTreeMap<String, Box<RawValue>>,
    order: Order,
    /// Where its forks began.
    root: MissionId,
    notes: Vec<String>,
}

/// The workspace of a fork.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// The session that its mission was in.
    pub session: &'a SessionId,
    /// How many entries were copied of that one's workspace, and how many of those that are there could not be; `None` where nothing was to be.
    pub copied: Option<(u64, u64)>,
}

impl Draft {
    /// Of a mission that was accepted so, on the node of that name.
    ///
    /// # Errors
    /// [`NoDraft`]
    pub fn new(accepted: &Accepted, order: Order, node: &InstanceId) -> Result<Self, NoDraft> {
        let sent: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&accepted.envelope).map_err(|_| NoDraft::NoEnvelope)?;
        let had_callback = sent.get("callback").is_some_and(|callback| callback.get() != "null");
        let before = sent.get("forked_from").and_then(|from| serde_json::from_str::<ForkedFrom>(from.get()).ok());
        let root = before.map_or_else(|| order.of.clone(), |before| before.root);
        let mut fields: BTreeMap<String, Box<RawValue>> =
            sent.into_iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())).collect();
        let mut notes = Vec::new();
        if had_callback {
            notes.push(format!("its events are told here only, and not to where those of {} went", order.of));
        }
        let mission_id = order.mission_id();
        let PluginIdentity { name, version, .. } = &accepted.plugin;
        let plugin = order.plugin.as_ref().map_or_else(|| format!("{name}@{version}"), ToString::to_string);
        for (key, value) in [
            ("mission_id", mission_id.as_str()),
            ("vp_session_id", SessionId::of_fork(&mission_id).as_str()),
            ("source_instance_id", node.as_str()),
            ("target_instance_id", "*"),
            ("idempotency_key", &format!("fork:{mission_id}")),
            ("plugin", &plugin),
        ] {
            fields.insert(key.to_owned(), raw(value));
        }
        if let Some(inputs) = &order.inputs {
            let inputs = RawValue::from_string(inputs.clone()).map_err(|error| {
                NoDraft::Wrong(Mistake::new(Pointer::raw("/inputs"), "not_json", error.to_string()))
            })?;
            fields.insert("inputs".to_owned(), inputs);
        }
        if let Some(policy) = fields.get_mut("artifact_policy")
            && let Some(kept) = kept_here(policy.get())
        {
            *policy = kept;
        }
        Ok(Self { fields, order, root, notes })
    }

    /// What of that mission it has: so many calls, in those records, up to where its plugin left the record.
    #[must_use]
    pub fn from(&self, at: u32, calls: u32, records: &[Stamped]) -> ForkedFrom {
        let records = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let (mission_id, root, asked) = (self.order.of.clone(), self.root.clone(), self.order.digest());
        let diverged_at = (calls < at).then_some(calls.saturating_add(1));
        ForkedFrom { mission_id, root, at, calls, records, diverged_at, asked }
    }

    /// The envelope, as text.
    #[must_use]
    pub fn text(&self, from: Option<&ForkedFrom>) -> String {
        let mut fields: BTreeMap<&str, &RawValue> =
            self.fields.iter().map(|(key, value)| (key.as_str(), value.as_ref())).collect();
        let from = from.map(|from| to_raw_value(from).expect("plain data"));
        if let Some(from) = &from {
            fields.insert("forked_from", from);
        }
        serde_json::to_string(&fields).expect("plain data")
    }

    /// What people should know of the fork: what it has not of its mission, how its plugin leaves those records (in words), what it begins
    /// with.
    #[must_use]
    pub fn notes(self, from: &ForkedFrom, left: &str, begun: Begun<'_>, records: &[Stamped]) -> Vec<String> {
        let mut notes = self.notes;
        if let Some(at) = from.diverged_at {
            notes.push(format!("its plugin leaves the record at call {at}: {left}"));
        }
        if let Some(call) = told_of_limits(records) {
            notes.push(format!(
                "its plugin was told at call {} what was left of the time and the budget of {}, and is told the same: it may land early for \
                 that; a fork at call {} or before asks anew",
                call.0,
                from.mission_id,
                call.0.saturating_sub(1)
            ));
        }
        notes.extend(of_the_workspace(from, begun, records));
        notes
    }
}

fn of_the_workspace(from: &ForkedFrom, Begun { session, copied }: Begun<'_>, records: &[Stamped]) -> Option<String> {
    match copied {
        Some((0, _)) => None,
        Some((_, left_out)) => {
            let left_out =
                if left_out > 0 { format!("; {left_out} of its entries are left out") } else { String::new() };
            Some(format!(
                "its workspace is a copy of that of the session {session} as it is now, and not as it was at call {}{left_out}",
                from.calls
            ))
        }
        None if from.calls == 0 => None,
        None => {
            let wrote: BTreeSet<&str> = records
                .iter()
                .filter_map(|stamped| match &stamped.record {
                    Record::CallFinished { outcome: Ok(answer), .. } => Some(answer.wrote.iter()),
                    _ => None,
                })
                .flatten()
                .map(|written| written.path.as_str())
                .collect();
            let files = wrote.first().map_or(String::new(), |first| {
                let first = limit::clip(first, limit::QUOTE_BYTES_MAX);
                format!("; its calls up to there wrote {} files, such as `{first}`", wrote.len())
            });
            Some(format!(
                "its workspace is its own and empty: what {} had in its session's is not there{files}",
                from.mission_id
            ))
        }
    }
}

/// The policy of a fork for its artifacts, where that of its mission has them sent on to where its events go: they are kept here instead.
fn kept_here(policy: &str) -> Option<Box<RawValue>> {
    let mut its: BTreeMap<String, Box<RawValue>> = serde_json::from_str(policy).ok()?;
    let scope = its.get("storage_scope")?;
    if scope.get().trim() != "\"pushback\"" {
        return None;
    }
    its.insert("storage_scope".to_owned(), raw("factory"));
    Some(to_raw_value(&its).expect("plain data"))
}

fn raw(value: &str) -> Box<RawValue> {
    to_raw_value(value).expect("a text is JSON")
}
