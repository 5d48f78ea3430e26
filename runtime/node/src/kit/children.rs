//! Children: what missions come to that the plugin dispatches.
//!
//! They are missions of the real driver: taken or refused by it, with their shares, bounds, artifacts and ends, and cancelled with their parent.
//! Played is the plugin that does them: it does what the case says, and an order that the case does not speak of comes to nothing.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::mistake::{Mistake, Pointer};
use sortie_contract::outcome;
use sortie_contract::plugin::{Brief, Manifest, Origin, PluginIdentity, Verdict};
use sortie_sandbox::{Ending, Host, Installed, Run, Stop};
use tokio::sync::Notify;

use super::case::{Case, Child, Ends, LeftBy, has, read_time};
use super::stage::{Stage, shown, unanswered};

/// The version of a played plugin whose order names none.
const VERSION: &str = "1.0.0";

/// Longer than any mission may run.
const FOR_EVER: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How the dispatch of a mission is named among the calls.
const MISSION: &str = "mission";

/// What children come to, over all lives of a node.
pub(super) struct Children {
    says: Vec<Child>,
    stage: Arc<Stage>,
    state: Mutex<State>,
    /// Somebody is to cancel one.
    cancels: Notify,
}

#[derive(Default)]
struct State {
    /// What the plugin has dispatched so far, each once: who does a child, and who looks whether it can be done, is told its plan alone.
    orders: Vec<Value>,
    /// What was made of each, by its name: it does the same in each of its runs.
    given: BTreeMap<String, (Value, Option<usize>)>,
    used: BTreeMap<usize, u32>,
    /// The versions of plugins that orders named.
    versions: BTreeMap<String, String>,
    to_cancel: Vec<ToCancel>,
    unanswered: Vec<String>,
}

/// A child that somebody is to cancel, and what they say.
pub(super) struct ToCancel {
    pub(super) child: String,
    pub(super) by: String,
    pub(super) why: String,
}

impl ToCancel {
    /// By whom the record says, where the summary is of one: it is to be the same word for word.
    fn of(child: &str, summary: Option<&str>) -> Self {
        let said = summary.unwrap_or("the case says so");
        let recorded = said.strip_prefix("Cancelled by ").and_then(|said| said.split_once(": "));
        let (by, why) = recorded.unwrap_or(("case", said));
        Self { child: child.to_owned(), by: by.to_owned(), why: why.to_owned() }
    }
}

impl Children {
    pub(super) fn new(case: &Case, stage: Arc<Stage>) -> Self {
        Self { says: case.children.clone(), stage, state: Mutex::default(), cancels: Notify::new() }
    }

    /// The plugin is about to dispatch this.
    pub(super) fn ordered(&self, order: &str) {
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        let mut state = self.state.lock();
        if let Some((name, version)) = order["plugin"].as_str().and_then(|plugin| plugin.split_once('@')) {
            state.versions.insert(name.to_owned(), version.to_owned());
        }
        if !state.orders.contains(&order) {
            state.orders.push(order);
        }
    }

    /// The plugin of that name, which is there whatever it is called.
    pub(super) fn installed(&self, name: &str) -> Installed {
        let version = self.state.lock().versions.get(name).cloned().unwrap_or_else(|| VERSION.to_owned());
        let digest = Digest::of(format!("played {name}@{version}").as_bytes());
        let manifest = Manifest { name: name.to_owned(), version: version.clone(), ..Manifest::default() };
        let identity = PluginIdentity { name: name.to_owned(), version, digest };
        Installed { identity, manifest: Arc::new(manifest), origin: Origin::default() }
    }

    /// What the node has against a child; `None`, where it is no child's plan.
    pub(super) fn check(&self, brief: &Brief) -> Option<Vec<Mistake>> {
        let mut state = self.state.lock();
        let order = state.ordered_as(brief)?;
        let found = self.entry(&state, &order);
        let refused = found.and_then(|index| Some((index, self.says[index].refused.as_deref()?.split_once(": ")?)));
        let Some((index, (place, detail))) = refused else { return Some(Vec::new()) };
        *state.used.entry(index).or_default() += 1;
        Some(vec![Mistake::new(Pointer::raw(place), "refused", detail)])
    }

    /// The child is done, as the case says.
    pub(super) async fn run(&self, Run { brief, host, kill, .. }: Run) -> Ending {
        match select(pin!(kill.thrown()), pin!(self.play(&brief, &host))).await {
            Either::Left(_) | Either::Right((Err(Stop::Over), _)) => Ending::Killed,
            Either::Right((Ok(verdict), _)) => Ending::Returned(verdict),
            Either::Right((Err(Stop::Crash(crash)), _)) => Ending::Crashed(crash),
        }
    }

    /// The next that somebody is to cancel.
    pub(super) async fn to_cancel(&self) -> ToCancel {
        loop {
            if let Some(next) = self.state.lock().to_cancel.pop() {
                return next;
            }
            self.cancels.notified().await;
        }
    }

    /// Orders for which the case has no answer.
    pub(super) fn unanswered(&self) -> Vec<String> {
        self.state.lock().unanswered.clone()
    }

    /// The order of a child, and what the case says of it.
    fn given(&self, brief: &Brief) -> (Value, Option<&Child>) {
        let mut state = self.state.lock();
        if let Some((order, index)) = state.given.get(&brief.mission_id) {
            return (order.clone(), index.map(|index| &self.says[index]));
        }
        let order = state.ordered_as(brief).unwrap_or_else(|| plan(brief));
        let found = self.entry(&state, &order);
        match found {
            Some(index) => *state.used.entry(index).or_default() += 1,
            None => state.unanswered.push(unanswered(&shown(MISSION, &order), "child")),
        }
        state.given.insert(brief.mission_id.clone(), (order.clone(), found));
        (order, found.map(|index| &self.says[index]))
    }

    /// The first entry that fits an order and is not used up.
    fn entry(&self, state: &State, order: &Value) -> Option<usize> {
        let fits = |(index, child): &(usize, &Child)| {
            child.with.as_ref().is_none_or(|with| has(order, &Value::Object(with.clone())))
                && child.times.is_none_or(|times| state.used.get(index).is_none_or(|used| *used < times))
        };
        self.says.iter().enumerate().find(fits).map(|(index, _)| index)
    }

    async fn play(&self, brief: &Brief, host: &Arc<dyn Host>) -> Result<Verdict, Stop> {
        let (order, child) = self.given(brief);
        let call = || shown(MISSION, &order);
        if self.stage.turn(&brief.mission_id, call) {
            return Ok(failed("it fails here, to see what becomes of the mission that dispatched it".to_owned(), None));
        }
        let Some(child) = child else { return Ok(failed(format!("the case has no answer for {}", call()), None)) };
        if let Some(takes) = child.takes.as_deref().and_then(|takes| read_time("takes", takes).ok()) {
            wait(host, takes).await?;
        }
        match child.status {
            Ends::Completed | Ends::Failed => {}
            Ends::Cancelled => {
                self.state.lock().to_cancel.push(ToCancel::of(&brief.mission_id, child.summary.as_deref()));
                self.cancels.notify_one();
                wait(host, FOR_EVER).await?;
            }
            Ends::TimedOut => wait(host, FOR_EVER).await?,
        }
        for (name, left) in &child.artifacts {
            let (text, media_type) = match left {
                LeftBy::Text(text) => (text, "text/plain"),
                LeftBy::Of { text, media_type } => (text, media_type.as_str()),
            };
            let put = host.put(name.clone(), media_type.to_owned(), text.clone().into_bytes()).await?;
            if let Err(why) = put {
                return Ok(failed(format!("`{name}`: {why}"), None));
            }
        }
        for (criterion, judged) in (0..).zip(&child.criteria) {
            let verdict = if judged.met { outcome::Verdict::Met } else { outcome::Verdict::Unmet };
            host.judge(criterion, verdict, judged.evidence.clone())?;
        }
        let summary = child.summary.clone();
        Ok(match child.status {
            Ends::Failed => failed(summary.unwrap_or_else(|| "It could not.".to_owned()), child.next_action.clone()),
            _ => Verdict::Done {
                summary: summary.unwrap_or_else(|| "Done.".to_owned()),
                next_action: child.next_action.clone(),
            },
        })
    }
}

impl State {
    /// What the plugin dispatched that has this plan: the latest, where there are several.
    fn ordered_as(&self, brief: &Brief) -> Option<Value> {
        let plan = plan(brief);
        let has_it = |order: &&Value| PLAN.iter().all(|place| said(order, place) == said(&plan, place));
        self.orders.iter().rev().find(has_it).cloned()
    }
}

/// What of an order its plugin is told.
const PLAN: [&str; 5] =
    ["/objective", "/mission_type", "/inputs", "/success_criteria", "/artifact_policy/required_outputs"];

/// What an order says at a place; what is empty it might as well leave out.
fn said<'a>(order: &'a Value, place: &str) -> Option<&'a Value> {
    let is_empty = |value: &Value| match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        other => other.is_null(),
    };
    order.pointer(place).filter(|value| !is_empty(value))
}

/// An order for a child that is told this.
fn plan(brief: &Brief) -> Value {
    json!({
        "objective": brief.objective, "mission_type": brief.mission_type,
        "inputs": serde_json::from_str::<Map<String, Value>>(&brief.inputs).unwrap_or_default(),
        "success_criteria": brief.success_criteria,
        "artifact_policy": { "required_outputs": brief.required_outputs },
    })
}

fn failed(summary: String, next_action: Option<String>) -> Verdict {
    Verdict::Failed { summary, tool: None, next_action }
}

/// A timer of the child's own: it may be out of memory meanwhile, and its run time goes by.
async fn wait(host: &Arc<dyn Host>, time: Duration) -> Result<(), Stop> {
    let timer = host.after(time);
    host.waits(true);
    timer.await?;
    host.waits(false);
    Ok(())
}
