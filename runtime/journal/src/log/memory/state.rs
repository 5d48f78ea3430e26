//! All that a log in memory knows, and how it changes.

use std::collections::BTreeMap;

use sortie_contract::cursor::Cursor;
use sortie_contract::{MissionNo, SessionId, Stamped, VpId};

use crate::actions::ACTIONS_MAX;
use crate::append::{Append, CursorChange};
use crate::balance::{self, Account, Balance};
use crate::cursor;
use crate::error::WriteError;
use crate::feed::FeedEntry;
use crate::fleet::ShareNo;
use crate::frame;
use crate::head::Head;
use crate::log::Twin;
use crate::pin::Pinned;
use crate::quarantine::Quarantine;
use crate::schedule::{FIRES_MAX, Kept, ScheduleChange, To};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) missions: BTreeMap<u64, Mission>,
    pub(super) feed: Vec<FeedEntry>,
    pub(super) last_no: u64,
    pub(super) last_token: u64,
    pub(super) leases: BTreeMap<u64, u64>,
    pub(super) schedules: BTreeMap<String, Plan>,
    pub(super) clocks: Vec<(MissionNo, u64)>,
    pub(super) actions: BTreeMap<u64, String>,
    pub(super) pins: BTreeMap<u64, Pinned>,
    pub(super) balances: BTreeMap<Account, Balance>,
    /// What all numbers are greater than that this log gives.
    pub(super) floor: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Mission {
    /// By frame.
    pub(super) records: Vec<Vec<Stamped>>,
    pub(super) head: Option<Head>,
    pub(super) cursor: Option<Cursor>,
    pub(super) quarantine: Option<Quarantine>,
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) kept: Kept,
    /// By number.
    pub(super) fires: BTreeMap<u64, String>,
}

impl Mission {
    pub(super) fn next(&self) -> u32 {
        u32::try_from(self.records.iter().map(Vec::len).sum::<usize>()).expect("a mission has fewer than 2^32 records")
    }
}

impl State {
    /// Of a log that begins with this share.
    pub(super) fn of(share: ShareNo) -> Self {
        Self { last_no: share.floor(), floor: share.floor(), ..Self::default() }
    }

    pub(super) fn keeps_the_newest_actions(&mut self) {
        while self.actions.len() as u64 > ACTIONS_MAX {
            self.actions.pop_first();
        }
    }

    pub(super) fn heads(&self) -> impl DoubleEndedIterator<Item = (MissionNo, &Head)> {
        self.missions.iter().filter_map(|(no, mission)| Some((MissionNo(*no), mission.head.as_ref()?)))
    }

    pub(super) fn twin(&self, is: impl Fn(&Head) -> bool) -> Option<Twin> {
        self.heads().find(|(_, head)| is(head)).map(|(no, head)| Twin { no, head: head.clone() })
    }

    /// Records of a mission from that number on, of one frame: one is never too few.
    pub(super) fn read(&self, mission: MissionNo, first: u32) -> Vec<Stamped> {
        let Some(mission) = self.missions.get(&mission.0) else { return Vec::new() };
        if let Some(quarantine) = &mission.quarantine {
            let records = mission.records.iter().flatten();
            let read = records.take(quarantine.readable as usize).skip(first as usize).cloned();
            return read.chain(quarantine.behind(first)).collect();
        }
        let mut begin = 0;
        for frame in &mission.records {
            let end = begin + frame.len();
            if end > first as usize {
                return frame[(first as usize).saturating_sub(begin)..].to_vec();
            }
            begin = end;
        }
        Vec::new()
    }

    /// Sessions by VP and name: how many missions, and the newest.
    pub(super) fn sessions(&self) -> BTreeMap<(&VpId, &SessionId), (u64, MissionNo)> {
        let mut sessions = BTreeMap::new();
        for (no, head) in self.heads() {
            let (missions, latest) = sessions.entry((&head.vp, &head.session)).or_insert((0, no));
            *missions += 1;
            *latest = no;
        }
        sessions
    }

    pub(super) fn cursors(&self, closed: bool) -> Vec<(MissionNo, Cursor)> {
        let all = self.missions.iter().filter_map(|(no, mission)| Some((MissionNo(*no), mission.cursor.clone()?)));
        all.filter(|(_, cursor)| cursor.closed == closed).collect()
    }

    /// Whether a change of a schedule is made from the last one.
    pub(super) fn fits(&self, change: &ScheduleChange) -> Result<(), WriteError> {
        let version = self.schedules.get(&change.id).map_or(0, |plan| plan.kept.version);
        if version == change.from { Ok(()) } else { Err(WriteError::ScheduleMoved { id: change.id.clone() }) }
    }

    pub(super) fn change(&mut self, change: ScheduleChange) {
        let To::Kept { definition, position, fires } = change.to else {
            self.schedules.remove(&change.id);
            return;
        };
        let empty = || Kept { version: 0, definition: String::new(), position: String::new(), last_fire: 0 };
        let plan = self.schedules.entry(change.id).or_insert_with(|| Plan { kept: empty(), fires: BTreeMap::new() });
        plan.kept.version += 1;
        plan.kept.position = position;
        if let Some(definition) = definition {
            plan.kept.definition = definition;
        }
        for fire in fires {
            plan.kept.last_fire += 1;
            plan.fires.insert(plan.kept.last_fire, fire);
        }
        let oldest = (plan.kept.last_fire + 1).saturating_sub(FIRES_MAX);
        plan.fires = plan.fires.split_off(&oldest);
    }

    pub(super) fn append(&mut self, append: &Append, position: u64) -> Result<u64, WriteError> {
        let no = MissionNo(append.mission);
        if let (Some(held), Some(newest)) = (append.lease, self.leases.get(&append.mission))
            && *newest > held
        {
            return Err(WriteError::Fenced { mission: no, held, newest: *newest });
        }
        let cursor = self.missions.get(&append.mission).and_then(|mission| mission.cursor.as_ref());
        if append.cursor_before.as_ref().is_some_and(|before| before.as_deref() != cursor) {
            return Err(WriteError::CursorMoved { mission: no });
        }
        let expected = self.missions.get(&append.mission).map_or(0, Mission::next);
        if let Some(frame) = append.frame.as_ref().filter(|frame| frame.first != expected) {
            return Err(WriteError::Conflict { mission: no, first: frame.first, expected });
        }
        self.last_no = self.last_no.max(append.mission);
        for movement in append.movements() {
            let oldest = balance::kept_from(movement.account.day);
            let day = movement.account.day;
            let follows = self.balances.keys().any(|account| (balance::follows(day)..day).contains(&account.day));
            if follows && !self.balances.contains_key(&movement.account) {
                self.balances.retain(|account, _| account.day >= oldest);
            }
            let balance = self.balances.entry(movement.account.clone()).or_default();
            *balance = balance.moved(movement);
        }
        let mission = self.missions.entry(append.mission).or_default();
        if let Some(head) = &append.head {
            mission.head = Some(Head::decode(append.mission, head).expect("what was encoded decodes"));
        }
        match &append.cursor {
            Some(CursorChange::Set(cursor)) => {
                mission.cursor = Some(cursor::decode(append.mission, cursor).expect("what was encoded decodes"));
            }
            Some(CursorChange::Remove) => mission.cursor = None,
            None => {}
        }
        if let Some(quarantine) = &append.quarantine {
            let decoded = Quarantine::decode(append.mission, &quarantine.bytes);
            mission.quarantine = Some(decoded.expect("what was encoded decodes"));
        }
        if let Some(frame) = &append.frame {
            let mut records = Vec::new();
            frame::decode((append.mission, frame.first), &frame.bytes, &mut records).expect("what was encoded decodes");
            mission.records.push(records);
        }
        let Some((first, count)) = append.told() else { return Ok(position) };
        let position = position + 1;
        self.feed.push(FeedEntry { position, mission: no, first, count });
        Ok(position)
    }
}
