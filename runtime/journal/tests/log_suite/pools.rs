//! What nodes share out among themselves is never more than there is, whoever asks, gives back, dies or comes back.

use std::sync::Mutex;

use sortie_journal::{Log, PoolAsk, PoolSaid, ShareNo, WriteError};

use super::Dice;
use super::fleet::{Kit, adopt, fleet, wait};

const LIMIT: u64 = 3;

fn asks(keeps: u64, lacks: u64) -> PoolAsk {
    let pool = "lane:coding".to_owned();
    PoolAsk { pool, limit: LIMIT, keeps, lacks, least: lacks.min(1), spare: 0, used: 0, since_ms: None }
}

fn says(log: &dyn Log, asks: &[PoolAsk]) -> Result<Vec<PoolSaid>, WriteError> {
    says_of(log, &fleet(log).shares(), asks)
}

/// Asks again where nobody could be asked.
fn says_of(log: &dyn Log, shares: &[ShareNo], asks: &[PoolAsk]) -> Result<Vec<PoolSaid>, WriteError> {
    loop {
        match wait(fleet(log).exchange(shares.to_vec(), asks.to_vec())) {
            Err(WriteError::Overloaded) => {}
            said => return said,
        }
    }
}

fn holds(log: &dyn Log, keeps: u64, lacks: u64) -> u64 {
    says(log, &[asks(keeps, lacks)]).unwrap()[0].held
}

pub(super) fn what_one_gives_back_another_gets_and_never_more_than_there_is(kit: &dyn Kit) {
    let [a, b, c] = [0, 1, 2].map(|node| kit.open(node));
    assert_eq!((holds(&*a, 0, 2), holds(&*b, 0, 2), holds(&*c, 0, 1)), (2, 1, 0));
    let other = PoolAsk { pool: "budget:node:day:2026-11-27:usd".to_owned(), ..asks(0, 3) };
    let said = says(&*c, &[other.clone(), asks(0, 1)]).unwrap();
    assert_eq!(said.iter().map(|said| said.held).collect::<Vec<_>>(), [3, 0], "each pool by itself, in that order");
    assert_eq!(said[1], PoolSaid { held: 0, others_hold: 3, others_lack: 1, others_used: 0 });
    // The second has lacked one for longer.
    assert_eq!((holds(&*a, 1, 0), holds(&*c, 0, 1), holds(&*b, 1, 1)), (1, 0, 2));
    assert_eq!((holds(&*a, 0, 0), holds(&*c, 0, 1)), (0, 1));
    let used = PoolAsk { used: 1, ..asks(1, 0) };
    says(&*c, &[used]).unwrap();
    assert_eq!(
        says(&*b, &[asks(2, 0)]).unwrap()[0],
        PoolSaid { held: 2, others_hold: 1, others_lack: 0, others_used: 1 }
    );
    // The next process of a node has what the one before had, until it says otherwise.
    b.close().unwrap();
    let b = kit.open(1);
    assert_eq!(holds(&*a, 0, 1), 0);
    assert_eq!(fleet(&*b).pools(&fleet(&*b).shares()).unwrap(), [("lane:coding".to_owned(), 0)]);
    assert_eq!((holds(&*b, 1, 0), holds(&*a, 0, 1)), (1, 1));
    assert_eq!(says(&*b, &[]).unwrap(), []);
}

pub(super) fn what_was_held_goes_to_whoever_adopts_it_once_it_says_so(kit: &dyn Kit) {
    let [a, b, c] = [0, 1, 2].map(|node| kit.open(node));
    assert_eq!((holds(&*a, 0, 2), holds(&*b, 0, 1)), (2, 1));
    kit.silence(0);
    assert_eq!(holds(&*c, 0, 1), 0, "it may be there still");
    adopt(&*b, ShareNo(0)).unwrap();
    assert_eq!(fleet(&*b).shares(), [ShareNo(0), ShareNo(1)]);
    assert_eq!(fleet(&*b).pools(&[ShareNo(0)]).unwrap(), [("lane:coding".to_owned(), 0)]);
    // What it does not name yet stays where it is.
    let said = says_of(&*b, &[ShareNo(1)], &[asks(1, 2)]).unwrap()[0];
    assert_eq!((said.held, said.others_hold), (1, 2));
    assert_eq!(holds(&*b, 3, 0), 3, "it keeps what both had");
    says(&*b, &[PoolAsk { used: 2, ..asks(3, 0) }]).unwrap();
    assert_eq!(fleet(&*b).pools(&fleet(&*b).shares()).unwrap(), [("lane:coding".to_owned(), 2)]);
    assert!(fleet(&*b).pools(&[ShareNo(0)]).unwrap().is_empty());
    kit.hears(0);
    let late = says(&*a, &[asks(1, 0)]);
    assert!(matches!(late, Err(WriteError::TakenOver)), "{late:?}");
    assert_eq!(holds(&*c, 0, 1), 0);
    assert_eq!((holds(&*b, 1, 0), holds(&*c, 0, 1)), (1, 1));
    // It begins anew, with nothing.
    let a = kit.open(0);
    assert_eq!((fleet(&*a).shares(), holds(&*a, 0, 2)), (vec![ShareNo(3)], 1));
}

pub(super) fn many_that_ask_at_once_hold_no_more_than_there_is(kit: &dyn Kit) {
    let logs = [0, 1, 2].map(|node| kit.open(node));
    let held = Mutex::new([0_u64; 3]);
    std::thread::scope(|scope| {
        for (node, log) in logs.iter().enumerate() {
            let held = &held;
            scope.spawn(move || {
                let mut dice = Dice(node as u64);
                for _ in 0..60 {
                    // It lets go of some before others may have it.
                    let keeps = {
                        let mut held = held.lock().unwrap();
                        held[node] = held[node].saturating_sub(dice.below(3));
                        held[node]
                    };
                    let told = holds(&**log, keeps, dice.below(3));
                    let mut held = held.lock().unwrap();
                    held[node] = told;
                    assert!(held.iter().sum::<u64>() <= LIMIT, "{held:?} of {LIMIT}");
                }
            });
        }
    });
}

/// Says the same to both, and takes back at once what it lacks: by which clock it waits is another one there.
pub(super) fn alike(logs: [&dyn Log; 2], dice: &mut Dice, step: usize) {
    let pool = format!("lane:{}", dice.below(3));
    let ask = PoolAsk { pool, keeps: dice.below(3), spare: dice.below(3), ..asks(0, dice.below(3)) };
    for ask in [ask.clone(), PoolAsk { lacks: 0, least: 0, spare: 0, ..ask }] {
        let [said, expected] = logs.map(|log| says(log, std::slice::from_ref(&ask)).unwrap());
        assert_eq!(said, expected, "step {step}: {ask:?}");
    }
}
