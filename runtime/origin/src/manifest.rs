//! What stands in a registry for a plugin: a manifest with one layer, the component, as other Wasm tools write and read it.
//!
//! A signature is an annotation of the layer ([`SIGNATURE_ANNOTATION`]): it goes wherever the manifest goes, and needs nothing of a registry
//! that not each of them has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sortie_contract::digest::Digest;
use sortie_contract::limit;

use crate::digest::{digest_of, named};

/// The annotation of the layer that holds the text of `FILE.wasm.minisig`.
pub const SIGNATURE_ANNOTATION: &str = "dev.sortie.plugin.minisig";

/// The manifest itself.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Its config: what Wasm tools have agreed on.
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";

/// Its layer: a component.
const LAYER_TYPE: &str = "application/wasm";

/// What older tools call the layer.
const OLD_LAYER_TYPE: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// What is asked for: this, and what says that it is something else.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json";

/// The component of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) signature: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    /// Of an index: the manifests that it lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// The component that a manifest names; else what it is instead.
pub(crate) fn layer_of(manifest: &[u8]) -> Result<Layer, String> {
    let manifest: Manifest =
        serde_json::from_slice(manifest).map_err(|error| format!("its manifest cannot be read: {error}"))?;
    if manifest.manifests.is_some() {
        return Err("it is an index of several manifests: name one of them by its digest".to_owned());
    }
    let is_component = |layer: &&Descriptor| [LAYER_TYPE, OLD_LAYER_TYPE].contains(&layer.media_type.as_str());
    let mut layers = manifest.layers.iter().filter(is_component);
    let (Some(layer), None) = (layers.next(), layers.next()) else {
        let found: Vec<String> =
            manifest.layers.iter().take(8).map(|layer| limit::clip(&layer.media_type, 80)).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        return Err(format!(
            "it is no plugin: it must have one layer of the type {LAYER_TYPE}, and its layers are {found}"
        ));
    };
    let digest = digest_of(&layer.digest).map_err(|error| format!("the digest of its layer: {error}"))?;
    Ok(Layer { digest, size: layer.size, signature: layer.annotations.get(SIGNATURE_ANNOTATION).cloned() })
}

/// The config of a component: the same for the same bytes, so that pushing them again makes no other manifest.
pub(crate) fn config(component: &Digest) -> Vec<u8> {
    let config = serde_json::json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [named(component)],
    });
    config.to_string().into_bytes()
}

/// The manifest of a component with this config.
pub(crate) fn written(component: &[u8], config: &[u8], signature: Option<&str>) -> Vec<u8> {
    let descriptor = |media_type: &str, bytes: &[u8]| Descriptor {
        media_type: media_type.to_owned(),
        digest: named(&Digest::of(bytes)),
        size: bytes.len() as u64,
        annotations: BTreeMap::new(),
    };
    let mut layer = descriptor(LAYER_TYPE, component);
    layer.annotations.extend(signature.map(|signature| (SIGNATURE_ANNOTATION.to_owned(), signature.to_owned())));
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        config: Some(descriptor(CONFIG_TYPE, config)),
        layers: vec![layer],
        manifests: None,
    };
    serde_json::to_vec(&manifest).expect("plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for signature in [None, Some("untrusted comment: x\n…")] {
            let manifest = written(b"component", &config(&Digest::of(b"component")), signature);
            assert_eq!(
                manifest,
                written(b"component", &config(&Digest::of(b"component")), signature),
                "the same again"
            );
            let layer = layer_of(&manifest).expect("a plugin");
            assert_eq!(
                (layer.digest, layer.size, layer.signature.as_deref()),
                (Digest::of(b"component"), 9, signature)
            );
        }
    }

    #[test]
    fn what_is_no_plugin_says_what_it_is() {
        let layer = |kind: &str| {
            format!("{{\"mediaType\": \"{kind}\", \"digest\": \"sha256:{}\", \"size\": 1}}", Digest::of(b"x"))
        };
        for (manifest, expected) in [
            ("x".to_owned(), "cannot be read"),
            ("[]".to_owned(), "its layers are none"),
            ("{}".to_owned(), "its layers are none"),
            ("{\"manifests\": []}".to_owned(), "an index"),
            (format!("{{\"layers\": [{}]}}", layer("application/vnd.oci.image.layer.v1.tar+gzip")), "tar+gzip"),
            (format!("{{\"layers\": [{}, {}]}}", layer(LAYER_TYPE), layer(LAYER_TYPE)), "one layer"),
            (
                "{\"layers\": [{\"mediaType\": \"application/wasm\", \"digest\": \"md5:x\", \"size\": 1}]}".to_owned(),
                "64 hex digits",
            ),
            (
                "{\"layers\": [{\"mediaType\": \"application/wasm\", \"digest\": \"x\", \"size\": -1}]}".to_owned(),
                "cannot be read",
            ),
        ] {
            let says = layer_of(manifest.as_bytes()).expect_err(&manifest);
            assert!(says.contains(expected), "{manifest}: {says}");
        }
        let old = format!("{{\"layers\": [{}, {}]}}", layer(OLD_LAYER_TYPE), layer("text/plain"));
        assert!(layer_of(old.as_bytes()).is_ok());
    }
}
