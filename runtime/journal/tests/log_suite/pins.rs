//! Missions that are kept.

use sortie_contract::{MissionNo, Timestamp};
use sortie_journal::{Log, Pinned};

use super::plain;
use super::snapshots::copy_of;

fn pin(by: &str) -> Pinned {
    Pinned { at: Timestamp::UNIX_EPOCH, by: by.to_owned() }
}

pub(super) fn one_stays_until_it_is_taken_back_or_goes_with_its_mission(log: &dyn Log) {
    let missions: Vec<MissionNo> = (1..=3).map(|name| plain(name).to(log).1.unwrap()).collect();
    for no in &missions {
        log.pin(*no, Some(&pin("hq"))).unwrap().wait().unwrap();
    }
    drop(log.pin(missions[1], Some(&pin("op"))).unwrap());
    log.pin(missions[0], None).unwrap().wait().unwrap();
    let kept = [(missions[1], pin("op")), (missions[2], pin("hq"))];
    assert_eq!(log.pins().unwrap(), kept);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(copy_of(log, folder.path(), "pinned").pins().unwrap(), kept);
    // In one commit with the removal, and before it.
    drop(log.pin(missions[2], Some(&pin("op"))).unwrap());
    log.remove(missions[2]).unwrap();
    log.remove(missions[1]).unwrap();
    log.barrier().unwrap().wait().unwrap();
    assert_eq!(log.pins().unwrap(), []);
}

/// Sets a pin or takes it away, in both logs alike.
pub(super) fn step(logs: [&dyn Log; 2], no: MissionNo, step: usize, sets: bool) {
    let pinned = sets.then(|| pin(&step.to_string()));
    logs.iter().for_each(|log| drop(log.pin(no, pinned.as_ref()).unwrap()));
}
