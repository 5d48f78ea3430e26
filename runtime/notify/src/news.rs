//! What a record of a mission is worth: a message to somebody, the end of one that waits to be sent, or nothing. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sortie_contract::hidden::is_hidden;
use sortie_contract::limit;
use sortie_contract::outcome::Status;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::request::{RequestKind, RequestNo};
use sortie_contract::{LaneId, MissionId};

/// Longest text of an item in bytes: two lines of a phone.
const TEXT_BYTES_MAX: usize = 240;

/// A call that waits for its payment for less than this waits for its neighbours, which is looked at each quarter of an hour; nobody need know.
const UNPAID_SECONDS_MIN: i64 = 20 * 60;

/// What a channel may want to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A mission asks people something.
    Blocked,
    /// A mission asks for more budget, is dearer than it was quoted at, or waits until a budget is renewed.
    Budget,
    /// A mission failed or timed out.
    Failed,
    /// A schedule's time that nobody saw to, or whose mission the node refused.
    Missed,
    /// A provider refuses calls for now: missions are held until it takes them again.
    Hold,
    /// The night at a glance.
    Digest,
}

impl Kind {
    /// All of them, in the order in which a message tells of them.
    pub const ALL: [Self; 6] = [Self::Blocked, Self::Budget, Self::Failed, Self::Missed, Self::Hold, Self::Digest];

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Budget => "budget",
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Hold => "hold",
            Self::Digest => "digest",
        }
    }
}

/// What an item is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A mission.
    Mission(String),
    /// A schedule.
    Schedule(String),
}

impl About {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Mission(name) | Self::Schedule(name) => name,
        }
    }
}

/// A request that waits for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Which.
    pub request: u32,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// When it happened.
    pub at: Timestamp,
    /// Whose it is.
    pub about: About,
    /// For people: one line, without what nobody sees.
    pub text: String,
    /// What people are asked for, where it is a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
}

/// What came of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// To be told, under the first of these kinds that a channel wants.
    Told {
        /// What it is, the best name first.
        kinds: &'static [Kind],
        /// Told only once for as long as it lasts: what lasts.
        lasting: Option<String>,
        /// It.
        item: Item,
    },
    /// A request was decided, or taken back: what was not told of it yet need not be.
    Settled {
        /// Whose.
        mission: String,
        /// Which.
        request: u32,
    },
    /// A mission is over, and with it what it asked.
    Over {
        /// Which.
        mission: String,
        /// How it ended, where that is worth telling.
        then: Option<Item>,
    },
}

/// Whether a record may be worth something: whose it is need be asked of no other.
#[must_use]
pub fn is_told(record: &Record) -> bool {
    matches!(
        record,
        Record::Requested { .. }
            | Record::Elicited { .. }
            | Record::Reminded { .. }
            | Record::Decided { .. }
            | Record::Withdrawn { .. }
            | Record::Finished { .. }
            | Record::Overbilled { .. }
            | Record::Postponed { .. }
            | Record::PaymentAwaited { .. }
    )
}

/// What a record of a mission is worth.
#[must_use]
pub fn of_record(mission: &MissionId, stamped: &Stamped) -> Option<News> {
    let item = |text: String, wanted: Option<(RequestNo, Timestamp)>| Item {
        at: stamped.at,
        about: About::Mission(mission.to_string()),
        text: one_line(&text),
        wanted: wanted.map(|(no, expires_at)| Wanted { request: no.0, expires_at }),
    };
    let told = |kinds, item| Some(News::Told { kinds, lasting: None, item });
    match &stamped.record {
        Record::Requested { request, kind, question, expires_at, .. } => {
            let kinds: &[Kind] = match kind {
                RequestKind::Budget => &[Kind::Budget, Kind::Blocked],
                RequestKind::Approval | RequestKind::Input | RequestKind::Uncertain => &[Kind::Blocked],
            };
            told(kinds, item(question.clone(), Some((*request, *expires_at))))
        }
        Record::Elicited { request, question, expires_at, .. } => {
            told(&[Kind::Blocked], item(question.clone(), Some((*request, *expires_at))))
        }
        // When it expires is not in this record: its link ends by its age, or with the request.
        Record::Reminded { request } => {
            let text = "Still waiting: half of the time to answer is over.".to_owned();
            told(&[Kind::Blocked], item(text, Some((*request, Timestamp::MAX))))
        }
        Record::Decided { request, .. } | Record::Withdrawn { request, .. } => {
            Some(News::Settled { mission: mission.to_string(), request: request.0 })
        }
        Record::Finished { status, reason, summary, .. } => {
            let is_bad = matches!(status, Status::Failed | Status::TimedOut);
            let then = is_bad.then(|| item(format!("{status} ({reason}): {summary}"), None));
            Some(News::Over { mission: mission.to_string(), then })
        }
        Record::Overbilled { tool, quoted, spent, .. } => {
            let excess = spent.saturating_sub(*quoted);
            told(&[Kind::Budget], item(format!("A call of {tool} cost {excess} more than it was quoted at."), None))
        }
        Record::Postponed { until, why, .. } => Some(News::Told {
            kinds: &[Kind::Hold],
            lasting: Some(subject(why)),
            item: item(format!("{why}; tried again at {until:.0}"), None),
        }),
        Record::PaymentAwaited { until, why, .. }
            if until.as_second() - stamped.at.as_second() >= UNPAID_SECONDS_MIN =>
        {
            Some(News::Told {
                kinds: &[Kind::Budget, Kind::Hold],
                lasting: Some(subject(why)),
                item: item(format!("{why}; looked at again at {until:.0}"), None),
            })
        }
        _ => None,
    }
}

/// What such a text is about: the model or the budget with which it begins. What it says further changes from time to time.
fn subject(why: &str) -> String {
    let end = why.find([']', ':', ';', ',']).unwrap_or(why.len());
    limit::clip(&why[..end], 100)
}

/// A text as one line of a bounded length, without characters that nobody sees or that a terminal obeys.
pub(crate) fn one_line(text: &str) -> String {
    bounded_line(text, TEXT_BYTES_MAX)
}

/// The same, of another length.
pub(crate) fn bounded_line(text: &str, bytes: usize) -> String {
    let seen: String = text.chars().filter(|letter| letter.is_whitespace() || !is_hidden(*letter)).collect();
    limit::clip(&seen.split_whitespace().collect::<Vec<_>>().join(" "), bytes)
}

/// Whether a channel that names these lanes is told of a mission of that lane.
pub(crate) fn is_of(lanes: &[LaneId], lane: &LaneId) -> bool {
    lanes.is_empty() || lanes.contains(lane)
}

#[cfg(test)]
mod tests {
    use sortie_contract::id::CallNo;
    use sortie_contract::outcome::Reason;
    use sortie_contract::request::Decision;

    use super::*;

    fn worth(record: Record) -> Option<News> {
        let at = "2026-11-27T01:00:00Z".parse().expect("a time");
        of_record(&MissionId::new("m-1").expect("an id"), &Stamped { at, ran_ms: 0, record })
    }

    fn requested(kind: RequestKind) -> Record {
        let expires_at = "2026-11-28T01:00:00Z".parse().expect("a time");
        Record::Requested {
            request: RequestNo(2),
            call: CallNo(1),
            kind,
            question: "May it?\n\u{202e}".to_owned(),
            expires_at,
        }
    }

    fn finished(status: Status) -> Record {
        let (summary, next_action) = ("It went\r\nSubject: so".to_owned(), String::new());
        Record::Finished { status, reason: Reason::PluginFailed, summary, next_action }
    }

    #[test]
    fn each_record_is_worth_what_people_need_to_know() {
        let put_off = |minutes: i64, why: &str| {
            let until = Timestamp::from_second(1_795_741_200 + 60 * minutes).expect("a time");
            Record::PaymentAwaited { call: CallNo(1), until, why: why.to_owned() }
        };
        for (record, expected) in [
            (requested(RequestKind::Approval), Some("[Blocked] May it? wants 2")),
            (requested(RequestKind::Budget), Some("[Budget, Blocked] May it? wants 2")),
            (
                Record::Reminded { request: RequestNo(2) },
                Some("[Blocked] Still waiting: half of the time to answer is over. wants 2"),
            ),
            (
                Record::Decided {
                    request: RequestNo(2),
                    decision: Decision::Deny,
                    by: "ada".to_owned(),
                    note: String::new(),
                },
                Some("settled 2"),
            ),
            (Record::Withdrawn { request: RequestNo(2), why: String::new() }, Some("settled 2")),
            (finished(Status::Failed), Some("over: failed (plugin_failed): It went Subject: so")),
            (finished(Status::TimedOut), Some("over: timed_out (plugin_failed): It went Subject: so")),
            (finished(Status::Completed), Some("over")),
            (finished(Status::Cancelled), Some("over")),
            (put_off(15, "what others have set aside"), None),
            (put_off(60, "spent"), Some("[Budget, Hold] spent; looked at again at 2026-11-27T02:00:00Z")),
            (Record::Heartbeat, None),
        ] {
            let what = format!("{record:?}");
            assert!(is_told(&record) || expected.is_none(), "{what} is passed over");
            let told = worth(record).map(|news| match news {
                News::Told { kinds, item, .. } => {
                    let wants = item.wanted.map(|wanted| format!(" wants {}", wanted.request)).unwrap_or_default();
                    format!("{kinds:?} {}{wants}", item.text)
                }
                News::Settled { request, .. } => format!("settled {request}"),
                News::Over { then, .. } => then.map_or("over".to_owned(), |item| format!("over: {}", item.text)),
            });
            assert_eq!(told.as_deref(), expected, "{what}");
        }
    }

    #[test]
    fn what_lasts_is_known_by_what_it_is_about() {
        let held = |why: &str| {
            let until = "2026-11-27T01:15:00Z".parse().expect("a time");
            match worth(Record::Postponed { call: CallNo(1), until, why: why.to_owned() }) {
                Some(News::Told { lasting, .. }) => lasting,
                _ => None,
            }
        };
        let first = held("[model.fast] is at its provider's limit (429): try in 12 s");
        assert_eq!(first, held("[model.fast] is at its provider's limit (429): try in 3 s"));
        assert_ne!(first, held("[model.deep] is at its provider's limit (429): try in 3 s"));
    }

    #[test]
    fn a_text_is_one_line_that_is_what_it_looks_like() {
        for (text, expected) in [
            ("a\r\nBcc: x@y\tz", "a Bcc: x@y z"),
            ("\u{1b}[2Kgone", "[2Kgone"),
            ("\u{202e}evil\u{200b}", "evil"),
            ("  ", ""),
        ] {
            assert_eq!(one_line(text), expected, "{text:?}");
        }
        assert!(one_line(&"ä".repeat(1_000)).len() <= TEXT_BYTES_MAX);
    }
}
