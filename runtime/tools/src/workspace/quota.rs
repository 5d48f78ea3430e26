//! How much a workspace may hold, and how much it does.
//!
//! A workspace is counted once, when something is first written into it, off the async threads; from then on what is written
//! is counted as it is written. What a mission did not write with its own tools (an operator's copy, say) counts from the next
//! time that the workspace is opened by nobody else. What a command wrote by itself is counted while it runs and after it
//! (`foreign.rs`). Bytes are asked for before they are written.
//!
//! It does not know what else the node keeps: for that it asks a [`NodeRoom`].

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sortie_contract::tool::CallError;

use super::foreign::survey;

/// The room that all workspaces share, and whatever else lies beside them.
pub trait NodeRoom: fmt::Debug + Send + Sync + 'static {
    /// Takes room for bytes that are about to be written. Blocks.
    ///
    /// # Errors
    /// Why there is none.
    fn take(&self, bytes: u64) -> Result<(), String>;

    /// Gives room back.
    fn give(&self, bytes: u64);
}

/// How much one workspace may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceBounds {
    /// Its files together, in bytes.
    pub bytes_max: u64,
    /// How many files and folders.
    pub files_max: u64,
}

/// What a workspace holds, and what it may.
#[derive(Debug)]
pub(super) struct Quota {
    pub(super) bounds: WorkspaceBounds,
    pub(super) node: Arc<dyn NodeRoom>,
    /// None before it was counted.
    pub(super) used: Mutex<Option<Used>>,
    /// Somebody wrote there of whom it is not known how much.
    doubt: AtomicBool,
}

/// What a workspace holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// Room for a file that is about to be written; given back where it is not.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    quota: &'a Quota,
    grows: Used,
    shrinks: u64,
}

impl Quota {
    pub(super) fn new(bounds: WorkspaceBounds, node: Arc<dyn NodeRoom>) -> Self {
        Self { bounds, node, used: Mutex::default(), doubt: AtomicBool::new(false) }
    }

    /// What was found there, which others may have written: the node is told of what is more, and of what is less.
    pub(super) fn found(&self, now: Used) -> Result<(), String> {
        let before = self.used().replace(now);
        // What was never counted the node knows from its own weighing.
        let before = before.map_or(now.bytes, |before| before.bytes);
        self.node.give(before.saturating_sub(now.bytes));
        let grown = now.bytes.saturating_sub(before);
        // Also where it does not grow: files that have no name any more take the disk, too.
        self.node.take(grown).inspect_err(|_| {
            if let Some(used) = self.used().as_mut() {
                used.bytes = used.bytes.saturating_sub(grown);
            }
        })
    }

    /// From now on somebody writes there of whom it is not known how much.
    pub(super) fn doubt(&self) {
        self.doubt.store(true, Relaxed);
    }

    /// Now it is known.
    pub(super) fn trust(&self) {
        self.doubt.store(false, Relaxed);
    }

    /// Takes room in the workspace at `root` for a file of `after` bytes in the place of one of `before`, and for so many folders.
    pub(super) fn take(
        &self,
        root: &Path,
        before: Option<u64>,
        after: u64,
        folders: u64,
    ) -> Result<Taken<'_>, CallError> {
        if self.doubt.swap(false, Relaxed) {
            let _ = self.found(count(root));
        }
        let WorkspaceBounds { bytes_max, files_max } = self.bounds;
        let old = before.unwrap_or(0);
        let grows = Used { bytes: after.saturating_sub(old), files: folders + u64::from(before.is_none()) };
        {
            let mut used = self.used();
            let used = used.get_or_insert_with(|| count(root));
            let after = Used { bytes: used.bytes + grows.bytes, files: used.files + grows.files };
            if grows.bytes > 0 && after.bytes > bytes_max {
                return Err(CallError::Failed(format!(
                    "a workspace holds at most {} MiB (`limits.workspace_mib`); this one has {} bytes, and {} more would be \
                     written",
                    bytes_max >> 20,
                    used.bytes,
                    grows.bytes,
                )));
            }
            if grows.files > 0 && after.files > files_max {
                let text =
                    format!("a workspace holds at most {files_max} files and folders (`limits.workspace_files`)");
                return Err(CallError::Failed(text));
            }
            *used = after;
        }
        let taken = Taken { quota: self, grows, shrinks: old.saturating_sub(after) };
        // Also where it does not grow: for a moment both files are there, and a full disk takes neither.
        match self.node.take(grows.bytes) {
            Ok(()) => Ok(taken),
            Err(why) => {
                taken.never_mind();
                Err(CallError::Failed(why))
            }
        }
    }

    fn give(&self, freed: Used) {
        if let Some(used) = self.used().as_mut() {
            used.bytes = used.bytes.saturating_sub(freed.bytes);
            used.files = used.files.saturating_sub(freed.files);
        }
    }

    fn used(&self) -> MutexGuard<'_, Option<Used>> {
        // Numbers that are whole whenever the lock is free.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// It is written.
    pub(super) fn keep(mut self) {
        self.quota.give(Used { bytes: self.shrinks, files: 0 });
        self.quota.node.give(self.shrinks);
        self.grows = Used::default();
    }

    /// The node has no room, so that there is none to be given back to it.
    fn never_mind(mut self) {
        self.quota.give(std::mem::take(&mut self.grows));
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.quota.give(self.grows);
        self.quota.node.give(self.grows.bytes);
    }
}

/// What lies below a folder. Links are not followed. What cannot be read counts as nothing.
pub(super) fn count(root: &Path) -> Used {
    survey(root, 0, || Ok(())).map(|survey| survey.measure.used()).unwrap_or_default()
}
