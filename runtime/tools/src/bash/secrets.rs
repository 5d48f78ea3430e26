//! The environment of a command, and the secrets in it.
//!
//! A command has its secrets: it can do with them what it likes, and print them in a form that nobody recognises. What is covered up in its
//! output keeps an honest command from putting one into the journal.

use sortie_contract::tool::CallError;
use sortie_egress::resolve;

use super::settings::{Settings, Variable};
use crate::workspace::Workspace;

/// Programs are looked for where they commonly are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What stands for a secret.
const COVER: &[u8] = b"***";

/// The variables of a command, and those of their values that are secrets.
pub(super) async fn environment(
    settings: &Settings,
    in_own_tree: bool,
    workspace: &Workspace,
) -> Result<(Vec<(String, String)>, Secrets), CallError> {
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
                secrets.push(secret.expose().as_bytes().to_owned());
                secret.expose().to_owned()
            }
        };
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value));
    }
    Ok((env, Secrets::new(secrets)))
}

/// Secrets that are covered up in what goes by. Not printable, on purpose.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    fn new(mut secrets: Vec<Vec<u8>>) -> Self {
        secrets.retain(|secret| !secret.is_empty());
        // One may begin with another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }
}

/// Covers them up in a stream, whatever the pieces are in which it comes.
pub(super) struct Cover {
    secrets: Secrets,
    /// The end of what came, which may be the beginning of a secret.
    kept: Vec<u8>,
}

impl Cover {
    pub(super) fn new(secrets: Secrets) -> Self {
        Self { secrets, kept: Vec::new() }
    }

    /// Takes the next piece, and hands on what is known to hold no secret.
    pub(super) fn take(&mut self, piece: &[u8], mut on: impl FnMut(&[u8])) {
        let Some(longest) = self.secrets.0.first().map(Vec::len) else { return on(piece) };
        self.kept.extend_from_slice(piece);
        let (mut from, mut at) = (0, 0);
        while at < self.kept.len() {
            let rest = &self.kept[at..];
            // A longer one that may still come goes before a shorter one that it begins with.
            if rest.len() < longest
                && self.secrets.0.iter().any(|secret| secret.len() > rest.len() && secret.starts_with(rest))
            {
                break;
            }
            if let Some(secret) = self.secrets.0.iter().find(|secret| rest.starts_with(secret)) {
                on(&self.kept[from..at]);
                on(COVER);
                at += secret.len();
                from = at;
            } else {
                at += 1;
            }
        }
        on(&self.kept[from..at]);
        self.kept.drain(..at);
    }

    /// There is no more.
    pub(super) fn end(&mut self, mut on: impl FnMut(&[u8])) {
        let (mut from, mut at) = (0, 0);
        while at < self.kept.len() {
            match self.secrets.0.iter().find(|secret| self.kept[at..].starts_with(secret)) {
                Some(secret) => {
                    on(&self.kept[from..at]);
                    on(COVER);
                    at += secret.len();
                    from = at;
                }
                None => at += 1,
            }
        }
        on(&self.kept[from..]);
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_covered_however_it_comes() {
        let secrets = Secrets::new(["hush", "hushhush!", "a\nb"].map(|secret| secret.as_bytes().to_vec()).to_vec());
        for (text, expected) in [
            ("hush", "***"),
            ("xhushx", "x***x"),
            ("hushhush!", "***"),
            ("hushhush", "******"),
            ("hushhushx", "******x"),
            ("hushhushhushhush!", "*********"),
            ("hus", "hus"),
            ("huhushsh", "hu***sh"),
            ("a\nb", "***"),
            ("", ""),
        ] {
            for size in 1..=text.len().max(1) {
                let mut cover = Cover::new(secrets.clone());
                let mut shown = Vec::new();
                for piece in text.as_bytes().chunks(size) {
                    cover.take(piece, |bytes| shown.extend_from_slice(bytes));
                }
                cover.end(|bytes| shown.extend_from_slice(bytes));
                let shown = String::from_utf8(shown).unwrap();
                assert_eq!(shown, expected, "{text} in pieces of {size}");
            }
        }
    }
}
