//! What may be wrong with an event.

/// What an event says that the contract does not allow. The number is the section of the contract, or the name of the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Its body is no object of JSON.
    #[error("the body is no JSON object")]
    NoObject,
    /// Section 3: a field is missing, or is of another kind.
    #[error("3: `{0}` is missing, or is no {1}")]
    Field(&'static str, &'static str),
    /// Section 2: no such event.
    #[error("2: there is no event `{0}`")]
    NoSuchEvent(String),
    /// Section 3: the status is not the one that the event says.
    #[error("3: the event is `{event}`, and the status `{status}`")]
    Status {
        /// The event.
        event: String,
        /// The status beside it.
        status: String,
    },
    /// Nobody dispatched the mission.
    #[error("nobody dispatched it")]
    Unknown,
    /// Section 4.5 and 6.1: an identity is another one than was dispatched, or than earlier events had.
    #[error("4.5, 6.1: `{field}` is {found:?}, and was {expected:?}")]
    Identity {
        /// Which.
        field: &'static str,
        /// As it was dispatched, answered or reported first.
        expected: String,
        /// As it is.
        found: String,
    },
    /// A header says something else than the body.
    #[error("the header `{header}` is {found:?} beside {expected:?}")]
    Header {
        /// Which.
        header: &'static str,
        /// What the body has.
        expected: String,
        /// What the header has.
        found: String,
    },
    /// Section 4.2: the event's key is not `{mission_id}/{sequence}`.
    #[error("4.2: the idempotency key is {0:?}")]
    Key(String),
    /// An event is missing before it.
    #[error("sequence: it is number {found} after number {last}")]
    Gap {
        /// The last that came.
        last: u64,
        /// Its number.
        found: u64,
    },
    /// An event that was delivered before says something else now.
    #[error("4.1: number {0} says something else than when it was delivered before")]
    Changed(u64),
    /// The first event is not `mission.accepted`, or a later one is.
    #[error("number {0} is `{1}`")]
    Beginning(u64, String),
    /// Section 4.4: something happened after the end.
    #[error("4.4: number {found} comes after the final event, number {end}")]
    AfterTheEnd {
        /// Number of the final event.
        end: u64,
        /// Its number.
        found: u64,
    },
    /// Usage is cumulative, and became less.
    #[error("usage: `{field}` was {before} and is {now} now")]
    Less {
        /// Which.
        field: &'static str,
        /// What it was, as text: it is compared and shown, and no more.
        before: String,
        /// What it is.
        now: String,
    },
    /// More was used than the budget allows.
    #[error("budget: `{field}` is {used} of {limit}")]
    Budget {
        /// Which.
        field: &'static str,
        /// What was used.
        used: String,
        /// What was allowed.
        limit: String,
    },
    /// Section 6.3: the final event lacks what it must have.
    #[error("6.3: the final event has no `{0}`")]
    Ending(&'static str),
}
