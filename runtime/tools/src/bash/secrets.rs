//! The environment of a command, and the secrets in it.
//!
//! A command has its secrets: it can do with them what it likes, and print them in a form that nobody recognises. What is taken out of its
//! output keeps an honest command from putting one into the journal.

use sortie_contract::tool::CallError;
use sortie_egress::{Redactor, resolve};

use super::settings::{Settings, Variable};
use crate::workspace::Workspace;

/// Programs are looked for where they commonly are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of a command, and what takes those of their values that are secrets out of its output.
pub(super) async fn environment(
    settings: &Settings,
    in_own_tree: bool,
    workspace: &Workspace,
) -> Result<(Vec<(String, String)>, Redactor), CallError> {
    let home =
        if in_own_tree { sortie_confine::WORKSPACE.to_owned() } else { workspace.folder().display().to_string() };
    let temporary = if in_own_tree { "/tmp" } else { &home };
    let usual = [("PATH", PATH), ("HOME", &home), ("TMPDIR", temporary), ("LANG", "C.UTF-8"), ("TERM", "dumb")];
    let mut env: Vec<(String, String)> =
        usual.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut secrets = Vec::new();
    for (name, value) in &settings.env {
        let value = match value {
            Variable::Plain(value) => value.clone(),
            Variable::Secret(reference) => {
                let secret = resolve(reference).await.map_err(|error| {
                    // Where files of the host lie is for who runs the node.
                    tracing::warn!(
                        variable = name,
                        error = &error as &dyn std::error::Error,
                        "a command was not run: a secret of [tool.Bash] env has no usable value"
                    );
                    let why = "has no usable value at the moment (the node's log says why); it was not run";
                    CallError::Failed(format!("`{name}` of [tool.Bash] env {why}"))
                })?;
                let value = secret.expose().to_owned();
                secrets.push(secret);
                value
            }
        };
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value));
    }
    Ok((env, Redactor::over(&secrets)))
}
