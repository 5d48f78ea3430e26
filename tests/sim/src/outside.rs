//! Who dispatched what and was told what, the effects of tools, the receivers: a crash of the node does not touch them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sortie_contract::envelope::Envelope;
use sortie_contract::id::CallNo;
use sortie_contract::record::Stamped;
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::tool::Repeat;
use sortie_contract::{MicroUsd, Status};

use crate::forks::Origin;
use crate::models::{self, Bills};
use crate::shop;

/// The world around the node.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) clients: Vec<Client>,
    pub(crate) receivers: BTreeMap<String, Receiver>,
    /// Calls that have left the node and that nobody there waits for any more.
    pub(crate) strays: Vec<Stray>,
    /// Clients whose missions are removed: what their calls still come to is nobody's to know.
    pub(crate) gone: BTreeSet<usize>,
    /// VPs' sessions whose plugin is in memory, by node, and the lane that each takes.
    pub(crate) in_memory: BTreeMap<(usize, String), String>,
    /// Whether there is room on its disk for artifacts.
    pub(crate) disk_is_low: bool,
    /// The second provider of tools.
    pub(crate) shop: shop::State,
    pub(crate) models: models::State,
    /// All plugins ask eight models at once, and whoever is asked for more money says no.
    pub(crate) thrifty: bool,
    /// Plugins dispatch missions.
    pub(crate) families: bool,
    /// All missions together may cost so much in a month, where there is such a budget.
    pub(crate) purse: Option<MicroUsd>,
    /// Whether there are faults, still.
    pub(crate) faults: bool,
    /// People and control planes that wait for an answer of the node.
    pub(crate) waiting: usize,
    /// Dispatches that a node would have sent on: of which client, which of its texts, and to the node of that name.
    pub(crate) sent_on: Vec<(usize, usize, String)>,
    /// There are several nodes, of which one may be late with what another has told since.
    pub(crate) is_fleet: bool,
}

/// A control plane with one mission to dispatch.
pub(crate) struct Client {
    /// What it dispatches; then, what others do by mistake: under the same key but of other content, and under the same name but
    /// another key.
    pub(crate) texts: [String; 3],
    pub(crate) envelope: Arc<Envelope>,
    /// It dispatches nothing, and forks.
    pub(crate) fork: Option<Arc<Origin>>,
    /// What its mission had on record that is not kept any more.
    pub(crate) past: Vec<Stamped>,
    /// Its plugin's script.
    pub(crate) script: u64,
    /// Its plugin does something else in each run, against the rules.
    pub(crate) moody: bool,
    /// So many missions are above its own: nobody dispatches it but the one above.
    pub(crate) depth: u32,
    /// Its end was counted.
    pub(crate) is_counted: bool,
    /// Dispatches that wait for an answer.
    pub(crate) dispatches: u32,
    /// How often its plugin was run.
    pub(crate) runs: u64,
    /// The node has refused it.
    pub(crate) rejected: bool,
    /// Its mission is not kept any more.
    pub(crate) forgotten: bool,
    /// Which of the texts it was told to be accepted; a crash must not take that back, nor any of what follows.
    pub(crate) accepted: Option<usize>,
    pub(crate) cancelled: bool,
    pub(crate) decided: BTreeMap<RequestNo, Decision>,
    /// What its receiver took, in that order: the number of the item, its key and what it was.
    pub(crate) arrived: Vec<(u64, String, String)>,
    /// How its mission ended, as its receiver was told.
    pub(crate) end: Option<Status>,
    /// Calls of its tools: how often each was sent, and how often it had its effect.
    pub(crate) calls: BTreeMap<CallNo, Effects>,
    /// Calls of models: what was really paid for each.
    pub(crate) bills: BTreeMap<CallNo, Bills>,
}

/// What became of a call outside of the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effects {
    pub(crate) sent: u32,
    pub(crate) landed: u32,
    /// What was answered.
    pub(crate) results: BTreeSet<String>,
}

/// A call that nobody waits for any more.
pub(crate) struct Stray {
    pub(crate) client: usize,
    pub(crate) call: CallNo,
    pub(crate) repeat: Repeat,
}

/// A host that takes deliveries.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Until then, by the steady clock, it does not answer.
    pub(crate) down_until: Duration,
}

/// What a receiver says to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// It took it, and its answer was lost.
    Lost,
    /// It took it, and does not come to an end with its answer.
    Hangs,
    /// Nobody is there.
    Silence,
    /// 503: later.
    Busy,
    /// 410: it does not want it.
    Refused,
}

impl Outside {
    /// The client whose mission has that name.
    pub(crate) fn client_of(&self, mission_id: &str) -> usize {
        let mut clients = self.clients.iter();
        let found = clients.position(|client| client.envelope.mission_id.as_str() == mission_id);
        found.unwrap_or_else(|| panic!("nobody dispatched `{mission_id}`"))
    }
}

impl Client {
    pub(crate) fn new(texts: [String; 3], envelope: Arc<Envelope>, script: u64, moody: bool) -> Self {
        Self {
            texts,
            envelope,
            fork: None,
            past: Vec::new(),
            script,
            moody,
            depth: 0,
            is_counted: false,
            dispatches: 0,
            runs: 0,
            rejected: false,
            forgotten: false,
            accepted: None,
            cancelled: false,
            decided: BTreeMap::new(),
            arrived: Vec::new(),
            end: None,
            calls: BTreeMap::new(),
            bills: BTreeMap::new(),
        }
    }

    /// Its mission is gone, of which this was on record, and what was said of it is void.
    pub(crate) fn forget(&mut self, past: &[Stamped]) {
        let fresh = Self::new(self.texts.clone(), Arc::clone(&self.envelope), self.script, self.moody);
        let (fork, past) = (self.fork.clone(), past.to_vec());
        let depth = self.depth;
        *self = Self { forgotten: true, dispatches: self.dispatches, fork, past, depth, ..fresh };
    }

    /// An item arrives: in order, and the same each time. Says whether it is new.
    pub(crate) fn take(&mut self, item: u64, key: &str, body: &str, may_be_late: bool) -> bool {
        let same = self.arrived.iter().find(|(before, _, _)| *before == item);
        if let Some((_, known, same)) = same.filter(|_| may_be_late) {
            assert_eq!((known.as_str(), same.as_str()), (key, body), "item {item} changed");
            return false;
        }
        let last = self.arrived.last();
        if let Some((before, known, same)) = last
            && *before >= item
        {
            assert_eq!(*before, item, "item {item} arrived after item {before}");
            assert_eq!((known.as_str(), same.as_str()), (key, body), "item {item} changed");
            return false;
        }
        assert!(self.arrived.iter().all(|(_, known, _)| known != key), "the key {key} was used before");
        assert_eq!(self.end, None, "something arrives after the final event");
        self.arrived.push((item, key.to_owned(), body.to_owned()));
        self.end = status(body).filter(|status| status.is_final());
        true
    }
}

/// The status in an event; nothing, in an upload.
fn status(body: &str) -> Option<Status> {
    let event: serde_json::Value = serde_json::from_str(body).ok()?;
    Status::from_name(event["status"].as_str()?)
}
