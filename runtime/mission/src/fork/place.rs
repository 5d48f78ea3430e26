//! From where a fork goes on: a call by its number, or one that is found in the record.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use sortie_contract::id::CallNo;
use sortie_contract::record::{Record, Stamped};

use super::NoFork;
use crate::kind::host_call;
use crate::why::Story;

/// Up to where a record is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Up to and with this call; 0: nothing of it.
    Call(u32),
    /// Up to the first of the calls that the mission failed of; where none failed, as `Last`.
    Failure,
    /// Up to and with the last call from which a fork can go on.
    Last,
}

/// The words for those that are no numbers.
const WORDS: [(&str, Point); 2] = [("failure", Point::Failure), ("last", Point::Last)];

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = WORDS.into_iter().find(|(word, _)| *word == text).map(|(_, point)| point);
        word.or_else(|| text.parse().ok().map(Self::Call))
            .ok_or_else(|| format!("`{text}` is neither the number of a call nor `failure` nor `last`"))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, WORDS.iter().find(|(_, point)| point == self)) {
            (Self::Call(at), _) => at.fmt(f),
            (_, word) => f.write_str(word.map_or("", |(word, _)| word)),
        }
    }
}

/// Where forks of a mission can go on from: its records are told to it in their order.
#[derive(Debug, Default)]
pub struct Places {
    calls: u32,
    open: Open,
    story: Story,
}

impl Places {
    /// The next record.
    pub fn hear(&mut self, stamped: &Stamped) {
        self.calls = self.calls.max(host_call(&stamped.record).map_or(0, |call| call.0));
        self.open.hear(&stamped.record);
        self.story.hear(stamped);
    }

    /// How many calls it has made so far.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// The last call that a fork can go on from; 0 is its beginning.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.open.first(CallNo(self.calls)).map_or(self.calls, |call| call.0.saturating_sub(1))
    }

    /// The call before the first that it failed of, where one did: behind that call all of them are made again.
    #[must_use]
    pub fn before_failure(&self) -> Option<u32> {
        let failed = self.story.failed_at()?;
        Some(failed.0.saturating_sub(1).min(self.last()))
    }

    /// The call that a point comes to.
    #[must_use]
    pub fn at(&self, point: Point) -> u32 {
        match point {
            Point::Call(at) => at,
            Point::Failure => self.before_failure().unwrap_or_else(|| self.last()),
            Point::Last => self.last(),
        }
    }
}

/// The calls that have no result.
#[derive(Debug, Default)]
struct Open(BTreeMap<CallNo, Stands>);

/// How such a call stands.
#[derive(Debug)]
struct Stands {
    /// For people, a provider, money.
    waits: bool,
    /// Something is set aside for it.
    costs: bool,
}

impl Open {
    fn hear(&mut self, record: &Record) {
        let Self(open) = self;
        match record {
            Record::CallStarted { call, reserved, .. } => {
                open.insert(*call, Stands { waits: false, costs: !reserved.is_nothing() });
            }
            Record::CallHeld { call, reserved, .. } => {
                open.insert(*call, Stands { waits: true, costs: !reserved.is_nothing() });
            }
            Record::Asked { call, .. } => {
                open.insert(*call, Stands { waits: true, costs: false });
            }
            Record::CallFinished { call, .. } => {
                open.remove(call);
            }
            Record::Requested { call, .. } | Record::Postponed { call, .. } | Record::PaymentAwaited { call, .. } => {
                open.entry(*call).and_modify(|stands| stands.waits = true);
            }
            Record::CallResumed { call } | Record::CallAgain { call } => {
                open.entry(*call).and_modify(|stands| stands.waits = false);
            }
            Record::Requoted { call, reserved } => {
                open.entry(*call).and_modify(|stands| stands.costs = !reserved.is_nothing());
            }
            _ => {}
        }
    }

    /// The first up to `at` that is not simply being made, at no cost: what is being made may be made again, or is asked about, as after a
    /// crash.
    fn first(&self, at: CallNo) -> Option<CallNo> {
        let waits = self.0.iter().find(|(call, stands)| **call <= at && (stands.waits || stands.costs));
        waits.map(|(call, _)| *call)
    }
}

/// Whether a fork can go on from a call of such records.
pub(super) fn can_go_on(records: &[Stamped], at: CallNo) -> Result<(), NoFork> {
    let mut open = Open::default();
    records.iter().for_each(|stamped| open.hear(&stamped.record));
    open.first(at).map_or(Ok(()), |call| Err(NoFork::Waits { call }))
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn a_point_is_a_number_or_a_word() {
        for (text, point) in
            [("0", Point::Call(0)), ("17", Point::Call(17)), ("failure", Point::Failure), ("last", Point::Last)]
        {
            assert_eq!((text.parse(), point.to_string().as_str()), (Ok(point), text));
        }
        for text in ["", "-1", "first", "4294967296", "1.0"] {
            assert!(text.parse::<Point>().is_err_and(|why| why.contains("nor `last`")), "{text}");
        }
    }
}
