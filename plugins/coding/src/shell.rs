//! Commands of the plugin's own, by the `Bash` that the mission was granted: whatever it may run, it may by the mission's constraints.

use serde::Deserialize;
use sortie_agent::Patience;
use sortie_plugin::{CallError, Tool, json};

use crate::place::Place;

/// What a command left behind.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ran {
    pub(crate) exit_code: i64,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) truncated: bool,
    #[serde(default)]
    pub(crate) timed_out: bool,
    #[serde(default)]
    pub(crate) stopped: Option<String>,
}

/// Last lines that are shown as evidence, and most bytes of them.
const EVIDENCE_LINES: usize = 30;
const EVIDENCE_BYTES: usize = 2_500;

impl Ran {
    pub(crate) fn is_well(&self) -> bool {
        self.exit_code == 0
    }

    /// How it ended, in a few words.
    pub(crate) fn how(&self) -> String {
        let why = match (&self.stopped, self.timed_out) {
            (Some(why), _) => format!(" ({why})"),
            (None, true) => " (it took too long)".to_owned(),
            (None, false) => String::new(),
        };
        format!("exit code {}{why}", self.exit_code)
    }

    /// The last lines that it printed; of both sides, because tests write to either.
    pub(crate) fn last_lines(&self) -> String {
        let both = [&self.stdout, &self.stderr].map(|side| side.trim_end()).into_iter().filter(|side| !side.is_empty());
        let both = both.collect::<Vec<_>>().join("\n");
        let lines: Vec<&str> = both.lines().collect();
        let last = lines[lines.len().saturating_sub(EVIDENCE_LINES)..].join("\n");
        let from = last.ceil_char_boundary(last.len().saturating_sub(EVIDENCE_BYTES));
        last[from..].to_owned()
    }

    /// The line that says most of why it failed: the last of what it complained of.
    pub(crate) fn complaint(&self) -> String {
        let last =
            |side: &str| side.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned());
        last(&self.stderr).or_else(|| last(&self.stdout)).unwrap_or_else(|| "it printed nothing".to_owned())
    }
}

/// A shell in one folder of the workspace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shell<'a> {
    bash: &'a Tool,
}

impl<'a> Shell<'a> {
    pub(crate) fn new(bash: &'a Tool) -> Self {
        Self { bash }
    }

    /// Runs a chain of the plugin's own in a folder.
    pub(crate) fn run(self, place: &Place, chain: &str, what_for: &str) -> Result<Ran, CallError> {
        self.bash.call_as(&json!({ "command": place.chain(chain), "description": what_for }))
    }

    /// Runs a command of somebody else's in a folder, for so long; `None`: the mission came near a limit before it was over, and it was let
    /// go of.
    pub(crate) fn run_for(
        self,
        place: &Place,
        command: &str,
        what_for: &str,
        ms: Option<u64>,
        patience: &Patience,
    ) -> Option<Result<Ran, CallError>> {
        let mut arguments = json!({ "command": place.command(command), "description": what_for });
        if let Some(ms) = ms {
            arguments["timeout_ms"] = ms.into();
        }
        match self.bash.start(&arguments) {
            Ok(call) => patience.lasts(&call).then(|| call.get_as()),
            Err(error) => Some(Err(error)),
        }
    }
}
