//! Missions whose files are on another node's disk.
//!
//! A session works in a folder of the node that ran it. Where another one goes on with what that node left, the folder is not there, and
//! what was written into it is not made again: a replay gives back what calls answered, and does nothing. So a session of which a call has
//! written is held back until its folder is here (its node's disk was brought, or copied from) or somebody says that it is to go on with an
//! empty one. A session of which none has goes on at once, and so does one whose folder is kept where nodes share it (`[workspace] portable`).
//!
//! What is not here is kept in mind beside where it would be, in a file that outlives the process.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::record::Record;
use sortie_contract::{MissionNo, SessionId, Timestamp, VpId};

use crate::live::Live;
use crate::views::PIECE_BYTES;
use crate::workspaces::Fetched;
use crate::{Engine, ReadError};

/// What stands behind the name of a folder in the name of the file that says that it is elsewhere.
const ELSEWHERE: &str = "elsewhere";

/// The tools that write into a workspace. Those of servers have none.
const WRITES: [&str; 3] = ["Write", "Edit", "Bash"];

/// Missions of a session that are looked through for what they wrote; where there are more, one of them has.
const LOOKED_THROUGH_MAX: usize = 1_000;

/// How long a mission rests that is held back, before it is looked again.
const REST: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// The missions that are held back, with where their files would be.
#[derive(Default)]
pub(super) struct Sessions(Mutex<BTreeMap<MissionNo, PathBuf>>);

impl Engine {
    /// Keeps in mind which sessions' folders are not here, of missions that have run elsewhere. Blocks.
    pub(super) fn keep_in_mind_where_files_are(&self, ran: &[(VpId, SessionId, MissionNo)]) {
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
            if let Err(error) = write(&mark(&folder), &numbers.join("\n")) {
                // Without it the session would go on in an empty folder.
                tracing::error!(folder = %folder.display(), %error, "it cannot be kept in mind that the files of a session are elsewhere");
            }
        }
    }

    /// Until when a mission waits whose turn it is, because the files of its session are on another node's disk.
    pub(crate) async fn awaits_workspace(self: &Arc<Self>, live: &Live) -> Option<Timestamp> {
        self.log.fleet()?;
        let (vp, session) = live.with(|mission| (mission.envelope().vp_id.clone(), mission.session().clone()));
        let engine = Arc::clone(self);
        let folder = self.workspaces.place(&vp, &session);
        let place = folder.clone();
        let is_needed =
            self.ambient.unblock(move || engine.is_missed(&place) && !engine.is_carried(&vp, &session)).await;
        let mut held = self.fleet.sessions.0.lock();
        if !is_needed.unwrap_or(false) {
            held.remove(&live.no);
            return None;
        }
        if held.insert(live.no, folder.clone()).is_none() {
            let mission_id = live.with(|mission| mission.envelope().mission_id.clone());
            tracing::warn!(%mission_id, folder = %folder.display(), "held back: the files of its session are on another node's disk");
        }
        let wall = self.ambient.wall();
        Some(wall.checked_add(REST).unwrap_or(Timestamp::MAX))
    }

    /// Why a mission is held back, where its files are elsewhere.
    pub(crate) fn workspace_elsewhere(&self, no: MissionNo) -> Option<String> {
        let held = self.fleet.sessions.0.lock();
        let folder = held.get(&no)?;
        Some(format!(
            "the files of its session are on the disk of the node that died: bring them to {}, or let it go on with an empty folder",
            folder.display()
        ))
    }

    /// Lets a session go on with an empty folder, where its files are elsewhere. False where it does not wait for any.
    ///
    /// # Errors
    /// [`ReadError`] of its mission; what says that they are elsewhere cannot be removed.
    pub async fn go_on_empty(self: &Arc<Self>, no: MissionNo) -> Result<bool, ReadError> {
        if self.workspace_elsewhere(no).is_none() {
            return Ok(false);
        }
        let head = self.log.head(no)?.ok_or(ReadError::Unknown)?;
        let mark = mark(&self.workspaces.place(&head.vp, &head.session));
        // From here on nothing says that it is elsewhere: it is made here, when somebody works in it.
        let forgotten = self.ambient.unblock(move || std::fs::remove_file(mark)).await.map_err(ReadError::Task)?;
        if let Err(error) = forgotten
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(ReadError::Artifact(error));
        }
        let waiting: Vec<MissionNo> = {
            let folder = self.workspaces.place(&head.vp, &head.session);
            let mut held = self.fleet.sessions.0.lock();
            let (freed, kept) = std::mem::take(&mut *held).into_iter().partition(|(_, of)| *of == folder);
            *held = kept;
            let freed: BTreeMap<MissionNo, PathBuf> = freed;
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

    /// Whether a workspace that is not here is kept where nodes share it: then it is here now. Blocks.
    fn is_carried(&self, vp: &VpId, session: &SessionId) -> bool {
        if !self.workspaces.is_portable() {
            return false;
        }
        match self.workspaces.fetch_back(vp, session) {
            Ok(fetched) => fetched == Fetched::Here,
            Err(error) => {
                tracing::warn!(%session, %error, "a workspace cannot be fetched from the shared store now");
                false
            }
        }
    }

    /// Whether a folder is elsewhere of which some mission has written something. Blocks.
    fn is_missed(&self, folder: &Path) -> bool {
        let mark = mark(folder);
        let Ok(numbers) = std::fs::read_to_string(&mark) else { return false };
        let missed = !folder.exists() && self.has_written(&numbers);
        if !missed {
            // Where it stays it is looked at again.
            let _ = std::fs::remove_file(&mark);
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
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}
