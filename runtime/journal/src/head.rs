//! The head of a mission: what lists, the queue and idempotency need of it without reading its records.
//!
//! A head is a summary of the records, never a second truth: it is written in the same transaction as the records that
//! change it, and a fold over them gives it again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{EffectiveBudget, Envelope, MissionType};
use sortie_contract::id::{FORK, IdempotencyKey, TraceId};
use sortie_contract::outcome::Reason;
use sortie_contract::overview::{CallLine, Overview, Pending, RequestLine};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::request::{RequestKind, RequestNo};
use sortie_contract::{InstanceId, LaneId, MicroUsd, MissionId, SessionId, Spend, Status, Timestamp, VpId};

use crate::seal::{self, SealError};

/// What is known of a mission at a glance. Written when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its public name.
    pub mission_id: MissionId,
    /// Who dispatched it.
    pub source: InstanceId,
    /// With `source`: what makes a second dispatch the same one.
    pub idempotency_key: IdempotencyKey,
    /// Of the envelope in canonical form: whether a second dispatch is the same one.
    pub envelope: Digest,
    /// How it stands.
    pub status: Status,
    /// What kind of work it is.
    pub mission_type: MissionType,
    /// Who it is done as.
    pub vp: VpId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The lane it belongs to.
    pub lane: LaneId,
    /// Carried everywhere.
    pub trace_id: TraceId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Not to be started before this.
    pub start_at: Option<Timestamp>,
    /// To be stopped at this.
    pub end_at: Option<Timestamp>,
    /// Whether its events are sent somewhere.
    pub has_callback: bool,
    /// Whether its plugin is out of memory, and nothing that it waits for has happened.
    pub suspended: bool,
    /// When it wants a tick or a turn while it is suspended.
    pub due: Option<Timestamp>,
    /// When it became final.
    pub ended_at: Option<Timestamp>,
    /// How many of its runs in a row ended with their node and recorded nothing new; 0 where an older Sortie wrote the head.
    pub crashes: u32,
    /// How many probations it has outlived since it last came forward.
    pub outlived: u32,
    /// What lists show of it; `None` where an older Sortie wrote the head, until something changes it.
    pub overview: Option<Overview>,
}

const VERSION: u8 = 5;

/// Version 1 on the disk. Never changed once released: another form is another version.
#[derive(Serialize, Deserialize)]
struct V1<'a> {
    mission_id: &'a str,
    source: &'a str,
    idempotency_key: &'a str,
    envelope: [u8; 32],
    status: Status,
    mission_type: MissionType,
    vp: &'a str,
    session: &'a str,
    lane: &'a str,
    trace_id: &'a str,
    accepted_at_ns: i128,
    start_at_ns: Option<i128>,
    end_at_ns: Option<i128>,
    has_callback: bool,
}

/// Version 2: what version 1 has, then how it is suspended and when it ended.
#[derive(Serialize, Deserialize)]
struct V2<'a> {
    #[serde(borrow)]
    v1: V1<'a>,
    suspended: bool,
    due_ns: Option<i128>,
    ended_at_ns: Option<i128>,
}

/// Version 3: what version 2 has, then what lists show.
#[derive(Serialize, Deserialize)]
struct V3<'a> {
    #[serde(borrow)]
    v2: V2<'a>,
    overview: Option<OverviewV1<'a>>,
}

/// Version 4: what version 3 has, then what is set aside for calls that are being made.
#[derive(Serialize, Deserialize)]
struct V4<'a> {
    #[serde(borrow)]
    v3: V3<'a>,
    reserved_llm_calls: u64,
    reserved_micro_usd: u64,
}

/// Version 5: what version 4 has, but for open requests, which stand in `pending`; then its crashes and probations, and what it waits for.
#[derive(Serialize, Deserialize)]
struct V5<'a> {
    #[serde(borrow)]
    v4: V4<'a>,
    crashes: u32,
    outlived: u32,
    expires_at_ns: Option<i128>,
    pending: Option<PendingV1<'a>>,
}

/// An [`Overview`] on the disk, but for what versions 4 and 5 have of it.
#[derive(Serialize, Deserialize)]
struct OverviewV1<'a> {
    objective: &'a str,
    summary: &'a str,
    reason: Option<Reason>,
    sequence: u64,
    ran_ms: u64,
    llm_calls: u64,
    cost_micro_usd: u64,
    runtime_ms_max: u64,
    llm_calls_max: Option<u64>,
    cost_max_micro_usd: Option<u64>,
    plugin: (&'a str, &'a str, [u8; 32]),
    started_at_ns: Option<i128>,
    requests: u32,
    #[serde(borrow)]
    first_requests: Vec<RequestV1<'a>>,
}

/// An open request in versions 3 and 4.
#[derive(Serialize, Deserialize)]
struct RequestV1<'a> {
    no: u32,
    kind: RequestKind,
    tool: Option<&'a str>,
    question: &'a str,
    expires_at_ns: i128,
}

/// A [`Pending`] on the disk.
#[derive(Serialize, Deserialize)]
struct PendingV1<'a> {
    items: u64,
    status_url: Option<&'a str>,
    #[serde(borrow)]
    requests: Vec<RequestV2<'a>>,
}

/// A [`RequestLine`] on the disk.
#[derive(Serialize, Deserialize)]
struct RequestV2<'a> {
    no: u32,
    kind: RequestKind,
    question: &'a str,
    asked_at_ns: i128,
    expires_at_ns: i128,
    #[serde(borrow)]
    call: Option<CallV1<'a>>,
    wanted_llm_calls: u64,
    wanted_micro_usd: u64,
}

/// A [`CallLine`] on the disk.
#[derive(Serialize, Deserialize)]
struct CallV1<'a> {
    tool: &'a str,
    arguments: &'a str,
    bytes: u64,
    sha256: [u8; 32],
}

impl<'a> From<V2<'a>> for V3<'a> {
    fn from(v2: V2<'a>) -> Self {
        Self { v2, overview: None }
    }
}

impl<'a> From<V3<'a>> for V4<'a> {
    fn from(v3: V3<'a>) -> Self {
        Self { v3, reserved_llm_calls: 0, reserved_micro_usd: 0 }
    }
}

impl<'a> From<V4<'a>> for V5<'a> {
    fn from(v4: V4<'a>) -> Self {
        let lines = v4.v3.overview.iter().flat_map(|overview| &overview.first_requests);
        let expires_at_ns = lines.map(|line| line.expires_at_ns).min();
        Self { v4, crashes: 0, outlived: 0, expires_at_ns, pending: None }
    }
}

impl<'a> OverviewV1<'a> {
    fn of(overview: &'a Overview) -> Self {
        let Overview { spent, budget, plugin, .. } = overview;
        Self {
            objective: &overview.objective,
            summary: &overview.summary,
            reason: overview.reason,
            sequence: overview.sequence,
            ran_ms: overview.ran_ms,
            llm_calls: spent.llm_calls,
            cost_micro_usd: spent.cost.0,
            runtime_ms_max: budget.runtime_ms_max,
            llm_calls_max: budget.llm_calls_max,
            cost_max_micro_usd: budget.cost_max.map(|cost| cost.0),
            plugin: (&plugin.name, &plugin.version, *plugin.digest.as_bytes()),
            started_at_ns: overview.started_at.map(Timestamp::as_nanosecond),
            requests: overview.requests,
            first_requests: Vec::new(),
        }
    }

    fn read(&self, reserved: Spend, expires_at: Option<Timestamp>, pending: Option<Pending>) -> Option<Overview> {
        let (name, version, digest) = self.plugin;
        Some(Overview {
            objective: self.objective.to_owned(),
            summary: self.summary.to_owned(),
            reason: self.reason,
            sequence: self.sequence,
            ran_ms: self.ran_ms,
            spent: Spend { llm_calls: self.llm_calls, cost: MicroUsd(self.cost_micro_usd) },
            reserved,
            budget: EffectiveBudget {
                runtime_ms_max: self.runtime_ms_max,
                llm_calls_max: self.llm_calls_max,
                cost_max: self.cost_max_micro_usd.map(MicroUsd),
            },
            plugin: PluginIdentity { name: name.to_owned(), version: version.to_owned(), digest: digest.into() },
            started_at: optional(self.started_at_ns)?,
            requests: self.requests,
            expires_at,
            pending,
        })
    }
}

impl<'a> PendingV1<'a> {
    fn of(Pending { items, status_url, requests }: &'a Pending) -> Self {
        let requests = requests.iter().map(RequestV2::of).collect();
        Self { items: *items, status_url: status_url.as_deref(), requests }
    }

    fn read(&self) -> Option<Pending> {
        Some(Pending {
            items: self.items,
            status_url: self.status_url.map(str::to_owned),
            requests: self.requests.iter().map(RequestV2::read).collect::<Option<_>>()?,
        })
    }
}

impl<'a> RequestV2<'a> {
    fn of(line: &'a RequestLine) -> Self {
        Self {
            no: line.no.0,
            kind: line.kind,
            question: &line.question,
            asked_at_ns: line.asked_at.as_nanosecond(),
            expires_at_ns: line.expires_at.as_nanosecond(),
            call: line.call.as_ref().map(CallV1::of),
            wanted_llm_calls: line.wanted.llm_calls,
            wanted_micro_usd: line.wanted.cost.0,
        }
    }

    fn read(&self) -> Option<RequestLine> {
        Some(RequestLine {
            no: RequestNo(self.no),
            kind: self.kind,
            question: self.question.to_owned(),
            asked_at: time(self.asked_at_ns)?,
            expires_at: time(self.expires_at_ns)?,
            call: self.call.as_ref().map(CallV1::read),
            wanted: Spend { llm_calls: self.wanted_llm_calls, cost: MicroUsd(self.wanted_micro_usd) },
        })
    }
}

impl<'a> CallV1<'a> {
    fn of(CallLine { tool, arguments, bytes, sha256 }: &'a CallLine) -> Self {
        Self { tool, arguments, bytes: *bytes, sha256: *sha256.as_bytes() }
    }

    fn read(&self) -> CallLine {
        let (tool, arguments) = (self.tool.to_owned(), self.arguments.to_owned());
        CallLine { tool, arguments, bytes: self.bytes, sha256: self.sha256.into() }
    }
}

fn time(ns: i128) -> Option<Timestamp> {
    Timestamp::from_nanosecond(ns).ok()
}

/// A time that is there must be one.
fn optional(ns: Option<i128>) -> Option<Option<Timestamp>> {
    ns.map_or(Some(None), |ns| time(ns).map(Some))
}

impl Head {
    /// Whether it is a fork, or a child of another mission, which has its session for itself: only a node gives all three names so, and a session
    /// that is merely called like one is like any other.
    #[must_use]
    pub fn is_of_a_fork(&self) -> bool {
        let is_child = || self.idempotency_key.dispatched_by(&self.mission_id).is_some();
        if self.session == SessionId::of_child(&self.mission_id) && is_child() {
            return true;
        }
        let key = self.idempotency_key.as_str().strip_prefix(FORK);
        key == Some(self.mission_id.as_str()) && self.session == SessionId::of_fork(&self.mission_id)
    }

    /// Of a mission that was just accepted. `digest` is that of the envelope in canonical form.
    #[must_use]
    pub fn accepted(envelope: &Envelope, digest: Digest, session: SessionId, lane: LaneId, at: Timestamp) -> Self {
        Self {
            mission_id: envelope.mission_id.clone(),
            source: envelope.source_instance_id.clone(),
            idempotency_key: envelope.idempotency_key.clone(),
            envelope: digest,
            status: Status::Queued,
            mission_type: envelope.mission_type,
            vp: envelope.vp_id.clone(),
            session,
            lane,
            trace_id: envelope.trace_id.clone(),
            accepted_at: at,
            start_at: envelope.window.start_at,
            end_at: envelope.window.end_at,
            has_callback: envelope.callback.is_some(),
            suspended: false,
            due: None,
            ended_at: None,
            crashes: 0,
            outlived: 0,
            overview: None,
        }
    }

    pub(crate) fn encode(&self, mission: u64) -> Vec<u8> {
        let overview = self.overview.as_ref();
        let wire = V5 {
            v4: self.v4(),
            crashes: self.crashes,
            outlived: self.outlived,
            expires_at_ns: overview.and_then(|overview| overview.expires_at).map(Timestamp::as_nanosecond),
            pending: overview.and_then(|overview| overview.pending.as_ref()).map(PendingV1::of),
        };
        let bytes = postcard::to_extend(&wire, seal::open(VERSION, 640)).expect("a vector takes every head");
        seal::close(bytes, &mission.to_le_bytes())
    }

    pub(crate) fn decode(mission: u64, bytes: &[u8]) -> Result<Self, SealError> {
        let (version, body) = seal::unseal(VERSION, &mission.to_le_bytes(), bytes)?;
        let wire = match version {
            1 => postcard::from_bytes(body)
                .map(|v1| V4::from(V3::from(V2 { v1, suspended: false, due_ns: None, ended_at_ns: None })).into()),
            2 => postcard::from_bytes::<V2<'_>>(body).map(|v2| V4::from(V3::from(v2)).into()),
            3 => postcard::from_bytes::<V3<'_>>(body).map(|v3| V4::from(v3).into()),
            4 => postcard::from_bytes::<V4<'_>>(body).map(V5::from),
            _ => postcard::from_bytes(body),
        };
        Self::from_v5(&wire.map_err(|_| SealError::Form)?).ok_or(SealError::Form)
    }

    fn v4(&self) -> V4<'_> {
        let v2 = V2 {
            v1: self.v1(),
            suspended: self.suspended,
            due_ns: self.due.map(Timestamp::as_nanosecond),
            ended_at_ns: self.ended_at.map(Timestamp::as_nanosecond),
        };
        let v3 = V3 { v2, overview: self.overview.as_ref().map(OverviewV1::of) };
        let reserved = self.overview.as_ref().map_or(Spend::NOTHING, |overview| overview.reserved);
        V4 { v3, reserved_llm_calls: reserved.llm_calls, reserved_micro_usd: reserved.cost.0 }
    }

    fn v1(&self) -> V1<'_> {
        V1 {
            mission_id: self.mission_id.as_str(),
            source: self.source.as_str(),
            idempotency_key: self.idempotency_key.as_str(),
            envelope: *self.envelope.as_bytes(),
            status: self.status,
            mission_type: self.mission_type,
            vp: self.vp.as_str(),
            session: self.session.as_str(),
            lane: self.lane.as_str(),
            trace_id: self.trace_id.as_str(),
            accepted_at_ns: self.accepted_at.as_nanosecond(),
            start_at_ns: self.start_at.map(Timestamp::as_nanosecond),
            end_at_ns: self.end_at.map(Timestamp::as_nanosecond),
            has_callback: self.has_callback,
        }
    }

    fn from_v5(V5 { v4, crashes, outlived, expires_at_ns, pending }: &V5<'_>) -> Option<Self> {
        let V4 { v3, reserved_llm_calls, reserved_micro_usd } = v4;
        let reserved = Spend { llm_calls: *reserved_llm_calls, cost: MicroUsd(*reserved_micro_usd) };
        let V3 { v2, overview } = v3;
        let V2 { v1: wire, suspended, due_ns, ended_at_ns } = v2;
        Some(Self {
            mission_id: MissionId::new(Arc::from(wire.mission_id)).ok()?,
            source: InstanceId::new(Arc::from(wire.source)).ok()?,
            idempotency_key: IdempotencyKey::new(Arc::from(wire.idempotency_key)).ok()?,
            envelope: Digest::from(wire.envelope),
            status: wire.status,
            mission_type: wire.mission_type,
            vp: VpId::new(Arc::from(wire.vp)).ok()?,
            session: SessionId::new(Arc::from(wire.session)).ok()?,
            lane: LaneId::new(Arc::from(wire.lane)).ok()?,
            trace_id: TraceId::new(Arc::from(wire.trace_id)).ok()?,
            accepted_at: time(wire.accepted_at_ns)?,
            start_at: optional(wire.start_at_ns)?,
            end_at: optional(wire.end_at_ns)?,
            has_callback: wire.has_callback,
            suspended: *suspended,
            due: optional(*due_ns)?,
            ended_at: optional(*ended_at_ns)?,
            crashes: *crashes,
            outlived: *outlived,
            overview: match overview {
                Some(overview) => {
                    let pending = match pending {
                        Some(pending) => Some(pending.read()?),
                        None => None,
                    };
                    Some(overview.read(reserved, optional(*expires_at_ns)?, pending)?)
                }
                None => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::sample_head;

    #[test]
    fn a_head_reads_back_whatever_its_window() {
        let at = Timestamp::from_nanosecond(1_795_391_999_123_456_789).unwrap();
        for (start_at, end_at) in [(None, None), (Some(at), None), (None, Some(at)), (Some(at), Some(Timestamp::MAX))] {
            for status in Status::ALL {
                let head = Head { start_at, end_at, status, ..sample_head(7) };
                assert_eq!(Head::decode(7, &head.encode(7)), Ok(head));
            }
        }
    }

    #[test]
    fn a_head_reads_back_however_it_is_suspended() {
        let at = Timestamp::from_nanosecond(1_795_391_999_123_456_789).unwrap();
        for (suspended, due, ended_at) in [
            (true, None, None),
            (true, Some(at), None),
            (false, None, Some(at)),
            (true, Some(Timestamp::MAX), Some(at)),
        ] {
            let head = Head { suspended, due, ended_at, ..sample_head(7) };
            assert_eq!(Head::decode(7, &head.encode(7)), Ok(head));
        }
    }

    #[test]
    fn a_head_of_version_1_reads() {
        let head = Head { end_at: Some(Timestamp::MAX), ..sample_head(7) };
        let bytes = postcard::to_extend(&head.v1(), seal::open(1, 320)).unwrap();
        assert_eq!(Head::decode(7, &seal::close(bytes, &7_u64.to_le_bytes())), Ok(head));
    }

    #[test]
    fn a_head_of_version_2_reads() {
        let head = Head { due: Some(Timestamp::MAX), suspended: true, ..sample_head(7) };
        let due_ns = head.due.map(Timestamp::as_nanosecond);
        let v2 = V2 { v1: head.v1(), suspended: true, due_ns, ended_at_ns: None };
        let bytes = postcard::to_extend(&v2, seal::open(2, 320)).unwrap();
        assert_eq!(Head::decode(7, &seal::close(bytes, &7_u64.to_le_bytes())), Ok(head));
    }

    fn overview() -> Overview {
        let call = CallLine {
            tool: "Write".to_owned(),
            arguments: r#"{"path": "a…"#.to_owned(),
            bytes: 70_000,
            sha256: Digest::of(b"arguments"),
        };
        let line = RequestLine {
            no: RequestNo(3),
            kind: RequestKind::Approval,
            question: "May `Write` be called?".to_owned(),
            asked_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::MAX,
            call: Some(call),
            wanted: Spend { llm_calls: 1, cost: MicroUsd(700) },
        };
        let input = RequestLine { call: None, kind: RequestKind::Input, wanted: Spend::NOTHING, ..line.clone() };
        Overview {
            objective: "Mind the gap…".to_owned(),
            summary: "Minded.".to_owned(),
            reason: Some(Reason::Done),
            sequence: 9,
            ran_ms: 61_000,
            spent: Spend { llm_calls: 2, cost: MicroUsd(40_000) },
            reserved: Spend { llm_calls: 1, cost: MicroUsd(500) },
            budget: EffectiveBudget { runtime_ms_max: 1, llm_calls_max: Some(2), cost_max: Some(MicroUsd(3)) },
            plugin: PluginIdentity { name: "p".to_owned(), version: "1.0.0".to_owned(), digest: Digest::of(b"p") },
            started_at: Some(Timestamp::UNIX_EPOCH),
            requests: 7,
            expires_at: Some(Timestamp::MAX),
            pending: Some(Pending {
                items: 11,
                status_url: Some("https://hq.example/status".to_owned()),
                requests: vec![input, line],
            }),
        }
    }

    /// What versions 3 and 4 have of it: the first open requests in the overview, and nothing of what it waits for.
    fn older(head: &Head) -> V3<'_> {
        let line = |expires_at: Timestamp| RequestV1 {
            no: 3,
            kind: RequestKind::Approval,
            tool: Some("Write"),
            question: "May `Write` be called?",
            expires_at_ns: expires_at.as_nanosecond(),
        };
        let V4 { mut v3, .. } = head.v4();
        let lines = vec![line(Timestamp::MAX), line(Timestamp::UNIX_EPOCH)];
        v3.overview.as_mut().expect("it has one").first_requests = lines;
        v3
    }

    #[test]
    fn a_head_of_version_3_reads() {
        let expires_at = Some(Timestamp::UNIX_EPOCH);
        let overview = Overview { reserved: Spend::NOTHING, expires_at, pending: None, ..overview() };
        let head = Head { overview: Some(overview), ..sample_head(7) };
        let bytes = postcard::to_extend(&older(&head), seal::open(3, 640)).unwrap();
        assert_eq!(Head::decode(7, &seal::close(bytes, &7_u64.to_le_bytes())), Ok(head));
    }

    #[test]
    fn a_head_of_version_4_reads() {
        let overview = Overview { expires_at: Some(Timestamp::UNIX_EPOCH), pending: None, ..overview() };
        let head = Head { overview: Some(overview), ..sample_head(7) };
        let v4 = V4 { v3: older(&head), reserved_llm_calls: 1, reserved_micro_usd: 500 };
        let bytes = postcard::to_extend(&v4, seal::open(4, 640)).unwrap();
        assert_eq!(Head::decode(7, &seal::close(bytes, &7_u64.to_le_bytes())), Ok(head));
    }

    #[test]
    fn a_head_reads_back_with_what_lists_show() {
        let overview = overview();
        let bare = Overview {
            reason: None,
            budget: EffectiveBudget { llm_calls_max: None, cost_max: None, ..overview.budget },
            started_at: None,
            expires_at: None,
            pending: Some(Pending { items: 1, status_url: None, requests: Vec::new() }),
            ..overview.clone()
        };
        let unsaid = Overview { pending: None, ..overview.clone() };
        for overview in [overview, bare, unsaid] {
            let head = Head { overview: Some(overview), crashes: 2, outlived: 1, ..sample_head(7) };
            assert_eq!(Head::decode(7, &head.encode(7)), Ok(head));
        }
    }

    /// A million heads of missions that are over are kept: what only open ones need takes seven bytes of each.
    #[test]
    fn the_head_of_a_mission_that_is_over_has_nothing_of_what_it_waited_for() {
        let pending = Some(Pending { items: 9, status_url: None, requests: Vec::new() });
        let overview = Overview { expires_at: None, pending, ..overview() };
        let head = Head { status: Status::Completed, overview: Some(overview), ..sample_head(7) };
        let v4 = postcard::to_stdvec(&head.v4()).unwrap();
        assert_eq!(head.encode(7).len(), seal::open(VERSION, 0).len() + v4.len() + 7);
    }

    #[test]
    fn a_head_under_another_missions_number_is_refused() {
        assert_eq!(Head::decode(8, &sample_head(7).encode(7)), Err(SealError::Checksum));
    }
}
