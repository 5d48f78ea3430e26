//! Where the model works: one folder of the workspace, which it sees as if there were nothing else.
//!
//! Owned here: how a path of the model's becomes one of the workspace and back, and which paths it has no business with. This keeps a model
//! on its branch; what a mission may do at all its constraints say.

use sortie_plugin::Value;

/// A folder of the workspace; `.` is the workspace itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn new(folder: &str) -> Self {
        Self(folder.to_owned())
    }

    pub(crate) fn folder(&self) -> &str {
        &self.0
    }

    /// A path of the model's, or a pattern of paths, in the workspace.
    ///
    /// # Errors
    /// Why it is none, for the model.
    pub(crate) fn enter(&self, path: &str) -> Result<String, String> {
        if path.starts_with(['/', '~']) {
            return Err(format!("`{path}`: paths are relative to the repository's top, such as `src/lib.rs`"));
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(format!("`{path}`: there is nothing outside of the repository here"));
        }
        Ok(match (self.0.as_str(), parts.is_empty()) {
            (".", true) => ".".to_owned(),
            (".", false) => parts.join("/"),
            (folder, true) => folder.to_owned(),
            (folder, false) => format!("{folder}/{}", parts.join("/")),
        })
    }

    /// The same, of a file that is to be changed.
    ///
    /// # Errors
    /// Why it is none, for the model.
    pub(crate) fn change(&self, path: &str) -> Result<String, String> {
        let entered = self.enter(path)?;
        if path.split('/').any(|part| part.eq_ignore_ascii_case(".git")) {
            return Err(format!("`{path}`: what git keeps for itself is not changed"));
        }
        Ok(entered)
    }

    /// A command of somebody else's that is run there, all of it: a list after `cd … &&` would be elsewhere for a part of it where the folder
    /// is gone, and from the start where a `&` follows.
    pub(crate) fn command(&self, command: &str) -> String {
        match self.0.as_str() {
            "." => command.to_owned(),
            folder if is_list(command) => format!("cd {} || exit 125\n{command}", quoted(folder)),
            _ => self.chain(command),
        }
    }

    /// A chain of the plugin's own that is run there: of `&&`, or harmless elsewhere.
    pub(crate) fn chain(&self, command: &str) -> String {
        match self.0.as_str() {
            "." => command.to_owned(),
            folder => format!("cd {} && {command}", quoted(folder)),
        }
    }

    /// A path of the workspace from this folder on; `None`: it is elsewhere.
    pub(crate) fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.0.as_str() {
            "." => Some(path),
            folder => path.strip_prefix(folder)?.strip_prefix('/'),
        }
    }

    /// A path of the workspace, as the model sees it.
    pub(crate) fn leave<'a>(&self, path: &'a str) -> &'a str {
        self.inside(path).unwrap_or(path)
    }

    /// The paths in a tool's result, as the model sees them.
    pub(crate) fn leave_all(&self, result: &mut Value) {
        let leave = |value: &mut Value| {
            if let Some(path) = value.as_str() {
                *value = self.leave(path).into();
            }
        };
        if let Some(path) = result.get_mut("path") {
            leave(path);
        }
        for path in result.get_mut("paths").and_then(Value::as_array_mut).into_iter().flatten() {
            leave(path);
        }
        for found in result.get_mut("matches").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(path) = found.get_mut("path") {
                leave(path);
            }
        }
    }
}

/// Whether `cd … &&` may not hold all of a command. A sign in quotes counts, too: then it is only longer than it had to be.
fn is_list(command: &str) -> bool {
    let command = command.trim_end();
    let rest = command.replace("&&", "").replace(">&", "").replace("&>", "");
    command.contains(';') || command.contains('\n') || command.contains("||") || rest.contains('&')
}

/// A word of a shell that stands for just this text.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use sortie_plugin::json;

    use super::*;

    #[test]
    fn a_model_sees_its_folder_and_nothing_else() {
        let place = Place::new("worktrees/m1");
        for (path, entered) in [
            ("src/lib.rs", Some("worktrees/m1/src/lib.rs")),
            ("./ü a.txt", Some("worktrees/m1/ü a.txt")),
            (".", Some("worktrees/m1")),
            ("", Some("worktrees/m1")),
            ("**/*.rs", Some("worktrees/m1/**/*.rs")),
            ("../m2/a", None),
            ("a/../../b", None),
            ("/etc/passwd", None),
            ("~/.ssh/id", None),
        ] {
            assert_eq!(place.enter(path).ok().as_deref(), entered, "{path}");
            if let Some(entered) = entered.filter(|entered| *entered != "worktrees/m1") {
                assert_eq!(place.leave(entered), path.trim_start_matches("./"), "{path}");
            }
        }
        assert_eq!(Place::new(".").enter("a/b").as_deref(), Ok("a/b"));
        assert_eq!(Place::new(".").leave("a/b"), "a/b");
        assert_eq!(place.leave("worktrees/m10/a"), "worktrees/m10/a");
    }

    #[test]
    fn what_git_keeps_is_read_and_not_changed() {
        let place = Place::new("r");
        for path in [".git/hooks/post-checkout", "a/.git/config", ".GIT/config", ".git"] {
            assert!(place.enter(path).is_ok() && place.change(path).is_err(), "{path}");
        }
        assert!(place.change(".github/workflows/ci.yml").is_ok() && place.change(".gitignore").is_ok());
    }

    #[test]
    fn commands_run_there_whatever_it_is_called() {
        assert_eq!(Place::new("it's here").command("make"), r"cd 'it'\''s here' && make");
        assert_eq!(Place::new(".").command("make; make test"), "make; make test");
        for chain in ["make 2>&1 | tail -n 5", "make && make test >&2", "make &>/dev/null\n"] {
            assert_eq!(Place::new("r").command(chain), format!("cd 'r' && {chain}"));
        }
    }

    #[test]
    fn all_of_a_command_runs_there_or_nothing() {
        let folder = std::env::temp_dir().join(format!("sortie-place-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("w")).expect("writable");
        for command in ["true & pwd", "true; pwd", "false || pwd", "true\npwd", "true && pwd"] {
            let there = |name: &str| {
                let mut bash = std::process::Command::new("bash");
                let output = bash.args(["-c", &Place::new(name).command(command)]).current_dir(&folder).output();
                let output = output.expect("this test asks bash");
                (output.status.success(), String::from_utf8_lossy(&output.stdout).trim_end().ends_with("/w"))
            };
            assert_eq!(there("w"), (true, true), "{command}");
            assert_eq!(there("gone"), (false, false), "{command}");
        }
        std::fs::remove_dir_all(folder).expect("it was made");
    }

    #[test]
    fn results_have_the_models_paths() {
        let mut result =
            json!({ "path": "r/a", "paths": ["r/a", "x"], "matches": [{ "path": "r/b", "line": 1, "text": "r/b" }] });
        Place::new("r").leave_all(&mut result);
        let expected =
            json!({ "path": "a", "paths": ["a", "x"], "matches": [{ "path": "b", "line": 1, "text": "r/b" }] });
        assert_eq!(result, expected);
    }
}
