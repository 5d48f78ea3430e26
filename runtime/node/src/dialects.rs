//! The control plane's older dialects on this node: what the configuration has of them, put together with the engine.

mod receipts;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use serde_json::{Map, Value};
use sortie_ambient::Surroundings;
use sortie_callback::{Http, Reply, SendError, StatusCode, Transport};
use sortie_contract::mistake::code;
use sortie_contract::record::Record;
use sortie_contract::{Event, MissionNo, Mistake, Pointer, SessionId, Timestamp, VpId};
use sortie_dialect::{
    Access, Bridge, Desk, Dialect, Heartbeat, Standing, Translated, Untaken, Untold, Vitals, is_bridge, job_of,
};
use sortie_engine::intake::DispatchError;
use sortie_engine::shown::DialectView;
use sortie_engine::{Engine, FolderWorkspaces, Workspaces as _};
use sortie_journal::{Log, ReadError};

use crate::config::{Config, ConfigError};
use crate::http::forward::{self, Peers};
use crate::http::taken;

/// The name under which another node is told of a job of this one's bridge.
const BRIDGE: &str = "redis";

/// How much of a mission is read to see how it was dispatched, in bytes of the journal.
const PIECE: usize = 1;

/// What there is of them.
#[derive(Default)]
pub(crate) struct Dialects {
    pub(crate) dialect: Option<Arc<Dialect>>,
    /// Who may ask over HTTP; nothing, where nobody may.
    pub(crate) access: Option<Access>,
    pub(crate) bridge: Option<Arc<Bridge>>,
    pub(crate) heartbeat: Option<Arc<Heartbeat>>,
    has_receipts: bool,
    /// Whether the log is this node's alone: what others ran has no workspace here.
    is_alone: bool,
}

impl Dialects {
    /// As the configuration has them. Nothing is sent yet.
    pub(crate) fn new(config: &Config, ambient: &Surroundings) -> Result<Self, ConfigError> {
        let (dialects, node) = (&config.dialect, config.node.instance_id.as_str());
        let dialect = Arc::new(Dialect::new(dialects)?);
        let (redis, heartbeat) = (dialects.redis.as_ref(), dialects.heartbeat.as_ref());
        let bridge = redis
            .map(|redis| Bridge::new(redis, Arc::clone(&dialect), node, config.limits.body_bytes, Arc::clone(ambient)));
        let heartbeat = heartbeat.map(|heartbeat| Heartbeat::new(heartbeat, node, &host(), Arc::clone(ambient)));
        Ok(Self {
            dialect: (dialects.http.is_some() || redis.is_some()).then_some(dialect),
            access: dialects.http.as_ref().map(Access::new).transpose()?,
            bridge: bridge.transpose()?.map(Arc::new),
            heartbeat: heartbeat.transpose()?.map(Arc::new),
            has_receipts: dialects.receipts.is_some(),
            is_alone: config.node.store.is_none(),
        })
    }

    /// What carries deliveries: results to the bridge, all else over HTTP.
    pub(crate) fn carrier(&self, http: Http, workspaces: &Arc<FolderWorkspaces>) -> Arc<dyn Transport> {
        Arc::new(Carrier { http, bridge: self.bridge.clone(), workspaces: Arc::clone(workspaces) })
    }

    /// Begins to speak; of a node that was restored, once it is let go on.
    pub(crate) fn start(&self, engine: &Arc<Engine>, peers: &Arc<Peers>, data_dir: &std::path::Path) {
        if let Some(bridge) = &self.bridge {
            let node = engine.rules().instance_id.to_string();
            let desk = Arc::new(NodeDesk { engine: Arc::downgrade(engine), peers: Arc::clone(peers), node });
            engine.supervise("bridge", Arc::clone(bridge).run(desk, engine.reaches_out()));
        }
        if let Some(heartbeat) = &self.heartbeat {
            let (of, has_bridge) = (Arc::downgrade(engine), self.bridge.is_some());
            let vitals = move || vitals(&of, has_bridge);
            engine.supervise("heartbeat", Arc::clone(heartbeat).run(vitals, engine.reaches_out()));
        }
        if self.has_receipts {
            engine.supervise("receipts", receipts::write(engine, data_dir, self.is_alone));
        }
    }

    /// How they stand, for `GET /v1/node`.
    pub(crate) fn views(&self) -> Vec<DialectView> {
        let view = |name: &str, address: &str, standing: Standing| DialectView {
            name: name.to_owned(),
            address: address.to_owned(),
            connected: standing.is_connected,
            since: standing.since,
            error: standing.error,
        };
        let bridge = self.bridge.iter().map(|bridge| view("redis", bridge.stream(), bridge.standing()));
        bridge.chain(self.heartbeat.iter().map(|beat| view("heartbeat", beat.address(), beat.standing()))).collect()
    }

    /// What they did so far, for the metrics: names, what each says, and how much.
    pub(crate) fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut counts = Vec::new();
        if let Some(bridge) = &self.bridge {
            let of = bridge.counters();
            counts.extend([
                ("bridge_jobs_taken", "Jobs of the Redis bridge that became missions", of.taken.load(Relaxed)),
                ("bridge_jobs_replayed", "Jobs of it whose missions were there", of.replayed.load(Relaxed)),
                ("bridge_jobs_claimed", "Jobs that other consumers had left", of.claimed.load(Relaxed)),
                ("bridge_dead_letters", "Messages that went to the dead letters", of.dead.load(Relaxed)),
                ("bridge_results", "Results that Redis took", of.results.load(Relaxed)),
                ("bridge_failures", "Times at which Redis did not do what was asked", of.failures.load(Relaxed)),
            ]);
        }
        if let Some(heartbeat) = &self.heartbeat {
            let (sent, failed) = heartbeat.counts();
            counts.push(("heartbeats_sent", "Heartbeats that the headquarters took", sent));
            counts.push(("heartbeats_failed", "Heartbeats that it did not", failed));
        }
        counts
    }

    /// Tells the log of what they cannot read now.
    pub(crate) async fn warn(&self) {
        let mut missing = match &self.access {
            Some(access) => access.unavailable().await,
            None => Vec::new(),
        };
        if let Some(bridge) = &self.bridge {
            missing.extend(bridge.unavailable().await);
        }
        if let Some(heartbeat) = &self.heartbeat {
            missing.extend(heartbeat.unavailable().await);
        }
        for error in missing {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "a secret of [dialect] cannot be used now; what needs it waits or is refused");
        }
    }
}

/// What an old body said beside what is an envelope's, of a mission that came in a dialect; nothing of any other.
pub(crate) fn kept(log: &dyn Log, no: MissionNo) -> Result<Option<Map<String, Value>>, ReadError> {
    let records = log.read(no, 0, PIECE)?;
    let Some(Record::Accepted(accepted)) = records.first().map(|stamped| &stamped.record) else { return Ok(None) };
    Ok(sortie_dialect::kept(&accepted.envelope))
}

/// What this machine is called.
fn host() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if named.trim().is_empty() { "localhost".to_owned() } else { named.trim().to_owned() }
}

fn vitals(engine: &Weak<Engine>, has_bridge: bool) -> Vitals {
    let Some(engine) = engine.upgrade() else { return Vitals { is_paused: true, ..Vitals::default() } };
    let lanes = engine.lanes().into_iter().map(|(lane, _)| format!("lane:{lane}"));
    let bridge = has_bridge.then(|| "delegation_redis".to_owned());
    Vitals {
        is_paused: engine.turns().paused || engine.is_stopping(),
        capabilities: ["sortie".to_owned()].into_iter().chain(bridge).chain(lanes).collect(),
    }
}

/// The engine, as the bridge sees it.
struct NodeDesk {
    engine: Weak<Engine>,
    /// The way to the other nodes of the store: who has the VP of a job may be one of them.
    peers: Arc<Peers>,
    node: String,
}

#[async_trait]
impl Desk for NodeDesk {
    fn is_open(&self) -> bool {
        self.engine.upgrade().is_some_and(|engine| {
            !engine.is_stopping() && !engine.holds_back() && !engine.turns().paused && !engine.log().is_away()
        })
    }

    fn now(&self) -> Timestamp {
        self.engine.upgrade().map_or(Timestamp::UNIX_EPOCH, |engine| engine.ambient().wall())
    }

    fn node(&self) -> &str {
        &self.node
    }

    async fn take(&self, job: &Translated) -> Result<bool, Untaken> {
        let Some(engine) = self.engine.upgrade() else {
            return Err(Untaken::NotNow("the node is stopping".to_owned()));
        };
        match taken(&engine, BRIDGE, job.envelope.clone(), false).await {
            Ok(dispatched) => Ok(dispatched.replayed),
            // What it is translated to may have changed since: the configuration did. Who sent it means the same.
            Err(DispatchError::IdempotencyConflict { mission_id, .. }) if mission_id.as_str() == job.mission_id => {
                Ok(true)
            }
            Err(DispatchError::Invalid(mistakes)) => Err(Untaken::Refused(mistakes)),
            Err(error @ DispatchError::IdempotencyConflict { .. }) => {
                Err(refused("idempotency_key", "idempotency_conflict", &error.to_string()))
            }
            Err(error @ DispatchError::MissionIdConflict) => {
                Err(refused("mission_id", "mission_id_conflict", &error.to_string()))
            }
            Err(error @ DispatchError::WrongInstance { .. }) => {
                Err(refused("target_instance_id", code::UNKNOWN_VALUE, &error.to_string()))
            }
            Err(DispatchError::Elsewhere(member)) => {
                let told = forward::dispatch(&self.peers, &engine, BRIDGE, &member, job.envelope.clone()).await;
                answered(&job.mission_id, &told)
            }
            Err(
                error @ (DispatchError::Overloaded
                | DispatchError::DiskLow
                | DispatchError::Draining
                | DispatchError::Stopping
                | DispatchError::Artifacts(_)
                | DispatchError::Journal(_)
                | DispatchError::Read(_)),
            ) => Err(Untaken::NotNow(error.to_string())),
        }
    }
}

/// That a job never becomes a mission, and where that lies.
fn refused(key: &str, code: &str, why: &str) -> Untaken {
    Untaken::Refused(vec![Mistake::new(Pointer::root().join(key), code, why)])
}

/// What another node said to the job of that mission, which was sent on to it. What is about the moment, or about that node, holds up no
/// other job.
fn answered(mission_id: &str, told: &Value) -> Result<bool, Untaken> {
    if let Some(was_there) = told["replayed"].as_bool() {
        return Ok(was_there);
    }
    let why = told["detail"].as_str().unwrap_or("another node has the VP of this, and its answer says nothing");
    match (told["status"].as_u64(), told["code"].as_str().unwrap_or_default()) {
        // It came to that node by another one before, under whose name it was translated.
        (Some(409), "idempotency_conflict") if told["mission_id"] == mission_id => Ok(true),
        (Some(409), code @ "idempotency_conflict") => Err(refused("idempotency_key", code, why)),
        (Some(409), code @ "mission_id_conflict") => Err(refused("mission_id", code, why)),
        (Some(400 | 422), code) => {
            let mistakes = serde_json::from_value::<Vec<Mistake>>(told["errors"].clone()).unwrap_or_default();
            let whole = || vec![Mistake::new(Pointer::root(), code, why)];
            Err(Untaken::Refused(if mistakes.is_empty() { whole() } else { mistakes }))
        }
        _ => Err(Untaken::Alone(why.to_owned())),
    }
}

/// Carries deliveries. What goes to the bridge is a delivery like any other: repeated, in its order, and parked where it is hopeless.
struct Carrier {
    http: Http,
    bridge: Option<Arc<Bridge>>,
    workspaces: Arc<FolderWorkspaces>,
}

#[async_trait]
impl Transport for Carrier {
    async fn exchange(&self, request: sortie_callback::Request) -> Result<Reply, SendError> {
        if !is_bridge(&request.url) {
            return self.http.exchange(request).await;
        }
        let reply = |status: StatusCode| Ok(Reply { status, retry_after: None });
        let (Some(job), true) = (job_of(&request.url), request.method == "POST") else {
            // There is no room for artifacts there.
            return reply(StatusCode::METHOD_NOT_ALLOWED);
        };
        let Some(bridge) = &self.bridge else {
            return Err(SendError::Connect("this node has no [dialect.redis]".to_owned()));
        };
        let Ok(event) = serde_json::from_slice::<Event>(&request.body) else { return reply(StatusCode::BAD_REQUEST) };
        let place = VpId::new(event.vp_id.as_str()).ok().zip(SessionId::new(event.vp_session_id.as_str()).ok());
        let place = place.map(|(vp, session)| self.workspaces.place(&vp, &session).display().to_string());
        match bridge.tell(&job, &event, &place.unwrap_or_default()).await {
            Ok(()) => reply(StatusCode::NO_CONTENT),
            Err(Untold::NotItsMission) => reply(StatusCode::FORBIDDEN),
            Err(Untold::Away(why)) => Err(SendError::Connect(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_another_node_says_to_a_job_becomes_what_the_bridge_does_with_it() {
        let mistake = || Mistake::new(Pointer::root().join("objective"), code::EMPTY, "must not be empty");
        let away = "the node `b` has this and is away";
        for (told, expected) in [
            (json!({"mission_id": "bridge-1", "status": "queued", "replayed": false}), Ok(false)),
            (json!({"mission_id": "bridge-1", "status": "running", "replayed": true}), Ok(true)),
            (json!({"status": 409, "code": "idempotency_conflict", "detail": "x", "mission_id": "bridge-1"}), Ok(true)),
            (
                json!({"status": 409, "code": "idempotency_conflict", "detail": "x", "mission_id": "bridge-2"}),
                Err(refused("idempotency_key", "idempotency_conflict", "x")),
            ),
            (
                json!({"status": 409, "code": "mission_id_conflict", "detail": "x"}),
                Err(refused("mission_id", "mission_id_conflict", "x")),
            ),
            (
                json!({"status": 422, "code": "invalid_envelope", "detail": "x", "errors": [mistake()]}),
                Err(Untaken::Refused(vec![mistake()])),
            ),
            (
                json!({"status": 422, "code": "invalid_envelope", "detail": "x"}),
                Err(Untaken::Refused(vec![Mistake::new(Pointer::root(), "invalid_envelope", "x")])),
            ),
            (json!({"status": 503, "code": "holder_away", "detail": away}), Err(Untaken::Alone(away.to_owned()))),
            (json!({"status": 421, "code": "wrong_instance", "detail": "x"}), Err(Untaken::Alone("x".to_owned()))),
            (json!({"status": 401, "code": "unauthorized", "detail": "x"}), Err(Untaken::Alone("x".to_owned()))),
        ] {
            assert_eq!(answered("bridge-1", &told), expected, "{told}");
        }
    }
}
