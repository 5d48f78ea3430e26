//! What a crash of the node does not touch: who dispatched what and was told what, the effects of tools, the receivers.

use std::collections::BTreeMap;
use std::sync::Arc;

use sortie_contract::envelope::Envelope;
use sortie_contract::id::CallNo;
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::{MissionNo, Status};

use crate::history::History;
use crate::node::Promise;

/// The world around the node.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) clients: Vec<Client>,
    pub(crate) receivers: BTreeMap<String, Receiver>,
    /// The node's mark that it is paused: a file, written before anybody is answered.
    pub(crate) paused: bool,
}

/// A control plane with one envelope to dispatch.
pub(crate) struct Client {
    pub(crate) text: String,
    pub(crate) envelope: Arc<Envelope>,
    /// Its plugin's script.
    pub(crate) script: u64,
    /// Its plugin does something else in each run, against the rules.
    pub(crate) moody: bool,
    /// The node has refused it.
    pub(crate) rejected: bool,
    /// Its mission is not kept any more.
    pub(crate) forgotten: bool,
    /// What it was told; a crash must not take any of it back.
    pub(crate) accepted: Option<MissionNo>,
    pub(crate) cancelled: bool,
    pub(crate) decided: BTreeMap<RequestNo, Decision>,
    /// What its receiver took: by item, what it was.
    pub(crate) arrived: Vec<(String, String)>,
    /// How its mission ended, as its receiver was told.
    pub(crate) end: Option<Status>,
    /// Calls of its tools: how often each was sent, and how often it had its effect.
    pub(crate) calls: BTreeMap<CallNo, Effects>,
}

/// What became of a call outside of the node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Effects {
    pub(crate) sent: u32,
    pub(crate) landed: u32,
}

/// A host that takes deliveries.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Until then it does not answer.
    pub(crate) down_until_ms: u64,
}

/// What a receiver says to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// It took it, and its answer was lost.
    Lost,
    /// Nobody is there.
    Silence,
    /// 410: it does not want it.
    Refused,
}

impl Client {
    pub(crate) fn new(text: String, envelope: Arc<Envelope>, script: u64, moody: bool) -> Self {
        Self {
            text,
            envelope,
            script,
            moody,
            rejected: false,
            forgotten: false,
            accepted: None,
            cancelled: false,
            decided: BTreeMap::new(),
            arrived: Vec::new(),
            end: None,
            calls: BTreeMap::new(),
        }
    }

    /// It is told something that must hold from now on.
    pub(crate) fn hear(&mut self, promise: Promise) {
        match promise {
            Promise::Accepted(no) => {
                assert!(self.accepted.is_none_or(|before| before == no), "accepted as two missions");
                self.accepted = Some(no);
            }
            Promise::Cancelled => self.cancelled = true,
            Promise::Decided(request, decision) => drop(self.decided.insert(request, decision)),
        }
    }

    /// An item arrives: in order, and the same each time.
    pub(crate) fn take(&mut self, item: u64, key: &str, body: &str, history: &mut History) {
        let index = usize::try_from(item - 1).expect("few items");
        assert!(index <= self.arrived.len(), "item {item} arrived after {} others", self.arrived.len());
        match self.arrived.get(index) {
            Some(before) => {
                assert_eq!((before.0.as_str(), before.1.as_str()), (key, body), "item {item} changed");
                history.count("delivered again");
            }
            None => {
                assert!(self.arrived.iter().all(|(known, _)| known != key), "the key {key} was used before");
                assert_eq!(self.end, None, "something arrives after the final event");
                self.arrived.push((key.to_owned(), body.to_owned()));
                self.end = status(body).filter(|status| status.is_final());
                history.count("delivered");
            }
        }
    }

    pub(crate) fn host(&self) -> Option<String> {
        self.envelope.callback.as_ref().and_then(|callback| callback.status_url.host_str().map(str::to_owned))
    }
}

/// The status in an event; nothing, in an upload.
fn status(body: &str) -> Option<Status> {
    let event: serde_json::Value = serde_json::from_str(body).ok()?;
    Status::from_name(event["status"].as_str()?)
}
