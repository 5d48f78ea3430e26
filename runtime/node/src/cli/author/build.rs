//! `sortie plugin build`: from the sources of a project to a component beside them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use sortie_contract::digest::Digest;

use super::super::text::{self, Progress};
use super::super::{Exit, Failure};
use super::language_of;

/// Which project is built.
#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    /// The folder of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(super) fn build(args: &BuildArgs, as_json: bool) -> Result<Exit, Failure> {
    let (file, component) = component(&args.folder)?;
    let digest = Digest::of(&component);
    if as_json {
        let file = file.display().to_string();
        text::json(&json!({ "file": file, "bytes": component.len(), "digest": digest }))?;
    } else {
        let (place, size) = (text::plain(&file.display().to_string()), text::size(component.len() as u64));
        writeln!(std::io::stdout(), "{place}  {size}  {digest}")?;
    }
    Ok(Exit::Completed)
}

/// Builds the project in a folder: where its component lies, and its bytes.
pub(super) fn component(folder: &Path) -> Result<(PathBuf, Vec<u8>), Failure> {
    let language = language_of(folder)?;
    let building = Progress::of(format!("the {} project is built", language.name));
    let built = (language.build)(folder).map_err(Failure::unusable)?;
    drop(building);
    let component = sortie_sandbox::component_of(built).map_err(Failure::unusable)?;
    let whole = folder.canonicalize().map_err(|error| Failure::unusable(format!("{}: {error}", folder.display())))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name_of(folder, language.marker).unwrap_or(name);
    let file = folder.join(format!("{name}.wasm"));
    std::fs::write(&file, &component).map_err(|error| Failure::unusable(format!("{}: {error}", file.display())))?;
    Ok((file, component))
}

/// What a project calls itself: `name` of its manifest.
fn name_of(folder: &Path, marker: &str) -> Option<String> {
    let text = crate::bounded::text(&folder.join(marker)).ok()?;
    let name = if marker.ends_with(".json") {
        serde_json::from_str::<serde_json::Value>(&text).ok()?["name"].as_str().map(str::to_owned)
    } else {
        let manifest: toml::Table = text.parse().ok()?;
        let of = |table: &str| manifest.get(table)?.get("name")?.as_str().map(str::to_owned);
        of("package").or_else(|| of("project"))
    };
    // It becomes the name of a file.
    name.filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
}
