//! The books of the budgets that are wider than one mission.
//!
//! Whoever decides about a call that may cost something holds them until what was decided is booked, so that two missions never take the
//! same cent. What moves in them goes to the log in the same append as the records that move it, and is recalled from there at a start.
//!
//! Never here: what a budget covers, and until when a call waits, which the core says.

use parking_lot::{Mutex, MutexGuard};
use sortie_contract::Timestamp;
use sortie_journal::{Account, Log, Movement, ReadError};
use sortie_mission::wider::{Booked, Payer, Per, Purses, Standing, WiderBudget};
use sortie_mission::{Booking, Command, Mission};
use sortie_schedule::Zone;

/// See the module.
pub(crate) struct WiderBooks {
    purses: Mutex<Purses>,
    /// There are no such budgets: nobody need hold anything.
    is_empty: bool,
}

/// The books, in somebody's hand.
pub(crate) type Held<'a> = MutexGuard<'a, Purses>;

impl WiderBooks {
    /// Of these budgets, with what the log has of the month.
    ///
    /// # Errors
    /// [`ReadError`]
    pub(crate) fn of(
        log: &dyn Log,
        zone: &Zone,
        budgets: Vec<WiderBudget>,
        wall: Timestamp,
    ) -> Result<Self, ReadError> {
        let is_empty = budgets.is_empty();
        let mut purses = Purses::new(zone.rules().clone(), budgets, wall);
        let from = Per::Month.first_day(purses.day(wall));
        for (Account { day, lane, source, vp }, balance) in log.balances(from)? {
            let payer = Payer { lane: &lane, source: &source, vp: &vp };
            purses.recall(payer, Booked { day, spent: balance.spent, reserved: balance.reserved });
        }
        Ok(Self { purses: Mutex::new(purses), is_empty })
    }

    /// The books, where a command of the mission may take something of them.
    pub(crate) fn hold_for(&self, mission: &Mission, command: &Command<'_>) -> Option<Held<'_>> {
        (!self.is_empty && mission.may_pay(command)).then(|| self.purses.lock())
    }

    /// Takes up what a mission's records move, each with its time. What that moves in the log's balances.
    pub(crate) fn book(
        &self,
        held: Option<Held<'_>>,
        mission: &Mission,
        bookings: &[(Timestamp, Booking)],
    ) -> Vec<Movement> {
        let mut movements = Vec::new();
        if bookings.is_empty() {
            return movements;
        }
        let mut purses = held.unwrap_or_else(|| self.purses.lock());
        let payer = mission.payer();
        for (at, booking) in bookings {
            for told in purses.book(payer, *at, booking) {
                tracing::warn!("{told}");
            }
            let of = |day| {
                let Payer { lane, source, vp } = payer;
                Account { day, lane: lane.clone(), source: source.clone(), vp: vp.clone() }
            };
            let Booking { set_aside, let_go, spent, since, .. } = *booking;
            if !set_aside.is_nothing() {
                let account = of(purses.day(*at));
                let nothing = sortie_contract::Spend::NOTHING;
                movements.push(Movement { account, set_aside, let_go: nothing, spent: nothing });
            }
            if !let_go.is_nothing() || !spent.is_nothing() {
                let account = of(purses.day(since));
                movements.push(Movement { account, set_aside: sortie_contract::Spend::NOTHING, let_go, spent });
            }
        }
        movements
    }

    /// How each stands.
    pub(crate) fn standings<T>(&self, now: Timestamp, show: impl FnMut(Standing<'_>) -> T) -> Vec<T> {
        self.purses.lock().standings(now).map(show).collect()
    }
}
