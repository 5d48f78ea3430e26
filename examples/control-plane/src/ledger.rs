//! What was dispatched, what was heard of it, and whether that is what the contract promises.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::deliver::{Delivery, Event, USAGE, Usage, is_final};
use crate::violation::Violation;

/// A mission as it is dispatched: what its events are held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Its public name.
    pub mission_id: String,
    /// `vp_id` and `trace_id` of the envelope; those that it leaves to the node come with its answer, or with the first event.
    identity: BTreeMap<&'static str, String>,
    /// What it may use, in the order of what is reported; infinite where the envelope sets no limit.
    limits: Usage,
}

impl Order {
    /// What an envelope asks for.
    #[must_use]
    pub fn of(envelope: &Value) -> Self {
        let mut identity = BTreeMap::new();
        for field in ["vp_id", "vp_session_id", "vp_runtime_id", "trace_id"] {
            identity.extend(envelope[field].as_str().map(|text| (field, text.to_owned())));
        }
        let limits = USAGE
            .map(|(_, limit)| envelope["budget"][limit].as_f64().filter(|limit| *limit > 0.0).unwrap_or(f64::INFINITY));
        Self { mission_id: envelope["mission_id"].as_str().unwrap_or_default().to_owned(), identity, limits }
    }
}

/// What was heard of one mission.
#[derive(Debug, Clone)]
pub struct Account {
    order: Order,
    /// Of each event that came, in order: its digest.
    events: Vec<[u8; 32]>,
    usage: Usage,
    /// The last status that was reported.
    pub status: String,
    /// Deliveries of events that had come before.
    pub repeated: u64,
}

impl Account {
    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Whether its final event has come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        is_final(&self.status)
    }

    fn take(&mut self, event: &Event) -> Result<Taken, Violation> {
        for (field, found) in &event.identity {
            self.same(field, found)?;
        }
        let last = self.events.len() as u64;
        if event.sequence <= last {
            let before = event.sequence.checked_sub(1).and_then(|index| self.events.get(usize::try_from(index).ok()?));
            if before != Some(&event.digest) {
                return Err(Violation::Changed(event.sequence));
            }
            self.repeated += 1;
            return Ok(Taken::Again);
        }
        if self.is_closed() {
            return Err(Violation::AfterTheEnd { end: last, found: event.sequence });
        }
        if event.sequence != last + 1 {
            return Err(Violation::Gap { last, found: event.sequence });
        }
        if (event.sequence == 1) != (event.event_type == "mission.accepted") {
            return Err(Violation::Beginning(event.sequence, event.event_type.clone()));
        }
        self.count(event.usage)?;
        self.events.push(event.digest);
        event.status.clone_into(&mut self.status);
        Ok(Taken::New)
    }

    /// An identity is what it was, from the first time that it is told.
    fn same(&mut self, field: &'static str, found: &str) -> Result<(), Violation> {
        let expected = self.order.identity.entry(field).or_insert_with(|| found.to_owned());
        if expected == found {
            return Ok(());
        }
        Err(Violation::Identity { field, expected: expected.clone(), found: found.to_owned() })
    }

    /// Usage grows, and stays within the budget.
    fn count(&mut self, usage: Usage) -> Result<(), Violation> {
        for (index, (field, _)) in USAGE.iter().enumerate() {
            let (before, now, limit) = (self.usage[index], usage[index], self.order.limits[index]);
            if now < before {
                return Err(Violation::Less { field, before: before.to_string(), now: now.to_string() });
            }
            if now > limit {
                return Err(Violation::Budget { field, used: now.to_string(), limit: limit.to_string() });
            }
        }
        self.usage = usage;
        Ok(())
    }
}

/// What an event was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The next of its mission.
    New,
    /// One that had come before: at least once is not once.
    Again,
}

/// All missions that were dispatched.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<String, Account>,
    violations: Vec<(String, Violation)>,
    strangers: u64,
}

impl Ledger {
    /// A mission is about to be dispatched: before, because its first event may be here before its answer is.
    pub fn order(&mut self, order: Order) {
        let account =
            Account { order, events: Vec::new(), usage: Usage::default(), status: String::new(), repeated: 0 };
        self.accounts.entry(account.order.mission_id.clone()).or_insert(account);
    }

    /// The answer to a dispatch: the session and the lane that it names are those of its events.
    ///
    /// # Errors
    /// [`Violation`] where it names others than the envelope did, or events have.
    pub fn answered(&mut self, mission_id: &str, answer: &Value) -> Result<(), Violation> {
        let account = self.accounts.get_mut(mission_id).ok_or(Violation::Unknown)?;
        for field in ["vp_id", "vp_session_id", "vp_runtime_id"] {
            if let Some(found) = answer[field].as_str() {
                account.same(field, found).inspect_err(|violation| {
                    self.violations.push((mission_id.to_owned(), violation.clone()));
                })?;
            }
        }
        Ok(())
    }

    /// Takes what was delivered. What is wrong with it is kept, too: [`Ledger::violations`].
    ///
    /// # Errors
    /// [`Violation`]; nothing else of it is kept.
    pub fn take(&mut self, delivery: &Delivery) -> Result<Taken, Violation> {
        let taken = Event::read(delivery).and_then(|event| {
            self.accounts.get_mut(&event.mission_id).ok_or(Violation::Unknown).and_then(|account| account.take(&event))
        });
        taken.inspect_err(|violation| self.violations.push((delivery.mission_id.clone(), violation.clone())))
    }

    /// Somebody delivered without the secret. It is counted and no more: whatever it says, anybody may have said it.
    pub fn turn_away(&mut self) {
        self.strangers += 1;
    }

    /// How many deliveries came without the secret.
    #[must_use]
    pub const fn strangers(&self) -> u64 {
        self.strangers
    }

    /// What was heard of each mission, by its name.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Account)> {
        self.accounts.iter().map(|(id, account)| (id.as_str(), account))
    }

    /// What was wrong so far, and of which mission.
    #[must_use]
    pub fn violations(&self) -> &[(String, Violation)] {
        &self.violations
    }

    /// How many missions are closed.
    #[must_use]
    pub fn closed(&self) -> usize {
        self.accounts.values().filter(|account| account.is_closed()).count()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An event of mission `m`, and the headers that belong to it.
    fn event(sequence: u64, event_type: &str, status: &str) -> Value {
        let mut event = json!({
            "mission_id": "m", "vp_id": "vp.a", "vp_session_id": "vp.a.session", "vp_runtime_id": "default",
            "event_type": event_type, "status": status, "summary": "so far", "artifact_refs": [],
            "usage": { "runtime_minutes": 0.5, "llm_calls": 1, "estimated_cost_usd": 0.25 },
            "trace_id": "t", "idempotency_key": format!("m/{sequence}"), "emitted_at": "2026-11-27T02:00:00Z",
            "sequence": sequence, "detail": {}
        });
        if is_final(status) {
            event["detail"] = json!({ "reason": "done", "next_action": "None needed.", "artifacts": [] });
        }
        event
    }

    fn delivery(event: &Value) -> Delivery {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Delivery {
            authorization: String::new(),
            idempotency_key: text("idempotency_key"),
            mission_id: text("mission_id"),
            trace_id: text("trace_id"),
            body: serde_json::to_vec(event).expect("it is JSON").into(),
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.order(Order::of(&json!({
            "mission_id": "m", "vp_id": "vp.a", "trace_id": "t", "budget": { "max_llm_calls": 2, "max_cost_usd": 0 }
        })));
        ledger
    }

    fn good() -> Vec<Value> {
        vec![
            event(1, "mission.accepted", "queued"),
            event(2, "mission.progress", "running"),
            event(3, "mission.completed", "completed"),
        ]
    }

    #[test]
    fn what_is_right_is_taken_however_often_it_comes() {
        let mut ledger = ledger();
        for event in good() {
            assert_eq!(ledger.take(&delivery(&event)), Ok(Taken::New));
            assert_eq!(ledger.take(&delivery(&event)), Ok(Taken::Again));
        }
        assert_eq!(ledger.take(&delivery(&good()[0])), Ok(Taken::Again), "of all that came, also after the end");
        assert_eq!((ledger.closed(), ledger.violations().len()), (1, 0));
        assert_eq!(ledger.answered("m", &json!({ "vp_session_id": "vp.a.session" })), Ok(()));
        ledger.answered("m", &json!({ "vp_session_id": "another" })).expect_err("it was another session");
        assert_eq!(ledger.violations().len(), 1);
    }

    /// Each row spoils the last of some events that are right, and says which sentence of the contract that breaks.
    #[test]
    fn each_promise_that_is_broken_is_named() {
        type Spoil = fn(&mut Value);
        let rows: &[(usize, Spoil, &str)] = &[
            (1, |event| *event = json!([1]), "no JSON object"),
            (1, |event| event["summary"] = json!(null), "`summary` is missing"),
            (1, |event| event["emitted_at"] = json!("last night"), "`emitted_at` is missing"),
            (1, |event| event["artifact_refs"] = json!([1]), "`artifact_refs` is missing"),
            (1, |event| event["usage"]["llm_calls"] = json!(-1), "`usage` is missing"),
            (1, |event| event["event_type"] = json!("mission.begun"), "no event `mission.begun`"),
            (1, |event| event["status"] = json!("running"), "the status `running`"),
            (1, |event| event["mission_id"] = json!("n"), "the idempotency key is \"m/1\""),
            (1, |event| event["trace_id"] = json!("u"), "`trace_id` is \"u\""),
            (1, |event| event["vp_id"] = json!("vp.b"), "`vp_id` is \"vp.b\""),
            (1, |event| *event = self::event(1, "mission.progress", "running"), "number 1 is `mission.progress`"),
            (1, |event| *event = self::event(2, "mission.progress", "running"), "number 2 after number 0"),
            (2, |event| event["vp_session_id"] = json!("another"), "`vp_session_id` is \"another\""),
            (
                2,
                |event| *event = self::event(1, "mission.accepted", "queued").replaced(),
                "number 1 says something else",
            ),
            (2, |event| *event = self::event(2, "mission.accepted", "queued"), "number 2 is `mission.accepted`"),
            (2, |event| *event = self::event(4, "mission.progress", "running"), "number 4 after number 1"),
            (2, |event| event["usage"]["runtime_minutes"] = json!(0.25), "`runtime_minutes` was 0.5"),
            (2, |event| event["usage"]["llm_calls"] = json!(3), "`llm_calls` is 3 of 2"),
            (3, |event| event["detail"] = json!({}), "no `reason`"),
            (3, |event| event["detail"]["next_action"] = json!(" "), "no `next_action`"),
            (3, |event| event["artifact_refs"] = json!(["m/a"]), "no `artifacts`"),
        ];
        for (count, spoil, words) in rows {
            let (mut ledger, mut events) = (ledger(), good());
            events.truncate(*count);
            let mut last = events.pop().expect("there is one");
            for event in &events {
                ledger.take(&delivery(event)).expect("it is right");
            }
            spoil(&mut last);
            let violation = ledger.take(&delivery(&last)).expect_err(words).to_string();
            assert!(violation.contains(words), "{words}: {violation}");
            assert_eq!(ledger.violations().len(), 1, "{words}");
        }
    }

    #[test]
    fn nothing_comes_after_the_end_and_nothing_of_nobody() {
        let mut ledger = ledger();
        for event in good() {
            ledger.take(&delivery(&event)).expect("it is right");
        }
        let second = ledger.take(&delivery(&event(4, "mission.failed", "failed"))).expect_err("a second end");
        assert_eq!(second, Violation::AfterTheEnd { end: 3, found: 4 });
        assert_eq!(Ledger::default().take(&delivery(&good()[0])), Err(Violation::Unknown));
        let headers = Delivery { idempotency_key: "m/2".into(), ..delivery(&good()[0]) };
        assert!(matches!(Ledger::default().take(&headers), Err(Violation::Header { .. })));
    }

    trait Replaced {
        fn replaced(self) -> Self;
    }

    impl Replaced for Value {
        /// The same event with another text.
        fn replaced(mut self) -> Self {
            self["summary"] = json!("otherwise");
            self
        }
    }
}
