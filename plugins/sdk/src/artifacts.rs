//! What a mission leaves behind.

use crate::bindings::world::artifacts as world;

/// An artifact in the mission's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

impl From<world::Artifact> for Artifact {
    fn from(artifact: world::Artifact) -> Self {
        let world::Artifact { name, bytes, sha256 } = artifact;
        Self { name, bytes, sha256 }
    }
}

/// Stores bytes under a name: a relative path of plain segments. The same name again replaces it.
///
/// # Errors
/// What is wrong with the name, the type or the size.
pub fn put(name: &str, media_type: &str, bytes: impl AsRef<[u8]>) -> Result<Artifact, String> {
    #[cfg(target_arch = "wasm32")]
    return world::put(name, media_type, bytes.as_ref()).map(Into::into);
    #[cfg(not(target_arch = "wasm32"))]
    played(name, media_type, bytes.as_ref())
}

/// Stores a file of the workspace.
///
/// # Errors
/// What is wrong with the name, the type, the path or the size.
pub fn put_file(name: &str, media_type: &str, path: &str) -> Result<Artifact, String> {
    #[cfg(target_arch = "wasm32")]
    return world::put_file(name, media_type, path).map(Into::into);
    #[cfg(not(target_arch = "wasm32"))]
    played(name, media_type, path.as_bytes())
}

/// Reads back an artifact of this mission.
///
/// # Errors
/// Where there is none of that name.
pub fn get(name: &str) -> Result<Vec<u8>, String> {
    #[cfg(target_arch = "wasm32")]
    return world::get(name);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::get(name)
}

/// Stored by the node of a test, which knows no digests.
#[cfg(not(target_arch = "wasm32"))]
fn played(name: &str, _media_type: &str, bytes: &[u8]) -> Result<Artifact, String> {
    crate::testing::put(name, bytes);
    Ok(Artifact { name: name.to_owned(), bytes: bytes.len() as u64, sha256: String::new() })
}
