//! The coding plugin: a model works in a repository until the work is good by the repository's own tests, or until it is plain that it will not
//! be.
//!
//! ```json
//! { "mission_type": "coding", "objective": "Make the parser take empty lines.",
//!   "inputs": { "repository": "parser", "test": "cargo test --offline" },
//!   "constraints": { "allowed_tools": ["Read", "Write", "Edit", "Glob", "Grep", "Bash"] },
//!   "success_criteria": ["All tests pass."] }
//! ```
//!
//! Where the mission may run git, work is on a worktree and a branch of its own; elsewhere on the files alone. It leaves `changes.patch`,
//! `summary.md` and `transcript.jsonl`, however it ends.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `inputs` | what the envelope says |
//! | `run` | the order of things, and what an ending means |
//! | `workshop`, `place` | the tools as the model has them: in one folder |
//! | `git`, `shell` | worktree, branch, commits, patch, by commands |
//! | `commits` | which commits of the work somebody else made |
//! | `changed` | which files the work changes, and which of them judge it |
//! | `files` | the same without git |
//! | `mbox` | a patch as `git am` takes it |
//! | `judge` | tests, criteria, evidence |
//! | `summary` | what people read |
//!
//! Never here: the conversation with the model (`sortie-agent`), diffs (`sortie-patch`), and any right beyond the mission's grants.

mod changed;
mod commits;
mod files;
mod git;
mod inputs;
mod judge;
mod makes;
mod mbox;
mod place;
mod prompt;
mod run;
mod shell;
mod summary;
mod workshop;

use sortie_plugin::{Brief, Failure, Manifest, Mistake, Outcome, Plugin, Tools, json};

/// The plugin `coding`.
#[derive(Debug)]
pub struct Coding;

impl Plugin for Coding {
    fn describe() -> Manifest {
        Manifest::new(
            "coding",
            env!("CARGO_PKG_VERSION"),
            "Lets a model work in a repository, and judges its work by the tests.",
        )
        .inputs_schema(inputs::schema())
        .needs_model()
        .needs_tool("Read")
        .needs_one_of(["Write", "Edit"])
        .uses_tool("Glob")
        .uses_tool("Grep")
        .uses_tool("Bash")
        .outputs_schema(&json!({ "properties": {
            "changes.patch": { "description": "what it changed, as `git am` takes it" },
            "summary.md": { "description": "what it did, and what the tests said" },
            "transcript.jsonl": { "description": "what was said, turn by turn" },
        } }))
    }

    fn check(brief: &Brief) -> Vec<Mistake> {
        inputs::check(brief)
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        run::run(&brief, &tools)
    }
}

sortie_plugin::export!(Coding);

#[cfg(test)]
mod tests;
