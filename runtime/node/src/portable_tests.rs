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
        let packs = files(&store.join("workspaces").join(name(&one.place())).join("packs"));
        packs.iter().for_each(|pack| fs::write(pack, "0").expect("written"));
        assert!(matches!(two.fetch(), Err(CarryError::Damaged(_))));
        assert_eq!(two.read("file"), "1");
    })
    .await;
}

/// What lies in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).expect("listed").flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Something that happens to a store.
type Happens = fn(&Path);

/// What may have happened to what a node kept in a store, which it did not notice.
fn misfortunes() -> [(&'static str, Happens); 9] {
    fn all(packs: &str, store: &Path, does: impl Fn(&Path)) {
        let place = files(&store.join("workspaces")).remove(0);
        files(&place.join(packs)).iter().for_each(|file| does(file));
    }
    fn cut(file: &Path) {
        let bytes = fs::read(file).expect("read");
        fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
    }
    fn garble(file: &Path) {
        let mut bytes = fs::read(file).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, &bytes).expect("written");
    }
    fn pipe(file: &Path) {
        fs::remove_file(file).expect("removed");
        rustix::fs::mkfifoat(rustix::fs::CWD, file, rustix::fs::Mode::from_raw_mode(0o600)).expect("made");
    }
    fn link(file: &Path) {
        // To the very bytes, which anybody may change there.
        let aside = file.parent().and_then(Path::parent).expect("a folder above").join("aside");
        fs::rename(file, &aside).expect("moved");
        symlink(aside, file).expect("made");
    }
    fn removed(file: &Path) {
        fs::remove_file(file).expect("removed");
    }
    [
        ("the packs are gone", |store| all("packs", store, removed)),
        ("the packs are cut", |store| all("packs", store, cut)),
        ("the packs have other bytes", |store| all("packs", store, garble)),
        ("pipes are in the place of the packs", |store| all("packs", store, pipe)),
        ("links are in the place of the packs", |store| all("packs", store, link)),
        ("the list is cut", |store| all("log", store, cut)),
        ("the list has other bytes", |store| all("log", store, garble)),
        ("a pipe is in the place of the list", |store| all("log", store, pipe)),
        ("a link is in the place of the list", |store| all("log", store, link)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_said_with_its_place_and_nothing_of_it_is_made_until_people_let_it_begin_anew() {
    for (case, happens) in misfortunes() {
        blocking(move |store| {
            let one = At::new(store, "one");
            one.fetch().expect("nothing");
            one.write("file", "some text that is long enough");
            one.keep().expect("kept");
            happens(store);
            let two = At::new(store, "two");
            for _ in 0..2 {
                let said = two.fetch().expect_err(case);
                let CarryError::Damaged(why) = &said else { panic!("{case}: {said:?}") };
                assert!(why.contains(&format!("file://{}/workspaces/", store.display())), "{case}: {why}");
                assert!(!two.place().exists(), "{case}");
            }
            two.portable.begin_anew(&who().0, &who().1).expect(case);
            assert_eq!(two.fetch().expect(case), Fetched::Here, "{case}");
            assert_eq!(files(&two.place()), [] as [PathBuf; 0], "{case}");
            two.write("file", "another");
            two.keep().expect(case);
            let three = At::new(store, "three");
            assert_eq!(three.fetch().expect(case), Fetched::Here, "{case}");
            assert_eq!(three.read("file"), "another", "{case}");
            // Who was there before is told, and has nothing more to say.
            one.write("late", "1");
            assert!(matches!(one.keep(), Err(CarryError::TakenOver)), "{case}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_written_again_by_the_node_that_has_the_folder() {
    for (case, happens) in misfortunes() {
        blocking(move |store| {
            let one = At::new(store, "one");
            one.fetch().expect("nothing");
            one.write("file", "some text that is long enough");
            one.keep().expect("kept");
            happens(store);
            let one = one.restarted(store, "one");
            assert_eq!(one.fetch().expect(case), Fetched::Here, "{case}");
            one.write("other", "1");
            one.keep().expect(case);
            let two = At::new(store, "two");
            // Bytes of a pack are read by whoever fetches them, and by nobody else.
            if case == "the packs have other bytes" {
                assert!(matches!(two.fetch(), Err(CarryError::Damaged(_))), "{case}");
                return;
            }
            assert_eq!(two.fetch().expect(case), Fetched::Here, "{case}");
            assert_eq!(two.read("file"), "some text that is long enough", "{case}");
            assert_eq!(two.read("other"), "1", "{case}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_back_is_fetched_as_if_nothing_had_been() {
    blocking(|store| {
        let one = At::new(store, "one");
        one.fetch().expect("nothing");
        one.write("file", "1");
        one.keep().expect("kept");
        let two = At::new(store, "two");
        two.fetch().expect("brought back");
        let (log, aside) = (store.join("workspaces").join(name(&one.place())).join("log"), store.join("aside"));
        // Only a claim is left, which speaks of what is gone.
        let list = files(&log).remove(0);
        fs::rename(&list, &aside).expect("moved");
        let three = At::new(store, "three");
        let said = three.fetch().expect_err("it is gone");
        assert!(matches!(&said, CarryError::Damaged(why) if why.contains("it is not there")), "{said:?}");
        fs::rename(&aside, &list).expect("moved back");
        assert_eq!(three.fetch().expect("brought back"), Fetched::Here);
        assert_eq!(three.read("file"), "1");
        // All lists are gone, and the folder is here: it counts, and no number is given twice.
        let before = three.portable.note(&three.place()).expect("noted");
        files(&log).iter().for_each(|list| fs::remove_file(list).expect("removed"));
        assert_eq!(three.fetch().expect("here"), Fetched::Here);
        assert!(three.portable.note(&three.place()).is_some_and(|note| note > before));
        let four = At::new(store, "four");
        assert_eq!(four.fetch().expect("brought back"), Fetched::Here);
        assert_eq!(four.read("file"), "1");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nobodys_goes_from_the_store_and_from_the_node_and_nothing_else_does() {
    blocking(|store| {
        let one = At::new(store, "one");
        let (vp, session) = (VpId::new("vp").expect("valid"), SessionId::new("child:m.child-1").expect("valid"));
        let (mission, parent) = ("m.child-1".parse().expect("valid"), "m".parse().expect("valid"));
        let left = LeftBehind { vp: vp.clone(), session: session.clone(), mission, parent };
        one.write("kept", "another's");
        one.keep().expect("kept");
        let place = one.portable.place(&vp, &session);
        fs::create_dir_all(&place).expect("made");
        fs::write(place.join("file"), "its").expect("written");
        one.portable.keep(&vp, &session).expect("kept");
        let kept = store.join("workspaces").join(name(&place));
        assert!(kept.exists(), "it is in the store");
        one.portable.leave(&left).expect("marked");
        let one = one.restarted(store, "one");
        assert_eq!(one.portable.left(), [left]);
        one.portable.remove(&vp, &session).expect("removed");
        assert!(!kept.exists() && !place.exists() && one.portable.left().is_empty());
        assert_eq!(one.portable.fetch_back(&vp, &session).expect("looked for"), Fetched::Nothing);
        assert_eq!(one.fetch().expect("here"), Fetched::Here);
        assert_eq!(one.read("kept"), "another's");
    })
    .await;
}
