//! Which files a command wrote: what is otherwise in the workspace afterwards than before.
//!
//! Nobody tells what a command does, so it is found out: a file that is new, or has another number, size or time of change. A command that
//! sets times back hides its own work from its mission, and from nobody else. All of such a file counts as the mission's own, for
//! who runs commands can read all that lies there.

use sortie_contract::digest::Digest;
use sortie_contract::limit;
use sortie_contract::tool::{CallError, Written};

use crate::tool::blocking;
use crate::workspace::{Measure, Survey, Workspace, normal};

/// Most files of one command that are told: each is on the record of its call.
const FILES_MAX: usize = 1_000;

/// Most bytes that are read to tell what is in them: those of a few large artifacts.
const BYTES_MAX: u64 = 512 << 20;

const _: () = assert!(FILES_MAX * 100 < limit::CALL_BYTES_MAX && BYTES_MAX > limit::ARTIFACT_BYTES_MAX as u64);

/// A workspace as a command finds it.
pub(super) struct Before(Survey);

impl Before {
    pub(super) fn measure(&self) -> Measure {
        self.0.measure
    }
}

/// Looks, and makes the workspace where there is none.
pub(super) async fn before(workspace: &Workspace) -> Result<Before, CallError> {
    let workspace = workspace.clone();
    blocking(move |cancelled| Ok(Before(workspace.begin_foreign(cancelled)?))).await
}

/// What a command that is over wrote, the files at the top first.
pub(super) async fn since(workspace: &Workspace, before: Before) -> Result<Vec<Written>, CallError> {
    let workspace = workspace.clone();
    blocking(move |cancelled| {
        let after = workspace.end_foreign(before.0.measure, cancelled)?;
        let mut changed: Vec<&String> = after
            .stamps
            .iter()
            .filter(|(path, stamp)| before.0.stamps.get(*path) != Some(stamp))
            .map(|(path, _)| path)
            .collect();
        changed.sort_by_key(|path| path.bytes().filter(|byte| *byte == b'/').count());
        let (mut wrote, mut bytes) = (Vec::new(), 0);
        for path in changed {
            if wrote.len() == FILES_MAX {
                break;
            }
            let size = after.stamps[path].bytes;
            if size > limit::ARTIFACT_BYTES_MAX as u64 || bytes + size > BYTES_MAX || path.len() > limit::PATH_BYTES_MAX
            {
                continue;
            }
            bytes += size;
            cancelled.check()?;
            // One that cannot be read (its mode forbids it) can become no artifact either.
            let Ok(content) = workspace.read_file(path, limit::ARTIFACT_BYTES_MAX) else { continue };
            let path = normal(path)?.to_string();
            wrote.push(Written { path, sha256: Some(Digest::of(&content)), changed: None });
        }
        Ok(wrote)
    })
    .await
}
