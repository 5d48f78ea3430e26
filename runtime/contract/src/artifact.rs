//! What a mission leaves behind.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::digest::Digest;
use crate::limit;

/// The name of an artifact: a relative path of plain segments, such as `reports/weekly.md`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ArtifactName(Arc<str>);

/// A text that is no artifact name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an artifact's name is a relative path of at most {max} bytes without empty, `.` or `..` segments, backslashes or control characters", max = limit::ARTIFACT_NAME_BYTES_MAX)]
pub struct ArtifactNameError;

impl ArtifactName {
    /// Takes `text` as a name.
    ///
    /// # Errors
    /// [`ArtifactNameError`] for anything that could leave a folder or break a header.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, ArtifactNameError> {
        let text = text.into();
        let plain = |segment: &str| !matches!(segment, "" | "." | "..");
        let fits = text.len() <= limit::ARTIFACT_NAME_BYTES_MAX;
        if fits && text.split('/').all(plain) && !text.chars().any(|c| c == '\\' || c.is_control()) {
            Ok(Self(text))
        } else {
            Err(ArtifactNameError)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ArtifactName {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(&self.0)
    }
}

impl TryFrom<String> for ArtifactName {
    type Error = ArtifactNameError;
    fn try_from(text: String) -> Result<Self, ArtifactNameError> {
        Self::new(text)
    }
}

impl From<ArtifactName> for String {
    fn from(name: ArtifactName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An artifact in the index of its mission. The bytes lie in the node's store, under their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Unique in its mission; storing the same name again replaces it.
    pub name: ArtifactName,
    /// Its media type (RFC 6838).
    pub media_type: String,
    /// Its size.
    pub bytes: u64,
    /// What the bytes are.
    pub sha256: Digest,
}

/// Where artifacts go: the contract's `storage_scope`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StorageScope {
    /// The node's own store.
    #[default]
    Factory,
    /// The shared object store of the configuration.
    Shared,
    /// Uploaded to the control plane.
    Pushback,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        for name in ["a", "reports/weekly.md", "ä b.md", "..a"] {
            assert!(ArtifactName::new(name).is_ok(), "{name:?}");
        }
        for name in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a\\b", "a\nb"] {
            assert!(ArtifactName::new(name).is_err(), "{name:?}");
        }
    }
}
