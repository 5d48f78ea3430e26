//! Copies of a log: they open with all that was acknowledged, and are nobody else's.

use sortie_contract::MissionNo;
use sortie_journal::{EmbeddedLog, Journal, Log, MemoryLog, Options, SnapshotError};

use super::{agree, history, plain};

/// The log that a snapshot holds, of one that it is made of now.
pub(super) fn copy_of(log: &dyn Log, folder: &std::path::Path, name: &str) -> EmbeddedLog {
    let path = folder.join(name);
    log.snapshot(&path).unwrap();
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    EmbeddedLog::new(journal, &opened, |_, _| ()).unwrap()
}

pub(super) fn a_snapshot_opens_with_all_that_was_acknowledged(log: &dyn Log) {
    let folder = tempfile::tempdir().unwrap();
    agree(&copy_of(log, folder.path(), "empty"), log);
    history(log, &MemoryLog::default(), 7, 90);
    let copy = copy_of(log, folder.path(), "full");
    agree(&copy, log);
    let given = |log: &dyn Log| plain(999).ask(log, false).0.unwrap().no;
    assert_eq!(given(&copy), given(log), "a number is given once, though its mission was removed");
    // It is nobody else's: neither sees what the other writes, and nothing is written over.
    plain(500).to(log);
    assert_eq!(copy.find(&plain(500).names().0).unwrap(), None);
    assert_eq!(plain(501).to(&copy).1, Some(given(&copy)).map(|no| MissionNo(no.0 - 1)));
    assert!(matches!(log.snapshot(&folder.path().join("full")), Err(SnapshotError::Exists { .. })));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{left:?}");
}
