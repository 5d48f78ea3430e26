//! From bytes that somebody sent to a component that imports nothing but the world.

use sortie_contract::digest::Digest;
use wasmparser::{ComponentTypeRef, Parser, Payload};

use super::InstallError;

/// The version of `sortie:mission` that this node runs.
pub(crate) const WORLD_VERSION: &str = "0.1.0";

const PACKAGE: &str = "sortie:mission/";
const INTERFACES: [&str; 6] = ["types", "tools", "report", "artifacts", "time", "human"];

/// Largest plugin, in bytes: a Python guest has 18 MB.
const PLUGIN_BYTES_MAX: usize = 64 << 20;

/// A component's bytes, whose imports are all of the world.
pub(crate) struct Component {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
}

impl Component {
    /// Takes a component as it is, and makes one of a core module that carries its component type.
    pub(crate) fn from_wasm(bytes: &[u8]) -> Result<Self, InstallError> {
        if bytes.len() > PLUGIN_BYTES_MAX {
            return Err(InstallError::TooLarge { bytes: bytes.len(), max: PLUGIN_BYTES_MAX });
        }
        let bytes = if Parser::is_component(bytes) {
            bytes.to_vec()
        } else if Parser::is_core_wasm(bytes) {
            imports_of(bytes)?;
            encode(bytes)?
        } else {
            return Err(InstallError::NotWasm);
        };
        imports_of(&bytes)?;
        let digest = Digest::of(&bytes);
        Ok(Self { bytes, digest })
    }
}

fn encode(module: &[u8]) -> Result<Vec<u8>, InstallError> {
    let encoded = wit_component::ComponentEncoder::default().validate(true).module(module).and_then(|mut e| e.encode());
    encoded.map_err(|error| InstallError::NotAPlugin(format!("{error:#}")))
}

/// Holds every import of the module or component itself (not of what is nested in it) against the world.
fn imports_of(wasm: &[u8]) -> Result<(), InstallError> {
    let broken = |error: wasmparser::BinaryReaderError| InstallError::NotAPlugin(error.to_string());
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(broken)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ImportSection(section) if depth == 0 => {
                for import in section.into_imports() {
                    let import = import.map_err(broken)?;
                    held(import.module, || format!("{}::{}", import.module, import.name))?;
                }
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(broken)?;
                    // A type that is only given a name: the world's `use` clauses are written so.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        held(import.name.name, || import.name.name.to_owned())?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn held(interface: &str, import: impl Fn() -> String) -> Result<(), InstallError> {
    let Some((name, version)) = interface.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) else {
        return Err(InstallError::ForbiddenImport { import: import() });
    };
    if version != WORLD_VERSION {
        return Err(InstallError::WrongWorld { import: import() });
    }
    if INTERFACES.contains(&name) { Ok(()) } else { Err(InstallError::ForbiddenImport { import: import() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_imported_from_outside_the_world() {
        for (interface, expected) in [
            ("sortie:mission/tools@0.1.0", "ok"),
            ("sortie:mission/types@0.1.0", "ok"),
            ("sortie:mission/tools@0.2.0", "wrong world"),
            ("sortie:mission/sockets@0.1.0", "forbidden"),
            ("sortie:mission/tools", "forbidden"),
            ("wasi:cli/environment@0.2.0", "forbidden"),
            ("env", "forbidden"),
        ] {
            let found = match held(interface, || interface.to_owned()) {
                Ok(()) => "ok",
                Err(InstallError::WrongWorld { .. }) => "wrong world",
                Err(_) => "forbidden",
            };
            assert_eq!(found, expected, "{interface}");
        }
    }

    #[test]
    fn the_version_is_the_one_of_the_wit_file() {
        let wit = include_str!("../../../../wit/mission.wit");
        assert!(wit.contains(&format!("package sortie:mission@{WORLD_VERSION};")));
    }
}
