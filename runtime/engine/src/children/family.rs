//! Which missions wait for which, and what is due of that.
//!
//! Filled when a child is accepted, and from the heads at a start. Never here: anything that takes its time; whoever does what is due asks for
//! it with [`Children::next`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use sortie_contract::id::CallNo;
use sortie_contract::{MissionId, MissionNo, Status};
use sortie_journal::Head;
use tokio::sync::Notify;

/// Which missions wait for which.
#[derive(Default)]
pub(crate) struct Children {
    pub(super) family: Mutex<Family>,
    pub(super) changed: Arc<Notify>,
}

#[derive(Default)]
pub(super) struct Family {
    /// Children that have not ended: whose they are.
    of: FxHashMap<MissionNo, MissionNo>,
    /// The same by parent.
    by: FxHashMap<MissionNo, BTreeSet<MissionNo>>,
    /// Children that are about to be accepted: whose they are.
    expected: FxHashMap<MissionId, MissionNo>,
    /// What is due, and how often each was tried in vain.
    due: VecDeque<(Due, u32)>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Due {
    /// A child has ended: its parent is told.
    Tell { child: MissionNo, parent: MissionNo },
    /// A child asks people something else than before, or one below it does: its parent is told.
    Ask { child: MissionNo, parent: MissionNo },
    /// Nobody waits for these any more: they are cancelled.
    Cancel(Vec<MissionNo>),
    /// Nobody waits any more for the child of that call.
    GivenUp { parent: MissionNo, call: CallNo },
    /// What became of its children while no node was there, nobody has told this one.
    Look(MissionNo),
    /// The child of that call is to be there.
    See { parent: MissionNo, call: CallNo },
}

/// What a start finds of families, head by head.
#[derive(Default)]
pub(crate) struct Found {
    /// Missions that have begun and not ended.
    begun: FxHashMap<MissionId, MissionNo>,
    /// Children that have not ended: whose they are.
    open: Vec<(MissionNo, MissionId)>,
    /// Missions some of whose children have ended.
    ended_of: FxHashSet<MissionId>,
}

impl Found {
    /// Takes a mission in, by its head, in any order: one that was dispatched by a node which took its parent over may come before that.
    pub(crate) fn add(&mut self, no: MissionNo, head: &Head) {
        if let Some((parent, _)) = head.idempotency_key.dispatched_by(&head.mission_id) {
            if head.status.is_final() {
                self.ended_of.insert(parent);
            } else {
                self.open.push((no, parent));
            }
        }
        if matches!(head.status, Status::Running | Status::Blocked) {
            self.begun.insert(head.mission_id.clone(), no);
        }
    }
}

/// A child that is about to be accepted. Whoever dispatches it may go half-way: it is expected for no longer than that.
pub(super) struct Expected<'a> {
    children: &'a Children,
    child: MissionId,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.children.family.lock().expected.remove(&self.child);
    }
}

impl Children {
    /// Takes in what a start has found.
    pub(crate) fn take_in(&self, found: Found) {
        let mut family = self.family.lock();
        let ended_of = found.ended_of.iter().filter_map(|parent| found.begun.get(parent).copied());
        let (mut look, mut orphans) = (ended_of.collect::<BTreeSet<MissionNo>>(), Vec::new());
        for (child, parent) in found.open {
            match found.begun.get(&parent) {
                Some(&parent) => {
                    family.add(child, parent);
                    look.insert(parent);
                }
                None => orphans.push(child),
            }
        }
        // First: they may get a turn at any moment, and nothing that is seen to for others is to stand before that.
        if !orphans.is_empty() {
            family.due.push_back((Due::Cancel(orphans), 0));
        }
        family.due.extend(look.into_iter().map(|parent| (Due::Look(parent), 0)));
        self.changed.notify_one();
    }

    /// A mission of that name may be accepted for as long as this is held, and is this one's.
    pub(super) fn expect(&self, child: MissionId, parent: MissionNo) -> Expected<'_> {
        self.family.lock().expected.insert(child.clone(), parent);
        Expected { children: self, child }
    }

    /// A child was accepted: whose it is.
    pub(super) fn begins(&self, no: MissionNo, child: &MissionId) -> Option<MissionNo> {
        let mut family = self.family.lock();
        let parent = family.expected.remove(child)?;
        family.add(no, parent);
        Some(parent)
    }

    /// A mission has ended.
    pub(crate) fn end(&self, no: MissionNo) {
        let mut family = self.family.lock();
        if family.of.is_empty() {
            return;
        }
        if let Some(parent) = family.remove(no) {
            family.due.push_back((Due::Tell { child: no, parent }, 0));
            self.changed.notify_one();
        }
        if let Some(children) = family.by.get(&no) {
            let children = children.iter().copied().collect();
            family.due.push_back((Due::Cancel(children), 0));
            self.changed.notify_one();
        }
    }

    /// A mission asks people something else than before, or one below it does. Of one that has ended its end is told.
    pub(crate) fn ask(&self, child: MissionNo) {
        let mut family = self.family.lock();
        let is_due = |due: &(Due, u32)| matches!(due, (Due::Ask { child: other, .. }, _) if *other == child);
        if let Some(&parent) = family.of.get(&child)
            && !family.due.iter().any(is_due)
        {
            family.due.push_back((Due::Ask { child, parent }, 0));
            self.changed.notify_one();
        }
    }

    /// Whether a mission waits for others that it has dispatched.
    pub(crate) fn are_awaited_by(&self, no: MissionNo) -> bool {
        self.family.lock().by.contains_key(&no)
    }

    /// It may be that nobody has seen to the children that a mission waits for.
    pub(crate) fn look(&self, parent: MissionNo) {
        self.push(Due::Look(parent), 0);
    }

    pub(super) fn push(&self, due: Due, tries: u32) {
        self.family.lock().due.push_back((due, tries));
        self.changed.notify_one();
    }

    pub(super) fn next(&self) -> Option<(Due, u32)> {
        self.family.lock().due.pop_front()
    }

    pub(super) fn of(&self, parent: MissionNo) -> Vec<MissionNo> {
        self.family.lock().by.get(&parent).into_iter().flatten().copied().collect()
    }
}

impl Family {
    pub(super) fn add(&mut self, child: MissionNo, parent: MissionNo) {
        self.of.insert(child, parent);
        self.by.entry(parent).or_default().insert(child);
    }

    pub(super) fn remove(&mut self, child: MissionNo) -> Option<MissionNo> {
        let parent = self.of.remove(&child)?;
        if let Some(children) = self.by.get_mut(&parent) {
            children.remove(&child);
            if children.is_empty() {
                self.by.remove(&parent);
            }
        }
        Some(parent)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_contract::digest::Digest;
    use sortie_contract::envelope::Envelope;
    use sortie_contract::id::IdempotencyKey;
    use sortie_contract::{SessionId, Timestamp};

    use super::*;

    const CALL: CallNo = CallNo(7);

    fn id(name: &str) -> MissionId {
        MissionId::new(name).expect("an id")
    }

    fn head(id: &MissionId, key: &str, status: Status) -> Head {
        let envelope = json!({
            "mission_id": id.as_str(), "vp_id": "vp", "source_instance_id": "s", "target_instance_id": "t",
            "mission_type": "automation", "objective": "o", "idempotency_key": key, "trace_id": "t",
            "created_at": "2026-11-22T00:00:00Z",
        });
        let envelope = Envelope::parse_accepted(&envelope.to_string()).expect("valid").envelope;
        let (session, lane) = (SessionId::of(&envelope.vp_id), "lane".parse().expect("an id"));
        let head = Head::accepted(&envelope, Digest::of(b"e"), session, lane, Timestamp::UNIX_EPOCH);
        Head { status, ..head }
    }

    /// What is due of a start that finds these, in this order.
    fn due(found: &[(u64, &Head)]) -> Vec<String> {
        let mut families = Found::default();
        found.iter().for_each(|(no, head)| families.add(MissionNo(*no), head));
        let children = Children::default();
        children.take_in(families);
        std::iter::from_fn(|| children.next()).map(|(due, _)| format!("{due:?}")).collect()
    }

    #[test]
    fn a_parent_is_looked_at_wherever_its_children_stand_and_whatever_became_of_them() {
        let parent = id("night");
        let child = MissionId::of_child(&parent, CALL);
        let key = IdempotencyKey::of_child(&parent, CALL);
        for (of_parent, of_child, expected) in [
            (Status::Running, Status::Running, "Look(MissionNo(2))"),
            (Status::Running, Status::Completed, "Look(MissionNo(2))"),
            (Status::Blocked, Status::Queued, "Look(MissionNo(2))"),
            (Status::Blocked, Status::Failed, "Look(MissionNo(2))"),
            (Status::Completed, Status::Running, "Cancel([MissionNo(1)])"),
            (Status::Completed, Status::Completed, ""),
        ] {
            let (parent, child) = (head(&parent, "k", of_parent), head(&child, key.as_str(), of_child));
            let expected: Vec<&str> = Some(expected).filter(|due| !due.is_empty()).into_iter().collect();
            assert_eq!(due(&[(1, &child), (2, &parent)]), expected, "{of_child} before {of_parent}");
            assert_eq!(due(&[(2, &parent), (1, &child)]), expected, "{of_child} behind {of_parent}");
        }
    }

    #[test]
    fn orphans_are_cancelled_before_anything_is_seen_to() {
        let (parent, gone) = (id("night"), id("gone"));
        let of = |parent: &MissionId| {
            let key = IdempotencyKey::of_child(parent, CALL);
            head(&MissionId::of_child(parent, CALL), key.as_str(), Status::Running)
        };
        let (parent, child, orphan) = (head(&parent, "k", Status::Running), of(&parent), of(&gone));
        let due = due(&[(1, &parent), (2, &child), (3, &orphan)]);
        assert_eq!(due, ["Cancel([MissionNo(3)])", "Look(MissionNo(1))"]);
    }

    #[test]
    fn a_child_is_expected_for_as_long_as_somebody_dispatches_it() {
        let children = Children::default();
        let (parent, child) = (MissionNo(1), MissionId::of_child(&id("night"), CALL));
        drop(children.expect(child.clone(), parent));
        assert_eq!(children.begins(MissionNo(2), &child), None, "its dispatch came to nothing");
        let expected = children.expect(child.clone(), parent);
        assert_eq!(children.begins(MissionNo(2), &child), Some(parent));
        drop(expected);
        assert_eq!(children.of(parent), [MissionNo(2)], "it has begun");
    }
}
