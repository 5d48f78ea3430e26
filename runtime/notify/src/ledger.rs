//! What a channel owes, and when: grouping, repetition, backoff. Pure: what happened, what was sent, and the time are arguments.
//!
//! The first thing that happens is told soon, together with what comes in the same moment. What comes behind it waits for the channel's
//! interval, and the interval doubles with each message, up to its longest, until it was quiet for as long: a bad night is a few messages,
//! not hundreds. What people have to decide about waits for no more than a quarter of an hour of that.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sortie_contract::LaneId;

use crate::news::{Item, Kind, News, is_of};

/// How long the first thing waits for what comes in the same moment.
const SOON: Duration = Duration::from_secs(3);

/// The longest that people wait to be told of what they have to decide about, where the channel's own interval is not longer.
const URGENT_MAX: Duration = Duration::from_secs(15 * 60);

/// Newest items of a kind that are kept; of others there is the number.
const KEPT: usize = 20;

/// Requests of a kind that are known without their words: what of them is decided before it was told is not told.
const ASKED: usize = 1_000;

/// What lasts and was told is told again after so long without it.
const LASTS: Duration = Duration::from_secs(60 * 60);

/// Most things that last and are remembered.
const LASTING_MAX: usize = 100;

/// So long a message that does not arrive stays the same one. Receivers forget its key after a day or so; and its links must not be over.
const SAME: Duration = Duration::from_secs(12 * 60 * 60);

/// The first wait behind an attempt that failed, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15 * 60));

/// The longest that a receiver is granted that asks to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Doublings that reach every maximum.
const DOUBLINGS_MAX: u32 = 16;

/// What a channel wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What it is told of.
    pub on: Vec<Kind>,
    /// Missions of these lanes; without any, of all.
    pub lanes: Vec<LaneId>,
    /// The interval between messages.
    pub group: Duration,
    /// The longest that it grows to.
    pub group_max: Duration,
}

impl Rules {
    fn kind(&self, kinds: &[Kind]) -> Option<Kind> {
        kinds.iter().copied().find(|kind| self.on.contains(kind))
    }
}

/// What there is to tell of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// How often it happened.
    pub(crate) count: u64,
    /// When first.
    pub(crate) since: Timestamp,
    /// The newest of it, oldest first.
    pub(crate) newest: VecDeque<Item>,
    /// Of what is older, the requests, by mission and number.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    asked: VecDeque<(String, u32)>,
}

impl Group {
    /// Of what happened for the first time then.
    pub(crate) fn new(since: Timestamp) -> Self {
        Self { count: 0, since, newest: VecDeque::new(), asked: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.count += 1;
        self.newest.push_back(item);
        self.trim();
    }

    /// What came behind it.
    fn join(&mut self, newer: Self) {
        self.count += newer.count;
        self.newest.extend(newer.newest);
        self.trim();
        self.asked.extend(newer.asked);
        self.trim();
    }

    fn trim(&mut self) {
        let surplus = self.newest.len().saturating_sub(KEPT);
        for Item { about, wanted, .. } in self.newest.drain(..surplus) {
            self.asked.extend(wanted.map(|wanted| (about.name().to_owned(), wanted.request)));
        }
        let surplus = self.asked.len().saturating_sub(ASKED);
        self.asked.drain(..surplus);
    }

    /// A request need not be told of any more, or none of a mission's. Whether any was to be.
    fn settle(&mut self, mission: &str, request: Option<u32>) -> bool {
        let is_settled = |name: &str, no: u32| name == mission && request.is_none_or(|request| request == no);
        let before = self.newest.len() + self.asked.len();
        self.newest.retain(|item| !item.wanted.is_some_and(|wanted| is_settled(item.about.name(), wanted.request)));
        self.asked.retain(|(name, no)| !is_settled(name, *no));
        let gone = before - self.newest.len() - self.asked.len();
        self.count -= gone as u64;
        gone > 0
    }
}

/// What is told in one message.
pub(crate) type Groups = BTreeMap<Kind, Group>;

/// What a channel owes. Kept in a file of its own, see `store`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Up to here the node's records have been taken up.
    pub(crate) position: u64,
    /// Up to here, by the time of its record, the histories of schedules have been taken up.
    pub(crate) fires_until: Option<Timestamp>,
    /// Those of the last moments before that, by schedule and number: records are not stamped in the order in which they are written.
    pub(crate) fires_seen: VecDeque<(Timestamp, String, u64)>,
    /// When the next digest is due.
    pub(crate) digest_at: Option<Timestamp>,
    /// To be told.
    pub(crate) waiting: Groups,
    /// In the message that is being sent: whether it arrives is not known before it has.
    pub(crate) sending: Groups,
    /// When the message was made that tells of what is being sent, or was and did not arrive; nothing, once something else is to be told.
    made_at: Option<Timestamp>,
    /// What lasts, and when it was last seen.
    lasting: BTreeMap<String, Timestamp>,
    /// Messages in a row, without a quiet interval between them.
    in_a_row: u32,
    /// Attempts that ever failed.
    pub(crate) failures: u64,
    /// Messages that arrived.
    pub(crate) sent: u64,
    /// When the last of them did.
    pub(crate) sent_at: Option<Timestamp>,
    /// When the last one of what happened did; those of digests and tests are no part of a row.
    told_at: Option<Timestamp>,
    /// What stands in the way.
    pub(crate) failing: Option<Failing>,
}

/// Attempts that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// How many, in a row.
    pub attempts: u32,
    /// Since when.
    pub since: Timestamp,
    /// Why the last one did, for people.
    pub why: String,
    /// When it is tried again.
    pub next: Timestamp,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// For people; never holds a secret.
    pub(crate) why: String,
    /// When the receiver wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl Ledger {
    /// Of a channel that is new at this place: nothing before it is told.
    pub(crate) fn new(position: u64, now: Timestamp) -> Self {
        Self { position, fires_until: Some(now), ..Self::default() }
    }

    /// As it goes on after a stop: what was being sent may not have arrived, and is sent again.
    pub(crate) fn resumed(mut self) -> Self {
        self.unsent();
        self
    }

    /// Takes up what happened to a mission of that lane, or, without one, to none. Says whether that changed what is owed.
    pub(crate) fn take(&mut self, rules: &Rules, lane: Option<&LaneId>, news: News) -> bool {
        match news {
            News::Settled { mission, request } => self.settle(&mission, Some(request)),
            News::Over { mission, then } => {
                let settled = self.settle(&mission, None);
                let told = then.is_some_and(|item| self.tell(rules, lane, &[Kind::Failed], None, item));
                settled || told
            }
            News::Told { kinds, lasting, item } => self.tell(rules, lane, kinds, lasting, item),
        }
    }

    fn tell(
        &mut self,
        rules: &Rules,
        lane: Option<&LaneId>,
        kinds: &[Kind],
        lasting: Option<String>,
        item: Item,
    ) -> bool {
        let Some(kind) = rules.kind(kinds).filter(|_| lane.is_none_or(|lane| is_of(&rules.lanes, lane))) else {
            return false;
        };
        if lasting.is_some_and(|lasting| self.lasts(lasting, item.at)) {
            return true;
        }
        self.waits_for_another_message();
        self.waiting.entry(kind).or_insert_with(|| Group::new(item.at)).push(item);
        true
    }

    /// Notes that it goes on. Whether that was told, and not long ago.
    fn lasts(&mut self, what: String, at: Timestamp) -> bool {
        let before = self.lasting.insert(what, at);
        if self.lasting.len() > LASTING_MAX {
            let oldest = self.lasting.iter().min_by_key(|(_, at)| **at).map(|(what, _)| what.clone());
            oldest.and_then(|oldest| self.lasting.remove(&oldest));
        }
        before.is_some_and(|before| since(before, at) < LASTS)
    }

    /// A request need not be told of any more, or none of a mission's; nor where the message that tells of it does not arrive.
    fn settle(&mut self, mission: &str, request: Option<u32>) -> bool {
        let settle = |groups: &mut Groups| {
            let mut changed = false;
            groups.values_mut().for_each(|group| changed |= group.settle(mission, request));
            groups.retain(|_, group| group.count > 0);
            changed
        };
        let was_sending = settle(&mut self.sending);
        let waited = settle(&mut self.waiting);
        if was_sending {
            self.made_at = None;
        } else if waited {
            self.waits_for_another_message();
        }
        was_sending || waited
    }

    /// What waits has changed: where an attempt told of it that did not arrive, the next one tells of something else.
    fn waits_for_another_message(&mut self) {
        if self.sending.is_empty() {
            self.made_at = None;
        }
    }

    /// When the next message of what happened is due; nothing, where nothing is owed.
    pub(crate) fn due(&self, rules: &Rules) -> Option<Timestamp> {
        let since = self.waiting.values().map(|group| group.since).min()?;
        let soon = later(since, SOON);
        let Some(told_at) = self.told_at else { return Some(soon) };
        Some(soon.max(later(told_at, self.interval(rules))))
    }

    /// How long behind the last message the next one is due.
    fn interval(&self, rules: &Rules) -> Duration {
        let urgent = [Kind::Blocked, Kind::Budget].iter().any(|kind| self.waiting.contains_key(kind));
        let longest = if urgent { rules.group_max.min(URGENT_MAX) } else { rules.group_max };
        doubled(rules.group, self.in_a_row.saturating_sub(1)).min(longest.max(rules.group))
    }

    /// When an attempt may be made, for what is due then: not while the channel fails.
    pub(crate) fn may_at(&self, due: Timestamp) -> Timestamp {
        self.failing.as_ref().map_or(due, |failing| due.max(failing.next))
    }

    /// What is told now, until it is known whether it arrived; and when its message was made: before now, where it is the same again.
    pub(crate) fn send(&mut self, now: Timestamp) -> (Groups, Timestamp) {
        self.unsent();
        self.sending = std::mem::take(&mut self.waiting);
        let made_at = self.made_at.filter(|at| *at <= now && since(*at, now) < SAME).unwrap_or(now);
        self.made_at = Some(made_at);
        (self.sending.clone(), made_at)
    }

    /// It arrived.
    pub(crate) fn told(&mut self, rules: &Rules, now: Timestamp) {
        self.sending.clear();
        self.made_at = None;
        // A clock that was set back makes nothing quiet.
        let is_quiet = self.told_at.is_none_or(|told_at| {
            since(told_at, now) >= doubled(rules.group, self.in_a_row).min(rules.group_max.max(rules.group)) * 2
        });
        self.in_a_row = if is_quiet { 1 } else { self.in_a_row.saturating_add(1) };
        self.told_at = Some(now);
        self.arrived(now);
    }

    /// A message arrived, whatever it told of.
    pub(crate) fn arrived(&mut self, now: Timestamp) {
        (self.failing, self.sent_at) = (None, Some(now));
        self.sent += 1;
    }

    /// It did not, or nobody knows: it is owed as before. `random` is uniform in `[0, 1)`.
    pub(crate) fn failed(&mut self, failed: Failed, now: Timestamp, random: f64) {
        self.unsent();
        self.failures += 1;
        let Failed { why, retry_after } = failed;
        let (attempts, since) = self.failing.take().map_or((1, now), |before| (before.attempts + 1, before.since));
        // Half of it by chance: channels of one provider do not return in step.
        let own = doubled(BACKOFF.0, attempts - 1).min(BACKOFF.1).mul_f64(0.5 + random / 2.0);
        let wait = retry_after.map_or(own, |asked| asked.min(RETRY_AFTER_MAX).max(own));
        self.failing = Some(Failing { attempts, since, why, next: later(now, wait) });
    }

    /// Puts back what was being sent, before what came since.
    fn unsent(&mut self) {
        if !self.sending.is_empty() && !self.waiting.is_empty() {
            self.made_at = None;
        }
        for (kind, mut older) in std::mem::take(&mut self.sending) {
            if let Some(newer) = self.waiting.remove(&kind) {
                older.join(newer);
            }
            self.waiting.insert(kind, older);
        }
    }

    /// How the clock stands: what lies in its future was put down before it was set back, and nothing waits for that.
    pub(crate) fn clock_is(&mut self, now: Timestamp) {
        for at in [&mut self.told_at, &mut self.fires_until].into_iter().flatten() {
            *at = (*at).min(now);
        }
        if let Some(failing) = &mut self.failing {
            failing.next = failing.next.min(later(now, RETRY_AFTER_MAX));
        }
        for group in self.waiting.values_mut() {
            group.since = group.since.min(now);
        }
    }

    /// How many things are owed.
    pub(crate) fn owed(&self) -> u64 {
        self.waiting.values().chain(self.sending.values()).map(|group| group.count).sum()
    }

    /// What stands in the way, where something does.
    #[must_use]
    pub fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }
}

/// `first`, doubled so often.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(DOUBLINGS_MAX))
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How much time lies between; none, where the clock was set back.
fn since(before: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(before)).unwrap_or_default()
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
