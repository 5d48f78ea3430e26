//! The workspace tools, one file each.

mod edit;
mod glob;
mod grep;
mod read;
mod write;

pub(crate) use edit::Edit;
pub(crate) use glob::Glob;
pub(crate) use grep::Grep;
pub(crate) use read::Read;
pub(crate) use write::Write;

use crate::tool::Nature;

/// The class of tools that change the workspace.
const WORKSPACE_WRITE: &[&str] = &["workspace_write"];

/// Writing the same again changes nothing.
const WRITES: Nature = Nature { effects: WORKSPACE_WRITE, read_only: false, idempotent: true };

/// The second edit meets what the first one left.
const EDITS: Nature = Nature { effects: WORKSPACE_WRITE, read_only: false, idempotent: false };
