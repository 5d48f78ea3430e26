//! What the envelope's `inputs` say, and what is wrong with them.

use serde::Deserialize;
use sortie_plugin::{Brief, Mistake, Value, json};

/// Turns of the model, where the envelope does not say.
pub(crate) const TURNS: u32 = 60;
/// The most that it may say.
const TURNS_MAX: u32 = 1_000;

/// The inputs, as they are written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inputs {
    /// A folder of the workspace, or a URL.
    pub(crate) repository: String,
    /// The commit to begin at; `HEAD`, where nothing is said.
    pub(crate) base: Option<String>,
    /// The command that judges the work.
    pub(crate) test: Option<String>,
    /// How long that may take.
    pub(crate) test_timeout_ms: Option<u64>,
    /// The model's name; the node's default, where nothing is said.
    pub(crate) model: Option<String>,
    /// Most turns of the model.
    pub(crate) max_turns: Option<u32>,
    /// Most tokens of one of its answers.
    pub(crate) max_tokens: Option<u64>,
    /// How much it thinks.
    pub(crate) reasoning: Option<String>,
}

/// Where the repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A folder of the workspace; `.` is the workspace itself.
    Folder(String),
    /// Somewhere else.
    Url(String),
}

/// The JSON Schema of the inputs.
pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "repository": {
                "type": "string", "minLength": 1,
                "description": "a folder of the workspace (`.` for all of it), or a URL that commands of the node can clone",
            },
            "base": { "type": "string", "minLength": 1, "description": "the commit to begin at: a branch, a tag, a hash; default HEAD" },
            "test": { "type": "string", "minLength": 1, "description": "the command that judges the work, run in the repository" },
            "test_timeout_ms": { "type": "integer", "minimum": 1 },
            "model": { "type": "string", "minLength": 1, "format": "sortie-model" },
            "max_turns": { "type": "integer", "minimum": 1, "maximum": TURNS_MAX },
            "max_tokens": { "type": "integer", "minimum": 256, "description": "of one answer; default 8192" },
            "reasoning": { "enum": ["low", "medium", "high"] },
        },
        "required": ["repository"],
        "additionalProperties": false,
    })
}

/// What a schema cannot say.
pub(crate) fn check(brief: &Brief) -> Vec<Mistake> {
    let inputs: Inputs = match brief.inputs() {
        Ok(inputs) => inputs,
        Err(mistake) => return vec![mistake],
    };
    let mut mistakes = Vec::new();
    if let Err(why) = source(&inputs.repository) {
        mistakes.push(Mistake::new("/inputs/repository", "bad_repository", why));
    }
    if let Some(base) = &inputs.base
        && let Err(why) = reference(base)
    {
        mistakes.push(Mistake::new("/inputs/base", "bad_base", why));
    }
    if inputs.test.as_deref().is_some_and(|test| test.trim().is_empty()) {
        mistakes.push(Mistake::new(
            "/inputs/test",
            "empty",
            "name the command that judges the work, or leave `test` out",
        ));
    }
    mistakes
}

/// Where the repository is meant to be.
pub(crate) fn source(text: &str) -> Result<Source, String> {
    if text.chars().any(char::is_control) {
        return Err("a repository is a path or a URL in one line".to_owned());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        if !["https", "http", "ssh", "git"].contains(&scheme) {
            return Err(format!("`{scheme}://` is not fetched: https, http, ssh, git, or a folder of the workspace"));
        }
        let user = rest.split('/').next().unwrap_or_default().rsplit_once('@').map(|(user, _)| user);
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a URL in an envelope is on record: leave the password out of it".to_owned());
        }
        return Ok(Source::Url(text.to_owned()));
    }
    if text.contains("::") {
        return Err("a transport helper of git is not used: give a URL, or a folder of the workspace".to_owned());
    }
    folder(text).map(Source::Folder)
}

/// A folder of the workspace in its plain form.
fn folder(text: &str) -> Result<String, String> {
    if text.starts_with(['/', '~']) || text.contains('\\') {
        return Err("a folder is named by its path in the workspace, such as `projects/parser`".to_owned());
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || parts.first().is_some_and(|first| first.starts_with('-')) {
        return Err("a folder of the workspace has no `..` in its path, and does not begin with `-`".to_owned());
    }
    Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

fn reference(text: &str) -> Result<(), String> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if text.starts_with('-') || text.contains("..") || text.chars().any(is_odd) {
        return Err("name a branch, a tag or a commit, such as `main` or `v1.2`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sortie_plugin::testing::Node;

    use super::*;

    #[test]
    fn a_repository_is_a_folder_or_a_url() {
        let folder = |path: &str| Some(Source::Folder(path.to_owned()));
        let url = |url: &str| Some(Source::Url(url.to_owned()));
        for (text, expected) in [
            ("parser", folder("parser")),
            ("./a//b/", folder("a/b")),
            (".", folder(".")),
            ("ü/ein name", folder("ü/ein name")),
            ("https://example.org/a.git", url("https://example.org/a.git")),
            ("ssh://git@example.org/a", url("ssh://git@example.org/a")),
            ("https://me:secret@example.org/a", None),
            ("file:///etc", None),
            ("ext::sh -c id", None),
            ("/etc", None),
            ("a/../../b", None),
            ("~/a", None),
            ("-upload-pack=x", None),
            ("a\nb", None),
        ] {
            assert_eq!(source(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (inputs, places) in [
            (json!({ "repository": "a", "base": "main", "test": "make test" }), &[][..]),
            (
                json!({ "repository": "/a", "base": "--all", "test": " " }),
                &["/inputs/repository", "/inputs/base", "/inputs/test"],
            ),
            (json!({ "repository": "a", "base": "HEAD~1" }), &["/inputs/base"]),
            (json!({ "repository": "a", "tests": "make" }), &["/inputs"]),
            (json!({}), &["/inputs"]),
        ] {
            let found = check(&Node::brief("o", &inputs));
            assert_eq!(found.iter().map(|mistake| mistake.pointer.as_str()).collect::<Vec<_>>(), places, "{inputs}");
        }
    }
}
