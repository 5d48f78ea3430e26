//! The head of a mission: what lists, the queue and idempotency need of it without reading its records.
//!
//! A head is a summary of the records, never a second truth: it is written in the same transaction as the records that
//! change it, and a fold over them gives it again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{Envelope, MissionType};
use sortie_contract::id::{IdempotencyKey, TraceId};
use sortie_contract::{InstanceId, LaneId, MissionId, SessionId, Status, Timestamp, VpId};

use crate::seal::{self, SealError};

/// What is known of a mission at a glance. Written when it changes, which is when the status does.
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
}

const VERSION: u8 = 2;

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

impl Head {
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
        }
    }

    pub(crate) fn encode(&self, mission: u64) -> Vec<u8> {
        let wire = V2 {
            v1: self.v1(),
            suspended: self.suspended,
            due_ns: self.due.map(Timestamp::as_nanosecond),
            ended_at_ns: self.ended_at.map(Timestamp::as_nanosecond),
        };
        let bytes = postcard::to_extend(&wire, seal::open(VERSION, 320)).expect("a vector takes every head");
        seal::close(bytes, &mission.to_le_bytes())
    }

    pub(crate) fn decode(mission: u64, bytes: &[u8]) -> Result<Self, SealError> {
        let (version, body) = seal::unseal(VERSION, &mission.to_le_bytes(), bytes)?;
        let wire = match version {
            1 => postcard::from_bytes(body).map(|v1| V2 { v1, suspended: false, due_ns: None, ended_at_ns: None }),
            _ => postcard::from_bytes(body),
        };
        Self::from_v2(&wire.map_err(|_| SealError::Form)?).ok_or(SealError::Form)
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

    fn from_v2(V2 { v1: wire, suspended, due_ns, ended_at_ns }: &V2<'_>) -> Option<Self> {
        let time = |ns: i128| Timestamp::from_nanosecond(ns).ok();
        // A time that is there must be one.
        let optional = |ns: Option<i128>| ns.map_or(Some(None), |ns| time(ns).map(Some));
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
    fn a_head_under_another_missions_number_is_refused() {
        assert_eq!(Head::decode(8, &sample_head(7).encode(7)), Err(SealError::Checksum));
    }
}
