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
                    CallError::Failed(format!("`{name}` of [tool.Bash] env: {error}; it was not run"))
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
