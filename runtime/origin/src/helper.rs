//! Docker's credential helpers: programs that keep what opens registries, in a keychain or wherever a company has it (`docker-credential-NAME get`).
//!
//! A helper is a program of the path, and may ask its user something. So it is asked by a command, in the hands of whoever runs it, as docker
//! itself would; a node never does.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use sortie_egress::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::credentials::{Credentials, CredentialsError};

/// How long it may take: it may have to ask somebody.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most that it may say, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What helpers say where they keep nothing.
const NOTHING: &str = "credentials not found";

/// The name that stands for a token which only docker's own desk of tokens takes.
const IDENTITY: &str = "<token>";

/// Whom docker asks for the credentials of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// Its name, as docker's file says it.
    pub name: String,
    /// What it knows the registry by.
    pub server: String,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Helper {
    /// Asks it; nothing, where it keeps nothing.
    ///
    /// # Errors
    /// [`CredentialsError::Helper`]
    pub async fn ask(&self) -> Result<Option<Credentials>, CredentialsError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            return Err(self.failed("no program can be called so".to_owned()));
        }
        self.ask_program(format!("docker-credential-{}", self.name).as_ref()).await
    }

    async fn ask_program(&self, program: &OsStr) -> Result<Option<Credentials>, CredentialsError> {
        let asked = tokio::time::timeout(PATIENCE, said(program, &self.server)).await;
        let asked = asked.map_err(|_| self.failed(format!("it does not answer within {} s", PATIENCE.as_secs())))?;
        let (has_gone_well, said) = asked.map_err(|error| self.failed(error.to_string()))?;
        if !has_gone_well {
            let line = said.lines().next().unwrap_or_default().trim();
            return if line.contains(NOTHING) {
                Ok(None)
            } else {
                Err(self.failed(sortie_contract::limit::clip(if line.is_empty() { "it failed" } else { line }, 200)))
            };
        }
        // What is wrong is told without its words: they may be a password.
        let Answer { username, secret } =
            serde_json::from_str(&said).map_err(|_| self.failed("it answered what is none of its forms".to_owned()))?;
        if username == IDENTITY {
            return Err(self.failed("it keeps an identity token, which is for docker alone".to_owned()));
        }
        Ok(Some(Credentials::of(Secret::new(format!("{username}:{secret}")))))
    }

    fn failed(&self, why: String) -> CredentialsError {
        CredentialsError::Helper { host: self.server.clone(), helper: self.name.clone(), why }
    }
}

/// Whether a program goes well that is handed this, and what it says.
async fn said(program: &OsStr, server: &str) -> io::Result<(bool, String)> {
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(mut asked) = child.stdin.take() {
        // One that reads nothing is done all the same.
        let _ = asked.write_all(server.as_bytes()).await;
    }
    let mut said = Vec::new();
    if let Some(answer) = child.stdout.take() {
        answer.take(ANSWER_BYTES_MAX).read_to_end(&mut said).await?;
    }
    let status = child.wait().await?;
    Ok((status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_helper_is_asked_by_the_name_of_the_registry_and_believed_where_it_answers() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-test");
        let helper = |name: &str| Helper { name: name.to_owned(), server: "r.example".to_owned() };
        for (script, expected) in [
            (
                r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"ann\",\"Secret\":\"$1-$server\"}""#,
                Ok(Some("Basic YW5uOmdldC1yLmV4YW1wbGU=")),
            ),
            ("echo 'credentials not found in native keychain'; exit 1", Ok(None)),
            ("echo 'the keychain is locked'; exit 1", Err("the keychain is locked")),
            ("exit 3", Err("it failed")),
            ("echo hush", Err("none of its forms")),
            (r#"echo '{"Username":"<token>","Secret":"hush"}'"#, Err("identity token")),
        ] {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
            let found = helper("test").ask_program(program.as_os_str()).await.map_err(|error| error.to_string());
            match expected {
                Ok(header) => {
                    let found = found.unwrap().map(|found| found.header().unwrap());
                    assert_eq!(found.as_ref().map(|found| found.to_str().unwrap()), header, "{script}");
                }
                Err(why) => {
                    let told = found.expect_err(script);
                    assert!(told.contains(why) && !told.contains("hush"), "{script}: {told}");
                }
            }
        }
        for (name, why) in
            [("no/such", "no program can be called so"), ("", "no program"), ("sortie-has-none-such", "No such file")]
        {
            let told = helper(name).ask().await.map_err(|error| error.to_string()).expect_err(name);
            assert!(told.contains(why), "{name}: {told}");
        }
    }
}
