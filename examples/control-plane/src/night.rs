//! A night of missions: all of them dispatched, all of them heard to the end.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Fleet, Unanswered};
use crate::ledger::{Ledger, Order};
use crate::receive::{Receiver, lock};
use crate::violation::Violation;

/// How often it is looked whether all have ended, where nothing is heard.
const LOOK: Duration = Duration::from_secs(1);

/// What a night is made of.
#[derive(Debug, Clone)]
pub struct Night {
    /// What all its missions have in common. Names, key, trace, time and callback are each mission's own.
    pub envelope: Value,
    /// What the names of its missions begin with: two nights of one name are the same one.
    pub name: String,
    /// How many there are.
    pub missions: usize,
    /// Among how many VPs they are spread; 0: all are the envelope's own VP's.
    pub vps: usize,
    /// How many are dispatched at once.
    pub at_once: usize,
    /// Each is dispatched twice at the same moment, to two nodes.
    pub twice: bool,
    /// What an envelope names as the secret of its callback.
    pub auth_ref: String,
    /// How long all of it may take.
    pub within: Duration,
}

/// What became of a night.
#[derive(Debug)]
pub struct Morning {
    /// Missions that were dispatched.
    pub dispatched: usize,
    /// Dispatches that no node took, and why.
    pub refused: Vec<(String, String)>,
    /// Missions of which no final event came.
    pub open: Vec<String>,
    /// How many ended in each way.
    pub ends: Vec<(String, usize)>,
    /// Events, and deliveries of events that had come before.
    pub events: (usize, u64),
    /// What was wrong.
    pub violations: Vec<(String, Violation)>,
    /// Deliveries without the secret: of anybody, so that they say nothing about the nodes.
    pub strangers: u64,
    /// Missions of which a node says something else than their final event did.
    pub otherwise: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Morning {
    /// Whether everything that was promised was kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.refused.is_empty() && self.open.is_empty() && self.violations.is_empty() && self.otherwise.is_empty()
    }
}

impl fmt::Display for Morning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends: Vec<String> = self.ends.iter().map(|(status, count)| format!("{count} {status}")).collect();
        let (events, again) = self.events;
        writeln!(f, "{} missions in {:.1} s: {}", self.dispatched, self.took.as_secs_f64(), ends.join(", "))?;
        writeln!(f, "{events} events, {again} of them delivered again")?;
        self.refused.iter().try_for_each(|(id, why)| writeln!(f, "not taken: {id}: {why}"))?;
        self.open.iter().try_for_each(|id| writeln!(f, "no final event: {id}"))?;
        self.violations.iter().try_for_each(|(id, violation)| writeln!(f, "contract: {id}: {violation}"))?;
        self.otherwise.iter().try_for_each(|id| writeln!(f, "the node says otherwise: {id}"))?;
        if self.strangers > 0 {
            writeln!(f, "{} deliveries without the secret, by anybody", self.strangers)?;
        }
        write!(f, "{}", if self.is_good() { "everything as the contract says" } else { "NOT as the contract says" })
    }
}

impl Night {
    /// The envelope of one of its missions.
    #[must_use]
    pub fn envelope(&self, number: usize, receiver: &Receiver, now: jiff::Timestamp) -> Value {
        let mut envelope = self.envelope.clone();
        let id = format!("{}-{number:05}", self.name);
        envelope["idempotency_key"] = json!(id);
        envelope["trace_id"] = json!(id);
        envelope["mission_id"] = json!(id);
        envelope["created_at"] = json!(now.to_string());
        envelope["callback"] = json!({
            "status_url": receiver.url(), "auth_mode": "bearer", "auth_ref": self.auth_ref
        });
        if self.vps > 0 {
            envelope["vp_id"] = json!(format!("vp.{}.{}", self.name, number % self.vps));
        }
        envelope
    }

    /// Dispatches all, hears all to the end, and asks the nodes whether they say the same.
    pub async fn pass(self, fleet: &Fleet, receiver: &Receiver, ledger: &Arc<Mutex<Ledger>>) -> Morning {
        let begun = Instant::now();
        let refused = self.dispatch(fleet, receiver, ledger).await;
        let taken = self.missions - refused.len();
        let mut heard = receiver.heard();
        while lock(ledger).closed() < taken && begun.elapsed() < self.within {
            // Nothing heard, or nobody there who could hear: it is looked again.
            let _ = timeout(LOOK, heard.changed()).await;
        }
        let otherwise = self.ask(fleet, ledger).await;
        morning(&lock(ledger), (self.missions, refused, otherwise), begun.elapsed())
    }

    async fn dispatch(&self, fleet: &Fleet, receiver: &Receiver, ledger: &Arc<Mutex<Ledger>>) -> Vec<(String, String)> {
        let (places, mut tasks) = (Arc::new(Semaphore::new(self.at_once.max(1))), JoinSet::new());
        for number in 0..self.missions {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            #[expect(clippy::disallowed_methods, reason = "this program is where its time comes from")]
            let envelope = self.envelope(number, receiver, jiff::Timestamp::now());
            let order = Order::of(&envelope);
            let id = order.mission_id.clone();
            lock(ledger).order(order);
            let (fleet, ledger, within, twice) = (fleet.clone(), Arc::clone(ledger), self.within, self.twice);
            tasks.spawn(async move {
                let first = fleet.dispatch(&envelope, number, within);
                let answers = if twice {
                    let (first, second) = tokio::join!(first, fleet.dispatch(&envelope, number + 1, within));
                    vec![first, second]
                } else {
                    vec![first.await]
                };
                drop(place);
                let told = |answer: Result<_, Unanswered>| match answer {
                    // One that says otherwise than events is among the violations.
                    Ok(dispatched) => {
                        let crate::Dispatched { answer, .. } = dispatched;
                        let _ = lock(&ledger).answered(&id, &answer);
                        None
                    }
                    Err(why) => Some((id.clone(), why.to_string())),
                };
                answers.into_iter().find_map(told)
            });
        }
        tasks.join_all().await.into_iter().flatten().collect()
    }

    /// Missions of which a node says another status than their last event.
    async fn ask(&self, fleet: &Fleet, ledger: &Arc<Mutex<Ledger>>) -> Vec<String> {
        let closed: Vec<(String, String)> = {
            let ledger = lock(ledger);
            let closed = ledger.accounts().filter(|(_, account)| account.is_closed());
            closed.map(|(id, account)| (id.to_owned(), account.status.clone())).collect()
        };
        let mut otherwise = Vec::new();
        for (number, (id, status)) in closed.into_iter().enumerate() {
            match fleet.look(&id, number, self.within).await {
                Ok(mission) if mission["status"] == status.as_str() => {}
                Ok(mission) => otherwise.push(format!("{id} is {}, and was reported {status}", mission["status"])),
                Err(why) => otherwise.push(format!("{id}: {why}")),
            }
        }
        otherwise
    }
}

/// Waits until so many missions have been reported closed, or the time is over.
pub async fn until_closed(ledger: &Arc<Mutex<Ledger>>, missions: usize, within: Duration) {
    let begun = Instant::now();
    while lock(ledger).closed() < missions && begun.elapsed() < within {
        sleep(Duration::from_millis(20)).await;
    }
}

fn morning(
    ledger: &Ledger,
    (dispatched, refused, otherwise): (usize, Vec<(String, String)>, Vec<String>),
    took: Duration,
) -> Morning {
    let (mut open, mut ends, mut events) = (Vec::new(), Vec::<(String, usize)>::new(), (0, 0));
    for (id, account) in ledger.accounts() {
        events.0 += account.events();
        events.1 += account.repeated;
        if !account.is_closed() {
            if refused.iter().all(|(refused, _)| refused != id) {
                open.push(id.to_owned());
            }
            continue;
        }
        match ends.iter_mut().find(|(status, _)| *status == account.status) {
            Some((_, count)) => *count += 1,
            None => ends.push((account.status.clone(), 1)),
        }
    }
    let (violations, strangers) = (ledger.violations().to_vec(), ledger.strangers());
    Morning { dispatched, refused, open, ends, events, violations, strangers, otherwise, took }
}
