//! What tokens cost. Pure, in whole numbers: tokens times micro-dollars for a million of them, added up before anything is rounded.
//!
//! What is set aside is rounded up to a whole micro-dollar, what is booked is rounded to the nearest (half of one: up), once a call. So
//! what is booked never exceeds what was set aside, as long as no more tokens were counted than were set aside for.

use sortie_contract::money::{MicroUsd, NotExact};

use crate::answer::Usage;
use crate::config::PriceConfig;
use crate::models::PriceInfo;

/// Prices are for so many tokens.
const TOKENS: u128 = 1_000_000;

/// What a million tokens cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prices {
    input: MicroUsd,
    output: MicroUsd,
    cached_input: MicroUsd,
}

/// Millionths of a micro-dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fine(u128);

impl Prices {
    /// Nothing.
    pub(crate) const FREE: Self = Self { input: MicroUsd::ZERO, output: MicroUsd::ZERO, cached_input: MicroUsd::ZERO };

    /// As configured.
    pub(crate) fn new(config: PriceConfig) -> Result<Self, NotExact> {
        let input = MicroUsd::exactly(config.input)?;
        let output = MicroUsd::exactly(config.output)?;
        let cached_input = config.cached_input.map_or(Ok(input), MicroUsd::exactly)?;
        Ok(Self { input, output, cached_input })
    }

    /// In dollars, for people.
    pub(crate) fn shown(self) -> PriceInfo {
        let Self { input, output, cached_input } = self;
        PriceInfo { input: input.as_usd(), output: output.as_usd(), cached_input: cached_input.as_usd() }
    }

    /// The most that so many tokens cost: nobody knows yet what will come from a cache.
    pub(crate) fn at_most(self, input: u64, output: u64) -> Fine {
        Fine(of(input, self.input.max(self.cached_input)).saturating_add(of(output, self.output)))
    }

    /// What was counted costs.
    pub(crate) fn of(self, usage: Usage) -> Fine {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let sum = of(usage.input_tokens - cached, self.input).saturating_add(of(cached, self.cached_input));
        Fine(sum.saturating_add(of(usage.output_tokens, self.output)))
    }
}

/// Never more than 2^128: each factor is below 2^64.
fn of(tokens: u64, price: MicroUsd) -> u128 {
    u128::from(tokens) * u128::from(price.0)
}

impl Fine {
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of it.
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Not less than it is: to set aside.
    pub(crate) fn up(self) -> MicroUsd {
        whole(self.0.div_ceil(TOKENS))
    }

    /// As near as it gets: to book.
    pub(crate) fn nearest(self) -> MicroUsd {
        whole(self.0.saturating_add(TOKENS / 2) / TOKENS)
    }
}

fn whole(micro: u128) -> MicroUsd {
    MicroUsd(u64::try_from(micro).unwrap_or(u64::MAX).min(MicroUsd::MAX.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prices(input: f64, output: f64, cached_input: Option<f64>) -> Prices {
        Prices::new(PriceConfig { input, output, cached_input }).unwrap()
    }

    fn usage(input_tokens: u64, output_tokens: u64, cached_input_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, cached_input_tokens, estimated: false }
    }

    #[test]
    fn what_is_booked_is_exact_to_the_micro_dollar() {
        let (dear, cheap, odd) = (prices(3.0, 15.0, Some(0.3)), prices(0.075, 0.3, None), prices(0.5, 0.0, None));
        for (prices, usage, set_aside, booked) in [
            (dear, usage(0, 0, 0), 0, 0),
            (dear, usage(1, 0, 0), 3, 3),
            (dear, usage(1_000_000, 1_000_000, 0), 18_000_000, 18_000_000),
            (dear, usage(1_000, 10, 900), 3_150, 300 + 270 + 150),
            // 0.075 + 0.3 micro-dollars.
            (cheap, usage(1, 1, 0), 1, 0),
            (cheap, usage(1, 1, 1), 1, 0),
            (cheap, usage(3, 1, 0), 1, 1),
            // Half of one is one.
            (odd, usage(1, 0, 0), 1, 1),
            (odd, usage(3, 7, 0), 2, 2),
            (Prices::FREE, usage(1 << 60, 1 << 60, 0), 0, 0),
            (dear, usage(u64::MAX, u64::MAX, 0), MicroUsd::MAX.0, MicroUsd::MAX.0),
        ] {
            let at_most = prices.at_most(usage.input_tokens, usage.output_tokens).up();
            assert_eq!((at_most.0, prices.of(usage).nearest().0), (set_aside, booked), "{usage:?}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for input in [-1.0, f64::NAN, 0.000_000_1, 1e12] {
            assert!(Prices::new(PriceConfig { input, output: 1.0, cached_input: None }).is_err(), "{input}");
            assert!(Prices::new(PriceConfig { input: 1.0, output: 1.0, cached_input: Some(input) }).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_booking_exceeds_what_was_set_aside(
            micro in proptest::array::uniform3(0_u64..100_000_000),
            read in 0_u64..1 << 40,
            written in 0_u64..1 << 40,
            share in proptest::array::uniform3(0.0..=1.0_f64),
        ) {
            let [input, output, cached_input] = micro.map(MicroUsd);
            let prices = Prices { input, output, cached_input };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "below 2^53")]
            let part = |of: u64, share: f64| (of as f64 * share) as u64;
            let counted = usage(part(read, share[0]), part(written, share[1]), part(read, share[0] * share[2]));
            prop_assert!(prices.of(counted).nearest() <= prices.at_most(read, written).up());
        }
    }
}
