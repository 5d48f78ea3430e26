//! What a node holds of what all nodes of a store have together: slots of a lane, money of a budget.
//!
//! What it holds, it alone decides about. The rule for the rest is here: how much it keeps, how much it asks for, and when it gives some back.
//!
//! - It never gives back what is taken: what runs, what was spent, what is set aside.
//! - While others lack some it keeps, besides, what begins at once, and nothing more.
//! - It lets go of what it gives back before it says so: others may have it from that moment.
//!
//! Never here: how much the others may have, which the store says.

/// How a pool stands to others, as it was told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// How much they hold.
    pub hold: u64,
    /// How much they lack.
    pub lack: u64,
    /// How much of what they hold never comes back.
    pub used: u64,
}

/// A node's part of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// How much it holds: it takes no more than that.
    pub held: u64,
    /// The others.
    pub others: Others,
}

/// How a node stands to its part of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// How much is taken.
    pub taken: u64,
    /// How much never comes back of what is taken.
    pub used: u64,
    /// How much of what is held is taken at once, by what waits.
    pub begins: u64,
    /// How much it lacks for the rest of what waits.
    pub waits: u64,
    /// How much the smallest of that needs, beside what begins.
    pub least: u64,
    /// How much it would hold besides, where nobody lacks any: so that what comes next need not wait for an answer.
    pub spare: u64,
}

/// What a node says of its part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// How much it keeps.
    pub keeps: u64,
    /// How much it lacks.
    pub lacks: u64,
    /// Less than this is of no use to it.
    pub least: u64,
    /// How much it would have besides.
    pub spare: u64,
    /// How much of what it keeps never comes back.
    pub used: u64,
    /// Whether it gives some back.
    pub gives: bool,
}

impl Offer {
    /// Whether there is nothing to say to somebody who knows nothing of this node.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.keeps == 0 && self.lacks == 0 && self.spare == 0
    }
}

impl Part {
    /// What there is to say now. From here on no more is held than that keeps.
    #[must_use = "what was given back is nobody's until it is said"]
    pub fn offer(&mut self, need: Need) -> Offer {
        let Need { taken, used, begins, waits, least, spare } = need;
        let spare = if self.others.lack > 0 { 0 } else { spare };
        let wanted = taken.saturating_add(begins).saturating_add(waits);
        // Where others lack some, what is too little for whatever waits is kept from those who could use it.
        let most =
            if self.others.lack > 0 { taken.saturating_add(begins) } else { wanted.max(taken.saturating_add(spare)) };
        let keeps = taken.max(self.held.min(most));
        let gives = keeps < self.held;
        // What was taken counts, whoever gave it.
        self.held = keeps;
        let lacks = wanted.saturating_sub(keeps);
        let smallest = taken.saturating_add(begins).saturating_add(least);
        Offer {
            keeps,
            lacks,
            least: smallest.saturating_sub(keeps).clamp(u64::from(lacks > 0), lacks),
            spare: taken.saturating_add(spare).saturating_sub(keeps.max(wanted)),
            used,
            gives,
        }
    }

    /// What came of it. How much more is held than was kept.
    pub fn take(&mut self, held: u64, others: Others) -> u64 {
        let more = held.saturating_sub(self.held);
        *self = Self { held: self.held.max(held), others };
        more
    }

    /// One of what is held is given to those who lack some, where there are any: whether it is.
    pub(crate) fn yields(&mut self) -> bool {
        let yields = self.others.lack > 0 && self.held > 0;
        if yields {
            self.held -= 1;
            self.others.lack -= 1;
        }
        yields
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const NEED: Need = Need { taken: 3, used: 1, begins: 0, waits: 0, least: 0, spare: 0 };

    fn part(held: u64, lack: u64) -> Part {
        Part { held, others: Others { lack, ..Others::default() } }
    }

    fn offer(held: u64, lack: u64, need: Need) -> (u64, u64, u64, u64) {
        let Offer { keeps, lacks, least, spare, .. } = part(held, lack).offer(need);
        (keeps, lacks, least, spare)
    }

    #[test]
    fn what_is_kept_asked_for_and_given_back() {
        let waits = Need { begins: 2, waits: 5, least: 4, ..NEED };
        let cases = [
            ("it has what it needs", 3, 0, NEED, (3, 0, 0, 0)),
            ("what it needs no more it gives back", 9, 0, NEED, (3, 0, 0, 0)),
            ("unless it may keep some", 9, 0, Need { spare: 4, ..NEED }, (7, 0, 0, 0)),
            ("which it does not where others lack some", 9, 1, Need { spare: 4, ..NEED }, (3, 0, 0, 0)),
            ("what it may have besides it asks for", 5, 0, Need { spare: 4, ..NEED }, (5, 0, 0, 2)),
            ("what waits, it lacks", 5, 0, waits, (5, 5, 4, 0)),
            ("what is too little for it is kept", 7, 0, waits, (7, 3, 2, 0)),
            ("but not from others", 7, 1, waits, (5, 5, 4, 0)),
            ("what begins is not given back", 6, 9, Need { begins: 2, ..NEED }, (5, 0, 0, 0)),
            ("what was taken counts, whoever gave it", 2, 0, NEED, (3, 0, 0, 0)),
            ("what waits goes before what is spare", 3, 0, Need { waits: 2, least: 1, spare: 9, ..NEED }, (3, 2, 1, 7)),
        ];
        for (what, held, lack, need, expected) in cases {
            assert_eq!(offer(held, lack, need), expected, "{what}");
        }
    }

    #[test]
    fn one_is_given_to_each_who_lacks_it() {
        let mut part = part(3, 2);
        assert_eq!([part.yields(), part.yields(), part.yields()], [true, true, false]);
        assert_eq!(part, Part { held: 1, others: Others::default() });
        assert!(!self::part(0, 1).yields());
    }

    #[test]
    fn what_is_told_is_held_beside_what_was_taken_meanwhile() {
        let mut part = part(3, 0);
        assert_eq!((part.take(5, Others::default()), part.held), (2, 5));
        assert_eq!((part.take(4, Others::default()), part.held), (0, 5));
    }

    /// A store as plain as can be: whoever asks first has it.
    fn grants(limit: u64, parts: &[Part], me: usize, offer: Offer) -> u64 {
        let others: u64 = parts.iter().enumerate().filter(|(node, _)| *node != me).map(|(_, part)| part.held).sum();
        let free = limit.saturating_sub(others).saturating_sub(offer.keeps);
        let granted = Some(offer.lacks.min(free)).filter(|granted| *granted >= offer.least).unwrap_or(0);
        offer.keeps + granted + if granted == offer.lacks { offer.spare.min((free - granted) / 2) } else { 0 }
    }

    proptest! {
        /// Nodes that follow the rule, over a store that gives no more than there is: what is taken is always held, and all that is held is
        /// never more than there is. Once nothing changes any more but that they say so, nobody waits for what another holds in vain.
        #[test]
        fn what_is_taken_is_held_and_nothing_is_stranded(
            limit in 1_u64..12,
            steps in prop::collection::vec((0_usize..3, 0_u64..4, any::<bool>()), 0..120),
        ) {
            let (mut parts, mut taken) = ([Part::default(); 3], [0_u64; 3]);
            let mut waits = [0_u64; 3];
            let exchange = |parts: &mut [Part; 3], taken: &[u64; 3], waits: &[u64; 3], node: usize| {
                let begins = waits[node].min(parts[node].held.saturating_sub(taken[node]));
                let rest = waits[node] - begins;
                let need = Need { taken: taken[node], used: 0, begins, waits: rest, least: rest.min(1), spare: 2 };
                let before = parts[node].held;
                let offer = parts[node].offer(need);
                assert!(offer.keeps >= taken[node] && offer.keeps <= before);
                let held = grants(limit, parts, node, offer);
                let lacks = |other: usize| waits[other].saturating_sub(parts[other].held - taken[other]);
                let lack = (0..3).filter(|other| *other != node).map(lacks).sum();
                parts[node].take(held, Others { lack, ..Others::default() });
            };
            for (node, count, begins) in steps {
                if begins {
                    waits[node] += count;
                } else {
                    taken[node] = taken[node].saturating_sub(count);
                }
                exchange(&mut parts, &taken, &waits, node);
                // What it holds, it takes without asking anybody.
                let room = waits[node].min(parts[node].held - taken[node]);
                taken[node] += room;
                waits[node] -= room;
                let all: u64 = parts.iter().map(|part| part.held).sum();
                prop_assert!(all <= limit, "{all} of {limit}");
                prop_assert!(parts.iter().zip(taken).all(|(part, taken)| taken <= part.held));
            }
            for node in (0..12).map(|step| step % 3) {
                exchange(&mut parts, &taken, &waits, node);
                let room = waits[node].min(parts[node].held - taken[node]);
                taken[node] += room;
                waits[node] -= room;
            }
            let lack: Vec<usize> = (0..3).filter(|node| waits[*node] > 0).collect();
            let all: u64 = taken.iter().sum();
            prop_assert!(lack.is_empty() || all == limit, "{lack:?} wait, and {all} of {limit} are taken");
        }
    }
}
