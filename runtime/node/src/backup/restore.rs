//! An archive becomes a data folder.
//!
//! What is there is moved aside and never removed. The archive is held against its checksums as a whole before anything of it is
//! written, and again while it is; what comes of it lies in a folder of its own until its journal has been opened, so that all that is
//! left then is to move names. A file says so while they are moved: no node starts on a folder that is half one and half the other.
//!
//! The world went on after the moment of a backup. So a node that was restored starts nothing, sends nothing and fires nothing until an
//! operator has said so (`paused`, and the mark [`RESTORED`] beside it).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sortie_contract::Timestamp;
use sortie_journal::{Claim, Journal, OpenError, Options, ReadError, claim, is_in_use, peek};

use super::read::{Sink, read};
use super::{ArchiveError, Checked, HALF_RESTORED, JOURNAL, Manifest, Mark, Member, RESTORED, check, is_half_restored};

/// What stays where it is: the token by which the folder's node is asked, room for its journal, and what earlier restores moved aside.
const STAYS: [&str; 4] = ["token", "reserve", "lost+found", HALF_RESTORED];

/// Names of folders that restores make.
pub(super) const ASIDE: &str = "before-restore-";
pub(super) const DRAFT: &str = "restoring-";

/// How many of the missions that are forgotten are named.
const NAMED: usize = 5;

/// How much of the feed is read at once.
const FEED: usize = 4_096;

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    /// The archive.
    pub(crate) archive: &'a Path,
    /// The data folder.
    pub(crate) data_dir: &'a Path,
    /// Whether what is there may be moved aside.
    pub(crate) replace: bool,
    /// Now.
    pub(crate) now: Timestamp,
}

/// What a restore would come to.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// What is restored.
    pub(crate) backup: Checked,
    /// Whether something is in the folder that would have to be moved aside.
    pub(crate) occupied: bool,
    /// What the journal that is there has beyond the backup; `None` where there is no journal.
    pub(crate) forgotten: Option<Forgotten>,
}

/// What a node will not know any more.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "journal", rename_all = "snake_case")]
pub(crate) enum Forgotten {
    /// The journal that is there cannot be read: nobody can say.
    Unreadable {
        /// Why.
        why: String,
    },
    /// It is not further than the backup.
    Nothing,
    /// It went on behind the backup, if it is the same node's.
    Later {
        /// Missions that were accepted since.
        missions: u64,
        /// The newest of them.
        newest: Vec<String>,
        /// Missions of the backup of which something was recorded since.
        went_on: u64,
        /// What was recorded in all.
        records: u64,
    },
}

/// What a restore came to.
#[derive(Debug, Serialize)]
pub(crate) struct Restored {
    /// What was wanted, and what it was found to mean.
    #[serde(flatten)]
    pub(crate) plan: Plan,
    /// Where lies what was there before.
    pub(crate) aside: Option<PathBuf>,
    /// And where, besides, as a restore was broken off here: its folder, and those of earlier ones.
    pub(crate) earlier: Vec<PathBuf>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A node runs.
    #[error("a node works on {}; stop it first", path.display())]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// Something is there.
    #[error(
        "{} is not empty; `--replace` moves what is there into a folder `{ASIDE}…` of it, and removes nothing", path.display()
    )]
    Occupied {
        /// The data folder.
        path: PathBuf,
    },
    /// What is there cannot be moved.
    #[error("{} lies on another disk than the data folder and cannot be moved aside; move it yourself first", path.display())]
    Mounted {
        /// What.
        path: PathBuf,
    },
    /// The journal of the archive.
    #[error("the journal of the backup cannot be opened")]
    Journal(#[source] OpenError),
    /// A file.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An error at that path.
fn io_at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Io { path, source }
}

/// What a restore would come to. Nothing is written.
pub(crate) fn plan(wish: &Wish<'_>) -> Result<Plan, RestoreError> {
    let journal = wish.data_dir.join(JOURNAL);
    let in_use = || RestoreError::InUse { path: wish.data_dir.to_owned() };
    if wish.data_dir.exists() && is_in_use(&journal).map_err(RestoreError::Journal)? {
        return Err(in_use());
    }
    found(wish, check(wish.archive)?)
}

/// What the folders of this restore are called by: its second, and a number behind it where one of the same second was before.
fn free_stamp(data_dir: &Path, now: Timestamp) -> String {
    let second = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let is_free = |stamp: &String| [ASIDE, DRAFT].iter().all(|kind| !data_dir.join(format!("{kind}{stamp}")).exists());
    let further = (2_u32..).map(|no| format!("{second}-{no}"));
    std::iter::once(second.clone()).chain(further).find(is_free).unwrap_or(second)
}

/// Restores.
pub(crate) fn restore(wish: &Wish<'_>) -> Result<Restored, RestoreError> {
    let data_dir = wish.data_dir;
    // Before a folder is made for what cannot be restored.
    let backup = check(wish.archive)?;
    make_folder(data_dir).map_err(io_at(data_dir))?;
    let _claim: Claim = claim(&data_dir.join(JOURNAL))
        .map_err(RestoreError::Journal)?
        .ok_or_else(|| RestoreError::InUse { path: data_dir.to_owned() })?;
    let plan = found(wish, backup)?;
    if plan.occupied && !wish.replace {
        return Err(RestoreError::Occupied { path: data_dir.to_owned() });
    }
    let stamp = free_stamp(data_dir, wish.now);
    let draft = data_dir.join(format!("{DRAFT}{stamp}"));
    let drafted = unpack(wish, &draft, &plan.backup.manifest);
    if let Err(error) = drafted {
        // What is not whole is not left; nothing else was touched.
        let _ = fs::remove_dir_all(&draft);
        return Err(error);
    }
    let aside = data_dir.join(format!("{ASIDE}{stamp}"));
    let earlier = if is_half_restored(data_dir) { named(data_dir, ASIDE)? } else { Vec::new() };
    let moved = exchange(data_dir, &draft, &aside)?;
    // What restores had unpacked that were broken off: a copy of a node each, which nobody else would remove.
    for draft in named(data_dir, DRAFT)? {
        fs::remove_dir_all(&draft).map_err(io_at(&draft))?;
    }
    Ok(Restored { plan, aside: moved.then_some(aside), earlier })
}

/// What lies in a data folder under names that begin so.
fn named(data_dir: &Path, beginning: &str) -> Result<Vec<PathBuf>, RestoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(io_at(data_dir))? {
        let entry = entry.map_err(io_at(data_dir))?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn found(wish: &Wish<'_>, backup: Checked) -> Result<Plan, RestoreError> {
    let journal = wish.data_dir.join(JOURNAL);
    let occupied = !movable(wish.data_dir)?.is_empty();
    let there = fs::metadata(&journal).is_ok_and(|metadata| metadata.len() > 0);
    let forgotten = there.then(|| forgotten(&journal, &backup.manifest));
    Ok(Plan { backup, occupied, forgotten })
}

/// What a journal has beyond a backup.
fn forgotten(journal: &Path, backup: &Manifest) -> Forgotten {
    match peek(journal) {
        Ok((journal, opened)) => later(&journal, opened.position, backup)
            .unwrap_or_else(|error| Forgotten::Unreadable { why: error.to_string() }),
        Err(error) => Forgotten::Unreadable { why: error.to_string() },
    }
}

/// The feed tells of every record in the order of writing: what stands behind the backup's last is what was recorded since.
fn later(journal: &Journal, position: u64, backup: &Manifest) -> Result<Forgotten, ReadError> {
    let mut last = backup.journal.position;
    if position <= last {
        return Ok(Forgotten::Nothing);
    }
    let (mut new, mut known) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let mut records = 0;
    loop {
        let entries = journal.feed_after(last, FEED)?;
        let Some(entry) = entries.last() else { break };
        last = entry.position;
        for entry in entries {
            records += u64::from(entry.count);
            let set = if entry.mission.0 > backup.journal.last_no { &mut new } else { &mut known };
            set.insert(entry.mission);
        }
    }
    let mut newest = Vec::new();
    for no in new.iter().rev() {
        // One that was removed since has no name any more.
        newest.extend(journal.head(*no)?.map(|head| head.mission_id.to_string()));
        if newest.len() == NAMED {
            break;
        }
    }
    Ok(Forgotten::Later { missions: new.len() as u64, newest, went_on: known.len() as u64, records })
}

/// What would be moved aside. The journal's mark alone is none: this makes it, to keep others out.
fn movable(data_dir: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    let entries = match fs::read_dir(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_at(data_dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_at(data_dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let stays = STAYS.contains(&&*name) || name.starts_with(ASIDE) || name.starts_with(DRAFT);
        let empty_mark = name == "journal.redb.mark" && entry.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if !stays && !empty_mark {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Writes the archive into a folder, and opens its journal once: what cannot be opened is not put in the place of anything.
fn unpack(wish: &Wish<'_>, draft: &Path, manifest: &Manifest) -> Result<(), RestoreError> {
    make_folder(draft).map_err(io_at(draft))?;
    for name in ["artifacts", "plugins"] {
        make_folder(&draft.join(name)).map_err(io_at(draft))?;
    }
    read(wish.archive, &mut Folder { root: draft.to_owned() })?;
    let (journal, _) = Journal::open(&draft.join(JOURNAL), &Options::default()).map_err(RestoreError::Journal)?;
    journal.close().map_err(|error| io_at(draft)(io::Error::other(error)))?;
    drop(journal);
    let mark = Mark { taken_at: manifest.taken_at, restored_at: wish.now, unfinished: manifest.journal.unfinished };
    let text = serde_json::to_vec_pretty(&mark).expect("plain fields");
    for (name, text) in [(RESTORED, text.as_slice()), ("paused", b"")] {
        let path = draft.join(name);
        create(&path).and_then(|mut file| file.write_all(text)).map_err(io_at(&path))?;
    }
    // All files at once: one after the other would take minutes.
    rustix::fs::sync();
    Ok(())
}

/// Moves what is in the data folder aside, and what was drafted into its place. Whether there was anything to be moved.
fn exchange(data_dir: &Path, draft: &Path, aside: &Path) -> Result<bool, RestoreError> {
    let old = movable(data_dir)?;
    let disk = fs::metadata(data_dir).map_err(io_at(data_dir))?.dev();
    for path in &old {
        if fs::symlink_metadata(path).map_err(io_at(path))?.dev() != disk {
            let _ = fs::remove_dir_all(draft);
            return Err(RestoreError::Mounted { path: path.clone() });
        }
    }
    let half = data_dir.join(HALF_RESTORED);
    let told =
        "A restore of this folder was broken off. `sortie restore --replace` with the same backup makes it whole.\n";
    create(&half)
        .and_then(|mut file| file.write_all(told.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(io_at(&half))?;
    sync(data_dir)?;
    if !old.is_empty() {
        make_folder(aside).map_err(io_at(aside))?;
    }
    for path in &old {
        move_into(path, aside)?;
    }
    for entry in fs::read_dir(draft).map_err(io_at(draft))? {
        move_into(&entry.map_err(io_at(draft))?.path(), data_dir)?;
    }
    fs::remove_dir(draft).map_err(io_at(draft))?;
    sync(data_dir)?;
    fs::remove_file(&half).map_err(io_at(&half))?;
    sync(data_dir)?;
    Ok(!old.is_empty())
}

fn move_into(path: &Path, folder: &Path) -> Result<(), RestoreError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    fs::rename(path, folder.join(name)).map_err(io_at(path))
}

fn sync(folder: &Path) -> Result<(), RestoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_at(folder))
}

/// A folder for its owner alone.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A file for its owner alone.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Members become files.
struct Folder {
    root: PathBuf,
}

impl Sink for Folder {
    type Out = File;

    fn begin(&mut self, member: &Member) -> io::Result<File> {
        let path = self.root.join(member.name());
        if let Member::Artifact(..) = member
            && let Some(folder) = path.parent()
        {
            make_folder(folder)?;
        }
        create(&path)
    }

    fn end(&mut self, _: File) -> io::Result<()> {
        Ok(())
    }
}
