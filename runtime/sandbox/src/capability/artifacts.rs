//! `artifacts`: what a mission leaves behind.
//!
//! It has no state of its own: the node keeps the index and the bytes. Here names, types and paths are only kept from being
//! megabytes, and an artifact from being larger than [one may be](sortie_contract::limit::ARTIFACT_BYTES_MAX); which names and
//! paths are right, the node says.
//!
//! ```
//! use sortie_sandbox::capability::Side;
//! use sortie_sandbox::capability::artifacts::{self, Artifacts, ArtifactsView};
//! use wasmtime::Engine;
//! use wasmtime::component::Linker;
//!
//! struct Data {
//!     side: Side,
//! }
//!
//! impl ArtifactsView for Data {
//!     fn artifacts(&mut self) -> Artifacts<'_> {
//!         Artifacts::new(&mut self.side)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let mut linker = Linker::<Data>::new(&Engine::default());
//! artifacts::add_to_linker(&mut linker)?;
//! # Ok(())
//! # }
//! ```

use sortie_contract::artifact::Artifact;
use sortie_contract::limit::{ARTIFACT_BYTES_MAX, ARTIFACT_NAME_BYTES_MAX, NOTE_BYTES_MAX};
use wasmtime::component::{HasData, Linker};

use crate::bindings::v0_1::sortie::mission::artifacts as world;
use crate::side::Side;

/// A mission's artifacts, as its guest sees them.
pub struct Artifacts<'a> {
    side: &'a mut Side,
}

impl<'a> Artifacts<'a> {
    /// Of the guest with that side.
    pub fn new(side: &'a mut Side) -> Self {
        Self { side }
    }
}

/// Data of a store whose guest leaves something behind.
pub trait ArtifactsView: Send {
    /// What the interface stands on.
    fn artifacts(&mut self) -> Artifacts<'_>;
}

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: ArtifactsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasArtifacts>(linker, T::artifacts)
}

struct HasArtifacts;

impl HasData for HasArtifacts {
    type Data<'a> = Artifacts<'a>;
}

impl world::Host for Artifacts<'_> {
    async fn put(
        &mut self,
        name: String,
        media_type: String,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<world::Artifact, String>> {
        let host = self.side.host("artifacts.put")?;
        if bytes.len() > ARTIFACT_BYTES_MAX {
            return Ok(Err(format!(
                "an artifact has at most {ARTIFACT_BYTES_MAX} bytes, this one has {}",
                bytes.len()
            )));
        }
        if let Err(mistake) = short(&[&name, &media_type]) {
            return Ok(Err(mistake));
        }
        let stored = self.side.on_node(host.put(name, media_type, bytes)).await?;
        Ok(stored.map(Into::into))
    }

    async fn put_file(
        &mut self,
        name: String,
        media_type: String,
        path: String,
    ) -> wasmtime::Result<Result<world::Artifact, String>> {
        let host = self.side.host("artifacts.put-file")?;
        if let Err(mistake) = short(&[&name, &media_type, &path]) {
            return Ok(Err(mistake));
        }
        let stored = self.side.on_node(host.put_file(name, media_type, path)).await?;
        Ok(stored.map(Into::into))
    }

    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let host = self.side.host("artifacts.get")?;
        if let Err(mistake) = short(&[&name]) {
            return Ok(Err(mistake));
        }
        self.side.on_node(host.get(name)).await
    }
}

/// The node checks names, types and paths; here they are only kept from being megabytes.
fn short(texts: &[&str]) -> Result<(), String> {
    const _: () = assert!(ARTIFACT_NAME_BYTES_MAX <= NOTE_BYTES_MAX);
    if texts.iter().all(|text| text.len() <= NOTE_BYTES_MAX) {
        Ok(())
    } else {
        Err(format!("a name, a media type or a path has at most {NOTE_BYTES_MAX} bytes"))
    }
}

impl From<Artifact> for world::Artifact {
    fn from(artifact: Artifact) -> Self {
        Self { name: artifact.name.into(), bytes: artifact.bytes, sha256: artifact.sha256.to_string() }
    }
}
