//! The balances as the writer knows them: whoever holds the store is the only one that moves them.

use std::collections::{BTreeMap, BTreeSet};

use crate::balance::{self, Balance, Movement};

/// All that are kept, by their keys.
#[derive(Debug, Default)]
pub(super) struct Books(BTreeMap<String, Balance>);

/// What movements come to: what is written, and below which key everything is forgotten before.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) rows: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) forgotten_below: Option<String>,
}

impl Books {
    pub(super) fn new(rows: impl Iterator<Item = (String, Balance)>) -> Self {
        Self(rows.collect())
    }

    /// An account with what another has of it besides.
    pub(super) fn with(&self, key: String, other: Balance) -> (String, Balance) {
        let mine = self.0.get(&key).copied().unwrap_or_default();
        (key, mine.with(other))
    }

    /// These are what they are from now on.
    pub(super) fn extend(&mut self, balances: Vec<(String, Balance)>) {
        self.0.extend(balances);
    }

    /// Moves them, in this order.
    pub(super) fn moved<'a>(&mut self, movements: impl Iterator<Item = &'a Movement>) -> Moved {
        let (mut touched, mut forgotten_below) = (BTreeSet::new(), None);
        for movement in movements {
            let (key, day) = (movement.account.key(), movement.account.day);
            if !self.0.contains_key(&key)
                && self.0.range(balance::follows(day).to_string()..day.to_string()).next().is_some()
            {
                let oldest = balance::kept_from(day).to_string();
                self.0 = self.0.split_off(&oldest);
                forgotten_below = forgotten_below.max(Some(oldest));
            }
            let balance = self.0.entry(key.clone()).or_default();
            *balance = balance.moved(movement);
            touched.insert(key);
        }
        let row = |key: String| {
            let balance = self.0.get(&key)?;
            let bytes = balance::encode(&key, *balance);
            Some((key.into_bytes(), bytes))
        };
        Moved { rows: touched.into_iter().filter_map(row).collect(), forgotten_below }
    }
}
