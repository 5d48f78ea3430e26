//! Files that were emptied, cut, changed, swapped or taken are refused with what to do, or opened whole: nothing else.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Model, Step};
use sortie_contract::Status;
use sortie_journal::{Journal, OpenError, Options};

/// Set for a copy of this test that is to be the second process.
const SECOND_PROCESS: &str = "SORTIE_TEST_JOURNAL_IN_USE";

fn options() -> Options {
    Options { cache_bytes: 1 << 20, ..Options::default() }
}

/// A journal on the disk, and what it holds.
struct Kept {
    dir: tempfile::TempDir,
    model: Model,
}

impl Kept {
    /// Some missions, closed cleanly, or copied from under a running process as a kill leaves it.
    fn new(closed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let (journal, opened) = Journal::open(&path, &options()).unwrap();
        assert_eq!((opened.last_no.0, opened.position, opened.undelivered.len()), (0, 0, 0));
        let mut model = Model::default();
        for mission in 1..=40 {
            journal.append(model.apply(&Step::dispatch(mission))).unwrap();
            let step = Step { mission, records: vec![30, 200], head: Some(Status::Completed), cursor: None };
            journal.append_durable(model.apply(&step)).unwrap().wait().unwrap();
        }
        if closed {
            drop(journal);
            return Self { dir, model };
        }
        let killed = tempfile::tempdir().unwrap();
        copy(dir.path(), killed.path());
        Self { dir: killed, model }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("journal.redb")
    }

    /// A copy whose journal `change` was done to, opened. Damage must be refused, or be of no consequence; returns
    /// whether it was refused.
    fn refuses(&self, context: &str, options: &Options, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path());
        let path = dir.path().join("journal.redb");
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        match Journal::open(&path, options) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                // A commit that is gone was rolled back before that could be seen.
                let kept = matches!(error, OpenError::Behind { .. }) || fs::read(&path).unwrap() == bytes;
                assert!(kept, "{context}: the evidence was changed ({error})");
                true
            }
            Ok((journal, _)) => match Model::try_of(&journal) {
                // Not checked as a whole: found when it is read.
                Err(_) => options.check_bytes_max == 0 || panic!("{context}: opened, but cannot be read"),
                Ok(model) => {
                    assert_eq!(model, self.model, "{context}: opened with something else than was written");
                    false
                }
            },
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn refusal(path: &Path) -> OpenError {
    Journal::open(path, &options()).map(drop).unwrap_err()
}

#[test]
fn a_journal_opens_as_it_was_left() {
    for closed in [true, false] {
        let kept = Kept::new(closed);
        for _ in 0..2 {
            let (journal, opened) = Journal::open(&kept.path(), &options()).unwrap();
            assert_eq!(Model::of(&journal), kept.model);
            assert_eq!(opened.position, kept.model.position);
            assert_eq!(opened.last_no.0, 40);
        }
    }
}

#[test]
fn an_emptied_file_is_refused_and_left_alone() {
    let kept = Kept::new(true);
    fs::write(kept.path(), "").unwrap();
    for _ in 0..2 {
        assert!(matches!(refusal(&kept.path()), OpenError::Emptied { .. }));
        assert_eq!(fs::metadata(kept.path()).unwrap().len(), 0);
    }
    fs::remove_file(kept.dir.path().join("journal.redb.mark")).unwrap();
    assert!(matches!(refusal(&kept.path()), OpenError::Emptied { .. }), "without the mark, too");
}

#[test]
fn a_file_that_is_gone_is_not_made_again() {
    let kept = Kept::new(true);
    fs::remove_file(kept.path()).unwrap();
    let error = refusal(&kept.path());
    assert!(matches!(error, OpenError::Missing { .. }));
    assert!(error.to_string().contains("journal.redb.mark"), "{error}");
    assert!(!kept.path().exists());
}

#[test]
fn a_half_made_journal_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("journal.redb.new"), "half").unwrap();
    Journal::open(&dir.path().join("journal.redb"), &options()).unwrap();
    assert!(!dir.path().join("journal.redb.new").exists());
}

#[test]
fn a_cut_file_is_refused_or_whole() {
    for closed in [true, false] {
        let kept = Kept::new(closed);
        let len = usize::try_from(fs::metadata(kept.path()).unwrap().len()).unwrap();
        let cuts = [1, 8, 63, 64, 319, 320, 511, len - 1].into_iter().chain((4_096..len).step_by(4_096 * 3));
        let refused = |cut: &usize| kept.refuses(&format!("cut to {cut}"), &options(), |bytes| bytes.truncate(*cut));
        let (refused, whole): (Vec<_>, Vec<_>) = cuts.partition(refused);
        if closed {
            assert_eq!(whole, [0; 0], "a file that was closed has no bytes to spare");
        } else {
            assert!(refused.len() > whole.len(), "refused at {refused:?}, opened at {whole:?}");
        }
    }
}

#[test]
fn flipped_bits_are_refused_or_of_no_consequence() {
    for closed in [true, false] {
        let kept = Kept::new(closed);
        let mut refused = 0;
        let len = fs::metadata(kept.path()).unwrap().len();
        // The header, and places all over the file.
        let places: Vec<_> =
            (0..320).step_by(7).chain((320..len).step_by(usize::try_from(len / 150).unwrap())).collect();
        for place in &places {
            let at = usize::try_from(*place).unwrap();
            let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (at % 8);
            refused += u32::from(kept.refuses(&format!("bit flipped at {place}, closed: {closed}"), &options(), flip));
        }
        assert!(refused > 30, "only {refused} of {} flips were noticed", places.len());
    }
}

#[test]
fn a_file_too_large_to_check_is_never_believed_blindly() {
    let unchecked = Options { check_bytes_max: 0, ..options() };
    for closed in [true, false] {
        let kept = Kept::new(closed);
        let len = usize::try_from(fs::metadata(kept.path()).unwrap().len()).unwrap();
        for page in (0..len / 4_096).step_by(3) {
            let change = |bytes: &mut Vec<u8>| bytes[page * 4_096 + 1_000..][..64].fill(0xa5);
            kept.refuses(&format!("page {page} overwritten, closed: {closed}"), &unchecked, change);
        }
    }
}

#[test]
fn an_older_copy_is_refused() {
    let kept = Kept::new(true);
    let older = fs::read(kept.path()).unwrap();
    let (journal, _) = Journal::open(&kept.path(), &options()).unwrap();
    journal.append_durable(Model::default().apply(&Step::dispatch(41))).unwrap().wait().unwrap();
    drop(journal);
    fs::write(kept.path(), older).unwrap();
    assert!(matches!(refusal(&kept.path()), OpenError::Behind { .. }));
    // Still, and after it was said to be meant, it is taken.
    assert!(matches!(refusal(&kept.path()), OpenError::Behind { .. }));
    fs::remove_file(kept.dir.path().join("journal.redb.mark")).unwrap();
    let (journal, _) = Journal::open(&kept.path(), &options()).unwrap();
    assert_eq!(Model::of(&journal), kept.model);
}

#[test]
fn a_newer_format_is_refused() {
    let kept = Kept::new(true);
    write_format(&kept.path(), 15);
    let error = refusal(&kept.path());
    assert!(matches!(error, OpenError::NewerFormat { found: 15, known: 14, .. }), "{error}");
    assert!(error.to_string().contains("a newer one"), "{error}");
}

fn write_format(path: &Path, format: u64) {
    let db = redb::Database::open(path).unwrap();
    let transaction = db.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", format).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn what_is_no_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.redb");
    fs::write(&path, "hello, I am a text file\n".repeat(1_000)).unwrap();
    assert!(matches!(refusal(&path), OpenError::Damaged { .. }));
    fs::remove_file(&path).unwrap();
    let db = redb::Database::create(&path).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("other")).unwrap();
    transaction.commit().unwrap();
    drop(db);
    assert!(matches!(refusal(&path), OpenError::NotAJournal { .. }));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = refusal(&dir.path().join("nowhere/journal.redb"));
    assert!(matches!(error, OpenError::Io { .. }));
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn a_second_process_is_refused() {
    if let Some(path) = std::env::var_os(SECOND_PROCESS) {
        assert!(matches!(refusal(Path::new(&path)), OpenError::InUse { .. }));
        return;
    }
    let kept = Kept::new(true);
    let (journal, _) = Journal::open(&kept.path(), &options()).unwrap();
    assert!(matches!(refusal(&kept.path()), OpenError::InUse { .. }), "nor is it opened twice by one process");
    let second = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_second_process_is_refused"])
        .env(SECOND_PROCESS, kept.path())
        .output()
        .unwrap();
    assert!(second.status.success(), "{second:?}");
    drop(journal);
    Journal::open(&kept.path(), &options()).unwrap();
}

#[test]
fn a_journal_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.redb");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    drop(Journal::open(&path, &Options::default()).unwrap());
    assert_eq!((mode(&path), mode(&dir.path().join("journal.redb.mark"))), (0o600, 0o600));
    // As an older sortie left it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(Journal::open(&path, &Options::default()).unwrap());
    assert_eq!(mode(&path), 0o600);
}
