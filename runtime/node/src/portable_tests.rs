//! Nodes with data directories of their own, and one store.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::config::Config;
use sortie_engine::Disk;

/// A node's workspaces.
struct At {
    _dir: tempfile::TempDir,
    portable: Portable,
}

impl At {
    fn new(store: &Path, name: &str) -> Self {
        Self::of(tempfile::tempdir().expect("a folder"), store, name)
    }

    /// The same data directory, in another process.
    fn restarted(self, store: &Path, name: &str) -> Self {
        Self::of(self._dir, store, name)
    }

    fn of(dir: tempfile::TempDir, store: &Path, name: &str) -> Self {
        let mut config = Config::default();
        config.artifact.shared = Some(format!("file://{}", store.display()));
        let shared = Shared::open(&config, dir.path()).expect("fits").expect("is named");
        let room = Arc::new(SharedRoom::new(Arc::new(Disk::new(dir.path(), 0)), u64::MAX));
        let bounds = WorkspaceBounds { bytes_max: 8 << 20, files_max: 100 };
        let folders = Arc::new(FolderWorkspaces::new(dir.path().to_owned(), bounds, Arc::clone(&room)));
        let portable = Portable::new(folders, bounds, room, shared, name).expect("made");
        Self { _dir: dir, portable }
    }

    fn place(&self) -> PathBuf {
        let (vp, session) = who();
        self.portable.place(&vp, &session)
    }

    fn fetch(&self) -> Result<Fetched, CarryError> {
        let (vp, session) = who();
        self.portable.fetch_back(&vp, &session)
    }

    fn keep(&self) -> Result<(), CarryError> {
        let (vp, session) = who();
        self.portable.keep(&vp, &session)
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.place().join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, text).expect("written");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.place().join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
    }
}

fn who() -> (VpId, SessionId) {
    (VpId::new("vp").expect("valid"), SessionId::new("vp.session-1").expect("valid"))
}

/// Does something where blocking is allowed.
async fn blocking(does: impl FnOnce(&Path) + Send + 'static) {
    let store = tempfile::tempdir().expect("a folder");
    // The store's handle is that of the runtime.
    let done = tokio::task::spawn_blocking(move || does(store.path()));
    done.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_at_another_node_what_it_was_when_it_was_kept() {
    blocking(|store| {
        let (one, two) = (At::new(store, "one"), At::new(store, "two"));
        assert_eq!(one.fetch().expect("nothing"), Fetched::Nothing);
        one.write("a/b.txt", "b");
        one.write("run.sh", "#!/bin/sh");
        fs::set_permissions(one.place().join("run.sh"), fs::Permissions::from_mode(0o755)).expect("set");
        symlink("a/b.txt", one.place().join("link")).expect("linked");
        let large = "0123456789abcdef".repeat(200_000);
        one.write("large", &large);
        one.write("empty", "");
        one.keep().expect("kept");
        // What comes behind it is of no recorded call.
        one.write("later", "never kept");
        assert_eq!(two.fetch().expect("brought back"), Fetched::Here);
        assert_eq!(
            (two.read("a/b.txt"), two.read("link"), two.read("empty")),
            ("b".to_owned(), "b".to_owned(), String::new())
        );
        assert!(two.read("large") == large && !two.place().join("later").exists());
        assert_eq!(fs::metadata(two.place().join("run.sh")).expect("there").permissions().mode() & 0o777, 0o700);
        // The first is no writer any more, and gets what the second made of it when it has the session again.
        assert!(matches!(one.keep(), Err(CarryError::TakenOver)));
        two.write("large", &large.replacen('0', "X", 1));
        fs::remove_file(two.place().join("run.sh")).expect("removed");
        two.keep().expect("kept");
        assert_eq!(one.fetch().expect("brought back"), Fetched::Here);
        assert!(one.read("large").starts_with("X123") && one.read("large").len() == large.len());
        assert!(!one.place().join("run.sh").exists() && !one.place().join("later").exists());
        two.write("late", "of one that is no writer any more");
        assert!(matches!(two.keep(), Err(CarryError::TakenOver)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_keeps_what_lies_there_and_one_that_was_away_does_not() {
    blocking(|store| {
        let one = At::new(store, "one");
        one.write("kept", "1");
        assert_eq!(one.fetch().expect("taken up"), Fetched::Here);
        one.write("behind", "of a call that is under way");
        let one = one.restarted(store, "one");
        assert_eq!(one.fetch().expect("here"), Fetched::Here);
        assert_eq!(one.read("behind"), "of a call that is under way");
        one.keep().expect("kept");
        // Another one has it, and the first comes back: what it has is of before.
        let two = At::new(store, "two");
        two.fetch().expect("brought back");
        two.write("kept", "2");
        two.keep().expect("kept");
        let one = one.restarted(store, "one");
        one.write("kept", "stale");
        assert!(matches!(one.keep(), Err(CarryError::TakenOver)));
        one.fetch().expect("brought back");
        assert_eq!((one.read("kept"), one.read("behind")), ("2".to_owned(), "of a call that is under way".to_owned()));
        // Somebody took the folder away.
        fs::remove_dir_all(one.place()).expect("removed");
        one.fetch().expect("brought back");
        assert_eq!(one.read("kept"), "2");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_was_lost_does_not_make_a_folder_that_is_worked_in_another_nodes() {
    blocking(|store| {
        let one = At::new(store, "one");
        one.fetch().expect("nothing");
        one.write("file", "1");
        one.keep().expect("kept");
        let note = || one.portable.note(&one.place());
        assert_eq!(note(), Some(1));
        one.portable.write_note(&one.place(), 0).expect("written");
        one.write("behind", "of a call that is under way");
        assert_eq!(one.fetch().expect("here"), Fetched::Here);
        assert_eq!((one.read("behind"), note()), ("of a call that is under way".to_owned(), Some(1)));
        one.keep().expect("kept");
        one.portable.write_note(&one.place(), 1).expect("written");
        one.keep().expect("nothing to do but the note");
        assert_eq!(note(), Some(2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_seen_however_soon_it_comes_and_nothing_is_written_without_one() {
    blocking(|store| {
        let (one, mut last) = (At::new(store, "one"), 0);
        one.fetch().expect("nothing");
        let numbers = || {
            let found = fs::read_dir(store.join("workspaces").join(name(&one.place())).join("log")).expect("listed");
            found.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok()).max().expect("one")
        };
        for round in 0..20 {
            // As long each time, in the same file, one right after the other.
            one.write("file", &format!("{round:04}"));
            one.keep().expect("kept");
            assert_eq!(numbers(), last + 1, "{round}");
            last += 1;
        }
        one.keep().expect("nothing to do");
        assert_eq!(numbers(), last);
        let two = At::new(store, "two");
        two.fetch().expect("brought back");
        assert_eq!(two.read("file"), "0019");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_or_is_damaged_leaves_what_is_there() {
    blocking(|store| {
        let (one, two) = (At::new(store, "one"), At::new(store, "two"));
        one.fetch().expect("nothing");
        one.write("file", "1");
        one.keep().expect("kept");
        two.fetch().expect("brought back");
        one.fetch().expect("brought back");
        for number in 0..101 {
            one.write(&format!("many/{number}"), "");
        }
        assert!(matches!(one.keep(), Err(CarryError::Broken(why)) if why.contains("100 files")));
        fs::remove_dir_all(one.place().join("many")).expect("removed");
        one.write("file", "2");
        one.keep().expect("kept");
        let packs = store.join("workspaces").join(name(&one.place())).join("packs");
        for pack in fs::read_dir(packs).expect("listed").flatten() {
            fs::write(pack.path(), "0").expect("written");
        }
        assert!(matches!(two.fetch(), Err(CarryError::Broken(_))));
        assert_eq!(two.read("file"), "1");
    })
    .await;
}
