//! Plugins as files: what is taken in, how it is kept, and the compiled code that is made of it.

mod cache;
mod component;
mod deserialize;
mod file;
mod functions;
mod manifest;
mod store;

use std::sync::Arc;

use sortie_contract::plugin::{Crash, Manifest, Origin, PluginIdentity};

pub(crate) use cache::Cache;
pub(crate) use component::Component;
pub use component::{PLUGIN_BYTES_MAX, component_of};
pub use file::Freed;
pub(crate) use functions::Functions;
pub(crate) use manifest::manifest;
pub(crate) use store::Store;
pub use store::StoreError;

/// An installed plugin.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Installed {
    /// Its name, version and digest.
    pub identity: PluginIdentity,
    /// What it says of itself.
    pub manifest: Arc<Manifest>,
    /// Where it came from, and who vouches for it.
    #[serde(default, skip_serializing_if = "Origin::is_unknown")]
    pub origin: Origin,
}

/// Why a plugin was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Nobody vouches for the bytes who should; nobody has looked into them.
    #[error("{0}")]
    Unvouched(String),
    /// The signature is of other bytes than those that would be kept.
    #[error(
        "the signature is of a core module, and what a node keeps and runs is the component that is made of it: sign the component that \
         `sortie plugin build` writes"
    )]
    SignedModule,
    /// The bytes are neither a WebAssembly module nor a component.
    #[error("this is not WebAssembly: a plugin is a component, or a core module that carries the type of one")]
    NotWasm,
    /// Larger than a plugin may be.
    #[error("a plugin has at most {max} bytes, this one has {bytes}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// It imports something that is not in the world.
    #[error(
        "the plugin imports `{import}`, which is neither in the world `sortie:mission` nor among what is played of WASI 0.2: plugins get tools, not system interfaces"
    )]
    ForbiddenImport {
        /// The name of the import.
        import: String,
    },
    /// It was made for another version of the world.
    #[error("the plugin imports `{import}`, but this node runs version {runs} of the world: build it against that version", runs = crate::world::versions())]
    WrongWorld {
        /// The name of the import.
        import: String,
    },
    /// It imports from two versions of the world.
    #[error(
        "the plugin imports `{import}` beside interfaces of another version: a plugin is of one version of the world"
    )]
    MixedWorlds {
        /// The name of the import.
        import: String,
    },
    /// It is WebAssembly, but not of the world.
    #[error("this is not a mission plugin: {0}")]
    NotAPlugin(String),
    /// Its `describe` crashed or took too long.
    #[error("the plugin does not describe itself: {}", crash_text(.0))]
    Undescribed(Crash),
    /// Its `describe` returned something that breaks the rules.
    #[error("the plugin describes itself wrongly: {0}")]
    Manifest(String),
    /// Its runs take more memory than plugins get here.
    #[error(
        "the plugin needs {} MiB of memory for a run, and plugins get {} MiB here: write `plugin_memory_mib = {}` below `[limits]` of the configuration", wants.div_ceil(1 << 20), limit >> 20, wants.div_ceil(1 << 20)
    )]
    TooMuchMemory {
        /// How many bytes it wants.
        wants: u64,
        /// How many it may have.
        limit: u64,
    },
    /// What was sent cannot be read back.
    #[error("what was sent cannot be read back")]
    Unread(#[source] std::io::Error),
    /// The store cannot be written.
    #[error("the plugin store cannot keep it")]
    Store(#[from] StoreError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// A crash in words.
fn crash_text(crash: &Crash) -> String {
    match crash {
        Crash::Trapped(text) | Crash::LimitExceeded(text) | Crash::Unrunnable(text) => text.clone(),
        Crash::OutOfMemory { limit_bytes } => format!("it wants more than {limit_bytes} bytes of memory"),
        Crash::Diverged { recorded, attempted } => format!("it asked for {attempted} where {recorded} was recorded"),
    }
}
