//! `sortie plugin new`, `build` and `check`: what the author of a plugin does, anywhere on a disk and without a node.
//!
//! Owned here: which languages there are. A language is a library of the shape of `plugins/sdk` (`plugins/sdk-LANGUAGE`), a row of
//! [`LANGUAGES`] with a module that builds its projects, a folder below `plugins/templates`, a row of what its projects carry in
//! `build_templates.rs`, and for its tests a row of `LANGUAGES` in xtask's `authored.rs` with an example in `examples/plugins`.

mod build;
mod check;
mod javascript;
mod journal;
mod new;
mod python;
mod rust;
mod stamp;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::client::Client;
use super::{Exit, Failure};

/// What authors do.
#[derive(Debug, Subcommand)]
pub(super) enum AuthorCommand {
    /// Begin a plugin: a project that builds, with a case that tests it.
    New(new::NewArgs),
    /// Build the plugin of a project: a component, beside its sources.
    Build(build::BuildArgs),
    /// Run the cases of a plugin in the real sandbox and core, where time is skipped: as they are, with a crash after each call, and with
    /// each call failing in turn.
    Check(check::CheckArgs),
}

/// A language that plugins are written in.
#[derive(Debug)]
struct Language {
    /// What `--lang` says, and the name of its folder of templates.
    name: &'static str,
    /// The file by which its projects are told.
    marker: &'static str,
    /// The command that gets what builds its projects, given once in a project's folder; none where nothing is missing but a compiler.
    setup: Option<&'static str>,
    /// Builds the project in a folder.
    build: fn(&Path) -> Result<Built, String>,
    /// Which builder that would be, and how it can be told from another one; none where the builder itself knows what has changed.
    builder: fn(&Path) -> Option<String>,
    /// Why no project of it can bear a name that a plugin may have.
    refuses: fn(&str) -> Option<String>,
}

/// What a builder has made.
#[derive(Debug)]
struct Built {
    /// The bytes of a component, or of a core module that carries its type.
    component: Vec<u8>,
    /// What it read that does not lie in the project; none where that is not known.
    elsewhere: Option<Vec<PathBuf>>,
}

/// Each of them.
const LANGUAGES: [Language; 3] = [
    Language {
        name: "rust",
        marker: "Cargo.toml",
        setup: None,
        build: rust::build,
        builder: |_| None,
        refuses: rust::refuses,
    },
    Language {
        name: "python",
        marker: "pyproject.toml",
        setup: Some(python::SETUP),
        build: python::build,
        builder: python::builder,
        // The module of a project is called `plugin`, whatever the project is.
        refuses: |_| None,
    },
    Language {
        name: "javascript",
        marker: "package.json",
        setup: Some(javascript::SETUP),
        build: javascript::build,
        builder: javascript::builder,
        refuses: javascript::refuses,
    },
];

/// Does it. `client` is asked for by what needs a node.
pub(super) async fn author(
    command: AuthorCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    as_json: bool,
) -> Result<Exit, Failure> {
    match command {
        AuthorCommand::New(args) => new::new(&args, as_json),
        AuthorCommand::Build(args) => build::build(&args, as_json),
        AuthorCommand::Check(args) => check::check(args, client, as_json).await,
    }
}

/// The language of the project in a folder.
fn language_of(folder: &Path) -> Result<&'static Language, Failure> {
    let found = LANGUAGES.iter().find(|language| folder.join(language.marker).is_file());
    found.ok_or_else(|| {
        let markers: Vec<String> =
            LANGUAGES.iter().map(|language| format!("{} ({})", language.marker, language.name)).collect();
        let (place, markers) = (folder.display(), markers.join(", "));
        Failure::unusable(format!(
            "{place} is no plugin's project: it has none of {markers}. `sortie plugin new NAME` begins one"
        ))
    })
}

/// Where a program lies that is on the path.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
