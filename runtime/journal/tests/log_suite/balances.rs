//! What every log must do with balances: they move with the records that move them, or not at all.

use jiff::civil::date;
use sortie_contract::{MicroUsd, Spend, VpId};
use sortie_journal::{Account, Append, Balance, Log, Movement, WriteError};

use super::snapshots::copy_of;
use super::{plain, stamped};

pub(super) fn they_move_with_the_records_that_move_them(log: &dyn Log) {
    let (_, Some(no)) = plain(1).to(log) else { panic!("not taken") };
    let account = |day, vp: &str| Account {
        day,
        lane: "lane".parse().unwrap(),
        source: "hq".parse().unwrap(),
        vp: VpId::new(vp).unwrap(),
    };
    let money = |cost| Spend { llm_calls: 1, cost: MicroUsd(cost) };
    let nothing = Spend::NOTHING;
    let (today, tomorrow, much_later) = (date(2026, 11, 26), date(2026, 11, 27), date(2027, 2, 5));
    let set_aside = Movement { account: account(today, "a"), set_aside: money(9), let_go: nothing, spent: nothing };
    let settled = Movement { account: account(today, "a"), set_aside: nothing, let_go: money(9), spent: money(7) };
    let other = Movement { account: account(tomorrow, "b"), ..set_aside.clone() };
    let next = log.read_all(no, 0).unwrap().iter().fold(0, |no, stamped| stamped.next_no(no));
    let hand = |first, movements| {
        log.append_durable(Append::new(no, first, &[stamped("paid")]).moves(movements)).unwrap().wait()
    };
    hand(next, vec![set_aside.clone()]).unwrap();
    assert_eq!(log.balances(today).unwrap(), [(account(today, "a"), Balance { spent: nothing, reserved: money(9) })]);
    assert!(matches!(hand(next, vec![set_aside]), Err(WriteError::Conflict { .. })), "it came too late");
    hand(next + 1, vec![settled, other.clone()]).unwrap();
    let of_today = (account(today, "a"), Balance { spent: money(7), reserved: nothing });
    let of_tomorrow = (account(tomorrow, "b"), Balance { spent: nothing, reserved: money(9) });
    assert_eq!(log.balances(today).unwrap(), [of_today, of_tomorrow.clone()]);
    assert_eq!(log.balances(tomorrow).unwrap(), std::slice::from_ref(&of_tomorrow));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(copy_of(log, folder.path(), "copy").balances(tomorrow).unwrap(), std::slice::from_ref(&of_tomorrow));
    log.remove(no).unwrap();
    log.barrier().unwrap().wait().unwrap();
    assert_eq!(log.balances(today).unwrap().len(), 2, "what was spent stays so");
    // The first of a day takes those along that are older than 70, unless a clock has jumped there.
    let (_, Some(no)) = plain(2).to(log) else { panic!("not taken") };
    let days = || log.balances(today).unwrap().into_iter().map(|(account, _)| account.day).collect::<Vec<_>>();
    let at = |day| vec![Movement { account: account(day, "b"), ..other.clone() }];
    log.append_durable(Append::new(no, 1, &[stamped("paid")]).moves(at(much_later))).unwrap().wait().unwrap();
    assert_eq!(days(), [today, tomorrow, much_later]);
    let next = date(2027, 2, 6);
    log.append_durable(Append::new(no, 2, &[stamped("paid")]).moves(at(next))).unwrap().wait().unwrap();
    assert_eq!(days(), [much_later, next]);
}
