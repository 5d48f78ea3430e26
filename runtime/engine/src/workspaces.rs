//! The workspace of a session: a folder whose name is derived from the session's names, so that it is the same after any
//! restart (contract, section 1.1, rule 4).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sortie_contract::digest::Digest;
use sortie_contract::{MissionId, SessionId, VpId};
use sortie_tools::{WeakWorkspace, Workspace, WorkspaceBounds};

use crate::artifact_store;
use crate::shared_room::SharedRoom;

/// The folder that holds them, in the data folder.
const FOLDER: &str = "workspaces";

/// Beside them: which of them are nobody's.
const LEFT: &str = ".left";

/// Where sessions work.
pub trait Workspaces: Send + Sync + 'static {
    /// The workspace of a session, made where there is none. Blocks.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self, vp: &VpId, session: &SessionId) -> io::Result<Workspace>;

    /// Where it is, for people.
    fn place(&self, vp: &VpId, session: &SessionId) -> PathBuf;

    /// Whether a session may go on at another node: what its calls left in the workspace is kept where that one finds it, before a record says
    /// what they came to.
    fn is_portable(&self) -> bool {
        false
    }

    /// Has the workspace of a session be here what it was when it was kept last, wherever that was. From then on this node alone keeps it. Blocks.
    ///
    /// # Errors
    /// [`CarryError`]: what is here is not to be worked in.
    fn fetch_back(&self, _vp: &VpId, _session: &SessionId) -> Result<Fetched, CarryError> {
        Ok(Fetched::Here)
    }

    /// The same, before a run gets its turn. The run that follows in this process need not look again. Blocks.
    ///
    /// # Errors
    /// As [`Workspaces::fetch_back`].
    fn fetch_ahead(&self, vp: &VpId, session: &SessionId) -> Result<Fetched, CarryError> {
        self.fetch_back(vp, session)
    }

    /// Keeps what lies in it. When this returns, another node finds it. Blocks.
    ///
    /// # Errors
    /// [`CarryError`]
    fn keep(&self, _vp: &VpId, _session: &SessionId) -> Result<(), CarryError> {
        Ok(())
    }

    /// Gives up what was kept of a workspace and cannot be read: from here on it is an empty one, wherever its session goes on. Blocks.
    ///
    /// # Errors
    /// [`CarryError`]: nothing was given up.
    fn begin_anew(&self, _vp: &VpId, _session: &SessionId) -> Result<(), CarryError> {
        Ok(())
    }

    /// The same as [`Workspaces::keep`], for the last time for now: nobody works in it any more. Blocks.
    ///
    /// # Errors
    /// [`CarryError`]
    fn settle(&self, vp: &VpId, session: &SessionId) -> Result<(), CarryError> {
        self.keep(vp, session)
    }

    /// Keeps in mind, through a restart, that a workspace is nobody's, unless there is its mission. Blocks.
    ///
    /// # Errors
    /// The disk says no.
    fn leave(&self, _left: &LeftBehind) -> io::Result<()> {
        Ok(())
    }

    /// Those that were left. Blocks.
    fn left(&self) -> Vec<LeftBehind> {
        Vec::new()
    }

    /// Removes a workspace that was left, wherever it is kept; nothing there is no error. Blocks.
    ///
    /// # Errors
    /// [`CarryError`]: some of it may be there, and it is left still.
    fn remove(&self, _vp: &VpId, _session: &SessionId) -> Result<(), CarryError> {
        Ok(())
    }
}

/// The workspace of a session that one mission had for itself, and that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// Whose session it is.
    pub vp: VpId,
    /// The session.
    pub session: SessionId,
    /// The mission.
    pub mission: MissionId,
    /// The one that dispatched it. A later one of the same name would have children, and sessions, of the same names.
    pub parent: MissionId,
}

/// What came of fetching a workspace back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// It is here.
    Here,
    /// There is none, here or anywhere: nobody has kept one.
    Nothing,
}

/// Why a workspace is not carried from one node to another.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The store where it is kept cannot be used now, or there is no room here.
    #[error("{0}")]
    Away(String),
    /// What was kept is gone, or is not what was written, and the folder is not here: somebody has to put it back, or to say that it is to begin anew.
    #[error("{0}")]
    Damaged(String),
    /// Another node has the session.
    #[error("another node has taken the workspace over")]
    TakenOver,
    /// It cannot be kept, or not be made here.
    #[error("{0}")]
    Broken(String),
}

/// Folders below the node's data folder, each of so much and all of them within the node's room.
#[derive(Debug)]
pub struct FolderWorkspaces {
    data_dir: PathBuf,
    bounds: WorkspaceBounds,
    room: Arc<SharedRoom>,
    /// Those that somebody works in: missions of a session share what is counted there.
    open: Mutex<FxHashMap<PathBuf, WeakWorkspace>>,
}

/// At so many entries, those that nobody works in any more are dropped.
const OPEN_MIN: usize = 256;

impl FolderWorkspaces {
    /// Those below `data_dir`.
    #[must_use]
    pub fn new(data_dir: PathBuf, bounds: WorkspaceBounds, room: Arc<SharedRoom>) -> Self {
        Self { data_dir, bounds, room, open: Mutex::default() }
    }

    /// Where they are.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.data_dir.join(FOLDER)
    }

    /// Keeps in mind that a workspace is nobody's, be it here or elsewhere. Blocks.
    ///
    /// # Errors
    /// The disk says no.
    pub fn mark(&self, left: &LeftBehind) -> io::Result<()> {
        let (folder, told) = (self.root().join(LEFT), serde_json::to_string(left)?);
        fs::create_dir_all(&folder)?;
        artifact_store::write(&folder, &self.mark_of(&left.vp, &left.session), told.as_bytes())?;
        File::open(&folder)?.sync_all()
    }

    /// What says so.
    fn mark_of(&self, vp: &VpId, session: &SessionId) -> PathBuf {
        let place = self.place(vp, session);
        self.root().join(LEFT).join(place.file_name().unwrap_or_default())
    }

    /// Another folder has taken the place of the one that was there: whoever opens it from now on works in that.
    pub fn renewed(&self, place: &Path) {
        self.open.lock().remove(place);
    }
}

impl Workspaces for FolderWorkspaces {
    fn open(&self, vp: &VpId, session: &SessionId) -> io::Result<Workspace> {
        let place = self.place(vp, session);
        if let Some(workspace) = self.open.lock().get(&place).and_then(WeakWorkspace::upgrade) {
            return Ok(workspace);
        }
        let workspace = Workspace::bounded(&place, self.bounds, Arc::clone(&self.room) as _)?;
        let mut open = self.open.lock();
        // Somebody else may have been quicker.
        if let Some(workspace) = open.get(&place).and_then(WeakWorkspace::upgrade) {
            return Ok(workspace);
        }
        // Each round of this is paid for by as many openings as there are entries to look at.
        if open.len() >= OPEN_MIN && open.len() == open.capacity() {
            open.retain(|_, workspace| workspace.upgrade().is_some());
        }
        open.insert(place, workspace.downgrade());
        Ok(workspace)
    }

    fn place(&self, vp: &VpId, session: &SessionId) -> PathBuf {
        workspace(&self.data_dir, vp, session)
    }

    fn leave(&self, left: &LeftBehind) -> io::Result<()> {
        if self.place(&left.vp, &left.session).exists() { self.mark(left) } else { Ok(()) }
    }

    fn left(&self) -> Vec<LeftBehind> {
        let marks = fs::read_dir(self.root().join(LEFT)).into_iter().flatten().flatten();
        let left = marks.filter_map(|mark| {
            let told = fs::read_to_string(mark.path()).ok()?;
            serde_json::from_str(&told).ok()
        });
        left.collect()
    }

    fn remove(&self, vp: &VpId, session: &SessionId) -> Result<(), CarryError> {
        let place = self.place(vp, session);
        let broken = |error: io::Error| CarryError::Broken(error.to_string());
        self.renewed(&place);
        let bytes = sortie_tools::remove_folder(&place).map_err(broken)?;
        self.room.give_back(bytes);
        match fs::remove_file(self.mark_of(vp, session)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(broken(error)),
            _ => Ok(()),
        }
    }
}

/// The workspace folder of a session below `data_dir`: readable, and safe whatever the names hold.
fn workspace(data_dir: &Path, vp: &VpId, session: &SessionId) -> PathBuf {
    let readable: String = session
        .as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .take(60)
        .collect();
    // The names' lengths keep ("a", "b/c") and ("a/b", "c") apart.
    let names = format!("{}:{vp}{session}", vp.as_str().len());
    let digest = Digest::of(names.as_bytes()).to_string();
    data_dir.join(FOLDER).join(format!("{}-{}", readable.trim_start_matches('.'), &digest[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vp(id: &str) -> VpId {
        VpId::new(id).expect("valid")
    }

    fn session(id: &str) -> SessionId {
        SessionId::new(id).expect("valid")
    }

    #[test]
    fn workspaces_stay_in_their_folder_and_apart() {
        let root = Path::new("/data");
        for id in ["../../etc", "..", "/", "a b", "ä"] {
            let folder = workspace(root, &vp("vp"), &session(id));
            assert_eq!(folder.parent(), Some(Path::new("/data/workspaces")), "{id}");
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(!name.starts_with('.'), "{name}");
        }
        assert_ne!(workspace(root, &vp("a"), &session("bc")), workspace(root, &vp("ab"), &session("c")));
    }

    #[test]
    fn what_is_nobodys_is_kept_in_mind_through_a_restart_and_gives_its_room_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let bounds = WorkspaceBounds { bytes_max: 100, files_max: 10 };
        let room = Arc::new(SharedRoom::new(Arc::new(crate::disk::Disk::new(dir.path(), 0)), 100));
        let open = || FolderWorkspaces::new(dir.path().to_owned(), bounds, Arc::clone(&room));
        let (vp, its, other) = (vp("vp"), session("child:m.child-1"), session("s"));
        let (mission, parent) = (MissionId::new("m.child-1").expect("valid"), MissionId::new("m").expect("valid"));
        let left = LeftBehind { vp: vp.clone(), session: its.clone(), mission, parent };
        let workspaces = open();
        workspaces.leave(&left).expect("nothing is there");
        assert!(workspaces.left().is_empty());
        for session in [&its, &other] {
            room.try_take(5).expect("there is room");
            let place = workspaces.place(&vp, session);
            fs::create_dir_all(place.join("below")).expect("made");
            fs::write(place.join("below/file"), [0; 5]).expect("written");
        }
        for _ in 0..2 {
            workspaces.leave(&left).expect("marked");
        }
        let workspaces = open();
        assert_eq!(workspaces.left(), [left]);
        for _ in 0..2 {
            workspaces.remove(&vp, &its).expect("removed");
            assert!(workspaces.left().is_empty() && !workspaces.place(&vp, &its).exists());
            assert_eq!((workspaces.place(&vp, &other).exists(), room.bytes()), (true, 5), "another's stays");
        }
    }
}
