//! What a provider counted. Its numbers may contradict each other: then what is booked is the most that they can mean, and never more
//! than can have been read and written, for that was set aside.

use serde_json::Value;

use crate::answer::Usage;
use crate::price::Prices;

/// What a provider says that it counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    told: Usage,
    /// The most that was read, where what came from a cache cannot be told from the rest.
    read: Option<u64>,
    /// The most that was written, where more may have been than is told.
    written: Option<u64>,
    /// The most of both together, where nobody knows which of them was more than is told.
    together: Option<u64>,
    /// Something contradicts something else, whatever it means for the price.
    is_odd: bool,
}

/// A number that a provider may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Absent,
    Of(u64),
    /// Something is there, and no count of anything.
    Odd,
}

impl Number {
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Absent,
            value => value.as_u64().map_or(Self::Odd, Self::Of),
        }
    }

    pub(crate) fn or_nothing(self) -> u64 {
        if let Self::Of(number) = self { number } else { 0 }
    }
}

impl Count {
    /// What was read, `cached` of it from a cache, and what was written.
    pub(crate) fn of(told: Usage) -> Self {
        let cached_input_tokens = told.cached_input_tokens.min(told.input_tokens);
        let count = Self {
            told: Usage { cached_input_tokens, ..told },
            read: None,
            written: None,
            together: None,
            is_odd: false,
        };
        if told.cached_input_tokens <= told.input_tokens {
            return count;
        }
        // More than all of it: it stands beside the rest, perhaps, or one of the two is wrong.
        count.reads_up_to(told.input_tokens.saturating_add(told.cached_input_tokens))
    }

    /// The same, but so much may have been read, and none of it from a cache.
    pub(crate) fn reads_up_to(self, tokens: u64) -> Self {
        let read = self.read.unwrap_or(self.told.input_tokens).max(tokens);
        Self { read: Some(read), is_odd: true, ..self }
    }

    /// The same, but so much may have been written.
    pub(crate) fn writes_up_to(self, tokens: u64) -> Self {
        let written = self.written.unwrap_or(self.told.output_tokens).max(tokens);
        Self { written: Some(written), is_odd: true, ..self }
    }

    /// The same, but so much may have been read and written together.
    pub(crate) fn together_up_to(self, tokens: u64) -> Self {
        Self { together: Some(tokens), is_odd: true, ..self }
    }

    /// The same, and something about it is odd.
    pub(crate) fn odd(self) -> Self {
        Self { is_odd: true, ..self }
    }

    /// Whether its numbers contradict each other.
    pub(crate) fn is_odd(self) -> bool {
        self.is_odd
    }

    /// What counts: as told, or the dearest that can be meant. No more than `reads` and `writes` can have been read and written, but for
    /// what is told without a doubt.
    pub(crate) fn dearest(self, prices: Prices, reads: u64, writes: u64) -> Usage {
        let Self { told, read, written, together, .. } = self;
        if let Some(together) = together {
            let plain = Self { together: None, ..self };
            let as_written = plain.writes_up_to(together.saturating_sub(told.input_tokens));
            let as_read = plain.reads_up_to(together.saturating_sub(told.output_tokens));
            let [as_written, as_read] = [as_written, as_read].map(|count| count.dearest(prices, reads, writes));
            return if prices.of(as_read) > prices.of(as_written) { as_read } else { as_written };
        }
        let output_tokens = written.map_or(told.output_tokens, |most| most.min(writes.max(told.output_tokens)));
        let Some(most) = read else {
            return Usage { output_tokens, estimated: told.estimated || written.is_some(), ..told };
        };
        let input_tokens = most.min(reads.max(told.input_tokens));
        let fresh = Usage { input_tokens, output_tokens, cached_input_tokens: 0, estimated: true };
        let cached = Usage { cached_input_tokens: input_tokens, ..fresh };
        if prices.of(cached) > prices.of(fresh) { cached } else { fresh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PriceConfig;

    fn told(input_tokens: u64, output_tokens: u64, cached_input_tokens: u64) -> Count {
        Count::of(Usage { input_tokens, output_tokens, cached_input_tokens, estimated: false })
    }

    #[test]
    fn what_contradicts_itself_counts_at_its_dearest_within_what_can_be() {
        let usual = PriceConfig { input: 3.0, output: 15.0, cached_input: Some(0.3) };
        let dear_cache = PriceConfig { cached_input: Some(4.0), ..usual };
        let dear_input = PriceConfig { input: 20.0, ..usual };
        for (count, price, expected) in [
            // What is told without a contradiction counts as it is told, also where it is more than can be: it is told as overbilled.
            (told(9, 4, 9), usual, (9, 4, 9)),
            (told(900, 400, 0), usual, (900, 400, 0)),
            (told(9, 4, 0).odd(), usual, (9, 4, 0)),
            (told(10, 4, 30), usual, (40, 4, 0)),
            (told(10, 4, 30), dear_cache, (40, 4, 40)),
            (told(10, 4, 300), usual, (100, 4, 0)),
            (told(10, 4, u64::MAX), usual, (100, 4, 0)),
            (told(900, 4, 901), usual, (900, 4, 0)),
            (told(10, 4, 9).reads_up_to(u64::MAX), usual, (100, 4, 0)),
            (told(10, 4, 9).reads_up_to(3), usual, (10, 4, 0)),
            (told(10, 4, 9).writes_up_to(30), usual, (10, 30, 9)),
            (told(10, 4, 9).writes_up_to(300), usual, (10, 50, 9)),
            (told(10, 400, 9).writes_up_to(500), usual, (10, 400, 9)),
            // Read or written: whichever is dearer, within what can be.
            (told(10, 4, 9).together_up_to(40), usual, (10, 30, 9)),
            (told(10, 4, 9).together_up_to(40), dear_input, (36, 4, 0)),
            (told(10, 4, 0).together_up_to(2_000), usual, (10, 50, 0)),
            (told(10, 49, 0).together_up_to(2_000), usual, (100, 49, 0)),
        ] {
            let usage = count.dearest(Prices::new(price).unwrap(), 100, 50);
            let counted = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens);
            assert_eq!(counted, expected, "{count:?}");
        }
    }
}
