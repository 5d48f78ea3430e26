//! The files below a place, bounded.

use sortie_contract::tool::CallError;

use super::{Place, TEMPORARY_PREFIX, Workspace, WorkspaceError};
use crate::tool::Cancelled;

/// Most entries that one walk looks at: a second or so of work, and a few megabytes.
const ENTRIES_MAX: usize = if cfg!(test) { 100 } else { 100_000 };

/// Deepest folder: deeper ones are made by accident or on purpose, not for work.
const DEPTH_MAX: usize = 64;

/// What a walk found.
pub(crate) struct Walk {
    /// Regular files, sorted.
    pub(crate) files: Vec<Place>,
    /// Whether there is more than a walk looks at.
    pub(crate) truncated: bool,
}

impl Workspace {
    /// Whether there is a file at `place` that a walk would find: a regular one, or a link to one.
    pub(crate) fn has_file(&self, place: &Place) -> Result<bool, CallError> {
        let is_half_written = place.split().1.starts_with(TEMPORARY_PREFIX);
        match self.dir(place)?.metadata(place.as_path()).map_err(|source| place.io("read", source)) {
            Ok(metadata) => Ok(metadata.is_file() && !is_half_written),
            Err(error) => match CallError::from(error) {
                CallError::Failed(_) => Ok(false),
                other => Err(other),
            },
        }
    }

    /// The files at `start`: itself if it is one, else those below it, sorted, at most `depth` levels of folders
    /// down.
    ///
    /// Links to files inside of the workspace count as files. Links to folders are not followed, so that nothing is
    /// seen twice and no circle is walked.
    pub(crate) fn files_at(&self, start: &Place, depth: usize, cancelled: &Cancelled) -> Result<Walk, CallError> {
        let metadata = self.dir(start)?.metadata(start.as_path()).map_err(|source| start.io("read", source))?;
        if metadata.is_dir() {
            self.walk(start, depth, cancelled)
        } else if metadata.is_file() {
            Ok(Walk { files: vec![start.clone()], truncated: false })
        } else {
            Err(WorkspaceError::NotAFile { path: start.to_string(), what: super::kind_of(metadata.file_type()) }.into())
        }
    }

    fn walk(&self, start: &Place, depth: usize, cancelled: &Cancelled) -> Result<Walk, CallError> {
        let dir = self.dir(start)?;
        let mut found = Walk { files: Vec::new(), truncated: false };
        let mut seen = 0_usize;
        let mut folders = vec![(start.clone(), 0)];
        'walk: while let Some((folder, level)) = folders.pop() {
            cancelled.check()?;
            let entries = match dir.read_dir(folder.as_path()) {
                Ok(entries) => entries,
                // Removed meanwhile, or closed to us; the folder that was asked for is another matter.
                Err(_) if level > 0 => continue,
                Err(source) => return Err(start.io("listed", source).into()),
            };
            for entry in entries.flatten() {
                seen += 1;
                if seen > ENTRIES_MAX {
                    found.truncated = true;
                    break 'walk;
                }
                // A name that is no text cannot be named in a call either.
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let Ok(kind) = entry.file_type() else { continue };
                let place = folder.entry(&name);
                let is_file = kind.is_file()
                    || kind.is_symlink() && dir.metadata(place.as_path()).is_ok_and(|metadata| metadata.is_file());
                if is_file && !name.starts_with(TEMPORARY_PREFIX) {
                    found.files.push(place);
                } else if kind.is_dir() && level < depth {
                    if level < DEPTH_MAX {
                        folders.push((place, level + 1));
                    } else {
                        found.truncated = true;
                    }
                }
            }
        }
        found.files.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(found)
    }
}
