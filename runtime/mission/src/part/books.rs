//! The books of a mission: what its calls have cost, what those that are being made may cost, and whether one cost more than it was
//! quoted at. Which record books what is said by [`Mission::bookings`](crate::Mission::bookings).

use sortie_contract::money::Spend;
use sortie_contract::tool::ToolName;

use crate::budget::{Booking, Ledger};

/// The books of a mission.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Books {
    ledger: Ledger,
    /// The latest call that cost more than it was quoted at. There being one bars the mission from further calls that cost something.
    overbill: Option<Overbill>,
}

/// A call that cost more than was set aside for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overbill {
    pub(crate) tool: ToolName,
    pub(crate) quoted: Spend,
    pub(crate) spent: Spend,
}

impl Books {
    /// Takes up what a record moves.
    pub(crate) fn book(&mut self, bookings: &[Booking]) {
        bookings.iter().for_each(|booking| self.ledger.book(booking));
    }

    /// A call did cost more than was set aside for it.
    pub(crate) fn overbilled(&mut self, overbill: Overbill) {
        self.overbill = Some(overbill);
    }

    pub(crate) fn overbill(&self) -> Option<&Overbill> {
        self.overbill.as_ref()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
