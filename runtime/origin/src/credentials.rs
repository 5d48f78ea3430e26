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
    /// Docker keeps them elsewhere.
    #[error(
        "docker keeps the credentials for {host} with its helper `docker-credential-{helper}`, which sortie does not ask: name them in \
         [plugin_source.registry.\"{host}\"] credentials"
    )]
    Helper {
        /// Whose.
        host: String,
        /// Which helper.
        helper: String,
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

/// What docker keeps for a registry in that folder (`~/.docker`); nothing, where it keeps nothing.
///
/// # Errors
/// [`CredentialsError`]
pub fn of_docker(folder: &Path, host: &str) -> Result<Option<Credentials>, CredentialsError> {
    let path = folder.join("config.json");
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |why: String| CredentialsError::Docker { path: path.clone(), why };
    let text = read_small(&path.to_string_lossy()).map_err(|error| wrong(error.to_string()))?;
    // What is wrong is told without its words: they may be a password.
    let docker: Docker = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("line {}, column {}", error.line(), error.column())))?;
    let names = [host.to_owned(), format!("https://{host}"), format!("https://{host}/v1/"), format!("http://{host}")];
    let found = names.iter().find_map(|name| docker.auths.get(name)).and_then(|auth| auth.auth.as_deref());
    let Some(pair) = found.filter(|pair| !pair.is_empty()) else {
        let has_entry = names.iter().any(|name| docker.auths.contains_key(name));
        let helper = docker.helpers.get(host).or(docker.store.as_ref().filter(|_| has_entry));
        return match helper {
            Some(helper) => Err(CredentialsError::Helper { host: host.to_owned(), helper: helper.clone() }),
            None => Ok(None),
        };
    };
    let pair = BASE64_STANDARD.decode(pair).ok().and_then(|pair| String::from_utf8(pair).ok());
    let pair = pair
        .filter(|pair| pair.contains(':'))
        .ok_or_else(|| wrong(format!("`auth` of {host} is no base64 of NAME:PASSWORD")))?;
    Ok(Some(Credentials::of(Secret::new(pair))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_asked_for_what_it_keeps() {
        let folder = tempfile::tempdir().unwrap();
        let header = |host: &str| {
            let found = of_docker(folder.path(), host).map_err(|error| error.to_string())?;
            Ok::<_, String>(found.map(|found| found.header().unwrap().to_str().unwrap().to_owned()))
        };
        assert_eq!(header("r.example"), Ok(None), "there is no docker");
        let pair = BASE64_STANDARD.encode("ann:hush:hush");
        let text = format!(
            r#"{{"auths": {{"r.example": {{"auth": "{pair}"}}, "https://index.example/v1/": {{"auth": "{pair}"}}, "kept.example": {{}},
                "bad.example": {{"auth": "xx"}}}}, "credsStore": "desktop", "credHelpers": {{"helped.example": "pass"}}, "HttpHeaders": {{}}}}"#
        );
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        for host in ["r.example", "index.example"] {
            assert_eq!(header(host), Ok(Some(format!("Basic {pair}"))), "{host}");
        }
        assert_eq!(header("other.example"), Ok(None));
        for (host, expected) in [
            ("kept.example", "docker-credential-desktop"),
            ("helped.example", "docker-credential-pass"),
            ("bad.example", "NAME:PASSWORD"),
        ] {
            let says = header(host).expect_err(host);
            assert!(says.contains(expected), "{host}: {says}");
        }
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
