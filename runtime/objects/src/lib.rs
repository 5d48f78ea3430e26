//! Bytes in an object store that nodes share: S3 and what speaks like it, or a folder that all of them see.
//!
//! The only crate that names `object_store`. That crate signs, pages and repeats; its requests go out through
//! `sortie-egress` like all others, and the keys are read from their references for each.
//!
//! - [`Objects`] is a bucket's part that is ours: put, put where nothing is, get, list, remove. What it tells apart of
//!   all that can go wrong is what its users act upon: a [`Fault`].
//! - [`Shelves`] keeps artifacts there, each mission's by themselves, under their digests; what is read is what was
//!   stored, or an error.
//! - [`Snapshots`] keeps what folders are made again from, each written by one process at a time.
//!
//! It does not know what a mission is, when something may be removed, or how long somebody waits for a store that is away.

mod config;
mod connect;
mod folder;
mod objects;
mod shelves;
mod snapshots;

pub use config::{ArtifactConfig, ConfigError};
pub use objects::{Counted, Fault, Found, Objects};
pub use shelves::{Bounds, PutError, Shelves, key};
pub use snapshots::{CHUNK_BYTES, Draft, Line, SnapshotError, Snapshots};
