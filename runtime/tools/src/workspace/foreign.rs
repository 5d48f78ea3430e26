//! What a program writes into a workspace by itself: looked at before, while it runs, and afterwards.
//!
//! Such a program may want to hide what it does: links are not followed, the walk is bounded, and what cannot be looked into is counted by
//! itself. Sizes are those that files say they have, so that a file of nothing is as large as it looks; what is
//! set aside on the disk counts where it is far more.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use sortie_contract::tool::CallError;

use super::quota::Used;
use super::{Place, TEMPORARY_PREFIX, Workspace, private_root};
use crate::tool::Cancelled;

/// Most files whose state is kept: some ten megabytes. What comes after them is counted, and nobody is told who wrote it.
const STAMPS_MAX: usize = 100_000;

/// Most entries that one walk looks at, where no bound is smaller: a few seconds of work.
const ENTRIES_MAX: u64 = 1_000_000;

/// How much a file system may set aside for a file beyond twice its size, in bytes: none of those that do so takes more by itself.
const SET_ASIDE_FREE: u64 = 64 << 10;

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Measure {
    used: Used,
    /// Folders that could not be looked into: their mode forbids it, or their path is too long.
    unseen: u64,
}

impl Measure {
    pub(super) fn used(self) -> Used {
        self.used
    }
}

/// A workspace at a moment.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) measure: Measure,
    /// Its regular files.
    pub(crate) stamps: BTreeMap<String, Stamp>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    number: u64,
    pub(crate) bytes: u64,
    modified: (i64, i64),
}

impl Workspace {
    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.0.root
    }

    /// The most that it may hold, in bytes; so much at least is no surprise in a single file.
    pub(crate) fn bytes_max(&self) -> Option<u64> {
        self.0.quota.as_ref().map(|quota| quota.bounds.bytes_max)
    }

    /// Looks before a program writes by itself, and makes the workspace where there is none. Blocks.
    pub(crate) fn begin_foreign(&self, cancelled: &Cancelled) -> Result<Survey, CallError> {
        private_root(&self.0.root).map_err(|source| Place::root().io("reached", source))?;
        let survey = survey(&self.0.root, STAMPS_MAX, || cancelled.check())?;
        if let Some(quota) = &self.0.quota {
            // What is too much already was written before.
            let _ = quota.found(survey.measure.used);
            // Should nobody come back to say what it wrote, the next who writes here counts.
            quota.doubt();
        }
        Ok(survey)
    }

    /// Looks afterwards. Blocks.
    pub(crate) fn end_foreign(&self, before: Measure, cancelled: &Cancelled) -> Result<Survey, CallError> {
        let survey = survey(&self.0.root, STAMPS_MAX, || cancelled.check())?;
        if let Some(quota) = &self.0.quota {
            if let Err(why) = self.judge(survey.measure, Some(before)) {
                tracing::debug!(why, "a command left more in its workspace than that may hold");
            }
            quota.trust();
        }
        Ok(survey)
    }

    /// Looks while it runs. How many files and folders there are, or why it must end: it holds more than it may, and more than `floor`,
    /// which it held before. Blocks.
    pub(crate) fn measure(&self, floor: Option<Measure>) -> Result<u64, String> {
        let found = survey(&self.0.root, 0, || Ok(())).map_err(|error| error.to_string())?.measure;
        self.judge(found, floor)?;
        Ok(found.used.files)
    }

    fn judge(&self, found: Measure, floor: Option<Measure>) -> Result<(), String> {
        let floor = floor.unwrap_or_default();
        if found.unseen > floor.unseen {
            return Err(
                "it made folders in the workspace that nobody can look into (their mode, or their depth)".to_owned()
            );
        }
        let Some(quota) = &self.0.quota else { return Ok(()) };
        quota.found(found.used)?;
        let (bytes_max, files_max) = (quota.bounds.bytes_max, quota.bounds.files_max);
        if found.used.bytes > bytes_max.max(floor.used.bytes) {
            return Err(format!(
                "a workspace holds at most {} MiB (`limits.workspace_mib`), and it wrote more",
                bytes_max >> 20
            ));
        }
        if found.used.files > files_max.max(floor.used.files) {
            return Err(format!(
                "a workspace holds at most {files_max} files and folders (`limits.workspace_files`), and it made more"
            ));
        }
        Ok(())
    }
}

/// What lies below a folder; the states of so many files at most.
pub(super) fn survey(
    root: &Path,
    stamps_max: usize,
    mut goes_on: impl FnMut() -> Result<(), CallError>,
) -> Result<Survey, CallError> {
    let mut survey = Survey::default();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        goes_on()?;
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(_) => {
                survey.measure.unseen += 1;
                continue;
            }
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            survey.measure.used.files += 1;
            if survey.measure.used.files > ENTRIES_MAX {
                return Ok(survey);
            }
            if metadata.is_dir() {
                folders.push(entry.path());
                continue;
            }
            survey.measure.used.bytes += taken(&metadata);
            if metadata.is_file() && survey.stamps.len() < stamps_max {
                keep(&mut survey.stamps, root, &entry.path(), &metadata);
            }
        }
    }
    Ok(survey)
}

/// What of a file counts: what it says it has, or what is set aside for it on the disk where that is far more (`fallocate -n`). File
/// systems set a little aside by themselves for what is being written, and that is nobody's doing.
fn taken(metadata: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let (said, set_aside) = (metadata.len(), metadata.blocks().saturating_mul(512));
    if set_aside > said.saturating_mul(2).saturating_add(SET_ASIDE_FREE) { set_aside } else { said }
}

fn keep(stamps: &mut BTreeMap<String, Stamp>, root: &Path, path: &Path, metadata: &std::fs::Metadata) {
    use std::os::unix::fs::MetadataExt as _;
    // A name that is no text cannot be named in a call either.
    let Some(place) = path.strip_prefix(root).ok().and_then(Path::to_str) else { return };
    if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY_PREFIX)) {
        return;
    }
    let stamp =
        Stamp { number: metadata.ino(), bytes: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) };
    stamps.insert(place.to_owned(), stamp);
}
