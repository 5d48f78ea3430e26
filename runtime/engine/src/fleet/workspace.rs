//! Missions whose files are on another node's disk, or cannot be read where nodes share them.
//!
//! A session works in a folder of the node that ran it. Where another one goes on with what that node left, the folder is not there, and
//! what was written into it is not made again: a replay gives back what calls answered, and does nothing. So a session of which a call has
//! written is held back until its folder is here (its node's disk was brought, or copied from) or somebody says that it is to go on with an
//! empty one. A session of which none has goes on at once, and so does one whose folder is kept where nodes share it (`[workspace] portable`).
//!
//! Where what is kept there is gone, or is not what was written, a mission waits likewise, and nothing is guessed at or given up before somebody says so.
//!
//! What is not here is kept in mind beside where it would be, in a file that outlives the process. A process that ends between an adoption
//! and that leaves word of it, and the next one sees to it before any turn is given.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::record::Record;
use sortie_contract::{MissionNo, SessionId, Timestamp, VpId};
use sortie_journal::{Head, ShareNo};

use crate::live::Live;
use crate::shown::WaitKind;
use crate::views::PIECE_BYTES;
use crate::workspaces::{CarryError, Fetched};
use crate::{Engine, ReadError};

/// What stands behind the name of a folder in the name of the file that says that it is elsewhere.
const ELSEWHERE: &str = "elsewhere";

/// The file that says that a share is being adopted: it may not be kept in mind yet which of its files are elsewhere.
const ADOPTING: &str = "adopting";

/// Heads that are read at once.
const HEADS: usize = 1_000;

/// The tools that write into a workspace. Those of servers have none.
const WRITES: [&str; 3] = ["Write", "Edit", "Bash"];

/// Missions of a session that are looked through for what they wrote; where there are more, one of them has.
const LOOKED_THROUGH_MAX: usize = 1_000;

/// How long a mission rests that is held back, before it is looked again.
const REST: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// Why the files of a session are not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// They are on another node's disk.
    Elsewhere,
    /// What nodes share of them cannot be read.
    Damaged(String),
}

/// A mission that is held back.
#[derive(Debug)]
struct Held {
    /// Where its files would be.
    folder: PathBuf,
    why: Unreachable,
}

/// Sessions whose files are elsewhere.
#[derive(Default)]
pub(super) struct Sessions {
    held: Mutex<BTreeMap<MissionNo, Held>>,
    /// What could not be written, by folder: it holds for as long as this process does.
    unwritten: Mutex<BTreeMap<PathBuf, String>>,
}

impl Engine {
    /// From here on something may be adopted of which it is not kept in mind yet where its files are. Blocks.
    pub(super) fn begins_to_adopt(&self) {
        if let Err(error) = write(&self.adopting(), "").and_then(|()| sync(&[self.adopting()])) {
            tracing::error!(%error, "it cannot be kept in mind that a share is being adopted");
        }
    }

    /// Nothing of it is left to be kept in mind. Blocks.
    pub(super) fn has_adopted(&self) {
        if let Err(error) = fs::remove_file(self.adopting())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "what says that a share is being adopted cannot be removed: it is looked through again at the next start");
        }
    }

    /// Keeps in mind what a process that ended while it adopted could not. To be called before any turn is given. Blocks.
    pub(crate) fn keep_in_mind_what_was_adopted(&self) -> Result<(), sortie_journal::ReadError> {
        let Some(fleet) = self.log.fleet() else { return Ok(()) };
        if !self.adopting().exists() {
            return Ok(());
        }
        let (mine, mut after, mut ran) = (fleet.share(), None, Vec::new());
        loop {
            let heads = self.log.heads_oldest_first(after, HEADS)?;
            let Some((last, _)) = heads.last() else { break };
            after = Some(*last);
            let theirs = heads.iter().filter(|(no, head)| ShareNo::of(no.0) != mine && has_run(head));
            ran.extend(theirs.map(|(no, head)| (head.vp.clone(), head.session.clone(), *no)));
        }
        if self.keep_in_mind_where_files_are(&ran) {
            self.has_adopted();
        }
        Ok(())
    }

    /// A session is nobody's any more: where its files are matters to none. Blocks.
    pub(crate) fn forget_where_files_are(&self, vp: &VpId, session: &SessionId) {
        if !self.has_fleet() {
            return;
        }
        let folder = self.workspaces.place(vp, session);
        self.fleet.sessions.unwritten.lock().remove(&folder);
        // Most have none.
        let _ = fs::remove_file(mark(&folder));
    }

    /// Beside the folders of sessions.
    fn adopting(&self) -> PathBuf {
        let (vp, session) = (VpId::new(ADOPTING), SessionId::new(ADOPTING));
        self.workspaces.place(&vp.expect("a name"), &session.expect("a name")).with_file_name(ADOPTING)
    }

    /// Keeps in mind which sessions' folders are not here, of missions that have run elsewhere; false where a process that comes after this
    /// one would not know of each. Blocks.
    pub(super) fn keep_in_mind_where_files_are(&self, ran: &[(VpId, SessionId, MissionNo)]) -> bool {
        let (mut written, mut is_kept) = (Vec::new(), true);
        let mut sessions: FxHashMap<(&VpId, &SessionId), Vec<MissionNo>> = FxHashMap::default();
        for (vp, session, no) in ran {
            sessions.entry((vp, session)).or_default().push(*no);
        }
        for ((vp, session), missions) in sessions {
            let folder = self.workspaces.place(vp, session);
            if folder.exists() {
                continue;
            }
            let numbers: Vec<String> = missions.iter().map(|no| no.0.to_string()).collect();
            let (mark, numbers) = (mark(&folder), numbers.join("\n"));
            match write(&mark, &numbers) {
                Ok(()) => written.push(mark),
                Err(error) => {
                    tracing::error!(folder = %folder.display(), %error, "it cannot be kept in mind that the files of a session are elsewhere");
                    // Without it the session would go on in an empty folder.
                    self.fleet.sessions.unwritten.lock().insert(folder, numbers);
                    is_kept = false;
                }
            }
        }
        if let Err(error) = sync(&written) {
            tracing::error!(%error, "that the files of sessions are elsewhere may be forgotten with the power");
            is_kept = false;
        }
        is_kept
    }

    /// Until when a mission waits whose turn it is, because the files of its session are on another node's disk or cannot be read.
    pub(crate) async fn awaits_workspace(self: &Arc<Self>, live: &Live) -> Option<Timestamp> {
        if self.log.fleet().is_none() && !self.workspaces.is_portable() {
            return None;
        }
        let (vp, session) = live.with(|mission| (mission.envelope().vp_id.clone(), mission.session().clone()));
        let engine = Arc::clone(self);
        let missed = self.ambient.unblock(move || engine.missed(&vp, &session)).await;
        let Some(why) = missed.unwrap_or(None) else {
            self.waits_no_more(live.no);
            return None;
        };
        self.waits_for_workspace(live, why);
        let wall = self.ambient.wall();
        Some(wall.checked_add(REST).unwrap_or(Timestamp::MAX))
    }

    /// A mission is held back.
    pub(crate) fn waits_for_workspace(&self, live: &Live, why: Unreachable) {
        let (mission_id, folder) = live.with(|mission| {
            let folder = self.workspaces.place(&mission.envelope().vp_id, mission.session());
            (mission.envelope().mission_id.clone(), folder)
        });
        let before = self.fleet.sessions.held.lock().insert(live.no, Held { folder: folder.clone(), why: why.clone() });
        if before.is_some_and(|before| before.why == why) {
            return;
        }
        match why {
            Unreachable::Elsewhere => {
                tracing::warn!(%mission_id, folder = %folder.display(), "held back: the files of its session are on another node's disk");
            }
            Unreachable::Damaged(why) => {
                tracing::error!(%mission_id, why, "held back: the files of its session cannot be read in the shared store");
            }
        }
    }

    /// It is not, any more.
    pub(crate) fn waits_no_more(&self, no: MissionNo) {
        self.fleet.sessions.held.lock().remove(&no);
    }

    /// What a mission waits for that is held back, and why.
    pub(crate) fn awaited_workspace(&self, no: MissionNo) -> Option<(WaitKind, String)> {
        let held = self.fleet.sessions.held.lock();
        let Held { folder, why } = held.get(&no)?;
        Some(match why {
            Unreachable::Elsewhere => {
                let why = format!(
                    "the files of its session are on the disk of the node that died: bring them to {}, or let it go on with an empty folder",
                    folder.display()
                );
                (WaitKind::WorkspaceElsewhere, why)
            }
            Unreachable::Damaged(why) => {
                let why = format!(
                    "{why}. Put back what was there (an older version of the object, a backup of the store): it goes on within half a minute. Or \
                     let it go on with an empty folder"
                );
                (WaitKind::WorkspaceDamaged, why)
            }
        })
    }

    /// Lets a session go on with an empty folder, where its files are elsewhere or cannot be read. False where it does not wait for any.
    ///
    /// # Errors
    /// [`ReadError`] of its mission; what says that they are elsewhere cannot be removed, what cannot be read cannot be given up now.
    pub async fn go_on_empty(self: &Arc<Self>, no: MissionNo) -> Result<bool, ReadError> {
        let why = self.fleet.sessions.held.lock().get(&no).map(|held| held.why.clone());
        let Some(why) = why else { return Ok(false) };
        let head = self.log.head(no)?.ok_or(ReadError::Unknown)?;
        let (workspaces, vp, session) = (Arc::clone(&self.workspaces), head.vp.clone(), head.session.clone());
        let folder = self.workspaces.place(&head.vp, &head.session);
        let mark = mark(&folder);
        // From here on nothing says that it is elsewhere: it is here, and empty. One that is fetched from where nodes share it is made then.
        let forget = move || {
            if matches!(why, Unreachable::Damaged(_)) {
                workspaces.begin_anew(&vp, &session).map_err(ReadError::Workspace)?;
            }
            if !workspaces.is_portable() {
                drop(workspaces.open(&vp, &session).map_err(ReadError::Artifact)?);
            }
            match fs::remove_file(mark) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ReadError::Artifact(error)),
                _ => Ok(()),
            }
        };
        self.ambient.unblock(forget).await.map_err(ReadError::Task)??;
        self.fleet.sessions.unwritten.lock().remove(&folder);
        let waiting: Vec<MissionNo> = {
            let mut held = self.fleet.sessions.held.lock();
            let (freed, kept) = std::mem::take(&mut *held).into_iter().partition(|(_, held)| held.folder == folder);
            *held = kept;
            let freed: BTreeMap<MissionNo, Held> = freed;
            freed.into_keys().collect()
        };
        for no in waiting {
            if let Some(head) = self.log.head(no)?.filter(|head| !head.status.is_final())
                && self.desk.remove(no)
            {
                self.desk.push(&crate::recover::waiting(no, &head));
            }
        }
        self.timer.nudge();
        self.pump();
        Ok(true)
    }

    /// Why the files of a session are not here, where they are missed. What is kept where nodes share it is here then. Blocks.
    fn missed(&self, vp: &VpId, session: &SessionId) -> Option<Unreachable> {
        let is_elsewhere = self.log.fleet().is_some() && self.is_missed(&self.workspaces.place(vp, session));
        if !self.workspaces.is_portable() {
            return is_elsewhere.then_some(Unreachable::Elsewhere);
        }
        match self.workspaces.fetch_ahead(vp, session) {
            Ok(Fetched::Here) => None,
            Ok(Fetched::Nothing) => is_elsewhere.then_some(Unreachable::Elsewhere),
            Err(CarryError::Damaged(why)) => Some(Unreachable::Damaged(why)),
            // Where nothing is missed, its run waits for the store.
            Err(error) => is_elsewhere.then(|| {
                tracing::warn!(%session, %error, "a workspace cannot be fetched from the shared store now");
                Unreachable::Elsewhere
            }),
        }
    }

    /// Whether a folder is elsewhere of which some mission has written something. Blocks.
    fn is_missed(&self, folder: &Path) -> bool {
        let mark = mark(folder);
        let unwritten = self.fleet.sessions.unwritten.lock().get(folder).cloned();
        let Some(numbers) = unwritten.or_else(|| fs::read_to_string(&mark).ok()) else { return false };
        let missed = !folder.exists() && self.has_written(&numbers);
        if !missed {
            self.fleet.sessions.unwritten.lock().remove(folder);
            // Where it stays it is looked at again.
            let _ = fs::remove_file(&mark);
        }
        missed
    }

    /// Whether one of these missions has written into its folder; one that cannot be read may have.
    fn has_written(&self, numbers: &str) -> bool {
        let missions: Vec<MissionNo> = numbers.lines().filter_map(|no| no.parse().ok().map(MissionNo)).collect();
        missions.len() > LOOKED_THROUGH_MAX || missions.into_iter().any(|no| self.wrote(no).unwrap_or(true))
    }

    fn wrote(&self, no: MissionNo) -> Result<bool, ReadError> {
        let mut next = 0;
        loop {
            let records = self.log.read(no, next, PIECE_BYTES)?;
            if records.is_empty() {
                // One that was removed may have written anything.
                return if next == 0 { Err(ReadError::Unknown) } else { Ok(false) };
            }
            for stamped in &records {
                if let Record::CallStarted { tool, .. } = &stamped.record
                    && WRITES.contains(&tool.as_str())
                {
                    return Ok(true);
                }
                next = stamped.next_no(next);
            }
        }
    }
}

/// The file that says that a folder is elsewhere.
fn mark(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".");
    name.push(ELSEWHERE);
    PathBuf::from(name)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

/// Has files, which are all in one folder, outlive the power. Together: the first takes most of the others along.
fn sync(files: &[PathBuf]) -> io::Result<()> {
    files.iter().try_for_each(|file| File::open(file)?.sync_all())?;
    match files.first().and_then(|file| file.parent()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Whether a mission has run, as far as its head says.
pub(super) fn has_run(head: &Head) -> bool {
    head.overview.as_ref().is_none_or(|overview| overview.started_at.is_some())
}
