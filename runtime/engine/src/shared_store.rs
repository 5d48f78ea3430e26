//! Where the artifacts of a mission are: in the node's own store, or, where its `storage_scope` is `shared`, in one that nodes share.
//!
//! A shared store is across a network: it may be away, and then whoever needs it waits for as long as the mission may go on. Each mission has a
//! place there, by what its control plane calls it, so that it is the same for whichever node has the mission, and a number that another log gave
//! to another mission means nothing there.
//!
//! What a mission stored there goes after the log has let go of the mission, and never because a node does not know one: it may be with another.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sortie_contract::artifact::StorageScope;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::Envelope;
use sortie_contract::id::RunNo;
use sortie_contract::{MissionId, MissionNo};
use sortie_mission::Mission;

use super::artifact_store::Artifacts;
use super::live::Live;
use super::{Engine, ReadError};

/// The first wait for a store that is away; each further one is twice as long.
const NAP: Duration = Duration::from_secs(1);

/// The longest of them: a mission that is over meanwhile is not held up for longer.
const NAP_MAX: Duration = Duration::from_secs(5);

/// A store that nodes share. Every method but [`SharedStore::is_over`] blocks, for some seconds where the store is away.
pub trait SharedStore: Send + Sync + 'static {
    /// Stores bytes in a mission's place. When this returns they are there, and to do it twice is to do it once.
    ///
    /// # Errors
    /// [`ArtifactError`]
    fn put(&self, place: &str, bytes: &[u8]) -> Result<Digest, ArtifactError>;

    /// The bytes that were stored, or an error.
    ///
    /// # Errors
    /// [`ArtifactError`]
    fn get(&self, place: &str, sha256: &Digest) -> Result<Vec<u8>, ArtifactError>;

    /// The same as a file that goes when it is closed: all of it is there, and is what was stored.
    ///
    /// # Errors
    /// [`ArtifactError`]
    fn fetch(&self, place: &str, sha256: &Digest) -> Result<File, ArtifactError>;

    /// Stores what is in one place in another, too.
    ///
    /// # Errors
    /// [`ArtifactError`]: some may be there.
    fn copy(&self, from: &str, to: &str, stored: &[Digest]) -> Result<(), ArtifactError>;

    /// Removes all that is in a place; nothing there is no error.
    ///
    /// # Errors
    /// [`ArtifactError`]: some may be left.
    fn remove(&self, place: &str) -> Result<(), ArtifactError>;

    /// Nothing more comes into a place.
    fn is_over(&self, place: &str);

    /// Keeps in mind, through a restart, that a place is nobody's, unless the log has that mission with it.
    ///
    /// # Errors
    /// The disk says no.
    fn leave(&self, place: &str, mission: &MissionId) -> io::Result<()>;

    /// The places that were left.
    fn left(&self) -> Vec<(String, MissionId)>;

    /// The place is empty.
    fn forget(&self, place: &str);
}

/// Why an artifact is not stored, or not read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The node's own disk.
    #[error(transparent)]
    Folder(#[from] io::Error),
    /// The shared store, for now.
    #[error("the shared store cannot be used now: {0}")]
    Away(String),
    /// The mission has stored as much as one may.
    #[error("{0}")]
    Full(String),
    /// Another node stored it, before this one took its mission over.
    #[error(
        "its bytes are on the disk of the node that had this mission before: copy what is in `{folder}` of that node's data directory \
         to the same folder of this one's"
    )]
    Elsewhere {
        /// Where it is, below the data directory of whichever node has it.
        folder: String,
    },
    /// It is not where it was stored.
    #[error("there is no {at}")]
    Missing {
        /// Where it should be, below the store's own place.
        at: String,
    },
    /// What is there is not what was stored.
    #[error("{at} is not what was stored: {why}")]
    Damaged {
        /// Where it is, below the store's own place.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no shared store any more.
    #[error("it is in a shared store, and this node has none: the operator names it in `[artifact] shared`")]
    NoStore,
}

impl ArtifactError {
    /// Whether it may be well later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

/// The artifacts of one mission, wherever they are. Its methods block.
#[derive(Clone)]
pub struct ArtifactsOf {
    no: MissionNo,
    folder: Arc<dyn Artifacts>,
    /// Whether the folder's node may have the mission of another one, which stored some of them.
    is_of_fleet: bool,
    shared: Option<(Option<Arc<dyn SharedStore>>, String)>,
}

impl ArtifactsOf {
    /// Stores bytes: when this returns they are there.
    ///
    /// # Errors
    /// [`ArtifactError`]; nothing is to be relied on then.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ArtifactError> {
        match self.place()? {
            Some((store, place)) => store.put(place, bytes),
            None => Ok(self.folder.put(self.no, bytes)?),
        }
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`ArtifactError`]
    pub fn get(&self, sha256: &Digest) -> Result<Vec<u8>, ArtifactError> {
        match self.place()? {
            Some((store, place)) => store.get(place, sha256),
            None => self.folder.get(self.no, sha256).map_err(|error| self.unread(sha256, error)),
        }
    }

    /// Why one that should be in the node's own folder is not read: whoever took a mission over has its record, and not its files.
    #[must_use]
    pub fn unread(&self, sha256: &Digest, error: io::Error) -> ArtifactError {
        let folder = format!("artifacts/{}", self.no);
        let at = format!("`{folder}/{sha256}` in the node's data directory");
        match error.kind() {
            io::ErrorKind::NotFound if self.is_of_fleet => ArtifactError::Elsewhere { folder },
            io::ErrorKind::NotFound => ArtifactError::Missing { at },
            io::ErrorKind::InvalidData => ArtifactError::Damaged { at, why: error.to_string() },
            _ => ArtifactError::Folder(error),
        }
    }

    /// The place in the shared store where they are; none, where they are the node's own.
    ///
    /// # Errors
    /// [`ArtifactError::NoStore`]
    pub fn place(&self) -> Result<Option<(&dyn SharedStore, &str)>, ArtifactError> {
        let Some((store, place)) = &self.shared else { return Ok(None) };
        let store = store.as_deref().ok_or(ArtifactError::NoStore)?;
        Ok(Some((store, place)))
    }
}

/// A mission's place in a shared store: readable, of letters that every store takes, and no other mission's. None, where its artifacts are not
/// there.
#[must_use]
pub fn shared_place(envelope: &Envelope) -> Option<String> {
    if envelope.storage_scope != StorageScope::Shared {
        return None;
    }
    let id = envelope.mission_id.as_str();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let readable: String = id.chars().map(plain).take(60).collect();
    // Two nodes may make missions of one name, of schedules that they both have.
    let (target, source) = (envelope.target_instance_id.as_str(), envelope.source_instance_id.as_str());
    let (key, trace) = (envelope.idempotency_key.as_str(), envelope.trace_id.as_str());
    let names = [id, target, source, key, trace, &envelope.created_at.to_string()];
    let told = names.iter().map(|name| format!("{}:{name}", name.len())).collect::<String>();
    Some(format!("{readable}-{}", &Digest::of(told.as_bytes()).to_string()[..16]))
}

impl Engine {
    /// The artifacts of a mission with that envelope.
    #[must_use]
    pub fn artifacts_of(&self, no: MissionNo, envelope: &Envelope) -> ArtifactsOf {
        let shared = shared_place(envelope).map(|place| (self.shared.clone(), place));
        self.artifacts_at(no, shared)
    }

    /// Those of a mission in memory.
    pub(crate) fn artifacts_of_live(&self, live: &Live) -> ArtifactsOf {
        live.with(|mission| self.artifacts_of(live.no, mission.envelope()))
    }

    /// Those of a mission of which nothing is at hand. Blocks.
    pub(crate) fn artifacts_of_no(&self, no: MissionNo) -> Result<ArtifactsOf, ReadError> {
        let envelope = match &self.shared {
            Some(_) => self.envelope_of(no)?,
            None => None,
        };
        let shared = envelope.as_ref().and_then(shared_place).map(|place| (self.shared.clone(), place));
        Ok(self.artifacts_at(no, shared))
    }

    fn artifacts_at(&self, no: MissionNo, shared: Option<(Option<Arc<dyn SharedStore>>, String)>) -> ArtifactsOf {
        ArtifactsOf { no, folder: Arc::clone(&self.artifacts), is_of_fleet: self.has_fleet(), shared }
    }

    /// What a mission was accepted with; none where that cannot be told.
    fn envelope_of(&self, no: MissionNo) -> Result<Option<Envelope>, ReadError> {
        match self.accepted_with(no) {
            Err(ReadError::Unknown | ReadError::NoEnvelope) => Ok(None),
            accepted => accepted.map(Some),
        }
    }

    /// The place of a mission that is to be removed, and whose that is. What cannot be read has none that could be found.
    pub(crate) fn place_left_by(&self, no: MissionNo) -> Option<(String, MissionId)> {
        self.shared.as_ref()?;
        let envelope = self.envelope_of(no).ok().flatten()?;
        shared_place(&envelope).map(|place| (place, envelope.mission_id))
    }

    /// Waits a while for a store that is away, and says whether the run still goes on: nobody else can use what it waits for.
    pub(crate) async fn wait_for_store(
        &self,
        live: &Live,
        run: Option<RunNo>,
        round: &mut u32,
        error: &(dyn std::fmt::Display + Sync),
    ) -> bool {
        if *round == 0 {
            tracing::warn!(no = %live.no, %error, "a mission waits for the shared store");
        }
        let nap = NAP.saturating_mul(1 << (*round).min(8)).min(NAP_MAX);
        *round = round.saturating_add(1);
        self.ambient.sleep(nap).await;
        run.is_some() && !self.is_stopping() && live.with(Mission::run) == run
    }

    /// Whether no mission has a place that one of that name had. One that cannot be read, or is another node's, may have it. Blocks.
    fn is_nobodys(&self, place: &str, mission: &MissionId) -> Result<bool, ReadError> {
        match self.log.find(mission)? {
            Some(twin) => {
                let envelope = self.envelope_of(twin.no)?;
                Ok(envelope.is_some_and(|envelope| shared_place(&envelope).as_deref() != Some(place)))
            }
            None => Ok(self.holder(mission.as_str())?.is_none()),
        }
    }

    /// Removes what lies in places that are nobody's. What cannot be removed now is tried again by whoever comes next. Blocks.
    pub(crate) fn sweep_places(&self) {
        let Some(shared) = &self.shared else { return };
        for (place, mission) in shared.left() {
            match self.is_nobodys(&place, &mission) {
                Ok(true) => match shared.remove(&place) {
                    Ok(()) => shared.forget(&place),
                    Err(error) if error.may_pass() => {
                        tracing::debug!(place, %error, "what a mission left in the shared store stays for now");
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(place, %error, "what a mission left in the shared store stays until somebody sees to it");
                    }
                },
                // It is not removed yet, or came again: it is left once more when it goes.
                Ok(false) => {}
                Err(error) => tracing::debug!(place, %error, "it cannot be told whether a mission is gone"),
            }
        }
    }
}
