//! A schedule: what an operator wrote, in a form that cannot hold a mistake.
//!
//! Owns what a fire is: its time, its name, and how far jitter moves it. [`Schedule::parse`] is the only way to one. Never knows
//! what has become of its fires: that is a `Position`'s.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sortie_contract::envelope::OnWindowEnd;
use sortie_contract::{MissionId, Mistake, Pointer};

use crate::code::{NEVER_FIRES, TOO_FREQUENT};
use crate::policy::{CatchUpPolicy, Overlap};
use crate::position::Origin;
use crate::recurrence::{Hit, Recurrence};
use crate::window::FireWindow;
use crate::zone::Zone;

/// How many fires [`Schedule::check`] looks at.
const CHECKED: usize = 1_000;

/// A fire of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fire {
    /// The time that it is named after.
    pub at: Timestamp,
    /// When it happens: jitter later, and always before the next one's time.
    pub due: Timestamp,
}

/// A valid schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub(crate) id: String,
    pub(crate) recurrence: Recurrence,
    pub(crate) opens_for: Option<Duration>,
    pub(crate) on_window_end: OnWindowEnd,
    pub(crate) carry_over_max: u32,
    pub(crate) overlap: Overlap,
    pub(crate) catch_up: Duration,
    pub(crate) catch_up_policy: CatchUpPolicy,
    pub(crate) jitter: Duration,
    pub(crate) pause_after_failures: Option<u32>,
    pub(crate) runs: Option<u32>,
    pub(crate) allow_frequent: bool,
    pub(crate) note: Option<String>,
    /// What the fields above were taken from, as the text of a JSON object: a node has many schedules, and few fire at once. The
    /// mission's template is nowhere else.
    pub(crate) definition: Box<str>,
}

impl Schedule {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The zone that its times are of.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.recurrence.zone
    }

    /// How long a fire's window is open; `None` where it does not close.
    #[must_use]
    pub fn opens_for(&self) -> Option<Duration> {
        self.opens_for
    }

    /// What becomes of a mission that still runs then.
    #[must_use]
    pub fn on_window_end(&self) -> OnWindowEnd {
        self.on_window_end
    }

    /// How often a suspended mission goes on in a further window before it is given up.
    #[must_use]
    pub fn carry_over_max(&self) -> u32 {
        self.carry_over_max
    }

    /// What happens to a fire while a mission of this schedule runs.
    #[must_use]
    pub fn overlap(&self) -> Overlap {
        self.overlap
    }

    /// How late a fire may be made up for.
    #[must_use]
    pub fn catch_up(&self) -> Duration {
        self.catch_up
    }

    /// Which of the missed fires are.
    #[must_use]
    pub fn catch_up_policy(&self) -> CatchUpPolicy {
        self.catch_up_policy
    }

    /// After how many failures in a row it pauses.
    #[must_use]
    pub fn pause_after_failures(&self) -> Option<u32> {
        self.pause_after_failures
    }

    /// How often it fires at all.
    #[must_use]
    pub fn runs(&self) -> Option<u32> {
        self.runs
    }

    /// What whoever wrote it says about it.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// What the template may name beside the fire.
    #[must_use]
    pub fn vars(&self) -> Option<Map<String, Value>> {
        self.table("vars")
    }

    /// The envelope of its missions: a template, not looked into here.
    #[must_use]
    pub fn mission(&self) -> Map<String, Value> {
        self.table("mission").expect("a schedule without a mission is none")
    }

    fn table(&self, name: &str) -> Option<Map<String, Value>> {
        match self.definition().remove(name) {
            Some(Value::Object(table)) => Some(table),
            _ => None,
        }
    }

    /// The whole of it as JSON, as it was written.
    #[must_use]
    pub fn definition(&self) -> Map<String, Value> {
        serde_json::from_str(&self.definition).expect("the text was written of an object")
    }

    /// The first fire whose time is after `after`. Those of excluded days are not among them.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Fire> {
        Some(self.fire(self.next_hit(after)?.at))
    }

    pub(crate) fn next_hit(&self, after: Timestamp) -> Option<Hit> {
        self.recurrence.next(after)
    }

    /// The fires after `after`, in order.
    pub fn fires(&self, after: Timestamp) -> impl Iterator<Item = Fire> {
        let mut after = after;
        std::iter::from_fn(move || {
            let fire = self.next(after)?;
            after = fire.at;
            Some(fire)
        })
    }

    /// Whether it fires at exactly this time.
    #[must_use]
    pub fn fires_at(&self, at: Timestamp) -> bool {
        let before = at.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN);
        at.subsec_nanosecond() == 0 && self.next_hit(before).is_some_and(|hit| hit.at == at)
    }

    /// The fire of a time, which has to be one of this schedule's.
    pub(crate) fn fire(&self, at: Timestamp) -> Fire {
        Fire { at, due: at.saturating_add(SignedDuration::from_millis(self.jitter_ms(at))).unwrap_or(at) }
    }

    /// The same for the same fire, on every node and after every restart; less than the time to the next one.
    fn jitter_ms(&self, at: Timestamp) -> i64 {
        let most = i64::try_from(self.jitter.as_millis()).unwrap_or(i64::MAX);
        if most == 0 {
            return 0;
        }
        let room = self.next_hit(at).map_or(most, |next| next.at.as_millisecond() - at.as_millisecond());
        let digest = Sha256::digest(self.name_of(at).as_bytes());
        let lead = digest.iter().take(7).fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
        lead % most.min(room).max(1)
    }

    fn name_of(&self, at: Timestamp) -> String {
        format!("{}:{}", self.id, at.strftime("%Y%m%dT%H%M%SZ"))
    }

    /// The mission of a fire: `{schedule_id}:{YYYYMMDDTHHMMSSZ}`, its time in UTC. It is the idempotency key too, so that no fire
    /// happens twice on any number of nodes.
    #[must_use]
    pub fn mission_id(&self, at: Timestamp) -> MissionId {
        MissionId::new(self.name_of(at))
            .expect("the id of a schedule leaves room for the time of a fire, in its alphabet")
    }

    /// The window of a fire: `opens_for`, of real time, after the time that it is named after. What was triggered or filled in by hand
    /// has its window from when it is made.
    #[must_use]
    pub fn window(&self, fire: Fire, origin: Origin, made: Timestamp) -> FireWindow {
        let (opens, from) = match origin {
            Origin::Scheduled => (fire.due, fire.at),
            Origin::Triggered | Origin::Backfilled => (made, made),
        };
        let length = self.opens_for.map(|length| SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX));
        FireWindow { opens, closes: length.map(|length| from.saturating_add(length).unwrap_or(Timestamp::MAX)) }
    }

    /// What can only be said at a time: that it never fires again, or that its parts together fire too often.
    #[must_use]
    pub fn check(&self, now: Timestamp) -> Vec<Mistake> {
        let Some(first) = self.next_hit(now) else {
            let detail = "never fires again: its last time is over, or excluded; change `at`, `every`, `once`, `except` or `end_at`";
            return vec![Mistake::new(Pointer::root(), NEVER_FIRES, detail)];
        };
        if self.allow_frequent {
            return vec![];
        }
        let mut last = first.at;
        for _ in 0..CHECKED {
            let Some(next) = self.next_hit(last) else { break };
            if next.at.as_second() - last.as_second() < 60 {
                let detail = format!(
                    "fires at {last} and at {}, more often than once a minute: change one of its times, or write \
                     `allow_frequent = true`",
                    next.at
                );
                return vec![Mistake::new(Pointer::root(), TOO_FREQUENT, detail)];
            }
            last = next.at;
        }
        vec![]
    }
}
