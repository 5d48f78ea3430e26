//! Missions that a mission dispatches: what it may give a child, the envelope that comes of that, and what the child's end comes to.
//!
//! A child has nothing that its parent has not:
//!
//! - Each tool that it is allowed is one that its parent is allowed, and it is handed none that its parent was not handed. What is forbidden
//!   its parent, or takes an approval there, is forbidden or takes one here.
//! - What it may spend, in calls of models and in money, is a share: set aside in its parent's books from the dispatch to its end, and
//!   booked there at what it did spend. What a share does not name is nothing. Whoever is out of it is told so: people are asked for no more.
//! - Its artifacts go where its parent's do, or stay with its node.
//! - Its window ends with its parent's, and its run time is at most what its parent has left. That is no share: missions run side by side,
//!   and one that waits takes none.
//! - How many missions stand above it, and how many a mission dispatches, is bounded. How many come of one in all is a share, too: a child takes
//!   itself and the number that its order names, and a mission that nobody dispatched has as many as its node and its envelope say. So nobody
//!   counts other missions, and the whole family stays within that of the first, whatever its nodes and its runs are.
//!
//! Its name follows from its parent's and from the call ([`MissionId::of_child`]), so that no crash and no replay makes two of one. The call is one
//! among the others (`Handle::Mission`): decided, recorded and replayed like the call of a model.
//!
//! Never here: whether the node takes that envelope, which intake says, and what becomes of children whose parent has ended.

pub(crate) mod asking;

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sortie_contract::artifact::StorageScope;
use sortie_contract::envelope::{ChildOf, Constraints, Envelope, ORDER, Parsed, Window};
use sortie_contract::id::{CallNo, IdempotencyKey, InstanceId, MissionId, SessionId};
use sortie_contract::limit;
use sortie_contract::mistake::Mistake;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::tool::{CallError, MISSION, ToolAnswer};

use crate::command::Now;
use crate::gate;
use crate::part::calls::InFlight;
use crate::state::{Mission, minutes};

/// How many children there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How many missions may stand above one.
    pub depth_max: u32,
    /// How many a mission dispatches.
    pub children_max: u32,
    /// How many may come of one that nobody dispatched: its children, theirs, and so on.
    pub family_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        // Each level full would be 17 million: what a night can do is far below a thousand.
        Self { depth_max: 4, children_max: 64, family_max: 1_000 }
    }
}

/// A child that may be dispatched, as far as its parent is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it is called.
    pub mission_id: MissionId,
    /// Its envelope, as text: with whose child it is, which only a node can say.
    pub text: String,
    /// What is set aside for it.
    pub share: Spend,
}

/// When a child is drafted.
#[derive(Debug, Clone, Copy)]
pub enum Occasion {
    /// Its parent asks for it: with these bounds.
    Asked(Bounds),
    /// Its parent was granted it, and so much is set aside.
    Granted(Spend),
}

impl Mission {
    /// What becomes of an order for a child, by the call of that number: JSON text, as a plugin wrote it. `node` is where it is to run.
    ///
    /// # Errors
    /// What is wrong with it, or goes beyond what its parent has.
    pub fn child(
        &self,
        now: Now,
        order: &str,
        call: CallNo,
        node: &InstanceId,
        occasion: Occasion,
    ) -> Result<Draft, CallError> {
        let depth = self.envelope.child_of.as_ref().map_or(0, |of| of.depth).saturating_add(1);
        if let Occasion::Asked(Bounds { depth_max, children_max, .. }) = occasion {
            if depth > depth_max {
                return Err(CallError::Denied(format!(
                    "at most {depth_max} missions stand above one (`[limits] children_depth_max`), and this one would be below {depth}"
                )));
            }
            if self.calls.children() >= children_max {
                return Err(CallError::Denied(format!(
                    "a mission dispatches at most {children_max} others (`[limits] children_max`)"
                )));
            }
        }
        let mission_id = MissionId::of_child(&self.envelope.mission_id, call);
        let mut fields = self.fields(order, &mission_id, call, now, node)?;
        uploads_nothing(&fields)?;
        let Parsed { envelope, .. } = parsed(&fields)?;
        let share = match occasion {
            Occasion::Asked(_) => Spend {
                llm_calls: envelope.budget.llm_calls_max.unwrap_or(0),
                cost: envelope.budget.cost_max.unwrap_or(MicroUsd::ZERO),
            },
            Occasion::Granted(share) => share,
        };
        let missions = self.missions_of(&envelope, occasion)?;
        let runtime_ms = self.run_time_of(&envelope, now, occasion)?;
        let window = self.window_of(envelope.window)?;
        let constraints = self.constraints_of(&envelope.constraints)?;
        self.stores_for(envelope.storage_scope)?;
        let set = |fields: &mut Fields, name: &str, value: Value| drop(fields.insert(name.to_owned(), raw(&value)));
        set(&mut fields, "constraints", constraints);
        set(&mut fields, "budget", budget(runtime_ms, share, missions));
        if window != Window::default() {
            set(&mut fields, "autonomy_window", json!({ "start_at": window.start_at, "end_at": window.end_at }));
        }
        let of = ChildOf {
            mission_id: self.envelope.mission_id.clone(),
            root: self.envelope.root().clone(),
            call: call.0,
            depth,
            tools: self.granted().unwrap_or_default().to_vec(),
            llm_calls: share.llm_calls,
            micro_usd: share.cost.0,
            missions,
        };
        fields.insert("child_of".to_owned(), to_raw_value(&of).expect("plain data"));
        Ok(Draft { mission_id, text: text(&fields), share })
    }

    /// The fields of its envelope, before any of them is held against its parent's.
    fn fields(
        &self,
        order: &str,
        mission_id: &MissionId,
        call: CallNo,
        now: Now,
        node: &InstanceId,
    ) -> Result<Fields, CallError> {
        let mut fields: Fields = serde_json::from_str(order).map_err(|error| {
            CallError::InvalidArguments(format!("what is dispatched is not a JSON object: {error}"))
        })?;
        if let Some(other) = fields.keys().find(|key| !ORDER.contains(&key.as_str())) {
            let other = limit::clip(other, limit::QUOTE_BYTES_MAX);
            return Err(CallError::InvalidArguments(format!(
                "/{other}: a child is dispatched with {}; the rest is its parent's, or the node's",
                ORDER.join(", ")
            )));
        }
        let parent = &self.envelope;
        let session = SessionId::of_child(mission_id);
        let key = IdempotencyKey::of_child(&parent.mission_id, call);
        for (name, value) in [
            ("mission_id", mission_id.as_str()),
            ("vp_id", parent.vp_id.as_str()),
            ("vp_session_id", session.as_str()),
            ("vp_runtime_id", self.lane.as_str()),
            ("source_instance_id", parent.source_instance_id.as_str()),
            ("target_instance_id", node.as_str()),
            ("idempotency_key", key.as_str()),
            ("trace_id", parent.trace_id.as_str()),
            ("created_at", &now.wall.to_string()),
        ] {
            fields.insert(name.to_owned(), raw(&value.into()));
        }
        if let Some(on_expiry) = parent.on_expiry {
            fields.entry("on_expiry".to_owned()).or_insert_with(|| raw(&json!(on_expiry)));
        }
        Ok(fields)
    }

    /// How many missions may come of it: what its order names, where its parent has so many left beside the child itself.
    fn missions_of(&self, child: &Envelope, occasion: Occasion) -> Result<u32, CallError> {
        let share = child.budget.missions_max.unwrap_or(0);
        let Occasion::Asked(Bounds { family_max, .. }) = occasion else { return Ok(share) };
        let all = self.family_max(family_max);
        let left = all.saturating_sub(self.calls.family());
        if share < left {
            return Ok(share);
        }
        Err(CallError::BudgetExhausted(match &self.envelope.child_of {
            Some(ChildOf { missions: 0, .. }) => {
                "/budget/max_missions: no mission may come of this one: the order by which it was dispatched \
                                                  names none in `budget.max_missions`"
                    .to_owned()
            }
            _ => format!(
                "/budget/max_missions: of the {all} missions that may come of this one {left} are left, and this would take {}: itself, and \
                 those that may come of it (`[limits] family_max` of the node, `budget.max_missions` of the mission)",
                u64::from(share) + 1
            ),
        }))
    }

    /// How many missions may come of this one in all: its share, or what its envelope and its node let be of one that nobody dispatched.
    fn family_max(&self, node_max: u32) -> u32 {
        let own = match &self.envelope.child_of {
            Some(of) => of.missions,
            None => self.envelope.budget.missions_max.unwrap_or(u32::MAX),
        };
        own.min(node_max)
    }

    /// The run time that it may take: what it asks for, or what its parent has left.
    fn run_time_of(&self, child: &Envelope, now: Now, occasion: Occasion) -> Result<u64, CallError> {
        let left = self.budget.runtime_ms_max.saturating_sub(now.ran_ms);
        match (child.budget.runtime_ms_max, occasion) {
            (Some(wanted), Occasion::Asked(_)) if wanted > left => Err(CallError::BudgetExhausted(format!(
                "/budget/max_runtime_minutes: the mission has {:.1} minutes left, and its child would have {:.1}",
                minutes(left),
                minutes(wanted)
            ))),
            (wanted, _) => Ok(wanted.map_or(left, |wanted| wanted.min(left)).max(1)),
        }
    }

    /// Its window: within its parent's, and until that one's end where it says none.
    fn window_of(&self, wanted: Window) -> Result<Window, CallError> {
        let Some(end) = self.windows.window.end_at else { return Ok(wanted) };
        let beyond = |place: &str, at| {
            CallError::Denied(format!(
                "/autonomy_window/{place}: {at} is not within the window of the mission, which ends at {end}"
            ))
        };
        match wanted {
            Window { start_at: Some(start_at), .. } if start_at >= end => Err(beyond("start_at", start_at)),
            Window { end_at: Some(end_at), .. } if end_at > end => Err(beyond("end_at", end_at)),
            Window { start_at, end_at } => Ok(Window { start_at, end_at: end_at.or(Some(end)) }),
        }
    }

    /// What it may use: what it asks for, without what is not its parent's, and with all that its parent is barred from.
    fn constraints_of(&self, wanted: &Constraints) -> Result<Value, CallError> {
        let own = &self.envelope.constraints;
        for (index, entry) in wanted.allowed_tools.iter().enumerate() {
            if !own.allowed_tools.iter().any(|allowed| gate::covers(allowed, entry)) {
                let entry = limit::clip(entry, limit::QUOTE_BYTES_MAX);
                return Err(CallError::Denied(format!(
                    "/constraints/allowed_tools/{index}: `{entry}` is not within what the mission may use itself: an entry of its own \
                     constraints.allowed_tools, or a tool that one without a scope names"
                )));
            }
        }
        Ok(json!({
            "allowed_tools": wanted.allowed_tools,
            "forbidden_tools": union(&own.forbidden_tools, &wanted.forbidden_tools),
            "approval_required": union(&own.approval_required, &wanted.approval_required),
        }))
    }

    /// Whether its artifacts may go there: where its parent's go, or nowhere beyond its node.
    fn stores_for(&self, wanted: StorageScope) -> Result<(), CallError> {
        if wanted == StorageScope::Factory || wanted == self.envelope.storage_scope {
            return Ok(());
        }
        Err(CallError::Denied(format!(
            "/artifact_policy/storage_scope: {} is not where the artifacts of the mission itself go: write `factory`, \
             or leave it out",
            json!(wanted)
        )))
    }

    /// What its parent is told once this child has ended: JSON text. Nothing, before.
    #[must_use]
    pub fn told_to_parent(&self) -> Option<String> {
        let (reason, next_action) = (self.reason()?, self.next_action()?);
        let criteria = self.criteria().map(|criterion| {
            json!({ "criterion": criterion.text, "verdict": criterion.verdict, "evidence": criterion.evidence })
        });
        let artifacts = self.artifacts().iter().map(|artifact| {
            json!({
                "name": artifact.name.as_str(),
                "media_type": artifact.media_type,
                "bytes": artifact.bytes,
                "sha256": artifact.sha256.to_string(),
            })
        });
        let told = json!({
            "mission_id": self.envelope.mission_id,
            "status": self.status(),
            "reason": reason,
            "summary": self.last_summary(),
            "next_action": next_action,
            "criteria": criteria.collect::<Vec<_>>(),
            "artifacts": artifacts.collect::<Vec<_>>(),
            "usage": self.usage_at(self.ran_ms),
        });
        Some(told.to_string())
    }

    /// The calls by which it dispatched children that it waits for.
    pub fn open_children(&self) -> impl Iterator<Item = CallNo> {
        self.calls.open_children().map(|flight| flight.call)
    }

    /// How many children it has asked for that were not refused.
    #[must_use]
    pub fn children(&self) -> u32 {
        self.calls.children()
    }

    /// How many missions may have come of it, by the orders for its children that were not refused: with those that may come of each.
    #[must_use]
    pub fn family(&self) -> u32 {
        self.calls.family()
    }

    /// Whether there are children that it waits for.
    #[must_use]
    pub fn waits_for_children(&self) -> bool {
        self.calls.open_children().next().is_some()
    }

    /// What such a call dispatches, as its plugin wrote it, and what is set aside for that.
    #[must_use]
    pub fn order_of_child(&self, call: CallNo) -> Option<(&str, Spend)> {
        let flight = self.calls.open_children().find(|flight| flight.call == call)?;
        Some((&flight.arguments, flight.reserved))
    }

    /// The number of its next call.
    #[must_use]
    pub fn next_call(&self) -> CallNo {
        self.calls.next()
    }

    /// The mission that dispatched it and waits for its end.
    #[must_use]
    pub fn parent(&self) -> Option<&ChildOf> {
        self.envelope.parent()
    }

    /// Whether a plugin of this mission may read what a child of that parent left: it is its own; or this is a fork, and the child is of a
    /// mission of which it is one, and was there before it was (`is_older`). An id is free again once its mission is removed: a name alone
    /// makes nobody's child that of another one of the same name.
    #[must_use]
    pub fn may_read_of(&self, parent: &ChildOf, is_older: bool) -> bool {
        let is_of_its_line = self.envelope.forked_from.is_some() && parent.root == *self.envelope.root();
        parent.mission_id == self.envelope.mission_id || (is_of_its_line && is_older)
    }

    /// What is told as an event where a child was dispatched: summary and detail.
    pub(crate) fn told_of_dispatch(&self, call: CallNo, order: &str) -> (String, Value) {
        let child = MissionId::of_child(&self.envelope.mission_id, call);
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        let objective = limit::clip(order["objective"].as_str().unwrap_or_default(), limit::QUOTE_BYTES_MAX);
        let detail = json!({ "kind": "child", "mission_id": child, "call": call.0 });
        (format!("Dispatched {child}: {objective}"), detail)
    }

    /// The same, where one has ended that a call of it dispatched.
    pub(crate) fn told_of_child(&self, call: CallNo, outcome: &Result<ToolAnswer, CallError>) -> (String, Value) {
        let child = MissionId::of_child(&self.envelope.mission_id, call);
        let mut detail = json!({ "kind": "child_ended", "mission_id": child, "call": call.0 });
        let summary = match outcome {
            Ok(answer) => {
                let told: Value = serde_json::from_str(&answer.result).unwrap_or_default();
                let status = told["status"].as_str().unwrap_or("over").to_owned();
                let summary = limit::clip(told["summary"].as_str().unwrap_or_default(), limit::QUOTE_BYTES_MAX);
                detail["status"] = told["status"].clone();
                format!("{child} is {status}: {summary}")
            }
            Err(error) => format!("{child} came to nothing: {error}"),
        };
        (limit::clip(&summary, limit::NOTE_BYTES_MAX), detail)
    }
}

impl InFlight {
    /// Whether it dispatches a child.
    pub(crate) fn is_child(&self) -> bool {
        self.tool.as_ref().is_some_and(|tool| tool.as_str() == MISSION)
    }

    /// How many missions it takes of those that may come of its own: the child, and those that may come of that. None, where it dispatches none.
    pub(crate) fn missions(&self) -> u32 {
        if self.is_child() { named_in(&self.arguments).saturating_add(1) } else { 0 }
    }
}

/// How many missions an order that was granted says may come of its child.
fn named_in(order: &str) -> u32 {
    let order: Value = serde_json::from_str(order).unwrap_or_default();
    let named = &order["budget"]["max_missions"];
    // A whole number may be written with a point.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was read as whole and not negative, and the cast saturates"
    )]
    let named = named.as_u64().or_else(|| named.as_f64().map(|named| named as u64));
    named.map_or(0, |named| u32::try_from(named).unwrap_or(u32::MAX))
}

/// Why a fork does not dispatch what the mission that it is of had dispatched.
pub(crate) fn of_another(of: &MissionId, call: CallNo) -> CallError {
    CallError::Uncertain(format!(
        "`{of}`, of which this is a fork, had dispatched {} here and waits for it: a fork does not dispatch it again",
        MissionId::of_child(of, call)
    ))
}

type Fields = BTreeMap<String, Box<RawValue>>;

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).expect("plain data")
}

fn text(fields: &Fields) -> String {
    serde_json::to_string(fields).expect("plain data")
}

/// Whether its artifacts are to go where those of no child can. Its envelope would be refused for it, at a place that no order has.
fn uploads_nothing(fields: &Fields) -> Result<(), CallError> {
    let policy = fields.get("artifact_policy").and_then(|policy| serde_json::from_str::<Value>(policy.get()).ok());
    if policy.is_none_or(|policy| policy.get("storage_scope") != Some(&json!(StorageScope::Pushback))) {
        return Ok(());
    }
    let why = "/artifact_policy/storage_scope: a child has no callback to upload to: write `factory`, or leave it out";
    Err(CallError::InvalidArguments(why.to_owned()))
}

/// The envelope of such fields.
fn parsed(fields: &Fields) -> Result<Parsed, CallError> {
    Envelope::parse_of_child(&text(fields)).map_err(|rejected| CallError::InvalidArguments(told(&rejected.mistakes)))
}

/// Mistakes in one text, as many as fit.
#[must_use]
pub fn told(mistakes: &[Mistake]) -> String {
    let each = mistakes.iter().map(|mistake| format!("{}: {}", mistake.pointer, mistake.detail));
    limit::clip(&each.collect::<Vec<_>>().join("; "), limit::NOTE_BYTES_MAX)
}

/// The budget in the words of an envelope. A share of nothing cannot be said there: `child_of` says it.
fn budget(runtime_ms: u64, share: Spend, missions: u32) -> Value {
    let mut budget = json!({ "max_runtime_minutes": minutes(runtime_ms) });
    if missions > 0 {
        budget["max_missions"] = json!(missions);
    }
    if share.llm_calls > 0 {
        budget["max_llm_calls"] = json!(share.llm_calls);
    }
    if share.cost > MicroUsd::ZERO {
        budget["max_cost_usd"] = json!(share.cost.as_usd());
    }
    budget
}

/// Both lists, each entry once.
fn union(own: &[String], more: &[String]) -> Vec<String> {
    let mut all = own.to_vec();
    all.extend(more.iter().filter(|entry| !own.contains(entry)).cloned());
    all
}
