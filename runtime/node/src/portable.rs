//! Workspaces that go with their sessions: what lies in one is kept in the store that nodes share, and made again wherever the session goes on.
//!
//! A note in the data directory says which number in the store the folder here is the continuation of. Where that is the newest, the folder
//! here holds, with whatever came behind it; where it is not, another node was there since, and the snapshot holds: it is claimed first and
//! made beside, and takes the folder's place in one step. A process that is killed in between begins again.
//!
//! Where what the store has is gone or damaged, the folder here still holds if nobody else has written since: all of it is written again. Where
//! it is not here, nothing is made of what is left, and whoever needs it waits.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sortie_contract::digest::Digest;
use sortie_contract::{SessionId, VpId};
use sortie_engine::{CarryError, Fetched, FolderWorkspaces, LeftBehind, SharedRoom, Workspaces};
use sortie_objects::{CHUNK_BYTES, Draft, Fault, Line, SnapshotError, Snapshots};
use sortie_tools::{
    Carried, CarriedKind, CarryError as Uncarried, FileRead, FileState, NodeRoom as _, Remade, Workspace,
    WorkspaceBounds, state_now,
};

use crate::shared::Shared;

/// Beside the workspaces: notes, and what is made.
const BESIDE: &str = ".carried";

/// How often a workspace is looked at again that others claim in this moment.
const CLAIMS: usize = 5;

/// The workspaces of a node whose sessions may go on elsewhere.
#[derive(Debug)]
pub(crate) struct Portable {
    folders: Arc<FolderWorkspaces>,
    bounds: WorkspaceBounds,
    room: Arc<SharedRoom>,
    shared: Arc<Shared>,
    snapshots: Snapshots,
    /// Those that somebody works in.
    known: Mutex<HashMap<PathBuf, Arc<Mutex<Known>>>>,
}

/// What is known of a workspace while somebody works in it.
#[derive(Debug, Default)]
struct Known {
    line: Option<Line>,
    /// The chunks of files that have not changed since.
    states: HashMap<String, (FileState, Vec<Digest>)>,
    /// What was found when it was looked before a run, for that run.
    looked: Option<Fetched>,
}

/// Something in a workspace, as the store has it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Kept {
    Folder { path: String },
    Link { path: String, to: String },
    File { path: String, mode: u32, bytes: u64, chunks: Vec<Digest> },
}

/// Which number in the store a folder is the continuation of.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    tip: u64,
}

impl Portable {
    /// Those folders, kept in that store.
    ///
    /// # Errors
    /// The disk says no.
    pub(crate) fn new(
        folders: Arc<FolderWorkspaces>,
        bounds: WorkspaceBounds,
        room: Arc<SharedRoom>,
        shared: Arc<Shared>,
        node: &str,
    ) -> io::Result<Self> {
        use rand::Rng as _;
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folders.root().join(BESIDE))?;
        let mut chance = [0_u8; 8];
        rand::rng().fill_bytes(&mut chance);
        let writer = chance.iter().map(|byte| format!("{byte:02x}")).collect();
        let snapshots = Snapshots::new(shared.objects().clone(), writer, node.to_owned());
        Ok(Self { folders, bounds, room, shared, snapshots, known: Mutex::default() })
    }

    fn known(&self, place: &Path) -> Arc<Mutex<Known>> {
        Arc::clone(self.known.lock().entry(place.to_owned()).or_default())
    }

    fn beside(&self, place: &Path, ending: &str) -> PathBuf {
        self.folders.root().join(BESIDE).join(format!("{}.{ending}", name(place)))
    }

    fn note(&self, place: &Path) -> Option<u64> {
        let text = crate::bounded::text(&self.beside(place, "json")).ok()?;
        serde_json::from_str(&text).ok().map(|Note { tip }| tip)
    }

    // Through a loss of power it may be lost, and the snapshot is made again. It is never ahead of what it speaks of.
    fn write_note(&self, place: &Path, tip: u64) -> io::Result<()> {
        let path = self.beside(place, "json");
        let file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(&path))?;
        serde_json::to_writer(&file, &Note { tip })?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    }

    /// Whether the folder here is the continuation of the newest in the store.
    fn is_here(&self, place: &Path, line: &Line) -> bool {
        self.note(place) == Some(line.tip()) && (place.exists() || line.files().is_none())
    }

    /// What the store has of a folder. Where it has less than was kept from the folder here, or what cannot be read, that folder counts.
    fn line(&self, place: &Path) -> Result<Line, SnapshotError> {
        let mut line = self.shared.wait(self.snapshots.line(&name(place)))?;
        let Some(note) = self.note(place).filter(|_| place.exists()) else { return Ok(line) };
        if note > line.tip() || (note == line.tip() && line.damage().is_some()) {
            let why = line.damage().unwrap_or("the newest of it is gone");
            tracing::error!(place = %place.display(), why, "the shared store has lost a workspace: it is written again from the folder here");
            line.begin_behind(note);
        }
        Ok(line)
    }

    /// Has the folder here be what the store has, of which nobody else writes the next from here on.
    fn take_over(&self, place: &Path, line: &mut Line) -> Result<(), SnapshotError> {
        if let Some(why) = line.damage() {
            return Err(SnapshotError::Damaged(why.to_owned()));
        }
        self.shared.wait(self.snapshots.claim(line))?;
        if let Some(files) = line.files() {
            let files: Vec<Kept> =
                Vec::deserialize(files).map_err(|error| SnapshotError::Damaged(error.to_string()))?;
            self.make(place, line, &files)?;
        }
        self.write_note(place, line.tip())?;
        Ok(())
    }

    fn make(&self, place: &Path, line: &Line, files: &[Kept]) -> Result<(), SnapshotError> {
        let damaged = |why: &str| SnapshotError::Damaged(why.to_owned());
        let all = files.iter().map(|kept| if let Kept::File { bytes, .. } = kept { *bytes } else { 0 });
        let all = all.fold(0, u64::saturating_add);
        if all > self.bounds.bytes_max || files.len() as u64 > self.bounds.files_max {
            return Err(damaged(
                "it is larger than a workspace of this node may be (`limits.workspace_mib`, `limits.workspace_files`)",
            ));
        }
        let full = |why: String| SnapshotError::Here(io::Error::new(io::ErrorKind::StorageFull, why));
        self.room.take(all).map_err(full)?;
        let made = self.make_beside(place, line, files);
        match &made {
            Ok(before) => self.room.give(*before),
            Err(_) => self.room.give(all),
        }
        made.map(drop)
    }

    /// How many bytes there were before.
    fn make_beside(&self, place: &Path, line: &Line, files: &[Kept]) -> Result<u64, SnapshotError> {
        let (aside, before) = (self.beside(place, "coming"), self.beside(place, "gone"));
        let remade = Remade::new(&aside)?;
        let now = state_now(&aside)?;
        // Where each chunk goes, and how long it is there.
        let mut wanted: HashMap<Digest, Vec<(&str, u64, usize)>> = HashMap::new();
        for kept in files {
            let (path, kind) = match kept {
                Kept::Folder { path } => (path, CarriedKind::Folder),
                Kept::Link { path, to } => (path, CarriedKind::Link(to.clone())),
                Kept::File { path, mode, bytes, chunks } => {
                    let pieces = pieces(*bytes);
                    if pieces.len() != chunks.len() {
                        return Err(SnapshotError::Damaged(format!("`{path}` has other chunks than its size says")));
                    }
                    for (chunk, (at, len)) in chunks.iter().zip(pieces) {
                        wanted.entry(*chunk).or_default().push((path, at, len));
                    }
                    (path, CarriedKind::File { mode: *mode, bytes: *bytes, state: now })
                }
            };
            remade.make(&Carried { path: path.clone(), kind })?;
        }
        let digests: HashSet<Digest> = wanted.keys().copied().collect();
        let write = |digest: &Digest, bytes: &[u8]| {
            for (path, at, len) in &wanted[digest] {
                if bytes.len() != *len {
                    let why = format!("a chunk of `{path}` is not as long as it is said to be");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                remade.file(path)?.write_at(bytes, *at)?;
            }
            Ok(())
        };
        self.shared.wait(self.snapshots.read(line, &digests, write))?;
        let freed = remade.place(place, &before)?;
        self.folders.renewed(place);
        Ok(freed)
    }

    /// Writes what lies in the folder as the next snapshot, unless it is what the last one has.
    fn write(&self, place: &Path, known: &mut Known) -> Result<(), SnapshotError> {
        let Known { line, states, .. } = known;
        let line = match line {
            Some(line) => line,
            None => {
                let found = self.line(place)?;
                if found.tip() > 0 && self.note(place) != Some(found.tip()) {
                    return Err(SnapshotError::TakenOver);
                }
                line.insert(found)
            }
        };
        let now = state_now(&self.folders.root().join(BESIDE))?;
        let workspace = Workspace::open(place)?;
        let contents = workspace.contents(self.bounds).map_err(|error| match error {
            Uncarried::Io(error) => SnapshotError::Here(error),
            large @ Uncarried::TooLarge(_) => SnapshotError::Here(io::Error::other(large)),
        })?;
        if contents.left_out > 0 {
            tracing::debug!(place = %place.display(), left_out = contents.left_out, "what is no file, folder or link is not carried");
        }
        let last: Option<Vec<Kept>> = line.files().and_then(|files| Vec::deserialize(files).ok());
        if last.is_none() && contents.all.is_empty() && !line.begins_anew() {
            return Ok(());
        }
        let tip = line.tip();
        let mut draft = self.snapshots.draft(line);
        let (mut files, mut fresh) = (Vec::with_capacity(contents.all.len()), HashMap::new());
        for Carried { path, kind } in contents.all {
            files.extend(match kind {
                CarriedKind::Folder => Some(Kept::Folder { path }),
                CarriedKind::Link(to) => Some(Kept::Link { path, to }),
                CarriedKind::File { mode, state, .. } => {
                    let before = states.remove(&path).filter(|(before, _)| *before == state);
                    let before = before.filter(|(_, chunks)| chunks.iter().all(|chunk| draft.has(chunk)));
                    let read = match before {
                        Some((_, chunks)) => {
                            chunks.iter().for_each(|chunk| draft.keep(*chunk));
                            let bytes = state.bytes();
                            Some((chunks, bytes, Some(state)))
                        }
                        None => self.read(&workspace, &path, &mut draft)?,
                    };
                    read.map(|(chunks, bytes, state)| {
                        // One that was written in this moment may be written once more, and look the same.
                        if let Some(state) = state.filter(|state| state.is_settled_at(&now)) {
                            fresh.insert(path.clone(), (state, chunks.clone()));
                        }
                        Kept::File { path, mode, bytes, chunks }
                    })
                }
            });
        }
        *states = fresh;
        if last.as_ref() == Some(&files) && !draft.is_anew() {
            // The one that could not be written when the snapshot was.
            if self.note(place) != Some(tip) {
                self.write_note(place, tip)?;
            }
            return Ok(());
        }
        let told = serde_json::to_value(&files).map_err(io::Error::from)?;
        self.shared.wait(draft.finish(told))?;
        let line = known.line.as_ref().expect("it was there before");
        debug_assert!(line.tip() > tip, "a snapshot takes a number");
        self.write_note(place, line.tip())?;
        Ok(())
    }

    /// The chunks of a file, its size, and in which state it was; none, where it is gone.
    #[expect(clippy::type_complexity, reason = "three things that are taken apart at once")]
    fn read(
        &self,
        workspace: &Workspace,
        path: &str,
        draft: &mut Draft<'_>,
    ) -> Result<Option<(Vec<Digest>, u64, Option<FileState>)>, SnapshotError> {
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let read = workspace.pieces(path, CHUNK_BYTES, |piece| {
            bytes += piece.len() as u64;
            chunks.push(self.shared.wait(draft.put(piece))?);
            Ok::<_, SnapshotError>(())
        })?;
        Ok(match read {
            FileRead::Gone => None,
            FileRead::Changing => Some((chunks, bytes, None)),
            FileRead::Whole(state) => Some((chunks, bytes, Some(state))),
        })
    }
}

/// Where the chunks of a file of so many bytes begin, and how long each is.
fn pieces(bytes: u64) -> Vec<(u64, usize)> {
    let starts = (0..bytes).step_by(CHUNK_BYTES);
    starts.map(|at| (at, usize::try_from(bytes - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES)))).collect()
}

fn name(place: &Path) -> String {
    place.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn of(error: SnapshotError) -> CarryError {
    match error {
        SnapshotError::Store(fault @ Fault::Away(_)) => CarryError::Away(fault.to_string()),
        SnapshotError::TakenOver => CarryError::TakenOver,
        damaged @ SnapshotError::Damaged(_) => CarryError::Damaged(damaged.to_string()),
        SnapshotError::Here(error) if error.kind() == io::ErrorKind::StorageFull => CarryError::Away(error.to_string()),
        other => CarryError::Broken(other.to_string()),
    }
}

impl Portable {
    /// Has the workspace be here what it was when it was kept last.
    fn fetch(&self, place: &Path, known: &mut Known) -> Result<Fetched, CarryError> {
        for _ in 0..CLAIMS {
            let mut line = self.line(place).map_err(of)?;
            if line.tip() == 0 || line.begins_anew() {
                // It was here before workspaces were carried, or nowhere; or the store has lost what was kept of the folder here.
                if !place.exists() {
                    return Ok(Fetched::Nothing);
                }
                *known = Known { line: Some(line), ..Known::default() };
                self.write(place, known).map_err(of)?;
                return Ok(Fetched::Here);
            }
            if line.is_own() && line.damage().is_none() && place.exists() {
                // Written from this folder, also where the answer was lost, or the note of it could not be written.
                if self.note(place) != Some(line.tip()) {
                    self.write_note(place, line.tip()).map_err(|error| of(error.into()))?;
                }
            } else if line.damage().is_some() || !self.is_here(place, &line) {
                known.states.clear();
                match self.take_over(place, &mut line) {
                    Ok(()) => {
                        tracing::info!(place = %place.display(), number = line.tip(), "a workspace came from another node");
                    }
                    Err(SnapshotError::TakenOver) => continue,
                    Err(error) => return Err(of(error)),
                }
            }
            let is_somewhere = line.files().is_some();
            known.line = Some(line);
            return Ok(if is_somewhere || place.exists() { Fetched::Here } else { Fetched::Nothing });
        }
        Err(CarryError::Away("other nodes claim it in this moment".to_owned()))
    }
}

impl Workspaces for Portable {
    fn open(&self, vp: &VpId, session: &SessionId) -> io::Result<Workspace> {
        self.folders.open(vp, session)
    }

    fn place(&self, vp: &VpId, session: &SessionId) -> PathBuf {
        self.folders.place(vp, session)
    }

    fn is_portable(&self) -> bool {
        true
    }

    fn fetch_back(&self, vp: &VpId, session: &SessionId) -> Result<Fetched, CarryError> {
        let place = self.place(vp, session);
        let known = self.known(&place);
        let mut known = known.lock();
        // Once. Had another node the session by now, this process would have nothing more to say, and what it writes would not be taken.
        if let Some(looked) = known.looked.take()
            && (looked == Fetched::Nothing || place.exists())
        {
            return Ok(looked);
        }
        self.fetch(&place, &mut known)
    }

    fn fetch_ahead(&self, vp: &VpId, session: &SessionId) -> Result<Fetched, CarryError> {
        let place = self.place(vp, session);
        let known = self.known(&place);
        let mut known = known.lock();
        let fetched = self.fetch(&place, &mut known)?;
        known.looked = Some(fetched);
        Ok(fetched)
    }

    fn begin_anew(&self, vp: &VpId, session: &SessionId) -> Result<(), CarryError> {
        let place = self.place(vp, session);
        let known = self.known(&place);
        let mut known = known.lock();
        let mut line = self.line(&place).map_err(of)?;
        self.shared.wait(self.snapshots.give_up(&mut line)).map_err(of)?;
        tracing::warn!(place = %place.display(), number = line.tip(), "a workspace that could not be read begins anew, as an empty one");
        self.make(&place, &line, &[]).and_then(|()| Ok(self.write_note(&place, line.tip())?)).map_err(of)?;
        *known = Known { line: Some(line), ..Known::default() };
        Ok(())
    }

    fn keep(&self, vp: &VpId, session: &SessionId) -> Result<(), CarryError> {
        let place = self.place(vp, session);
        let known = self.known(&place);
        let mut known = known.lock();
        self.write(&place, &mut known).map_err(of)
    }

    fn settle(&self, vp: &VpId, session: &SessionId) -> Result<(), CarryError> {
        let kept = self.keep(vp, session);
        self.known.lock().remove(&self.place(vp, session));
        kept
    }

    // Also where no folder is here: what was kept of it may be in the store.
    fn leave(&self, left: &LeftBehind) -> io::Result<()> {
        self.folders.mark(left)
    }

    fn left(&self) -> Vec<LeftBehind> {
        self.folders.left()
    }

    fn remove(&self, vp: &VpId, session: &SessionId) -> Result<(), CarryError> {
        let place = self.place(vp, session);
        self.shared.wait(self.snapshots.remove(&name(&place))).map_err(of)?;
        self.known.lock().remove(&place);
        match fs::remove_file(self.beside(&place, "json")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of(error.into())),
            _ => {}
        }
        self.folders.remove(vp, session)
    }
}

#[cfg(test)]
#[path = "portable_tests.rs"]
mod tests;
