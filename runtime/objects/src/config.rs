//! `[artifact]`: where the shared store is, and by which keys.

use std::fmt::Display;
use std::path::PathBuf;

use serde::Deserialize;
use sortie_contract::envelope::SecretRef;
use sortie_egress::{Guard, may_carry_secrets};
use url::Url;

/// What the guard calls the key of the configuration that lists addresses.
const ALLOW_PRIVATE: &str = "[artifact] allow_private";

/// The region that servers of one's own take, and Amazon's first.
const REGION: &str = "us-east-1";

/// `[artifact]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArtifactConfig {
    /// The store that nodes share: `s3://bucket/prefix`, or `file:///folder` for one that all of them see. Without it there is none.
    pub shared: Option<String>,
    /// The server of a bucket that is not Amazon's, such as `https://minio.example:9000`.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// The id of the key: `env://NAME` or `file:///path`.
    pub access_key_id: Option<String>,
    /// The key: `env://NAME` or `file:///path`.
    pub secret_access_key: Option<String>,
    /// The token of keys that hold for a while: `env://NAME` or `file:///path`.
    pub session_token: Option<String>,
    /// Private addresses and networks that the endpoint may lead to.
    pub allow_private: Vec<String>,
}

/// A store that cannot be meant so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: `artifact.{key}`: {why}")]
pub struct ConfigError {
    key: &'static str,
    why: String,
}

/// Where a store is.
#[derive(Debug)]
pub(crate) enum Place {
    Bucket(Box<Bucket>),
    Folder(PathBuf),
}

/// A bucket, and how it is reached.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    /// Without a slash at either end.
    pub(crate) prefix: String,
    pub(crate) endpoint: Option<Url>,
    pub(crate) region: String,
    pub(crate) keys: Keys,
    pub(crate) guard: Guard,
}

/// Where its keys are.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) id: SecretRef,
    pub(crate) key: SecretRef,
    pub(crate) token: Option<SecretRef>,
}

impl ConfigError {
    pub(crate) fn of(key: &'static str, why: &dyn std::error::Error) -> Self {
        wrong(key, why)
    }
}

fn wrong(key: &'static str, why: impl Display) -> ConfigError {
    ConfigError { key, why: why.to_string() }
}

impl ArtifactConfig {
    /// Whether it can be meant.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn examine(&self) -> Result<(), ConfigError> {
        self.place().map(drop)
    }

    /// Where the store is; none, where none is named.
    pub(crate) fn place(&self) -> Result<Option<Place>, ConfigError> {
        let Some(shared) = &self.shared else {
            return self.first_given(true).map_or(Ok(None), |key| {
                Err(wrong(
                    key,
                    "it says how `shared` is reached, which is not there: write `shared = \"s3://bucket/prefix\"`",
                ))
            });
        };
        let form = "write `s3://bucket/prefix`, or `file:///folder` for a folder that all nodes see";
        let url: Url = shared.parse().map_err(|error| wrong("shared", format!("{error}; {form}")))?;
        let plain =
            url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.port().is_none();
        match url.scheme() {
            "s3" if plain => self.bucket(&url).map(|bucket| Some(Place::Bucket(Box::new(bucket)))),
            "file" if plain => {
                if let Some(key) = self.first_given(false) {
                    return Err(wrong(key, "a folder is reached without it: remove the line"));
                }
                let folder = url.to_file_path().map_err(|()| wrong("shared", form))?;
                // A slip would make all that is there a part of the store.
                if folder.parent().is_none() {
                    return Err(wrong("shared", "it is the root of this machine: name a folder"));
                }
                Ok(Some(Place::Folder(folder)))
            }
            _ => Err(wrong("shared", form)),
        }
    }

    /// The first key that only a bucket has.
    fn first_given(&self, lists_private: bool) -> Option<&'static str> {
        let given = [
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("access_key_id", self.access_key_id.is_some()),
            ("secret_access_key", self.secret_access_key.is_some()),
            ("session_token", self.session_token.is_some()),
            ("allow_private", lists_private && !self.allow_private.is_empty()),
        ];
        given.into_iter().find_map(|(key, is_given)| is_given.then_some(key))
    }

    fn bucket(&self, url: &Url) -> Result<Bucket, ConfigError> {
        let name = url.host_str().unwrap_or_default();
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if !(3..=63).contains(&name.len()) || !name.bytes().all(named) {
            return Err(wrong("shared", "a bucket has 3 to 63 of a-z, 0-9, `-` and `.`: write `s3://bucket/prefix`"));
        }
        let prefix = url.path().trim_matches('/');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/' | b'=');
        let is_whole = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !prefix.bytes().all(plain) || !(prefix.is_empty() || prefix.split('/').all(is_whole)) {
            return Err(wrong("shared", "a prefix is of A-Z, a-z, 0-9, `-`, `.`, `_`, `=` and single `/`"));
        }
        let endpoint = self.endpoint.as_deref().map(|text| self.endpoint(text)).transpose()?;
        let guard = Guard::new(&self.allow_private, ALLOW_PRIVATE).map_err(|error| wrong("allow_private", error))?;
        let secret = |key: &'static str, text: &Option<String>| {
            let text =
                text.as_deref().ok_or_else(|| wrong(key, "a bucket needs it: write `env://NAME` or `file:///path`"))?;
            text.parse::<SecretRef>().map_err(|why| wrong(key, why))
        };
        let token = self.session_token.as_ref().map(|_| secret("session_token", &self.session_token)).transpose()?;
        let keys = Keys {
            id: secret("access_key_id", &self.access_key_id)?,
            key: secret("secret_access_key", &self.secret_access_key)?,
            token,
        };
        let region = self.region.clone().unwrap_or_else(|| REGION.to_owned());
        if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(wrong("region", "write one such as `eu-central-1`"));
        }
        Ok(Bucket { name: name.to_owned(), prefix: prefix.to_owned(), endpoint, region, keys, guard })
    }

    fn endpoint(&self, text: &str) -> Result<Url, ConfigError> {
        let form = "write the address of the server alone, such as `https://minio.example:9000`";
        let url: Url = text.parse().map_err(|error| wrong("endpoint", format!("{error}; {form}")))?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !bare || !url.username().is_empty() || url.password().is_some()
        {
            return Err(wrong("endpoint", form));
        }
        if !may_carry_secrets(&url, !self.allow_private.is_empty()) {
            let why = "what missions make would go there in the clear: use https, or an address of the inside that `allow_private` lists";
            return Err(wrong("endpoint", why));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ArtifactConfig {
        ArtifactConfig {
            shared: Some("s3://bucket/sortie/a=b".to_owned()),
            access_key_id: Some("env://ID".to_owned()),
            secret_access_key: Some("env://KEY".to_owned()),
            ..ArtifactConfig::default()
        }
    }

    #[test]
    fn what_a_store_is_reached_by_is_held_against_what_it_is() {
        type Change = fn(&mut ArtifactConfig);
        let cases: [(Change, Option<&str>); 20] = [
            (|_| {}, None),
            (|config| config.shared = Some("s3://bucket".to_owned()), None),
            (|config| config.shared = Some("bucket".to_owned()), Some("shared")),
            (|config| config.shared = Some("gs://bucket/x".to_owned()), Some("shared")),
            (|config| config.shared = Some("s3://B/x".to_owned()), Some("shared")),
            (|config| config.shared = Some("s3://bucket/a//b".to_owned()), Some("shared")),
            (|config| config.shared = Some("s3://bucket/a%20b".to_owned()), Some("shared")),
            (|config| config.shared = Some("s3://bucket/a?x".to_owned()), Some("shared")),
            (|config| config.shared = Some("file:///mnt/share".to_owned()), Some("access_key_id")),
            (
                |config| {
                    *config = ArtifactConfig { shared: Some("file:///mnt/share".to_owned()), ..Default::default() }
                },
                None,
            ),
            (
                |config| *config = ArtifactConfig { shared: Some("file:///".to_owned()), ..Default::default() },
                Some("shared"),
            ),
            (|config| config.shared = None, Some("access_key_id")),
            (|config| *config = ArtifactConfig::default(), None),
            (|config| config.secret_access_key = None, Some("secret_access_key")),
            (|config| config.access_key_id = Some("AKIA".to_owned()), Some("access_key_id")),
            (|config| config.endpoint = Some("http://minio.example:9000".to_owned()), Some("endpoint")),
            (|config| config.endpoint = Some("http://127.0.0.1:9000".to_owned()), None),
            (|config| config.endpoint = Some("https://minio.example/x".to_owned()), Some("endpoint")),
            (|config| config.allow_private = vec!["10.1".to_owned()], Some("allow_private")),
            (|config| config.region = Some("eu central".to_owned()), Some("region")),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            let mut config = config();
            change(&mut config);
            assert_eq!(config.examine().err().map(|error| error.key), expected, "{number}");
        }
    }
}
