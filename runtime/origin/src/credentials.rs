//! Who asks a registry: name and password or a token, from the node's configuration or from docker's.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use sortie_contract::envelope::SecretRef;
use sortie_egress::header::HeaderValue;
use sortie_egress::{Secret, SecretError, read_small, resolve};

use super::helper::Helper;

/// For one registry. Not printable.
pub struct Credentials(Kind);

enum Kind {
    Basic(Secret),
    Token(Secret),
}

/// Why there are none though there should be. Never holds them.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The secret of the configuration.
    #[error("the credentials for the registry {host}")]
    Secret {
        /// Whose.
        host: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// Docker's file.
    #[error("{} is no configuration of docker: {why}", path.display())]
    Docker {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Docker keeps them with a helper, which does not give them.
    #[error(
        "docker keeps the credentials for {host} with its helper `docker-credential-{helper}`: {why}. They can be named in \
         [plugin_source.registry.\"{host}\"] credentials, too"
    )]
    Helper {
        /// Whose.
        host: String,
        /// Which helper.
        helper: String,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Credentials {
    /// Those of a text: `NAME:PASSWORD`, or a token.
    #[must_use]
    pub fn of(text: Secret) -> Self {
        Self(if text.expose().contains(':') { Kind::Basic(text) } else { Kind::Token(text) })
    }

    /// Those that a reference of the configuration leads to.
    ///
    /// # Errors
    /// [`CredentialsError::Secret`]
    pub async fn at(reference: &SecretRef, host: &str) -> Result<Self, CredentialsError> {
        let secret = resolve(reference).await;
        secret.map(Self::of).map_err(|source| CredentialsError::Secret { host: host.to_owned(), source })
    }

    /// As the header of a registry, or of the desk that gives out its tokens.
    pub(crate) fn header(&self) -> Result<HeaderValue, SecretError> {
        match &self.0 {
            Kind::Token(token) => token.bearer(),
            Kind::Basic(pair) => {
                let text = format!("Basic {}", BASE64_STANDARD.encode(pair.expose()));
                let mut value = HeaderValue::try_from(text).map_err(|_| SecretError::HeaderForm)?;
                value.set_sensitive(true);
                Ok(value)
            }
        }
    }

    /// Whether they are a token, which opens the registry itself and no desk.
    pub(crate) fn is_token(&self) -> bool {
        matches!(self.0, Kind::Token(_))
    }
}

/// What docker's file says of registries.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Docker {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What docker keeps for a registry.
#[derive(Debug)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// In its file.
    Here(Credentials),
    /// With a program.
    With(Helper),
}

/// What docker keeps for a registry, as its file in that folder (`~/.docker`) says.
///
/// # Errors
/// [`CredentialsError`]
pub fn of_docker(folder: &Path, host: &str) -> Result<Kept, CredentialsError> {
    let path = folder.join("config.json");
    if !path.exists() {
        return Ok(Kept::Nothing);
    }
    let wrong = |why: String| CredentialsError::Docker { path: path.clone(), why };
    let text = read_small(&path.to_string_lossy()).map_err(|error| wrong(error.to_string()))?;
    // What is wrong is told without its words: they may be a password.
    let docker: Docker = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("line {}, column {}", error.line(), error.column())))?;
    let names = [host.to_owned(), format!("https://{host}"), format!("https://{host}/v1/"), format!("http://{host}")];
    let found = names.iter().find_map(|name| docker.auths.get(name)).and_then(|auth| auth.auth.as_deref());
    let Some(pair) = found.filter(|pair| !pair.is_empty()) else {
        let of_its_own = docker.helpers.get(host).map(|helper| (helper, host));
        let entry = names.iter().find(|name| docker.auths.contains_key(*name));
        let helper = of_its_own.or_else(|| docker.store.as_ref().zip(entry.map(String::as_str)));
        return Ok(match helper {
            Some((name, server)) => Kept::With(Helper { name: name.clone(), server: server.to_owned() }),
            None => Kept::Nothing,
        });
    };
    let pair = BASE64_STANDARD.decode(pair).ok().and_then(|pair| String::from_utf8(pair).ok());
    let pair = pair
        .filter(|pair| pair.contains(':'))
        .ok_or_else(|| wrong(format!("`auth` of {host} is no base64 of NAME:PASSWORD")))?;
    Ok(Kept::Here(Credentials::of(Secret::new(pair))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_asked_for_what_it_keeps() {
        let folder = tempfile::tempdir().unwrap();
        let header = |host: &str| {
            Ok::<_, String>(match of_docker(folder.path(), host).map_err(|error| error.to_string())? {
                Kept::Nothing => None,
                Kept::Here(found) => Some(found.header().unwrap().to_str().unwrap().to_owned()),
                Kept::With(Helper { name, server }) => Some(format!("{name}: {server}")),
            })
        };
        assert_eq!(header("r.example"), Ok(None), "there is no docker");
        let pair = BASE64_STANDARD.encode("ann:hush:hush");
        let text = format!(
            r#"{{"auths": {{"r.example": {{"auth": "{pair}"}}, "https://index.example/v1/": {{"auth": "{pair}"}}, "kept.example": {{}},
                "https://old.example/v1/": {{}}, "bad.example": {{"auth": "xx"}}}}, "credsStore": "desktop", "credHelpers": {{"helped.example": "pass"}}, "HttpHeaders": {{}}}}"#
        );
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        for host in ["r.example", "index.example"] {
            assert_eq!(header(host), Ok(Some(format!("Basic {pair}"))), "{host}");
        }
        assert_eq!(header("other.example"), Ok(None));
        for (host, expected) in [
            ("kept.example", "desktop: kept.example"),
            ("old.example", "desktop: https://old.example/v1/"),
            ("helped.example", "pass: helped.example"),
        ] {
            assert_eq!(header(host), Ok(Some(expected.to_owned())), "{host}");
        }
        let says = header("bad.example").expect_err("no pair");
        assert!(says.contains("NAME:PASSWORD"), "{says}");
        std::fs::write(folder.path().join("config.json"), "{\"auths\": {\"r.example\": \"hush\"}}").unwrap();
        let says = header("r.example").expect_err("no such file");
        assert!(says.contains("line 1") && !says.contains("hush"), "{says}");
    }

    #[test]
    fn credentials_are_a_pair_or_a_token_and_never_printed() {
        for (text, expected) in [("ann:hush", "Basic YW5uOmh1c2g="), ("hush-hush", "Bearer hush-hush")] {
            let credentials = Credentials::of(Secret::new(text.to_owned()));
            assert_eq!(credentials.header().unwrap(), expected);
            assert!(!format!("{credentials:?} {:?}", credentials.header().unwrap()).contains("hush"));
        }
    }
}
