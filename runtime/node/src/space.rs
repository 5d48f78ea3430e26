//! What a data folder takes on its disk, by kind: looked at from time to time, for it takes a while where there are many files.
//!
//! Owned here: which name is of which kind, and how often it is looked. Never here: what is removed.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sortie_contract::Timestamp;
use sortie_engine::Engine;
use sortie_engine::shown::SpaceView;

use crate::backup;

/// How often it is looked.
const ROUND: Duration = Duration::from_secs(10 * 60);

/// What was found last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space(Arc<Mutex<Option<SpaceView>>>);

impl Space {
    /// What was found last; nothing before the first look is done.
    pub(crate) fn seen(&self) -> Option<SpaceView> {
        self.0.lock().clone()
    }

    /// Looks now, and again and again.
    pub(crate) fn watch(&self, engine: &Arc<Engine>, data_dir: PathBuf) {
        let (ambient, seen) = (Arc::clone(engine.ambient()), self.clone());
        engine.supervise("space", async move {
            loop {
                let (folder, now) = (data_dir.clone(), ambient.wall());
                // What cannot be looked at is looked at in the next round.
                if let Ok(found) = ambient.unblock(move || measure(&folder, now)).await {
                    *seen.0.lock() = Some(found);
                }
                ambient.sleep(ROUND).await;
            }
        });
    }
}

/// Looks. What goes away meanwhile, or cannot be read, does not count. Links are not followed. Blocks.
pub(crate) fn measure(data_dir: &Path, now: Timestamp) -> SpaceView {
    let mut view = SpaceView {
        measured_at: now,
        journal: 0,
        artifacts: 0,
        workspaces: 0,
        plugins: 0,
        compiled: 0,
        reserve: 0,
        backups: 0,
        moved_aside: 0,
        other: 0,
    };
    for entry in fs::read_dir(data_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let path = entry.path();
        match &*name.to_string_lossy() {
            "journal.redb" | "journal.redb.mark" => view.journal += taken(&path),
            "artifacts" => view.artifacts += taken(&path),
            "workspaces" => view.workspaces += taken(&path),
            "plugins" => {
                let compiled = taken(&path.join("compiled"));
                view.compiled += compiled;
                view.plugins += taken(&path).saturating_sub(compiled);
            }
            "reserve" => view.reserve += taken(&path),
            name if backup::is_draft(name) => view.backups += taken(&path),
            name if backup::is_moved_aside(name) => view.moved_aside += taken(&path),
            _ => view.other += taken(&path),
        }
    }
    view
}

/// What a file takes, or a folder with all that is below it.
fn taken(path: &Path) -> u64 {
    let (mut sum, mut left) = (0, vec![path.to_owned()]);
    while let Some(path) = left.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else {
            sum += on_disk(&metadata);
        }
    }
    sum
}

/// What a file takes, and not how long it is: a journal that has doubled has holes. A file system that does not say is believed its length.
fn on_disk(metadata: &Metadata) -> u64 {
    match metadata.blocks() {
        0 => metadata.len(),
        blocks => blocks * 512,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_lies_there_is_of_one_kind() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("it is below")).expect("made");
            fs::write(path, [7; 5_000]).expect("written");
        };
        assert!(measure(dir.path(), Timestamp::UNIX_EPOCH).kinds().iter().all(|(_, bytes)| *bytes == 0));
        let all = [
            ("journal", "journal.redb"),
            ("artifacts", "artifacts/1/x"),
            ("workspaces", "workspaces/a/b/c"),
            ("plugins", "plugins/x.wasm"),
            ("compiled", "plugins/compiled/x"),
            ("reserve", "reserve"),
            ("backups", "backup.partial/x/journal.redb"),
            ("backups", "restoring-20261127T010203Z/journal.redb"),
            ("moved_aside", "before-restore-20261127T010203Z/artifacts/1/x"),
            ("other", "core"),
        ];
        let mut before = measure(dir.path(), Timestamp::UNIX_EPOCH);
        for (kind, name) in all {
            put(name);
            let after = measure(dir.path(), Timestamp::UNIX_EPOCH);
            for ((named, before), (_, after)) in before.kinds().into_iter().zip(after.kinds()) {
                let grew = after >= before + 5_000;
                assert_eq!(grew, named == kind, "{name}: {named} from {before} to {after}");
            }
            before = after;
        }
        // Of a file without a block nobody can say whether it takes none or is on a file system that does not count them.
        let path = dir.path().join("journal.redb.mark");
        fs::File::create(&path).and_then(|file| file.set_len(1 << 30)).expect("made");
        if fs::metadata(&path).expect("it is there").blocks() == 0 {
            assert!(measure(dir.path(), Timestamp::UNIX_EPOCH).journal >= 1 << 30);
        }
        std::os::unix::fs::symlink("/usr", dir.path().join("artifacts/link")).expect("a link");
        assert!(measure(dir.path(), Timestamp::UNIX_EPOCH).artifacts < 100_000, "what a link leads to is elsewhere");
    }
}
