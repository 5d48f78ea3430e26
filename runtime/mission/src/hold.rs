//! Calls whose provider refuses them for now: until when they are put off, and when that has lasted long enough.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sortie_contract::id::CallNo;
use sortie_contract::money::Spend;
use sortie_contract::record::Record;
use sortie_contract::tool::CallError;

use crate::command::{Now, Refusal};
use crate::decide::note;
use crate::part::calls::InFlight;
use crate::state::Mission;

/// The first wait for a provider that does not say how long; doubled each time.
const FIRST: SignedDuration = SignedDuration::from_secs(60);

/// The longest of these waits: limits are lifted by the minute or by the hour, and an hour of a night is much.
const LONGEST: SignedDuration = SignedDuration::from_mins(15);

/// Doublings that reach the longest.
const DOUBLINGS_MAX: u32 = 4;

/// The shortest wait, whatever the provider says: what is due at once was retried within the call.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// So many times the provider's word alone says how long.
const BELIEVED: u32 = 3;

impl Mission {
    /// Until when a call is put off that its provider refuses for now, and says how long (`hinted`) or does not. Nothing, where it would
    /// be put off for longer than `hold_max` in all: then it has failed.
    fn put_off(&self, now: Now, call: CallNo, hinted: Option<Timestamp>, hold_max: Duration) -> Option<Timestamp> {
        let (since, times) = self.postponed(call).unwrap_or((now.wall, 0));
        let last = since.checked_add(hold_max).unwrap_or(Timestamp::MAX);
        let doubled = FIRST.saturating_mul(1 << times.min(DOUBLINGS_MAX)).min(LONGEST);
        let at = |wait: SignedDuration| now.wall.checked_add(wait).unwrap_or(Timestamp::MAX);
        // A provider whose word has not come true again and again is not believed at once any more.
        let own = if hinted.is_some() && times < BELIEVED { SHORTEST } else { doubled };
        let until = hinted.unwrap_or(Timestamp::MIN).max(at(own));
        (until <= last).then_some(until)
    }

    /// A call is put off, or has failed, where that has lasted long enough.
    pub(crate) fn postpone(
        &self,
        now: Now,
        call: CallNo,
        hinted: Option<Timestamp>,
        hold_max: Duration,
        why: String,
    ) -> Result<Record, Refusal> {
        if !self.is_being_made(call) {
            return Err(Refusal::UnknownCall { call });
        }
        let Some(until) = self.put_off(now, call, hinted, hold_max) else {
            let why = note(format!("{why}; it is waited for no longer than `[model] hold_max` says"));
            let outcome = Err(CallError::Failed(why));
            return Ok(Record::CallFinished { call, outcome, spent: Spend::NOTHING });
        };
        Ok(Record::Postponed { call, until, why: note(why) })
    }

    /// Since when a call has been put off, and how often.
    pub(crate) fn postponed(&self, call: CallNo) -> Option<(Timestamp, u32)> {
        self.calls.flight(call).ok().and_then(|flight| flight.postponed).map(|put_off| (put_off.since, put_off.times))
    }

    /// When the first call is looked at again that waits for its provider, or for its payment.
    #[must_use]
    pub fn postponed_until(&self) -> Option<Timestamp> {
        let by_provider = self.calls.put_off().filter_map(InFlight::put_off_until).min();
        by_provider.into_iter().chain(self.unpaid_until()).min()
    }
}
