//! What becomes of a dispatched envelope: it is taken, it was taken before, or the answer says why not.
//!
//! One pure function of the envelope, of what is known at the one moment at which it is decided, and of the node that was asked.
//! Its two halves can be called apart, because the first may take its time and the second is asked under the log's own lock:
//!
//! 1. [`Examination::of`] says all that the node has against an envelope: whose it is, lane, window, storage, tools, receiver,
//!    plugin. What only a plugin can know (a schema, its own `check`) whoever runs plugins adds with [`Examination::add`].
//! 2. [`decide`] holds the dispatch against what is [`Known`]. One that was accepted before is answered as before, whatever the
//!    node has against it by now.
//!
//! | file | the rule that it owns |
//! | --- | --- |
//! | `rules` | what a node takes |
//! | `plugin` | which plugin runs it, in which version |
//! | `needs` | whether it would get what that plugin cannot do without |
//! | `receiver` | which callbacks nothing could be sent to |
//! | `wrong` | which mistakes are told |
//!
//! Never here: the log that gives numbers and knows the names, and the plugin that is asked.

mod needs;
mod plugin;
mod receiver;
mod rules;
mod wrong;

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{EffectiveBudget, Envelope, OnWindowEnd, Window, differing_fields};
use sortie_contract::id::{LaneId, MissionId, SessionId, VpId};
use sortie_contract::mistake::Mistake;
use sortie_contract::outcome::Status;
use sortie_contract::plugin::{PluginIdentity, PluginRef};
use sortie_contract::record::Accepted;
use sortie_contract::tool::ToolInfo;

pub use needs::{too_little, unknown_models, unmet, unusable};
pub(crate) use plugin::choose;
pub use receiver::WayOut;
pub use rules::{Admission, Ceilings, Denial, NodeRules, admit};

use wrong::Wrong;

/// The node that is asked, at the time at which it is.
pub struct Asked<'a> {
    /// Its rules.
    pub rules: &'a NodeRules,
    /// The tools that it has at the moment.
    pub tools: &'a [ToolInfo],
    /// Which plugin runs missions, by type or VP.
    pub plugins_by: &'a BTreeMap<String, PluginRef>,
    /// What is installed under a name: each of its versions.
    pub installed: &'a dyn Fn(&str) -> Vec<PluginIdentity>,
    /// What it lets out to whom.
    pub way_out: WayOut<'a>,
    /// Whether the hours of a lane and of the node leave something of a window.
    pub opens: &'a dyn Fn(&LaneId, Window) -> bool,
    /// The time of day.
    pub wall: Timestamp,
}

/// What a node has against an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    admission: Option<Admission>,
    plugin: Option<PluginIdentity>,
    wrong: Wrong,
}

impl Examination {
    /// Holds an envelope against a node. Where `mistakes` were found in its text already, what follows from them is not said
    /// again: who sent it mends it once.
    ///
    /// # Errors
    /// [`Denial::WrongInstance`]: another node's business, whatever is wrong with it.
    pub fn of(envelope: &Envelope, mistakes: Vec<Mistake>, asked: &Asked<'_>) -> Result<Self, Denial> {
        let mut wrong = Wrong(mistakes);
        let admission = match admit(envelope, asked.rules, asked.tools, asked.wall) {
            Ok(admission) => Some(admission),
            Err(Denial::Mistakes(mistakes)) => {
                wrong.add(mistakes);
                None
            }
            Err(denial) => return Err(denial),
        };
        let lane = admission.as_ref().map(|admission| &admission.lane);
        wrong.add(lane.filter(|lane| !may_open(envelope, lane, asked)).map(rules::outside_hours));
        wrong.add(envelope.callback.as_ref().and_then(|callback| receiver::unreachable(callback, asked.way_out)));
        let plugin = if wrong.leaves_plugin_open() {
            None
        } else {
            let chosen = choose(envelope, asked.plugins_by, asked.installed);
            chosen.map_err(|mistake| wrong.add([mistake])).ok()
        };
        Ok(Self { admission, plugin, wrong })
    }

    /// The plugin that may look at the envelope: none, where it is open which is meant or what it would be told.
    #[must_use]
    pub fn to_be_asked(&self) -> Option<&PluginIdentity> {
        self.plugin.as_ref().filter(|_| !self.wrong.leaves_brief_open())
    }

    /// What the node's rules make of it, where they have nothing against it.
    #[must_use]
    pub fn admission(&self) -> Option<&Admission> {
        self.admission.as_ref()
    }

    /// The plugin that would run it, where that is not open.
    #[must_use]
    pub fn chosen(&self) -> Option<&PluginIdentity> {
        self.plugin.as_ref()
    }

    /// Adds what was found wrong by those who were asked.
    pub fn add(&mut self, mistakes: impl IntoIterator<Item = Mistake>) {
        self.wrong.add(mistakes);
    }

    /// What it comes to.
    ///
    /// # Errors
    /// [`Denial::Mistakes`]
    pub fn passed(&self) -> Result<(&Admission, &PluginIdentity), Denial> {
        match (&self.admission, &self.plugin) {
            (Some(admission), Some(plugin)) if self.wrong.0.is_empty() => Ok((admission, plugin)),
            _ => Err(Denial::Mistakes(self.wrong.0.clone())),
        }
    }
}

/// A dispatch, as it was sent and read.
#[derive(Debug, Clone, Copy)]
pub struct Dispatch<'a> {
    /// The envelope.
    pub envelope: &'a Envelope,
    /// Its text.
    pub text: &'a str,
    /// Of its canonical form: what makes a second dispatch the same one.
    pub digest: Digest,
    /// What its text gave cause to warn of.
    pub warnings: &'a [String],
}

/// What is known at the moment at which it is decided.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// The mission that the same source dispatched under the same key.
    pub twin: Option<Earlier<'a>>,
    /// Whether another mission bears the same id.
    pub same_id: bool,
    /// The session of the VP's most recently accepted mission.
    pub newest_session: Option<&'a SessionId>,
}

/// A mission that was accepted before.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// Its public name.
    pub mission_id: &'a MissionId,
    /// Who it is done as.
    pub vp: &'a VpId,
    /// Of its envelope in canonical form.
    pub digest: Digest,
    /// How it is now.
    pub status: Status,
    /// What holds of its budget by now.
    pub budget: EffectiveBudget,
    /// The window that it is in by now.
    pub window: Window,
    /// Its first record.
    pub accepted: &'a Accepted,
}

/// What whoever dispatched is told of a mission that is taken, each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Whose answer it is.
    pub mission_id: MissionId,
    /// Its VP.
    pub vp_id: VpId,
    /// The session that it was given.
    pub session: SessionId,
    /// The lane that it was given.
    pub lane: LaneId,
    /// How it is now.
    pub status: Status,
    /// What holds of its budget here.
    pub budget: EffectiveBudget,
    /// When it may run, before the hours of its lane and node.
    pub window: Window,
    /// What is odd about it, for people.
    pub warnings: Vec<String>,
}

/// What becomes of a dispatch that is not denied.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is taken: this is its first record.
    Taken(Box<Accepted>),
    /// It was taken before.
    Before(Reply),
}

/// Decides about a dispatch. Without an `examination` only what is known speaks: `None` then says that it is to be examined.
///
/// # Errors
/// [`Denial`]
pub fn decide(
    dispatch: Dispatch<'_>,
    known: &Known<'_>,
    examination: Option<&Examination>,
) -> Result<Option<Verdict>, Denial> {
    if let Some(twin) = &known.twin {
        return again(dispatch, twin).map(Verdict::Before).map(Some);
    }
    if known.same_id {
        return Err(Denial::MissionIdConflict);
    }
    let Some(examination) = examination else { return Ok(None) };
    let (admission, plugin) = examination.passed()?;
    Ok(Some(Verdict::Taken(Box::new(Accepted {
        envelope: dispatch.text.to_owned(),
        session: session(dispatch.envelope, known.newest_session),
        lane: admission.lane.clone(),
        plugin: plugin.clone(),
        budget: admission.budget,
        unknown_approvals: admission.unknown_approvals.clone(),
        warnings: dispatch.warnings.iter().chain(&admission.warnings).cloned().collect(),
    }))))
}

/// The answer to a second dispatch under one key: that of the first, if it is the same one.
fn again(dispatch: Dispatch<'_>, twin: &Earlier<'_>) -> Result<Reply, Denial> {
    if twin.digest != dispatch.digest {
        let fields = differing_fields(&twin.accepted.envelope, dispatch.text);
        return Err(Denial::IdempotencyConflict { mission_id: twin.mission_id.clone(), fields });
    }
    let reply = Reply::of(twin.mission_id, twin.vp, twin.window, twin.accepted);
    Ok(Reply { status: twin.status, budget: twin.budget, ..reply })
}

/// Whether there is a time in which it runs: in its own window, or in a further one.
fn may_open(envelope: &Envelope, lane: &LaneId, asked: &Asked<'_>) -> bool {
    let goes_on = envelope.on_window_end == OnWindowEnd::Suspend && envelope.carry_over_max > 0;
    goes_on || (asked.opens)(lane, envelope.window)
}

/// The session that it names; else its VP's newest, else a fixed first one.
fn session(envelope: &Envelope, newest: Option<&SessionId>) -> SessionId {
    let omitted = || newest.cloned().unwrap_or_else(|| SessionId::of(&envelope.vp_id));
    envelope.vp_session_id.clone().unwrap_or_else(omitted)
}

impl Reply {
    /// Of a mission that has just been taken.
    #[must_use]
    pub fn of(mission_id: &MissionId, vp: &VpId, window: Window, accepted: &Accepted) -> Self {
        Self {
            mission_id: mission_id.clone(),
            vp_id: vp.clone(),
            session: accepted.session.clone(),
            lane: accepted.lane.clone(),
            status: Status::Queued,
            budget: accepted.budget,
            window,
            warnings: accepted.warnings.clone(),
        }
    }
}
