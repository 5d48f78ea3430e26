//! Where plugins come from: who signed them, the addresses that a node fetches them from, and registries.
//!
//! The only crate that names minisign, and that speaks the distribution protocol of OCI. Owned here: what `[plugin_source]` of the
//! configuration comes to ([`PluginSourceConfig`]), whether a signature vouches for some bytes ([`Keys`]), how bytes are had from a place
//! that somebody names ([`Sources`], [`Place`]), and how they are brought to a registry ([`push()`]).
//!
//! Never here: what the bytes are (they are verified before anybody looks into them), what is installed, and who may install. All that it
//! asks the network for goes through `sortie-egress`: to the hosts that are listed, to no address inside that is not, wherever a redirect, a
//! registry or its desk for tokens leads.

mod challenge;
mod config;
mod credentials;
mod digest;
mod fetch;
mod helper;
mod manifest;
mod place;
mod push;
mod registry;
mod signature;

pub use config::{ConfigError, KeyConfig, PluginSourceConfig, RegistryConfig};
pub use credentials::{Credentials, CredentialsError, Kept, of_docker};
pub use digest::{NotADigest, digest_of};
pub use fetch::{FetchError, Fetched, Sources, Wanted};
pub use helper::Helper;
pub use manifest::SIGNATURE_ANNOTATION;
pub use place::{NotAPlace, Place, Reference};
pub use push::{Pushed, push};
pub use signature::{Keys, NotVouched, SIGNATURE_BYTES_MAX};
