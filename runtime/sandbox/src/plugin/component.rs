//! From bytes that somebody sent to a component that imports nothing but its world.

use sortie_contract::digest::Digest;
use wasmparser::{ComponentTypeRef, Parser, Payload};

use super::InstallError;
use crate::world::{self, NoWorld};

/// Largest plugin, in bytes: a Python guest has 18 MB.
pub const PLUGIN_BYTES_MAX: usize = 64 << 20;

/// A component's bytes, whose imports are all of one world.
pub(crate) struct Component {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
}

impl Component {
    /// Takes a component as it is, and makes one of a core module that carries its component type.
    pub(crate) fn from_wasm(bytes: Vec<u8>) -> Result<Self, InstallError> {
        if bytes.len() > PLUGIN_BYTES_MAX {
            return Err(InstallError::TooLarge { bytes: bytes.len(), max: PLUGIN_BYTES_MAX });
        }
        let bytes = if Parser::is_component(&bytes) {
            bytes
        } else if Parser::is_core_wasm(&bytes) {
            imports_of(&bytes)?;
            encode(&bytes)?
        } else {
            return Err(InstallError::NotWasm);
        };
        imports_of(&bytes)?;
        let digest = Digest::of(&bytes);
        Ok(Self { bytes, digest })
    }
}

/// The component that is installed of some bytes: themselves, or what is made of a core module that carries its component type.
///
/// # Errors
/// [`InstallError`], for what no node would install because of what it is or imports.
pub fn component_of(wasm: Vec<u8>) -> Result<Vec<u8>, InstallError> {
    Component::from_wasm(wasm).map(|component| component.bytes)
}

fn encode(module: &[u8]) -> Result<Vec<u8>, InstallError> {
    let encoded = wit_component::ComponentEncoder::default().validate(true).module(module).and_then(|mut e| e.encode());
    encoded.map_err(|error| InstallError::NotAPlugin(format!("{error:#}")))
}

/// Holds every import of the module or component itself (not of what is nested in it) against the table of worlds.
fn imports_of(wasm: &[u8]) -> Result<(), InstallError> {
    let broken = |error: wasmparser::BinaryReaderError| InstallError::NotAPlugin(error.to_string());
    // Of each, the interface, and how the import is called as a whole.
    let mut imports: Vec<(String, String)> = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(broken)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ImportSection(section) if depth == 0 => {
                for import in section.into_imports() {
                    let import = import.map_err(broken)?;
                    imports.push((import.module.to_owned(), format!("{}::{}", import.module, import.name)));
                }
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(broken)?;
                    // A type that is only given a name: the world's `use` clauses are written so.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        let name = import.name.name;
                        imports.push((name.to_owned(), name.to_owned()));
                    }
                }
            }
            _ => {}
        }
    }
    let whole = |interface: String| {
        imports.iter().find(|(of, _)| *of == interface).map_or(interface, |(_, import)| import.clone())
    };
    match world::of(imports.iter().map(|(interface, _)| interface.as_str())) {
        Ok(_) => Ok(()),
        Err(NoWorld::Foreign(interface)) => Err(InstallError::ForbiddenImport { import: whole(interface) }),
        Err(NoWorld::Version(interface)) => Err(InstallError::WrongWorld { import: whole(interface) }),
        Err(NoWorld::Mixed(interface)) => Err(InstallError::MixedWorlds { import: whole(interface) }),
    }
}
