//! Where a node keeps what is not in its journal: artifacts, workspaces, the mark that it is paused. What was put there is through a loss
//! of power.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use sortie_contract::digest::Digest;
use sortie_contract::{MissionNo, SessionId, VpId};
use sortie_engine::act::PauseMark;
use sortie_engine::{Artifacts, Room, Workspaces};
use sortie_tools::Workspace;

use crate::scene::Scene;

/// A node's data folder without its journal. Clones are the same folder.
#[derive(Clone)]
pub(crate) struct Folder {
    scene: Arc<Scene>,
    artifacts: Arc<Mutex<Bytes>>,
    aside: Arc<Mutex<Aside>>,
    /// The mark that the node is paused.
    paused: Arc<AtomicBool>,
    /// Where workspaces are.
    workspaces: Arc<Path>,
}

type Bytes = BTreeMap<(MissionNo, Digest), Vec<u8>>;
/// What is set aside for forks, by their name.
type Aside = BTreeMap<String, BTreeMap<Digest, Vec<u8>>>;

impl Folder {
    pub(crate) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
            artifacts: Arc::default(),
            aside: Arc::default(),
            paused: Arc::default(),
            workspaces: Path::new("/nowhere-in-a-simulation").into(),
        }
    }

    /// That of another node, which has its workspaces there; artifacts are kept where all of them have them.
    pub(crate) fn beside(&self, workspaces: &Path) -> Self {
        Self { paused: Arc::default(), workspaces: workspaces.into(), ..self.clone() }
    }

    /// How many artifacts a mission has there.
    pub(crate) fn artifacts_of(&self, no: MissionNo) -> usize {
        self.artifacts.lock().keys().filter(|(of, _)| *of == no).count()
    }

    /// Whether one is there.
    pub(crate) fn has(&self, no: MissionNo, sha256: &Digest) -> bool {
        self.artifacts.lock().contains_key(&(no, *sha256))
    }

    /// The disk fails now and then.
    fn fails(&self) -> io::Result<()> {
        let faults = self.scene.outside(|outside| outside.faults);
        if faults && self.scene.one_in(20) {
            self.scene.count("folder that fails");
            return Err(io::Error::other("the simulated folder fails"));
        }
        Ok(())
    }
}

impl Artifacts for Folder {
    fn put(&self, mission: MissionNo, bytes: &[u8]) -> io::Result<Digest> {
        self.fails()?;
        let sha256 = Digest::of(bytes);
        self.artifacts.lock().insert((mission, sha256), bytes.to_vec());
        Ok(sha256)
    }

    fn get(&self, mission: MissionNo, sha256: &Digest) -> io::Result<Vec<u8>> {
        self.artifacts.lock().get(&(mission, *sha256)).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set_aside(&self, name: &str, from: MissionNo, stored: &[Digest]) -> io::Result<()> {
        self.fails()?;
        let set_aside = stored.iter().map(|sha256| Ok((*sha256, self.get(from, sha256)?)));
        let set_aside = set_aside.collect::<io::Result<_>>()?;
        self.aside.lock().insert(name.to_owned(), set_aside);
        Ok(())
    }

    fn hand_over(&self, name: &str, to: MissionNo) -> io::Result<()> {
        self.fails()?;
        // What is there is of a fork that a crash took away before it was on disk.
        self.artifacts.lock().retain(|(of, _), _| *of != to);
        let set_aside = self.aside.lock().remove(name).ok_or(io::ErrorKind::NotFound)?;
        self.artifacts.lock().extend(set_aside.into_iter().map(|(sha256, bytes)| ((to, sha256), bytes)));
        Ok(())
    }

    fn take_back(&self, name: &str, from: MissionNo) {
        let taken = self.artifacts.lock().extract_if(.., |(of, _), _| *of == from).collect::<Vec<_>>();
        let taken = taken.into_iter().map(|((_, sha256), bytes)| (sha256, bytes)).collect();
        self.aside.lock().insert(name.to_owned(), taken);
    }

    fn discard(&self, name: &str) {
        self.aside.lock().remove(name);
    }

    fn remove(&self, mission: MissionNo) -> io::Result<()> {
        self.fails()?;
        self.artifacts.lock().retain(|(of, _), _| *of != mission);
        Ok(())
    }

    fn is_over(&self, _: MissionNo) {}

    fn room(&self) -> Room {
        if self.scene.outside(|outside| outside.disk_is_low) { Room::Low } else { Room::Enough }
    }
}

impl Workspaces for Folder {
    fn open(&self, vp: &VpId, session: &SessionId) -> io::Result<Workspace> {
        // Of the tools here none touches a file: only where a session is to go on with an empty one is it made.
        Workspace::open(&self.place(vp, session))
    }

    fn place(&self, vp: &VpId, session: &SessionId) -> PathBuf {
        self.workspaces.join(format!("{vp} {session}"))
    }
}

impl PauseMark for Folder {
    fn is_set(&self) -> bool {
        self.paused.load(Relaxed)
    }

    fn set(&self, paused: bool) -> io::Result<()> {
        self.fails()?;
        self.paused.store(paused, Relaxed);
        Ok(())
    }
}
