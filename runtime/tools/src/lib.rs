//! What a granted call does: the registry, the workspace tools, `WebFetch`.
//!
//! The node hands the text of a call to [`Registry::call`], which parses it, holds it against the tool's JSON Schema,
//! runs the tool under its time limit and bounds the result. Who may call a tool is decided elsewhere
//! (`sortie-mission`); here everything that arrives is granted, and the tools guard just what no grant may reach:
//! paths outside of the session's [`Workspace`], and hosts and addresses that the configuration does not list.
//!
//! A call is cancelled by dropping its future.

mod config;
mod files;
mod registry;
mod tool;
mod web;
mod workspace;

pub use config::{ConfigError, ToolConfig, ToolsConfig};
pub use registry::Registry;
pub use tool::{CallContext, Tool};
pub use workspace::{NodeRoom, WeakWorkspace, Workspace, WorkspaceBounds, WorkspaceError};
