//! `artifacts`: what a mission leaves behind.

use sortie_contract::artifact::Artifact;
use sortie_contract::limit::{ARTIFACT_BYTES_MAX, ARTIFACT_NAME_BYTES_MAX, NOTE_BYTES_MAX};

use crate::bindings::sortie::mission::artifacts as world;
use crate::guest::Guest;

impl world::Host for Guest {
    async fn put(
        &mut self,
        name: String,
        media_type: String,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<world::Artifact, String>> {
        let host = std::sync::Arc::clone(&self.mission("artifacts.put")?.host);
        if bytes.len() > ARTIFACT_BYTES_MAX {
            return Ok(Err(format!(
                "an artifact has at most {ARTIFACT_BYTES_MAX} bytes, this one has {}",
                bytes.len()
            )));
        }
        if let Err(mistake) = short(&[&name, &media_type]) {
            return Ok(Err(mistake));
        }
        let stored = self.on_node(host.put(name, media_type, bytes)).await?;
        Ok(stored.map(Into::into))
    }

    async fn put_file(
        &mut self,
        name: String,
        media_type: String,
        path: String,
    ) -> wasmtime::Result<Result<world::Artifact, String>> {
        let host = std::sync::Arc::clone(&self.mission("artifacts.put-file")?.host);
        if let Err(mistake) = short(&[&name, &media_type, &path]) {
            return Ok(Err(mistake));
        }
        let stored = self.on_node(host.put_file(name, media_type, path)).await?;
        Ok(stored.map(Into::into))
    }

    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let host = std::sync::Arc::clone(&self.mission("artifacts.get")?.host);
        if let Err(mistake) = short(&[&name]) {
            return Ok(Err(mistake));
        }
        self.on_node(host.get(name)).await
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
