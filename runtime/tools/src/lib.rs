//! What a granted call does: where tools come from, the workspace tools, those of the web, `Bash`.
//!
//! Tools come from [`Provider`]s: those that are built in ([`BuiltIn`]), and others that are reached. [`Providers`] holds all of them
//! and the [`Toolbox`] that they make at a moment. The node hands the text of a call to [`Toolbox::call`], which parses it, holds it
//! against the tool's JSON Schema, runs the tool under its time limit and bounds the result. Who may call a tool is decided elsewhere
//! (`sortie-mission`); here everything that arrives is granted, and the tools guard just what no grant may reach:
//! paths outside of the session's [`Workspace`], and hosts and addresses that the configuration does not list.
//!
//! A call is cancelled by dropping its future.

mod ask;
mod bash;
mod builtin;
mod config;
mod files;
mod link;
mod provider;
mod providers;
mod secrets;
mod tool;
mod toolbox;
mod web;
mod workspace;

pub use ask::{Ask, Form, Nobody, Question, Reply, Waiting, Waits};
pub use bash::{Confine, Confinement, Network, Shell};
pub use builtin::BuiltIn;
pub use config::{ConfigError, Price, ToolConfig, ToolsConfig};
pub use link::{LinkState, Standing};
pub use provider::{Changed, Offer, Provider, ProviderError, SCHEMA_BYTES_MAX, TOOL_NAME_BYTES_MAX, TOOLS_MAX};
pub use providers::{ProviderHealth, Providers};
pub use secrets::{SecretConfig, SecretsConfig};
pub use tool::{Bill, CallContext, Tool};
pub use toolbox::{Found, Toolbox};
pub use workspace::{
    Carried, CarriedKind, CarryError, Contents, Copied, CopyError, FileRead, FileState, NodeRoom, Remade, RemadeFile,
    WeakWorkspace, Workspace, WorkspaceBounds, WorkspaceError, remove_folder, state_now,
};
