//! Money, in whole millionths of a US dollar: sums of cents that never drift.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in micro-dollars (1 USD = 1,000,000).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount that [`MicroUsd::from_usd`] takes: nine billion dollars, still exact as a double.
    pub const MAX: Self = Self(9_000_000_000_000_000);

    /// The amount that a JSON number names, rounded down to a micro-dollar (a limit is never rounded up). Only what is less
    /// than one, and not nothing, becomes one: nothing would say that there is no limit at all. `None` for a negative number,
    /// for NaN and infinities, and for more than can be counted.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked just before")]
    pub fn from_usd(usd: f64) -> Option<Self> {
        // The nudge undoes binary fractions: 0.29 * 1e6 is 289999.99999999994.
        let micro = (usd * 1e6 + 1e-3).floor();
        (usd >= 0.0 && micro <= 9.0e15).then_some(Self((micro as u64).max(u64::from(usd > 0.0))))
    }

    /// The amount that an operator writes as a price: exactly this one, or none.
    ///
    /// # Errors
    /// [`NotExact`] for what is no amount of whole micro-dollars.
    pub fn exactly(usd: f64) -> Result<Self, NotExact> {
        if usd.is_nan() || usd < 0.0 {
            return Err(NotExact::NoAmount);
        }
        if usd > Self::MAX.as_usd() {
            return Err(NotExact::TooMuch);
        }
        // The shortest text that means this number: what was written, as long as that has not more digits than a double holds.
        let text = usd.abs().to_string();
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        let part = if part.len() <= 6 { format!("{part:0<6}").parse::<u64>().ok() } else { None };
        match (whole.parse::<u64>(), part) {
            (Ok(whole), Some(part)) => Ok(Self(whole * 1_000_000 + part)),
            _ => Err(NotExact::TooFine),
        }
    }

    /// The amount in dollars, for the wire.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "amounts stay far below 2^53")]
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// The sum, stopping at the largest amount.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, stopping at nothing.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// A number that is no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotExact {
    /// Negative, or no number at all.
    #[error("a price is a number of US dollars, 0 or more, such as 0.0025")]
    NoAmount,
    /// Parts of a micro-dollar.
    #[error(
        "a price has at most six digits behind the point, such as 0.000125: money is counted in whole millionths of a US dollar"
    )]
    TooFine,
    /// More than can be counted.
    #[error("a price is at most 9000000000 US dollars")]
    TooMuch,
}

/// What a call may spend, or has spent: calls of a model and money, always together.
///
/// A tool quotes one before a call (an upper bound, which is reserved) and settles another after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spend {
    /// Calls of a model.
    pub llm_calls: u64,
    /// Money.
    pub cost: MicroUsd,
}

impl Spend {
    /// Nothing.
    pub const NOTHING: Self = Self { llm_calls: 0, cost: MicroUsd::ZERO };

    /// Money, and no call of a model.
    #[must_use]
    pub const fn money(cost: MicroUsd) -> Self {
        Self { llm_calls: 0, cost }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    /// The sum, stopping at the largest amounts.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self { llm_calls: self.llm_calls.saturating_add(other.llm_calls), cost: self.cost.saturating_add(other.cost) }
    }

    /// The difference, each of both stopping at nothing.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self { llm_calls: self.llm_calls.saturating_sub(other.llm_calls), cost: self.cost.saturating_sub(other.cost) }
    }

    /// Whether `limit` covers it, in calls and in money.
    #[must_use]
    pub fn fits(self, limit: Self) -> bool {
        self.llm_calls <= limit.llm_calls && self.cost <= limit.cost
    }
}

impl fmt::Display for Spend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.llm_calls {
            0 => write!(f, "{}", self.cost),
            1 => write!(f, "1 model call and {}", self.cost),
            calls => write!(f, "{calls} model calls and {}", self.cost),
        }
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_money_are_counted_apart_and_never_wrap() {
        let spend = |llm_calls, cost| Spend { llm_calls, cost: MicroUsd(cost) };
        assert_eq!(spend(1, 5).saturating_add(spend(2, 7)), spend(3, 12));
        assert_eq!(spend(u64::MAX, 1).saturating_add(spend(1, u64::MAX)), spend(u64::MAX, u64::MAX));
        assert_eq!(spend(3, 5).saturating_sub(spend(1, 7)), spend(2, 0));
        assert!(spend(1, 5).fits(spend(1, 5)) && Spend::NOTHING.fits(Spend::NOTHING));
        assert!(!spend(2, 5).fits(spend(1, 9)) && !spend(1, 5).fits(spend(9, 4)));
        assert!(Spend::NOTHING.is_nothing() && !spend(0, 1).is_nothing() && !spend(1, 0).is_nothing());
    }

    #[test]
    fn a_price_is_taken_exactly_or_not_at_all() {
        for (usd, expected) in [
            (0.0, Ok(0)),
            (-0.0, Ok(0)),
            (0.01, Ok(10_000)),
            (0.29, Ok(290_000)),
            (0.000_001, Ok(1)),
            (1.0, Ok(1_000_000)),
            (1_234.567_891, Ok(1_234_567_891)),
            (999_999.999_999, Ok(999_999_999_999)),
            (9.0e9, Ok(MicroUsd::MAX.0)),
            (9.1e9, Err(NotExact::TooMuch)),
            (f64::INFINITY, Err(NotExact::TooMuch)),
            (f64::MAX, Err(NotExact::TooMuch)),
            (-0.01, Err(NotExact::NoAmount)),
            (f64::NEG_INFINITY, Err(NotExact::NoAmount)),
            (f64::NAN, Err(NotExact::NoAmount)),
            (0.000_000_1, Err(NotExact::TooFine)),
            (0.012_345_6, Err(NotExact::TooFine)),
            (1.0 / 3.0, Err(NotExact::TooFine)),
            (5e-324, Err(NotExact::TooFine)),
        ] {
            assert_eq!(MicroUsd::exactly(usd), expected.map(MicroUsd), "{usd}");
        }
    }

    #[test]
    fn dollars_become_whole_micro_dollars() {
        for (usd, expected) in [
            (0.0, Some(0)),
            (0.29, Some(290_000)),
            (1.0, Some(1_000_000)),
            (5.5, Some(5_500_000)),
            (-0.0, Some(0)),
            (0.000_000_1, Some(1)),
            (0.000_000_9, Some(1)),
            (0.000_001_9, Some(1)),
            (5e-324, Some(1)),
            (-0.01, None),
            (9.0e9, Some(MicroUsd::MAX.0)),
            (9.1e9, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(MicroUsd::from_usd(usd), expected.map(MicroUsd), "{usd}");
        }
    }
}
