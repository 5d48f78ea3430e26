//! What logs of one store must do beside what each must do by itself: laws, and random histories of several at once that are held
//! against those of a [`MemoryFleet`].

use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::civil::date;
use sortie_contract::{MicroUsd, MissionNo, Spend};
use sortie_journal::sim::sample_head;
use sortie_journal::{
    Account, AdoptError, Adopted, Append, Balance, Cursor, Fleet, Head, Log, MemoryFleet, MemoryLog, Movement,
    OwnedKeys, Owner, Pinned, ShareNo, WriteError,
};

use super::feed;
use super::snapshots::copy_of;
use super::{Dice, Dispatch, id_of, made, moved, plain, pools, stamped};

/// Several nodes on a store that begins empty.
pub(crate) trait Kit {
    /// A log of that node: the one that it opened before is gone, or fenced.
    fn open(&self, node: usize) -> Box<dyn Log>;

    /// Nothing of that node comes through; returns once its lease has run out.
    fn silence(&self, node: usize);

    /// All that was held up goes on.
    fn hears(&self, node: usize);
}

/// The naive ones.
pub(crate) struct Memory(MemoryFleet);

/// How long a share is held in them.
const LEASE: Duration = Duration::from_secs(10);

impl Memory {
    pub(crate) fn new() -> Self {
        Self(MemoryFleet::new(LEASE))
    }

    fn log(&self, node: usize) -> MemoryLog {
        self.0.open(&name(node), &name(node))
    }
}

impl Kit for Memory {
    fn open(&self, node: usize) -> Box<dyn Log> {
        Box::new(self.log(node))
    }

    fn silence(&self, node: usize) {
        self.0.pause(&name(node), true);
        self.0.pass(LEASE);
    }

    fn hears(&self, node: usize) {
        self.0.pause(&name(node), false);
    }
}

/// What a node is known by.
pub(crate) fn name(node: usize) -> String {
    format!("node-{node}")
}

/// Every law, on a store of its own each.
pub(crate) fn laws<'a>(make: &dyn Fn() -> Box<dyn Kit + 'a>) {
    for law in [
        each_has_numbers_of_its_own_and_sees_no_others as fn(&dyn Kit),
        whoever_claims_first_decides_and_a_claim_is_whole_or_not_at_all,
        a_name_goes_with_its_mission_and_a_home_stays,
        a_name_that_is_claimed_while_its_mission_goes_is_one_nodes,
        whoever_has_a_mission_answers_for_it_wherever_its_vp_is_at_home,
        a_schedule_is_one_nodes,
        what_a_silent_node_left_is_adopted_once_and_whole,
        whoever_adopts_an_adopter_gets_all_of_it,
        what_was_adopted_is_there_after_a_restart,
        what_lies_between_two_adopted_shares_is_somebody_elses,
        a_share_that_was_given_back_is_anybodys_at_once,
        nobody_is_sure_who_is_not_heard,
        feed::what_all_tell_is_told_once_and_in_order_whoever_is_asked,
        feed::what_is_removed_leaves_a_gap_for_who_reads_all,
        pools::what_one_gives_back_another_gets_and_never_more_than_there_is,
        pools::what_was_held_goes_to_whoever_adopts_it_once_it_says_so,
        pools::many_that_ask_at_once_hold_no_more_than_there_is,
    ] {
        law(&*make());
    }
}

pub(crate) fn fleet(log: &dyn Log) -> &dyn Fleet {
    log.fleet().unwrap()
}

pub(crate) fn keys(dispatch: Dispatch) -> OwnedKeys {
    let (mission_id, idempotency_key, vp) = dispatch.names();
    OwnedKeys { mission_id, source: sample_head(0).source, idempotency_key, vp }
}

/// Resolves it on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Whose it is: `None`, this node's.
pub(crate) fn claim(log: &dyn Log, dispatch: Dispatch) -> Option<ShareNo> {
    owner(|| wait(fleet(log).claim(keys(dispatch))))
}

/// Asks again where nobody could be asked.
fn owner(ask: impl Fn() -> Result<Owner, WriteError>) -> Option<ShareNo> {
    loop {
        match ask() {
            Ok(Owner::Mine) => return None,
            Ok(Owner::Elsewhere(peer)) => return Some(peer.share),
            Err(WriteError::Overloaded) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A dispatch with a VP of its own.
pub(crate) fn of_vp(name: u64, vp: u64) -> Dispatch {
    Dispatch { vp, ..plain(name) }
}

/// Claims, and dispatches; the number.
pub(crate) fn take(log: &dyn Log, dispatch: Dispatch) -> MissionNo {
    assert_eq!(claim(log, dispatch), None, "{dispatch:?}");
    dispatch.to(log).1.unwrap()
}

/// Adopts it, once it may be.
pub(crate) fn adopt(log: &dyn Log, share: ShareNo) -> Result<(Adopted, Vec<MissionNo>), AdoptError> {
    let mut shown = Vec::new();
    loop {
        let outcome = fleet(log).adopt(share, &mut |no, head| {
            assert_eq!(log.head(no).unwrap_or_default().unwrap_or_else(|| head.clone()), head);
            shown.push(no);
        });
        let is_live = |share| fleet(log).peers().unwrap().iter().any(|peer| peer.share == share && peer.is_live());
        match outcome {
            // Who has only begun, or come back, waits.
            Err(AdoptError::Held { share, .. }) if !is_live(share) => {}
            outcome => return outcome.map(|adopted| (adopted, shown)),
        }
    }
}

fn each_has_numbers_of_its_own_and_sees_no_others(kit: &dyn Kit) {
    let logs = [0, 1, 2].map(|node| kit.open(node));
    for (share, log) in (0..).map(ShareNo).zip(&logs) {
        assert_eq!(fleet(&**log).share(), share);
        let first = take(&**log, of_vp(u64::from(share.0), u64::from(share.0)));
        assert_eq!(first, MissionNo(share.floor() + 1));
        assert_eq!(log.act("an act".to_owned()).unwrap().wait(), Ok(share.floor() + 1));
    }
    for (share, log) in (0..).map(ShareNo).zip(&logs) {
        let heads = log.heads_newest_first(None, 9).unwrap();
        assert_eq!(heads.iter().map(|(no, _)| *no).collect::<Vec<_>>(), [MissionNo(share.floor() + 1)]);
        assert_eq!(log.heads_oldest_first(None, 9).unwrap(), heads);
        assert_eq!(log.actions(None, 9).unwrap(), [(share.floor() + 1, "an act".to_owned())]);
        assert_eq!((log.feed_after(0, 9).unwrap().len(), log.feed_begin().unwrap()), (1, share.floor() + 1));
        assert_eq!(*log.follow().borrow(), share.floor() + 1);
        let other = MissionNo(ShareNo((share.0 + 1) % 3).floor() + 1);
        assert_eq!((log.head(other).unwrap(), log.read_all(other, 0).unwrap()), (None, vec![]), "that is another's");
    }
}

fn whoever_claims_first_decides_and_a_claim_is_whole_or_not_at_all(kit: &dyn Kit) {
    let [a, b, c] = [0, 1, 2].map(|node| kit.open(node));
    assert_eq!(claim(&*a, of_vp(1, 1)), None);
    assert_eq!(claim(&*a, of_vp(1, 1)), None, "it says the same again");
    for other in [of_vp(1, 1), of_vp(1, 2), Dispatch { id: 9, ..of_vp(1, 2) }, Dispatch { key: 9, ..of_vp(1, 2) }] {
        assert_eq!(claim(&*b, other), Some(ShareNo(0)), "{other:?}");
    }
    let Owner::Elsewhere(peer) = wait(fleet(&*b).claim(keys(of_vp(1, 1)))).unwrap() else { panic!("it is mine") };
    assert_eq!((peer.node, peer.is_me), (name(0), false));
    assert!(!peer.lease_left.is_zero());
    assert_eq!(claim(&*b, of_vp(5, 1)), Some(ShareNo(0)), "its VP is at home elsewhere");
    assert_eq!(claim(&*c, of_vp(5, 3)), None, "and nothing of it was taken");
    assert_eq!(claim(&*b, of_vp(9, 2)), None);
    let peers = fleet(&*c).peers().unwrap();
    let told: Vec<_> = peers.iter().map(|peer| (peer.share.0, peer.is_live(), peer.is_me)).collect();
    assert_eq!(told, [(0, true, false), (1, true, false), (2, true, true)]);
    assert_eq!(fleet(&*c).holder(&plain(1).names().0).unwrap().map(|peer| peer.share), Some(ShareNo(0)));
    assert_eq!(fleet(&*c).holder(&plain(5).names().0).unwrap(), None, "it is this node's");
    assert_eq!(fleet(&*c).holder(&plain(77).names().0).unwrap(), None, "it is nobody's");
    // Whoever only looks takes nothing.
    let other = |log: &dyn Log, dispatch| fleet(log).other(&keys(dispatch)).unwrap().map(|peer| peer.share);
    for (log, dispatch, expected) in [
        (&*b, of_vp(1, 7), Some(ShareNo(0))),
        (&*b, of_vp(77, 1), Some(ShareNo(0))),
        (&*a, of_vp(1, 1), None),
        (&*b, of_vp(77, 77), None),
    ] {
        assert_eq!(other(log, dispatch), expected, "{dispatch:?}");
    }
    assert_eq!(claim(&*a, of_vp(77, 77)), None, "it was nobody's still");
}

fn a_name_goes_with_its_mission_and_a_home_stays(kit: &dyn Kit) {
    let [a, b] = [0, 1].map(|node| kit.open(node));
    let no = take(&*a, of_vp(1, 1));
    assert_eq!(claim(&*b, of_vp(1, 2)), Some(ShareNo(0)));
    a.remove(no).unwrap();
    a.barrier().unwrap().wait().unwrap();
    assert_eq!(claim(&*b, of_vp(1, 1)), Some(ShareNo(0)), "its VP is at home there still");
    take(&*b, of_vp(1, 2));
    assert_eq!(claim(&*a, of_vp(1, 1)), Some(ShareNo(1)));
    // One that nobody claimed before it came is as one that was.
    of_vp(8, 8).to(&*a);
    for other in [of_vp(8, 9), of_vp(9, 8)] {
        assert_eq!(claim(&*b, other), Some(ShareNo(0)), "{other:?}");
    }
}

fn a_name_that_is_claimed_while_its_mission_goes_is_one_nodes(kit: &dyn Kit) {
    let [a, b] = [0, 1].map(|node| kit.open(node));
    for round in 0..20 {
        let no = take(&*a, of_vp(round, 1));
        // Its removal may be on its way still.
        a.remove(no).unwrap();
        assert_eq!(claim(&*a, of_vp(round, 1)), None);
        a.barrier().unwrap().wait().unwrap();
        assert_eq!(claim(&*b, of_vp(round, 2)), Some(ShareNo(0)), "round {round}: it was claimed anew");
        take(&*a, of_vp(round, 1));
    }
}

fn whoever_has_a_mission_answers_for_it_wherever_its_vp_is_at_home(kit: &dyn Kit) {
    let [a, b] = [0, 1].map(|node| kit.open(node));
    let no = take(&*a, of_vp(1, 1));
    take(&*b, of_vp(2, 2));
    for again in [of_vp(1, 2), Dispatch { id: 9, ..of_vp(1, 2) }, Dispatch { key: 9, ..of_vp(1, 2) }] {
        assert_eq!(claim(&*a, again), None, "{again:?}");
        let (known, taken) = again.to(&*a);
        let found = known.twin.or(known.same_id).unwrap();
        assert_eq!((found.no, taken), (no, None));
    }
}

fn a_schedule_is_one_nodes(kit: &dyn Kit) {
    let [a, b] = [0, 1].map(|node| kit.open(node));
    let whose = |log: &dyn Log, name| wait(fleet(log).claim_schedule(id_of(name))).unwrap();
    assert_eq!(whose(&*a, 1), Owner::Mine);
    a.change_schedule(made(1)).unwrap().wait().unwrap();
    let Owner::Elsewhere(peer) = whose(&*b, 1) else { panic!("it is another's") };
    assert_eq!(peer.share, ShareNo(0));
    assert_eq!(fleet(&*b).schedule_holder(&id_of(1)).unwrap().map(|peer| peer.share), Some(ShareNo(0)));
    assert_eq!((b.schedule(&id_of(1)).unwrap(), b.schedules_after(None, 9).unwrap()), (None, vec![]));
    let removed = sortie_journal::ScheduleChange::removed(&id_of(1), 1);
    a.change_schedule(removed).unwrap().wait().unwrap();
    assert_eq!(whose(&*b, 1), Owner::Mine, "its name is free again");
}

fn account(vp: &str) -> Account {
    let source = sample_head(0).source;
    Account { day: date(2026, 11, 27), lane: "lane".parse().unwrap(), source, vp: vp.parse().unwrap() }
}

fn pays(log: &dyn Log, no: MissionNo, cost: u64) {
    let set_aside = Spend { llm_calls: 1, cost: MicroUsd(cost) };
    let nothing = Spend::NOTHING;
    let movement = Movement { account: account("vp"), set_aside, let_go: nothing, spent: nothing };
    let next = log.read_all(no, 0).unwrap().iter().fold(0, |no, stamped| stamped.next_no(no));
    let append = Append::new(no, next, &[stamped("paid")]).moves(vec![movement]);
    log.append_durable(append).unwrap().wait().unwrap();
}

fn what_a_silent_node_left_is_adopted_once_and_whole(kit: &dyn Kit) {
    let [a, b, c] = [0, 1, 2].map(|node| kit.open(node));
    let of_a = [take(&*a, Dispatch { session: Some(4), ..of_vp(2, 1) }), take(&*a, of_vp(3, 1))];
    let of_b = take(&*b, of_vp(7, 7));
    a.change_schedule(made(1)).unwrap().wait().unwrap();
    a.change_schedule(moved(1, 1, 2)).unwrap().wait().unwrap();
    a.keep_clocks(&[(of_a[0], 70)]).unwrap();
    b.keep_clocks(&[(of_b, 5)]).unwrap();
    a.act("at a".to_owned()).unwrap().wait().unwrap();
    b.act("at b".to_owned()).unwrap().wait().unwrap();
    let pin = Pinned { at: sortie_contract::Timestamp::UNIX_EPOCH, by: "hq".to_owned() };
    a.pin(of_a[1], Some(&pin)).unwrap().wait().unwrap();
    pays(&*a, of_a[0], 3);
    pays(&*b, of_b, 4);
    assert!(matches!(adopt(&*b, ShareNo(0)), Err(AdoptError::Held { .. })), "it is there");
    assert!(matches!(adopt(&*b, ShareNo(1)), Err(AdoptError::Gone { .. })), "it is its own");
    assert!(matches!(adopt(&*b, ShareNo(9)), Err(AdoptError::Gone { .. })), "there is none");
    kit.silence(0);
    let left = fleet(&*b).peers().unwrap().into_iter().find(|peer| peer.share == ShareNo(0)).unwrap();
    assert!(!left.is_live() && fleet(&*a).certain_for().is_zero());
    let (adopted, shown) = adopt(&*b, ShareNo(0)).unwrap();
    let expected = Adopted {
        shares: vec![ShareNo(0)],
        headless: vec![],
        cursors: vec![(of_a[0], Cursor::default())],
        clocks: vec![(of_a[0], 70)],
        schedules: vec![id_of(1)],
        balances: vec![(
            account("vp"),
            Balance { spent: Spend::NOTHING, reserved: Spend { llm_calls: 1, cost: MicroUsd(3) } },
        )],
    };
    assert_eq!((adopted, shown), (expected, of_a.to_vec()));
    assert!(matches!(adopt(&*c, ShareNo(0)), Err(AdoptError::Gone { .. })), "somebody was faster");
    // It has all of it, and goes on with it.
    let heads = b.heads_oldest_first(None, 9).unwrap();
    assert_eq!(heads.iter().map(|(no, _)| *no).collect::<Vec<_>>(), [of_a[0], of_a[1], of_b]);
    assert_eq!(b.find(&plain(2).names().0).unwrap().map(|twin| twin.no), Some(of_a[0]));
    assert_eq!(b.clocks().unwrap(), [(of_a[0], 70), (of_b, 5)]);
    assert_eq!(b.pins().unwrap(), [(of_a[1], pin)]);
    assert_eq!(b.actions(None, 9).unwrap().iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["at b", "at a"]);
    assert_eq!(b.balances(date(2026, 1, 1)).unwrap()[0].1.reserved, Spend { llm_calls: 2, cost: MicroUsd(7) });
    assert_eq!(b.fires(&id_of(1), None, 9).unwrap().len(), 2);
    b.change_schedule(moved(1, 2, 1)).unwrap().wait().unwrap();
    b.append_durable(Append::new(of_a[1], 1, &[stamped("more")])).unwrap().wait().unwrap();
    assert_eq!(claim(&*b, of_vp(20, 1)), None, "its VPs are at home here");
    assert_eq!(claim(&*c, of_vp(20, 1)), Some(ShareNo(1)));
    let (known, next) = Dispatch { session: None, ..of_vp(20, 1) }.to(&*b);
    assert!(next > Some(of_b) && next > Some(of_a[1]), "numbers go on behind all that there are: {next:?}");
    assert_eq!(known.newest_session, Some("s-0".parse().unwrap()));
    assert_eq!(b.feed_after(0, 99).unwrap().len(), 3 + 2 + 2, "what each told, and what is new");
    // The first comes back, and is told.
    kit.hears(0);
    let late = a.append_durable(Append::new(of_a[0], 2, &[stamped("late")])).and_then(sortie_journal::Receipt::wait);
    assert!(matches!(late, Err(WriteError::TakenOver)), "{late:?}");
    assert!(a.poisoned().is_some() && fleet(&*a).certain_for().is_zero());
    assert!(wait(fleet(&*a).sure()).is_err() && wait(fleet(&*a).claim(keys(of_vp(2, 1)))).is_err());
    assert_eq!(b.read_all(of_a[0], 0).unwrap().len(), 2, "nothing of it is there");
    let a = kit.open(0);
    assert_eq!((fleet(&*a).share(), a.heads_newest_first(None, 9).unwrap()), (ShareNo(3), vec![]));
    assert_eq!(claim(&*a, of_vp(2, 1)), Some(ShareNo(1)));
}

fn whoever_adopts_an_adopter_gets_all_of_it(kit: &dyn Kit) {
    let logs = [0, 1, 2].map(|node| kit.open(node));
    let numbers: Vec<MissionNo> = (0..).zip(&logs).map(|(n, log)| take(&**log, of_vp(n, n))).collect();
    let [a, b, c] = &logs;
    kit.silence(2);
    assert_eq!(adopt(&**a, ShareNo(2)).unwrap().0.shares, [ShareNo(2)]);
    let of_a = take(&**a, of_vp(10, 0));
    assert!(of_a > numbers[2]);
    kit.silence(0);
    let (adopted, shown) = adopt(&**b, ShareNo(0)).unwrap();
    assert_eq!((adopted.shares, shown), (vec![ShareNo(0), ShareNo(2)], vec![numbers[0], numbers[2], of_a]));
    assert_eq!(fleet(&**b).adopted_from().unwrap(), [name(0), name(2)]);
    assert!(take(&**b, of_vp(11, 2)) > of_a);
    for (name, vp) in [(10, 0), (2, 2), (0, 0)] {
        assert_eq!(claim(&**b, of_vp(name, vp)), None);
    }
    for (node, late) in [(0, a), (2, c)] {
        kit.hears(node);
        assert!(late.act("late".to_owned()).and_then(sortie_journal::Receipt::wait).is_err(), "{node} is fenced");
    }
}

fn what_was_adopted_is_there_after_a_restart(kit: &dyn Kit) {
    let [a, b] = [0, 1].map(|node| kit.open(node));
    let (of_a, of_b) = (take(&*a, of_vp(1, 1)), take(&*b, of_vp(2, 2)));
    a.change_schedule(made(1)).unwrap().wait().unwrap();
    pays(&*a, of_a, 3);
    a.act("at a".to_owned()).unwrap().wait().unwrap();
    kit.silence(0);
    adopt(&*b, ShareNo(0)).unwrap();
    kit.hears(0);
    b.close().unwrap();
    let b = kit.open(1);
    assert_eq!(b.heads_oldest_first(None, 9).unwrap().iter().map(|(no, _)| *no).collect::<Vec<_>>(), [of_a, of_b]);
    assert_eq!(b.schedules_after(None, 9).unwrap().len(), 1);
    assert_eq!(b.balances(date(2026, 1, 1)).unwrap()[0].1.reserved, Spend { llm_calls: 1, cost: MicroUsd(3) });
    assert_eq!(b.actions(None, 9).unwrap().len(), 1);
    b.change_schedule(moved(1, 1, 1)).unwrap().wait().unwrap();
    assert_eq!(fleet(&*b).adopted_from().unwrap(), [name(0)], "for whom it stands");
    let next = take(&*b, of_vp(3, 1));
    assert!(next > of_b);
    let folder = tempfile::tempdir().unwrap();
    let copy = copy_of(&*b, folder.path(), "copy");
    agree(&copy, &*b);
    assert_eq!(plain(9).to(&copy).1, Some(MissionNo(next.0 + 1)));
}

fn what_lies_between_two_adopted_shares_is_somebody_elses(kit: &dyn Kit) {
    let [a, b, c] = [0, 1, 2].map(|node| kit.open(node));
    let of_b = take(&*b, of_vp(1, 1));
    take(&*a, of_vp(0, 0));
    kit.silence(0);
    adopt(&*c, ShareNo(0)).unwrap();
    kit.hears(0);
    let of_c = take(&*c, of_vp(2, 2));
    let all = |log: &dyn Log| {
        let heads = log.heads_newest_first(None, 9).unwrap();
        (heads.into_iter().map(|(no, _)| no).collect::<Vec<_>>(), log.feed_after(0, 9).unwrap().len())
    };
    c.prune_feed_before(of_c.0 + 1).unwrap();
    c.barrier().unwrap().wait().unwrap();
    assert_eq!(all(&*b), (vec![of_b], 1), "nothing of it is pruned");
    assert_eq!(all(&*c), (vec![of_c, MissionNo(1)], 0));
}

fn a_share_that_was_given_back_is_anybodys_at_once(kit: &dyn Kit) {
    let [a, b] = [0, 1].map(|node| kit.open(node));
    let of_a = take(&*a, of_vp(1, 1));
    fleet(&*a).give_back();
    take(&*a, of_vp(2, 1));
    a.close().unwrap();
    assert_eq!(adopt(&*b, ShareNo(0)).unwrap().1.first(), Some(&of_a));
    assert_eq!(fleet(&*b).adopted_from().unwrap(), [name(0)]);
    fleet(&*b).give_back();
    b.close().unwrap();
    let c = kit.open(2);
    assert_eq!(fleet(&*c).adopted_from().unwrap(), [name(0)]);
    assert_eq!((fleet(&*c).share(), c.heads_oldest_first(None, 9).unwrap().len()), (ShareNo(1), 2));
}

fn nobody_is_sure_who_is_not_heard(kit: &dyn Kit) {
    let [a, _b] = [0, 1].map(|node| kit.open(node));
    wait(fleet(&*a).sure()).unwrap();
    assert!(!fleet(&*a).certain_for().is_zero());
    kit.silence(0);
    assert!(fleet(&*a).certain_for().is_zero());
    let mut sure = fleet(&*a).sure();
    assert!(matches!(sure.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    kit.hears(0);
    wait(sure).unwrap();
    assert!(!fleet(&*a).certain_for().is_zero());
}

/// A history of `steps` random steps of `nodes` nodes, the same for the same seed, done to a store and to the naive one.
pub(crate) fn history(kit: &dyn Kit, (nodes, adopts): (usize, bool), seed: u64, steps: usize) {
    let (model, mut dice) = (Memory::new(), Dice(seed));
    let open = |node: usize| (kit.open(node), model.log(node));
    let mut logs: Vec<(Box<dyn Log>, MemoryLog)> = (0..nodes).map(open).collect();
    let mut reader = feed::Reader::default();
    for step in 0..steps {
        let node = dice.at(nodes);
        if adopts && dice.below(12) == 0 && nodes > 1 {
            let other = (node + 1 + dice.at(nodes - 1)) % nodes;
            adopts_from(kit, &model, &mut logs, (node, other));
        } else if dice.below(25) == 0 {
            logs[node].0.close().unwrap();
            logs[node].1.close().unwrap();
            logs[node] = open(node);
        } else {
            let (log, model) = &logs[node];
            one_step(&**log, model, &mut dice, step);
        }
        // Of whichever it asks, as much as it likes.
        reader.reads(&*logs[dice.at(nodes)].0, 1 + dice.at(4));
    }
    for (log, _) in &logs {
        log.barrier().unwrap().wait().unwrap();
    }
    for (log, model) in &logs {
        agree(&**log, model);
        feed::agree(&**log, model);
    }
    reader.reads_all(&*logs[0].0);
    reader.has_all_of(&*logs[0].0);
}

/// What `other` left goes to `node`, and `other` begins anew.
fn adopts_from(kit: &dyn Kit, model: &Memory, logs: &mut [(Box<dyn Log>, MemoryLog)], (node, other): (usize, usize)) {
    let share = fleet(&*logs[other].0).share();
    kit.silence(other);
    model.silence(other);
    let (log, naive) = &logs[node];
    let [done, expected] = [&**log, naive as &dyn Log].map(|log| adopt(log, share).unwrap());
    assert_eq!(done, expected, "{node} adopts {share} of {other}");
    kit.hears(other);
    model.hears(other);
    for log in [&*logs[other].0, &logs[other].1] {
        assert!(log.act("late".to_owned()).and_then(sortie_journal::Receipt::wait).is_err());
    }
    logs[other] = (kit.open(other), model.log(other));
}

fn one_step(log: &dyn Log, model: &MemoryLog, dice: &mut Dice, step: usize) {
    let heads = model.heads_oldest_first(None, usize::MAX).unwrap();
    let some = if heads.is_empty() { None } else { Some(heads[dice.at(heads.len())].clone()) };
    match (dice.below(17), some) {
        (0..6, _) => {
            let session = Some(dice.below(4)).filter(|session| *session > 0);
            let dispatch = Dispatch { id: dice.below(20), key: dice.below(20), vp: dice.below(6), session };
            let [whose, expected] = [log, model].map(|log| claim(log, dispatch));
            assert_eq!(whose, expected, "step {step}: {dispatch:?}");
            if whose.is_none() {
                assert_eq!(dispatch.to(log), dispatch.to(model), "step {step}: {dispatch:?}");
            }
        }
        (6..9, Some((no, head))) => {
            let next = u32::try_from(model.read_all(no, 0).unwrap().len()).unwrap();
            let append = Append::new(no, next, &[stamped(&step.to_string())]).head(&Head { crashes: 1, ..head });
            let append = match dice.below(3) {
                0 => append.cursor(&Cursor { acked: step as u64, ..Cursor::default() }),
                1 => append.delivered(),
                _ => append,
            };
            let [done, expected] = [log, model].map(|log| log.append_durable(append.clone()).unwrap().wait());
            assert_eq!(done, expected, "step {step}: {append:?}");
        }
        (9, Some((no, _))) => {
            [log, model].iter().for_each(|log| log.remove(no).unwrap());
            log.barrier().unwrap().wait().unwrap();
        }
        (10 | 11, _) => schedules(log, model, dice, step),
        (12, Some((no, _))) => [log, model].map(|log| log.keep_clocks(&[(no, step as u64)]).unwrap()).fill(()),
        (13, _) => [log, model].map(|log| log.act(step.to_string()).unwrap().wait().unwrap()).fill(0),
        (14, Some((no, _))) => pays_alike([log, model], no, step),
        (15, _) => {
            let position = (*model.follow().borrow()).saturating_sub(dice.below(4));
            [log, model].map(|log| log.prune_feed_before(position).unwrap()).fill(());
            // Before another one adopts what it is of: of what was on its way then, nothing lands.
            log.barrier().unwrap().wait().unwrap();
        }
        (16, _) => pools::alike([log, model], dice, step),
        _ => {}
    }
}

fn pays_alike(logs: [&dyn Log; 2], no: MissionNo, step: usize) {
    logs.into_iter().for_each(|log| pays(log, no, step as u64));
}

fn schedules(log: &dyn Log, model: &MemoryLog, dice: &mut Dice, step: usize) {
    let name = dice.below(4);
    let whose = |log: &dyn Log| owner(|| wait(fleet(log).claim_schedule(id_of(name))));
    assert_eq!(whose(log), whose(model), "step {step}: {name}");
    if whose(model).is_some() {
        return;
    }
    let stands = model.schedule(&id_of(name)).unwrap().map_or(0, |kept| kept.version);
    let change = match dice.below(4) {
        _ if stands == 0 => made(name),
        0 => sortie_journal::ScheduleChange::removed(&id_of(name), stands),
        _ => moved(name, stands, dice.below(3)),
    };
    [log, model].map(|log| log.change_schedule(change.clone()).unwrap().wait().unwrap()).fill(0);
}

/// Every question has the same answer.
fn agree(log: &dyn Log, model: &dyn Log) {
    let heads = model.heads_oldest_first(None, usize::MAX).unwrap();
    assert_eq!(log.heads_oldest_first(None, usize::MAX).unwrap(), heads);
    assert_eq!(log.headless(), model.headless());
    for limit in [1, 3, usize::MAX] {
        assert_eq!(log.heads_newest_first(None, limit).unwrap(), model.heads_newest_first(None, limit).unwrap());
    }
    for (no, head) in &heads {
        assert_eq!(log.read_all(*no, 0).unwrap(), model.read_all(*no, 0).unwrap());
        assert_eq!(log.cursor(*no).unwrap(), model.cursor(*no).unwrap());
        assert_eq!(log.find(&head.mission_id).unwrap(), model.find(&head.mission_id).unwrap());
        for limit in [2, 99] {
            let (newest, oldest) = (Log::heads_newest_first, Log::heads_oldest_first);
            assert_eq!(newest(log, Some(*no), limit).unwrap(), newest(model, Some(*no), limit).unwrap());
            assert_eq!(oldest(log, Some(*no), limit).unwrap(), oldest(model, Some(*no), limit).unwrap());
            assert_eq!(log.cursors_after(Some(*no), limit).unwrap(), model.cursors_after(Some(*no), limit).unwrap());
        }
    }
    let entries = model.feed_after(0, usize::MAX).unwrap();
    for from in entries.iter().map(|entry| entry.position).chain([0]).collect::<BTreeSet<u64>>() {
        for limit in [1, 5, 999] {
            assert_eq!(log.feed_after(from, limit).unwrap(), model.feed_after(from, limit).unwrap());
        }
    }
    assert_eq!(
        (log.feed_begin().unwrap(), *log.follow().borrow()),
        (model.feed_begin().unwrap(), *model.follow().borrow())
    );
    assert_eq!(log.schedules_after(None, 99).unwrap(), model.schedules_after(None, 99).unwrap());
    for name in 0..4 {
        assert_eq!(log.fires(&id_of(name), None, 99).unwrap(), model.fires(&id_of(name), None, 99).unwrap());
    }
    assert_eq!(log.clocks().unwrap(), model.clocks().unwrap());
    assert_eq!(log.actions(None, 999).unwrap(), model.actions(None, 999).unwrap());
    assert_eq!(log.balances(date(2026, 1, 1)).unwrap(), model.balances(date(2026, 1, 1)).unwrap());
    assert_eq!(log.undelivered().unwrap(), model.undelivered().unwrap());
    let sessions = Log::sessions_newest_first;
    assert_eq!(sessions(log, None, 99).unwrap(), sessions(model, None, 99).unwrap());
}
