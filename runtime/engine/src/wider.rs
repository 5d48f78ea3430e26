//! The books of the budgets that are wider than one mission.
//!
//! Whoever decides about a call that may cost something holds them until what was decided is booked, so that two missions never take the
//! same cent. What moves in them goes to the log in the same append as the records that move it, and is recalled from there at a start.
//!
//! Never here: what a budget covers, and until when a call waits, which the core says.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use parking_lot::{Mutex, MutexGuard};
use sortie_contract::{Spend, Timestamp};
use sortie_journal::{Account, Balance, Log, Movement, ReadError};
use sortie_mission::pool::Others;
use sortie_mission::wider::{Bill, Booked, PartOf, PartOffer, Payer, Purses, Standing, WiderBudget};
use sortie_mission::{Booking, Command, Mission};
use sortie_schedule::Zone;
use tokio::sync::Notify;

use super::Engine;

/// See the module.
pub(crate) struct WiderBooks {
    purses: Mutex<Purses>,
    /// There are no such budgets: nobody need hold anything.
    is_empty: bool,
    /// Some of what was set aside has come back.
    freed: Arc<Notify>,
}

/// The books, in somebody's hand.
pub(crate) type Held<'a> = MutexGuard<'a, Purses>;

impl WiderBooks {
    /// Of these budgets, with what the log has.
    ///
    /// # Errors
    /// [`ReadError`]
    pub(crate) fn of(log: &dyn Log, zone: &Zone, budgets: Vec<WiderBudget>) -> Result<Self, ReadError> {
        let is_empty = budgets.is_empty();
        let mut purses = Purses::new(zone.rules().clone(), budgets);
        if log.fleet().is_some() {
            purses.share_out();
        }
        let books = Self { purses: Mutex::new(purses), is_empty, freed: Arc::default() };
        // All that there are: a clock that is wrong now may be mended while this process runs.
        books.take_in(&log.balances(Date::MIN)?);
        Ok(books)
    }

    /// Takes up what was booked elsewhere before, or by a process before this one.
    pub(crate) fn take_in(&self, balances: &[(Account, Balance)]) {
        let mut purses = self.purses.lock();
        for (Account { day, lane, source, vp }, Balance { spent, reserved }) in balances {
            let payer = Payer { lane, source, vp };
            purses.recall(payer, Booked { day: *day, spent: *spent, reserved: *reserved });
        }
    }

    /// What there is to say of each part: see [`Purses::offers`].
    pub(crate) fn offers(&self, now: Timestamp, bills: &[Bill]) -> Vec<PartOffer> {
        if self.is_empty { Vec::new() } else { self.purses.lock().offers(now, bills) }
    }

    /// Which of these calls are covered now: see [`Purses::covered`].
    pub(crate) fn covered(&self, now: Timestamp, bills: &[Bill]) -> Vec<usize> {
        if self.is_empty { Vec::new() } else { self.purses.lock().covered(now, bills) }
    }

    /// Whether a pool is of one of them.
    pub(crate) fn has_pool(&self, name: &str) -> bool {
        self.purses.lock().has_pool(name)
    }

    /// What came of it.
    pub(crate) fn take(&self, of: PartOf, held: u64, others: Others) {
        self.purses.lock().take(of, held, others);
    }

    /// The books, where a command of the mission may take something of them.
    pub(crate) fn hold_for(&self, mission: &Mission, command: &Command<'_>) -> Option<Held<'_>> {
        (!self.is_empty && mission.may_pay(command)).then(|| self.purses.lock())
    }

    /// Takes up what the records of a payer's mission move, each with its time; the books are in hand from then on, until that is handed over. What it
    /// moves in the log's balances.
    pub(crate) fn book<'a>(
        &'a self,
        held: &mut Option<Held<'a>>,
        payer: Payer<'_>,
        bookings: &[(Timestamp, Booking)],
    ) -> Vec<Movement> {
        if bookings.is_empty() {
            return Vec::new();
        }
        let purses = held.get_or_insert_with(|| self.purses.lock());
        let mut movements = Vec::new();
        for (at, booking) in bookings {
            for told in purses.book(payer, *at, booking) {
                tracing::warn!("{told}");
            }
            let of = |at: Timestamp| {
                let Payer { lane, source, vp } = payer;
                Account { day: purses.day(at), lane: lane.clone(), source: source.clone(), vp: vp.clone() }
            };
            let Booking { set_aside, let_go, spent, since, .. } = *booking;
            if !set_aside.is_nothing() {
                movements.push(Movement { account: of(*at), set_aside, let_go: Spend::NOTHING, spent: Spend::NOTHING });
            }
            if !let_go.is_nothing() || !spent.is_nothing() {
                movements.push(Movement { account: of(since), set_aside: Spend::NOTHING, let_go, spent });
                if !self.is_empty && !let_go.fits(spent) {
                    self.freed.notify_one();
                }
            }
        }
        movements
    }

    /// How each stands.
    pub(crate) fn standings<T>(&self, now: Timestamp, show: impl FnMut(Standing<'_>) -> T) -> Vec<T> {
        self.purses.lock().standings(now).map(show).collect()
    }
}

/// What comes back within so much time is looked for together.
const GATHERS: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts to look, whenever something has come back to a wider budget, at the missions that wait for money.
    pub(super) fn start_payments(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let (ambient, freed) = (Arc::clone(&self.ambient), Arc::clone(&self.commit.wider().freed));
        self.supervise("payments", async move {
            loop {
                freed.notified().await;
                ambient.sleep(GATHERS).await;
                let Some(engine) = engine.upgrade() else { return };
                let wall = ambient.wall();
                engine.commit.put_off().unpaid().into_iter().for_each(|no| engine.wake_at(no, wall));
            }
        });
    }
}
