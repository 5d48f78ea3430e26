//! Where a node keeps what is not in its journal: artifacts, workspaces, the mark that it is paused. What was put there is through a loss
//! of power.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

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
}

type Bytes = BTreeMap<(MissionNo, Digest), Vec<u8>>;

impl Folder {
    pub(crate) fn new(scene: &Arc<Scene>) -> Self {
        Self { scene: Arc::clone(scene), artifacts: Arc::default() }
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
        // Of the tools here none touches a file, and so none of it is ever made.
        Workspace::open(&self.place(vp, session))
    }

    fn place(&self, _: &VpId, _: &SessionId) -> PathBuf {
        PathBuf::from("/nowhere-in-a-simulation")
    }
}

impl PauseMark for Folder {
    fn is_set(&self) -> bool {
        self.scene.outside(|outside| outside.paused)
    }

    fn set(&self, paused: bool) -> io::Result<()> {
        self.fails()?;
        self.scene.outside(|outside| outside.paused = paused);
        Ok(())
    }
}
