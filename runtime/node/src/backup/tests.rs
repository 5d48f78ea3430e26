//! Archives that are spoilt in every member, and folders that are restored or not.

use std::fs;
use std::io::Write as _;
use std::ops::Range;

use sortie_contract::{Record, Stamped};
use sortie_journal::{Append, Journal, Options};
use tempfile::TempDir;

use super::restore::restore;
use super::*;

/// A data folder with a journal, two artifacts of missions 1 and 2, one of a later mission, and a plugin.
struct Folder {
    dir: TempDir,
    journal: Option<Journal>,
}

fn record() -> Stamped {
    Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record: Record::Heartbeat }
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("data")).expect("a folder");
        let path = dir.path().join("data/journal.redb");
        let (journal, _) = Journal::open(&path, &Options::default()).expect("a journal");
        let folder = Self { dir, journal: Some(journal) };
        for no in [1, 2] {
            folder.append(no, 0);
        }
        for (no, text) in [(1, "one"), (2, "two"), (9, "of a mission that the backup does not know")] {
            folder.put(&format!("artifacts/{no}/{}", Digest::of(text.as_bytes())), text);
        }
        folder.put("artifacts/2/.tmpx", "half");
        folder.put(&format!("plugins/{}.wasm", Digest::of(b"wasm")), "wasm");
        folder.put("plugins/automation@0.1.0.json", "{}");
        folder.put("plugins/compiled/key", "made again");
        folder.put("workspaces/a/note.txt", "not in it");
        folder.put("token", "hush-hush-hush-hush");
        folder
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("backup.tar")
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::create_dir_all(path.parent().expect("it is below")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    fn append(&self, no: u64, first: u32) {
        let journal = self.journal.as_ref().expect("it is open");
        let receipt = journal.append_durable(Append::new(MissionNo(no), first, &[record()])).expect("taken");
        receipt.wait().expect("written");
    }

    /// Takes a backup, as a node would.
    fn back_up(&self) -> End {
        let copy = self.dir.path().join("copy.redb");
        let _ = fs::remove_file(&copy);
        let copied = self.journal.as_ref().expect("it is open").copy_to(&copy).expect("copied");
        let data_dir = self.data();
        let (instance_id, taken_at) = ("factory-1".to_owned(), Timestamp::UNIX_EPOCH);
        let source = Source { data_dir: &data_dir, journal: &copy, copied, instance_id, taken_at };
        write(&source, fs::File::create(self.archive()).expect("a file")).expect("a backup")
    }

    fn wish<'a>(archive: &'a Path, data_dir: &'a Path, replace: bool) -> Wish<'a> {
        Wish { archive, data_dir, replace, now: "2026-11-27T01:02:03Z".parse().expect("a time") }
    }
}

/// The members of an archive as they lie in it: name, header with what follows it, and the bytes alone.
fn members(bytes: &[u8]) -> Vec<(String, Range<usize>, Range<usize>)> {
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().expect("a tar file") {
        let entry = entry.expect("whole");
        let name = entry.path().expect("a name").to_string_lossy().into_owned();
        let header = usize::try_from(entry.raw_header_position()).expect("small");
        let data = usize::try_from(entry.raw_file_position()).expect("small");
        let len = usize::try_from(entry.size()).expect("small");
        found.push((name, header..data + len.next_multiple_of(512), data..data + len));
    }
    found
}

#[test]
fn an_archive_holds_what_belongs_to_the_journal_and_nothing_else() {
    let folder = Folder::new();
    let end = folder.back_up();
    let checked = check(&folder.archive()).expect("whole");
    assert_eq!(checked.end, end);
    assert_eq!((end.artifacts, end.components, end.left_out), (2, 1, 0));
    let names: Vec<String> =
        members(&fs::read(folder.archive()).expect("read")).into_iter().map(|found| found.0).collect();
    let expected = [
        "manifest.json".to_owned(),
        "journal.redb".to_owned(),
        "plugins/automation@0.1.0.json".to_owned(),
        format!("plugins/{}.wasm", Digest::of(b"wasm")),
        format!("artifacts/1/{}", Digest::of(b"one")),
        format!("artifacts/2/{}", Digest::of(b"two")),
        "end.json".to_owned(),
    ];
    assert_eq!(names, expected);
}

#[test]
fn one_artifact_that_is_damaged_keeps_nothing_else_from_being_backed_up() {
    let folder = Folder::new();
    folder.put(&format!("artifacts/1/{}", Digest::of(b"one")), "eno");
    let end = folder.back_up();
    assert_eq!((end.artifacts, end.left_out), (1, 1));
    check(&folder.archive()).expect("what is there is whole");
}

#[test]
fn whatever_member_is_spoilt_is_named_and_nothing_is_restored() {
    let folder = Folder::new();
    folder.back_up();
    let (whole, path) = (fs::read(folder.archive()).expect("read"), folder.dir.path().join("spoilt.tar"));
    let target = folder.dir.path().join("target");
    let refused = |what: &str, bytes: &[u8], expected: &str| {
        fs::write(&path, bytes).expect("written");
        let error = check(&path).expect_err(what);
        let says = error.to_string();
        assert!(says.contains(expected), "{what}: {says}");
        let error = restore(&Folder::wish(&path, &target, true)).expect_err(what);
        assert_eq!(error.to_string(), says, "{what}");
        assert!(!target.exists(), "{what}: nothing was written");
    };
    let all = members(&whole);
    let mut before = String::new();
    for (name, around, data) in &all {
        let mut flipped = whole.clone();
        flipped[data.start + data.len() / 2] ^= 1;
        let expected = if name == "manifest.json" || name == "end.json" { "" } else { name };
        refused(&format!("a bit of {name}"), &flipped, expected);
        refused(&format!("cut in {name}"), &whole[..data.end - 1], &format!("in the middle of `{name}`"));
        let mut header = whole.clone();
        header[around.start + 130] ^= 1;
        refused(&format!("the header of {name}"), &header, if before.is_empty() { "no tar file" } else { &before });
        if !before.is_empty() {
            refused(&format!("cut before {name}"), &whole[..around.start], &format!("cut off behind `{before}`"));
            let without = [&whole[..around.start], &whole[around.end..]].concat();
            let expected = if name == "end.json" { "cut off behind" } else { "other members" };
            refused(&format!("without {name}"), &without, expected);
            let twice = [&whole[..around.end], &whole[around.clone()], &whole[around.end..]].concat();
            let expected = if name == "end.json" { "it follows the end" } else { "other members" };
            refused(&format!("{name} twice"), &twice, expected);
        }
        before.clone_from(name);
    }
    refused("nothing", b"", "it is empty");
    refused("something else", &b"PK and so on, for long enough that it might be a header ".repeat(20), "no tar file");
}

/// An archive of these members, whose names and types nobody checked.
fn crafted(members: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().expect("it is one").name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, *bytes).expect("written");
    }
    builder.into_inner().expect("written")
}

#[test]
fn what_has_no_place_in_an_archive_is_refused_by_its_name() {
    use tar::EntryType::{Regular, Symlink};
    let folder = Folder::new();
    folder.back_up();
    let whole = fs::read(folder.archive()).expect("read");
    let manifest = &whole[members(&whole)[0].2.clone()];
    let newer =
        String::from_utf8_lossy(manifest).replace("\"format\": 1,\n  \"version\"", "\"format\": 2,\n  \"version\"");
    for (members, expected) in [
        (vec![("manifest.json", Regular, manifest), ("../../etc/passwd", Regular, &b"x"[..])], "../../etc/passwd"),
        (vec![("manifest.json", Regular, manifest), ("token", Regular, &b"x"[..])], "`token` has no place"),
        (
            vec![("manifest.json", Regular, manifest), ("plugins/b.json", Regular, &b"x"[..])],
            "the manifest does not know it",
        ),
        (vec![("manifest.json", Regular, manifest), ("journal.redb", Symlink, &b""[..])], "it is no file"),
        (vec![("journal.redb", Regular, &b"x"[..])], "does not begin with"),
        (vec![("manifest.json", Regular, &b"{}"[..])], "cannot be read"),
        (vec![("manifest.json", Regular, newer.as_bytes())], "a newer Sortie"),
    ] {
        fs::write(folder.archive(), crafted(&members)).expect("written");
        let says = check(&folder.archive()).expect_err(expected).to_string();
        assert!(says.contains(expected), "{expected}: {says}");
    }
}

#[test]
fn what_follows_the_end_is_no_part_of_a_backup() {
    let folder = Folder::new();
    folder.back_up();
    let whole = fs::read(folder.archive()).expect("read");
    fs::write(folder.archive(), [&whole[..], &[0; 10_240]].concat()).expect("written");
    check(&folder.archive()).expect("a program that copies in blocks fills the last one");
    fs::write(folder.archive(), [&whole[..], b"x"].concat()).expect("written");
    let says = check(&folder.archive()).expect_err("more than was written").to_string();
    assert!(says.contains("goes on behind its end"), "{says}");
}

#[test]
fn a_restored_folder_opens_and_what_was_there_is_moved_aside() {
    let mut folder = Folder::new();
    folder.back_up();
    let (archive, data) = (folder.archive(), folder.data());
    // While somebody has the journal.
    assert!(matches!(restore(&Folder::wish(&archive, &data, true)), Err(RestoreError::InUse { .. })));
    assert!(matches!(plan(&Folder::wish(&archive, &data, true)), Err(RestoreError::InUse { .. })));
    folder.append(1, 1);
    folder.append(3, 0);
    folder.journal = None;
    let before = fs::read(data.join("journal.redb")).expect("read");
    let planned = plan(&Folder::wish(&archive, &data, false)).expect("a plan");
    let later = Forgotten::Later { missions: 1, newest: Vec::new(), went_on: 1, records: 2 };
    assert_eq!((planned.occupied, planned.forgotten.as_ref()), (true, Some(&later)));
    assert!(matches!(restore(&Folder::wish(&archive, &data, false)), Err(RestoreError::Occupied { .. })));
    assert_eq!(fs::read(data.join("journal.redb")).expect("read"), before, "nothing was touched");

    let done = restore(&Folder::wish(&archive, &data, true)).expect("restored");
    assert_eq!(done.plan.forgotten, Some(later));
    let aside = data.join("before-restore-20261127T010203Z");
    assert_eq!(done.aside.as_deref(), Some(&*aside));
    assert_eq!(fs::read(aside.join("journal.redb")).expect("read"), before, "nothing is removed");
    assert!(aside.join("workspaces/a/note.txt").exists() && aside.join("journal.redb.mark").exists());
    assert_eq!(fs::read_to_string(data.join("token")).expect("read"), "hush-hush-hush-hush", "it stays");
    assert_eq!(fs::read(data.join(format!("artifacts/1/{}", Digest::of(b"one")))).expect("read"), b"one");
    assert_eq!(fs::read(data.join(format!("plugins/{}.wasm", Digest::of(b"wasm")))).expect("read"), b"wasm");
    assert!(data.join("paused").exists() && !is_half_restored(&data));
    assert_eq!(Mark::read(&data).map(|mark| mark.taken_at), Some(Timestamp::UNIX_EPOCH));
    let names: Vec<_> = fs::read_dir(&data).expect("read").map(|entry| entry.expect("read").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("restoring-")), "{names:?}");
    let (journal, opened) = Journal::open(&data.join("journal.redb"), &Options::default()).expect("it opens");
    assert_eq!((opened.last_no, journal.read(MissionNo(1)).expect("read").len()), (MissionNo(2), 1));
    drop(journal);
    // The same moment again: nothing is lost by it.
    let again = plan(&Folder::wish(&archive, &data, true)).expect("a plan");
    assert_eq!(again.forgotten, Some(Forgotten::Nothing));
}

#[test]
fn what_a_restore_that_was_broken_off_left_is_removed_or_named() {
    let mut folder = Folder::new();
    folder.back_up();
    folder.journal = None;
    let (archive, data) = (folder.archive(), folder.data());
    // Killed between two names, and another one while it unpacked.
    folder.put("restore-in-progress", "");
    folder.put("before-restore-20261126T000000Z/workspaces/a/note.txt", "of before");
    folder.put("restoring-20261126T000000Z/journal.redb", "a copy");
    folder.put("restoring-20261125T000000Z/artifacts/1/x", "a copy");
    let done = restore(&Folder::wish(&archive, &data, true)).expect("restored");
    assert_eq!(done.earlier, [data.join("before-restore-20261126T000000Z")]);
    assert!(done.earlier[0].join("workspaces/a/note.txt").exists(), "nothing that was moved aside is removed");
    let names: Vec<_> = fs::read_dir(&data).expect("read").map(|entry| entry.expect("read").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("restoring-")), "{names:?}");
    // Where none was broken off, what earlier ones moved aside is no news.
    let later = Wish { now: "2026-11-27T02:00:00Z".parse().expect("a time"), ..Folder::wish(&archive, &data, true) };
    assert!(restore(&later).expect("restored").earlier.is_empty());
}

#[test]
fn a_journal_that_cannot_be_read_is_restored_over_and_an_empty_folder_needs_no_leave() {
    let mut folder = Folder::new();
    folder.back_up();
    folder.journal = None;
    let (archive, data) = (folder.archive(), folder.data());
    let mut file = fs::File::create(data.join("journal.redb")).expect("a file");
    file.write_all(&[7; 100_000]).expect("written");
    let done = restore(&Folder::wish(&archive, &data, true)).expect("restored");
    assert!(matches!(done.plan.forgotten, Some(Forgotten::Unreadable { .. })), "{:?}", done.plan.forgotten);
    let fresh = folder.dir.path().join("a/b");
    let done = restore(&Folder::wish(&archive, &fresh, false)).expect("restored");
    assert_eq!((done.plan.occupied, done.plan.forgotten, done.aside), (false, None, None));
    Journal::open(&fresh.join("journal.redb"), &Options::default()).expect("it opens");
}

#[test]
fn a_member_has_one_name_and_leads_nowhere_else() {
    let digest = Digest::of(b"x");
    let members = [
        Member::Journal,
        Member::Artifact(MissionNo(7), digest),
        Member::Component(digest),
        Member::Plugin("automation@0.1.0+b.json".to_owned()),
    ];
    for member in members {
        assert_eq!(Member::parse(&member.name()), Some(member.clone()), "{}", member.name());
    }
    let upper = digest.to_string().to_uppercase();
    for name in [
        "",
        "journal.redb.mark",
        "token",
        "/journal.redb",
        "./journal.redb",
        "artifacts/7/../../token",
        &format!("artifacts/07/{digest}"),
        &format!("artifacts/+7/{digest}"),
        &format!("artifacts/7/{upper}"),
        &format!("artifacts/7/{digest}/x"),
        &format!("artifacts/7/8/{digest}"),
        "plugins/../token.json",
        "plugins/.json",
        "plugins/a/b.json",
        "plugins/a\\b.json",
        "plugins/x.wasm",
        "workspaces/a/b",
        "restored.json",
    ] {
        assert_eq!(Member::parse(name), None, "{name}");
    }
}
