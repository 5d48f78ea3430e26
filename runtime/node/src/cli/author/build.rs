//! `sortie plugin build`: from the sources of a project to a component beside them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use sortie_contract::digest::Digest;

use super::super::text::{self, Progress};
use super::super::{Exit, Failure};
use super::stamp::{self, Stamp};
use super::{Language, language_of};

/// Which project is built.
#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    /// The folder of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(super) fn build(args: &BuildArgs, as_json: bool) -> Result<Exit, Failure> {
    let Component { file, bytes, anew } = component(&args.folder)?;
    let digest = Digest::of(&bytes);
    if as_json {
        let file = file.display().to_string();
        text::json(&json!({ "file": file, "bytes": bytes.len(), "digest": digest, "built": anew }))?;
    } else {
        let (place, size) = (text::plain(&file.display().to_string()), text::size(bytes.len() as u64));
        let changed = if anew { "" } else { "  nothing changed since it was built" };
        writeln!(std::io::stdout(), "{place}  {size}  {digest}{changed}")?;
    }
    Ok(Exit::Completed)
}

/// The component of a project.
#[derive(Debug)]
pub(super) struct Component {
    /// Where it lies.
    pub(super) file: PathBuf,
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// It was built; else it lay there, and nothing that it was made of has changed.
    pub(super) anew: bool,
}

/// The component of the project in a folder, which is built where it is not of what lies there.
pub(super) fn component(folder: &Path) -> Result<Component, Failure> {
    component_in(folder, language_of(folder)?)
}

fn component_in(folder: &Path, language: &Language) -> Result<Component, Failure> {
    let unusable = |error: std::io::Error| Failure::unusable(format!("{}: {error}", folder.display()));
    let whole = folder.canonicalize().map_err(unusable)?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name_of(folder, language.marker).unwrap_or(name);
    let file = folder.join(format!("{name}.wasm"));
    let builder = (language.builder)(folder);
    if let Some(bytes) = builder.as_ref().and_then(|builder| Stamp::fresh(folder, &file, builder)) {
        return Ok(Component { file, bytes, anew: false });
    }
    let before = builder.as_ref().and_then(|builder| stamp::made_of(folder, builder, &[]).ok());
    let building = Progress::of(format!("the {} project is built", language.name));
    let built = (language.build)(folder).map_err(Failure::unusable)?;
    drop(building);
    let bytes = sortie_sandbox::component_of(built.component).map_err(Failure::unusable)?;
    std::fs::write(&file, &bytes).map_err(|error| Failure::unusable(format!("{}: {error}", file.display())))?;
    if let (Some(builder), Some(before), Some(elsewhere)) = (builder, before, built.elsewhere) {
        // Without it the next build builds again.
        let _ = Stamp::write(folder, (&file, &bytes), &builder, before, elsewhere);
    }
    Ok(Component { file, bytes, anew: true })
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

#[cfg(test)]
mod tests {
    use super::super::Built;
    use super::*;

    /// Builds the empty component, and counts how often in a place that goes into none.
    fn counting(folder: &Path, elsewhere: Option<Vec<PathBuf>>) -> Result<Built, String> {
        let count = folder.join("target/count");
        std::fs::create_dir_all(folder.join("target")).map_err(|error| error.to_string())?;
        let before = std::fs::read_to_string(&count).unwrap_or_default();
        std::fs::write(count, format!("{before}|")).map_err(|error| error.to_string())?;
        Ok(Built { component: b"\0asm\x0d\0\x01\0".to_vec(), elsewhere })
    }

    fn language(builder: fn(&Path) -> Option<String>, build: fn(&Path) -> Result<Built, String>) -> Language {
        Language { name: "counting", marker: "package.json", setup: None, build, builder, refuses: |_| None }
    }

    #[test]
    fn a_project_is_built_where_something_changed_and_where_nobody_knows() {
        let whole: fn(&Path) -> Result<Built, String> = |folder| counting(folder, Some(Vec::new()));
        for (language, expected) in [
            (language(|_| Some("one".to_owned()), whole), [true, false, true]),
            // What it read elsewhere is not known; the builder knows by itself.
            (language(|_| Some("one".to_owned()), |folder| counting(folder, None)), [true, true, true]),
            (language(|_| None, whole), [true, true, true]),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join("package.json"), r#"{"name": "mine"}"#).expect("writable");
            let built = || {
                let built = component_in(folder.path(), &language);
                let Component { file, anew, .. } = built.unwrap_or_else(|failure| panic!("{}", failure.error));
                assert!(file.ends_with("mine.wasm") && file.is_file());
                anew
            };
            let first = [built(), built()];
            std::fs::write(folder.path().join("plugin.js"), "other").expect("writable");
            assert_eq!([first[0], first[1], built()], expected);
            let count = std::fs::read_to_string(folder.path().join("target/count")).expect("it was built");
            assert_eq!(count.len(), expected.iter().filter(|built| **built).count());
        }
    }
}
