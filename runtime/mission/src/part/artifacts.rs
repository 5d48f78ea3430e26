//! What a mission leaves behind: its artifacts, and the files of the workspace that may become one.
//!
//! Owned here: which artifacts there are, which paths the mission's calls wrote, and whose the bytes are that lie there. Never
//! here: bytes, and who may read them.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::limit;
use sortie_contract::tool::Written;

/// Artifacts and the paths that were written. Nothing that they take up can be illegal: what does not fit was refused when it was
/// decided, and a journal from before a limit is still true.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Artifacts {
    /// By the order in which their names first came.
    stored: Vec<Artifact>,
    /// Paths that this mission's own calls wrote in the workspace, and whose the bytes are that the last of them left there.
    wrote: BTreeMap<String, Bytes>,
}

/// Whose the bytes of a file are that a mission wrote. Others of its session work in the same folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// Its own, all of them: those with this digest.
    Own(Digest),
    /// It changed a part of what it had not written, and kept the rest.
    Mixed,
    /// Not told: records before version 5.
    Unsaid,
}

impl Artifacts {
    /// Takes up a stored artifact: a new one, or the next of its name.
    pub(crate) fn store(&mut self, artifact: &Artifact) {
        match self.stored.iter_mut().find(|known| known.name == artifact.name) {
            Some(known) => known.clone_from(artifact),
            None => self.stored.push(artifact.clone()),
        }
    }

    /// Takes up what a call wrote.
    pub(crate) fn write(&mut self, written: &[Written]) {
        for Written { path, sha256, changed } in written {
            let bytes = match (sha256, changed, self.wrote.get(path)) {
                (None, ..) => Bytes::Unsaid,
                (Some(left), None, _) | (Some(left), Some(_), Some(Bytes::Unsaid)) => Bytes::Own(*left),
                (Some(left), Some(before), Some(Bytes::Own(own))) if own == before => Bytes::Own(*left),
                (Some(_), Some(_), Some(Bytes::Own(_) | Bytes::Mixed) | None) => Bytes::Mixed,
            };
            self.wrote.insert(path.clone(), bytes);
        }
    }

    /// The run that wrote is of no account any more.
    pub(crate) fn forget_written(&mut self) {
        self.wrote.clear();
    }

    /// All of them, by the order in which their names first came.
    pub(crate) fn stored(&self) -> &[Artifact] {
        &self.stored
    }

    /// Whether there is one of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.stored.iter().any(|known| known.name.as_str() == name)
    }

    /// Whether one of that name may be stored beside those that there are: at the most of them, only in place of one.
    pub(crate) fn has_room_for(&self, name: &ArtifactName) -> bool {
        self.stored.len() < limit::ARTIFACTS_MAX || self.has(name.as_str())
    }

    /// Paths that the mission's own calls wrote.
    pub(crate) fn written(&self) -> impl Iterator<Item = &str> {
        self.wrote.keys().map(String::as_str)
    }

    /// What its own calls left at that path, which may be put in other ways (`./a//b`); nothing, where none wrote there.
    pub(crate) fn left_at(&self, path: &str) -> Option<Bytes> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if path.starts_with('/') { None } else { self.wrote.get(&parts.join("/")).copied() }
    }
}
