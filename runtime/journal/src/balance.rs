//! What calls did cost and may cost, by the day on which they were granted and whose they are: for budgets that are wider than a mission.
//!
//! Owned here: that a balance moves with the records that move it, in one commit, and how long one is kept. Never here: what a day is,
//! and what a budget allows, which whoever asks says.

use jiff::ToSpan as _;
use jiff::civil::Date;
use redb::{ReadableTable as _, Table, WriteTransaction};
use serde::{Deserialize, Serialize};
use sortie_contract::{InstanceId, LaneId, Spend, VpId};

use crate::seal::{self, SealError};
use crate::table::BALANCES;

/// For so many days back balances are kept: a month, and the one before it.
pub const BALANCE_DAYS: i64 = 70;

const VERSION: u8 = 1;

/// Room for four small numbers.
const BYTES: usize = 24;

/// Between the parts of a key. No id has one.
const SEPARATOR: char = '\0';

/// Whose calls, of which day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// The day, in the node's zone, on which they were granted.
    pub day: Date,
    /// The lane of their missions.
    pub lane: LaneId,
    /// Who dispatched these.
    pub source: InstanceId,
    /// Who they are done as.
    pub vp: VpId,
}

impl Account {
    pub(crate) fn key(&self) -> String {
        let Self { day, lane, source, vp } = self;
        format!("{day}{SEPARATOR}{lane}{SEPARATOR}{source}{SEPARATOR}{vp}")
    }

    fn of_key(key: &str) -> Option<Self> {
        let mut parts = key.split(SEPARATOR);
        let mut part = || parts.next();
        let account = Self {
            day: part()?.parse().ok()?,
            lane: part()?.parse().ok()?,
            source: part()?.parse().ok()?,
            vp: part()?.parse().ok()?,
        };
        parts.next().is_none().then_some(account)
    }
}

/// What is booked to an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Spent.
    pub spent: Spend,
    /// Set aside for calls that have not ended.
    pub reserved: Spend,
}

/// What an append moves in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Which.
    pub account: Account,
    /// Set aside from now on.
    pub set_aside: Spend,
    /// No longer set aside.
    pub let_go: Spend,
    /// Spent, for good.
    pub spent: Spend,
}

/// All that an append moves: few appends move something.
#[derive(Debug, Clone)]
pub(crate) struct Moves(pub(crate) Vec<Movement>);

impl Balance {
    /// What both come to.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { spent: self.spent.saturating_add(other.spent), reserved: self.reserved.saturating_add(other.reserved) }
    }

    pub(crate) fn moved(self, by: &Movement) -> Self {
        Self {
            spent: self.spent.saturating_add(by.spent),
            reserved: self.reserved.saturating_add(by.set_aside).saturating_sub(by.let_go),
        }
    }
}

/// The first day that is kept beside `day`.
pub(crate) fn kept_from(day: Date) -> Date {
    day.checked_sub(BALANCE_DAYS.days()).unwrap_or(Date::MIN)
}

/// Writes what moves, in this order. A balance that cannot be read begins anew, and is told in the log.
pub(crate) fn write<'a>(
    transaction: &WriteTransaction,
    movements: impl Iterator<Item = &'a Movement>,
) -> Result<(), redb::Error> {
    let mut movements = movements.peekable();
    if movements.peek().is_none() {
        return Ok(());
    }
    let mut table = transaction.open_table(BALANCES)?;
    for movement in movements {
        let key = movement.account.key();
        let before = table.get(key.as_str())?.map(|row| read(&key, row.value()));
        if before.is_none() {
            prune(&mut table, movement.account.day)?;
        }
        let balance = before.unwrap_or_default().moved(movement);
        table.insert(key.as_str(), encode(&key, balance).as_slice())?;
    }
    Ok(())
}

/// Forgets the days that are over for long, where `day` follows others: a clock that is years ahead for a moment takes nothing along.
fn prune(table: &mut Table<'_, &'static str, &'static [u8]>, day: Date) -> Result<(), redb::Error> {
    let (oldest, week, today) = (kept_from(day).to_string(), follows(day).to_string(), day.to_string());
    if table.range(week.as_str()..today.as_str())?.next().is_some() {
        table.retain_in(..oldest.as_str(), |_, _| false)?;
    }
    Ok(())
}

/// The first day behind which `day` follows.
pub(crate) fn follows(day: Date) -> Date {
    day.checked_sub(7.days()).unwrap_or(Date::MIN)
}

/// The rows whose keys begin with this day or a later one.
pub(crate) fn first_key(day: Date) -> String {
    day.to_string()
}

/// A row, where it is one of an account.
pub(crate) fn row(key: &str, bytes: &[u8]) -> Option<(Account, Balance)> {
    let account = Account::of_key(key);
    if account.is_none() {
        tracing::error!(?key, "a balance lies under a key that is none; it is passed over");
    }
    account.map(|account| (account, read(key, bytes)))
}

fn read(key: &str, bytes: &[u8]) -> Balance {
    decode(key, bytes).unwrap_or_else(|error| {
        tracing::error!(?key, %error, "what was spent on that day cannot be read; it is counted from nothing");
        Balance::default()
    })
}

pub(crate) fn encode(key: &str, balance: Balance) -> Vec<u8> {
    let bytes = postcard::to_extend(&balance, seal::open(VERSION, BYTES)).expect("a vector takes every row");
    seal::close(bytes, key.as_bytes())
}

fn decode(key: &str, bytes: &[u8]) -> Result<Balance, SealError> {
    let (_, body) = seal::unseal(VERSION, key.as_bytes(), bytes)?;
    postcard::from_bytes(body).map_err(|_| SealError::Form)
}

/// As a row.
pub(crate) fn written(account: &Account, balance: Balance) -> (String, Vec<u8>) {
    let key = account.key();
    let bytes = encode(&key, balance);
    (key, bytes)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use sortie_contract::MicroUsd;

    use super::*;

    #[test]
    fn rows_are_what_was_written_or_nothing() {
        let account = Account {
            day: date(2026, 11, 26),
            lane: "runtime.coder.external".parse().expect("an id"),
            source: "ua-1".parse().expect("an id"),
            vp: "vp.coder".parse().expect("an id"),
        };
        let spend = |cost| Spend { llm_calls: 1, cost: MicroUsd(cost) };
        let balance = Balance { spent: spend(7), reserved: spend(9) };
        let (key, bytes) = written(&account, balance);
        assert_eq!(row(&key, &bytes), Some((account.clone(), balance)));
        let other = key.replace("-26", "-27");
        assert_eq!(row(&other, &bytes).map(|(_, balance)| balance), Some(Balance::default()), "another's row");
        assert_eq!(row("2026", &bytes), None);
        assert!(key.as_str() >= first_key(account.day).as_str());
        let movement = Movement { account, set_aside: spend(1), let_go: spend(9), spent: spend(2) };
        assert_eq!(balance.moved(&movement).spent, Spend { llm_calls: 2, cost: MicroUsd(9) });
        assert_eq!(balance.moved(&movement).reserved, spend(1));
    }
}
