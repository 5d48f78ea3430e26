//! Backups: one archive of a node as it is at one moment, and its way back into a data folder.
//!
//! An archive is a tar file. Its first member, `manifest.json`, says what it is and has the digest of each member that is not called
//! after its own; the last, `end.json`, says how many there were, with a digest over the list of them. Between them lie the journal, of
//! one moment, the artifacts and the plugins, so that whoever reads it knows of each member at once whether it is what was written, and
//! at the end whether all were there. Nothing is held in memory but names.
//!
//! Workspaces are not in it, nor the admin token, the configuration, secrets, or what is made again (compiled code).
//!
//! The only place that names `tar`. Owned here: the form, and what goes where. Never here: who asks (`http/backup.rs`, `cli/backup.rs`).

mod part;
mod read;
mod restore;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sortie_contract::digest::Digest;
use sortie_contract::{MissionNo, Timestamp};
use sortie_journal::Copied;

pub(crate) use part::{take_artifacts, take_journal};
pub(crate) use read::{ArchiveError, Checked, check};
pub(crate) use restore::{Forgotten, Plan, RestoreError, Wish, plan, restore};
pub(crate) use write::{Source, TakeError, write};

/// The form of an archive. It goes up when an older Sortie could not read what a newer one writes.
const FORMAT: u32 = 1;

/// What an archive begins and ends with, and its journal.
const MANIFEST: &str = "manifest.json";
const JOURNAL: &str = "journal.redb";
const END: &str = "end.json";

/// The folder of a data folder in which copies of the journal lie while they are sent. What is in it at a start was left by a kill.
pub(crate) const DRAFTS: &str = "backup.partial";

/// The file of a data folder that says of which moment the last backup is that was sent whole.
pub(crate) const LAST: &str = "backup.last";

/// The file of a data folder that says from which backup it was restored, until an operator lets the node go on.
pub(crate) const RESTORED: &str = sortie_engine::act::RESTORED;

/// The file of a data folder that is there while a restore changes it.
const HALF_RESTORED: &str = "restore-in-progress";

/// What an archive is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// See [`FORMAT`].
    pub(crate) format: u32,
    /// Of the Sortie that wrote it.
    pub(crate) version: String,
    /// What the node called itself.
    pub(crate) instance_id: String,
    /// The moment that it shows.
    pub(crate) taken_at: Timestamp,
    /// The journal.
    pub(crate) journal: JournalPart,
    /// The files that say which plugins are installed, with their digests.
    pub(crate) plugins: BTreeMap<String, Digest>,
}

/// The journal of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalPart {
    /// Its digest.
    pub(crate) sha256: Digest,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its format.
    pub(crate) format: u64,
    /// How many commits there had been.
    pub(crate) commits: u64,
    /// The position of its newest frame.
    pub(crate) position: u64,
    /// The greatest number that a mission had.
    pub(crate) last_no: u64,
    /// How many missions are in it.
    pub(crate) missions: u64,
    /// Those of them that had not ended.
    pub(crate) unfinished: u64,
}

impl JournalPart {
    fn of(copied: Copied, bytes: u64, sha256: Digest) -> Self {
        let Copied { format, commits, position, last_no, missions, unfinished } = copied;
        Self { sha256, bytes, format, commits, position, last_no: last_no.0, missions, unfinished }
    }
}

/// How an archive ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// How many members came before it.
    pub(crate) members: u64,
    /// What they hold.
    pub(crate) bytes: u64,
    /// How many of them are artifacts.
    pub(crate) artifacts: u64,
    /// How many of them are components of plugins.
    pub(crate) components: u64,
    /// Artifacts that are not in it: their bytes were not what they had been any more, or gone.
    pub(crate) left_out: u64,
    /// Of the manifest.
    pub(crate) manifest: Digest,
    /// Of the list of members: for each its digest, its size and its name.
    pub(crate) sha256: Digest,
}

/// That a data folder was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The moment that the backup shows.
    pub(crate) taken_at: Timestamp,
    /// When it was restored.
    pub(crate) restored_at: Timestamp,
    /// Missions that had not ended at that moment.
    pub(crate) unfinished: u64,
}

impl Mark {
    /// That of a data folder, where there is one. One that cannot be read says nothing; that it is there holds the node back all the same.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(RESTORED)).ok()?).ok()
    }
}

/// Whether a name of a data folder is of something that is made of it, or into it, and not yet done.
pub(crate) fn is_draft(name: &str) -> bool {
    name == DRAFTS || name.starts_with(restore::DRAFT)
}

/// Whether it is of what a restore has moved aside.
pub(crate) fn is_moved_aside(name: &str) -> bool {
    name.starts_with(restore::ASIDE)
}

/// Whether a restore was broken off in this folder: what is there is a part of two nodes.
pub(crate) fn is_half_restored(data_dir: &Path) -> bool {
    data_dir.join(HALF_RESTORED).exists()
}

/// Removes what a node that was killed left of backups. For whoever has the journal of that folder.
pub(crate) fn clean(data_dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(data_dir.join(DRAFTS)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What lies between the first member and the last. Its name says where it goes in a data folder; there are no others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Journal,
    Artifact(MissionNo, Digest),
    Component(Digest),
    /// That a plugin is installed.
    Plugin(String),
}

impl Member {
    /// One name for each, and nothing else is a name: it cannot lead out of the folder.
    fn parse(name: &str) -> Option<Self> {
        let member = match name.split_once('/') {
            None if name == JOURNAL => Self::Journal,
            Some(("artifacts", rest)) => {
                let (no, digest) = rest.split_once('/')?;
                Self::Artifact(MissionNo(no.parse().ok()?), digest.parse().ok()?)
            }
            Some(("plugins", file)) => match file.strip_suffix(".wasm") {
                Some(digest) => Self::Component(digest.parse().ok()?),
                None if is_plugin(file) => Self::Plugin(file.to_owned()),
                None => return None,
            },
            _ => return None,
        };
        (member.name() == name).then_some(member)
    }

    fn name(&self) -> String {
        match self {
            Self::Journal => JOURNAL.to_owned(),
            Self::Artifact(no, digest) => format!("artifacts/{no}/{digest}"),
            Self::Component(digest) => format!("plugins/{digest}.wasm"),
            Self::Plugin(file) => format!("plugins/{file}"),
        }
    }

    /// The digest that it must have.
    fn digest(&self, manifest: &Manifest) -> Option<Digest> {
        match self {
            Self::Journal => Some(manifest.journal.sha256),
            Self::Artifact(_, digest) | Self::Component(digest) => Some(*digest),
            Self::Plugin(file) => manifest.plugins.get(file).copied(),
        }
    }
}

/// Whether a file of the plugin store says that a plugin is installed.
fn is_plugin(file: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@.-_+".contains(&b);
    file.ends_with(".json") && file.len() <= 255 && !file.starts_with('.') && file.bytes().all(plain)
}

/// An error with the file that it is about.
fn at(path: &Path) -> impl FnOnce(io::Error) -> (PathBuf, io::Error) {
    let path = path.to_owned();
    move |error| (path, error)
}
