//! Puts what `sortie plugin new` writes into the binary: the templates below `plugins/templates`, a folder for each language, and the
//! language's library with the world, so that a project stands by itself.
//!
//! Writes `templates.rs`: `TEMPLATES` and `VENDORED`, lists of files with their paths in a project. A language whose folder is not
//! there is not in the list: the command says so.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The file of generated Rust, and the paths whose change makes it stale.
pub(crate) fn write(project: &Path, out: &Path) -> io::Result<Vec<PathBuf>> {
    let (plugins, wit) = (project.join("plugins"), project.join("wit/mission.wit"));
    let (templates, sdk_manifest) = (plugins.join("templates"), plugins.join("sdk/Cargo.toml"));
    let mut source = String::from(
        "/// The files of a new project, by language: each with its path in it.\n\
         pub(crate) const TEMPLATES: &[(&str, &[(&str, &str)])] = &[\n",
    );
    for folder in sorted(&templates)? {
        if !folder.is_dir() {
            continue;
        }
        let language = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut files = Vec::new();
        within(&folder, &mut files)?;
        writeln!(source, "    ({language:?}, &[").map_err(io::Error::other)?;
        for file in files {
            let place = file.strip_prefix(&folder).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
            writeln!(source, "        ({place:?}, include_str!({file:?})),").map_err(io::Error::other)?;
        }
        source.push_str("    ]),\n");
    }
    source.push_str("];\n\n/// What a project carries beside them, by language: its library, and the world.\n");
    source.push_str("pub(crate) const VENDORED: &[(&str, &[(&str, &str)])] = &[\n");
    let manifest = out.join("vendored-Cargo.toml");
    fs::write(&manifest, standing_alone(&plugins)?)?;
    let mut stale = vec![templates, wit.clone(), plugins.join("Cargo.toml")];
    // Of each language, where its library lies, and where that of a project does.
    for (language, library, place) in [
        ("rust", "sdk/src", "vendor/sortie-plugin/src"),
        ("python", "sdk-python", "vendor"),
        ("javascript", "sdk-javascript", "vendor"),
    ] {
        let library = plugins.join(library);
        let mut vendored = Vec::new();
        if language == "rust" {
            vendored.push(("vendor/sortie-plugin/Cargo.toml".to_owned(), manifest.clone()));
        }
        if library.is_dir() {
            let mut files = Vec::new();
            within(&library, &mut files)?;
            for file in files {
                let name = file.strip_prefix(&library).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
                vendored.push((format!("{place}/{name}"), file));
            }
            stale.push(library);
        }
        // The library of Rust finds its world two folders above itself.
        vendored.push(("wit/mission.wit".to_owned(), wit.clone()));
        writeln!(source, "    ({language:?}, &[").map_err(io::Error::other)?;
        for (place, file) in vendored {
            writeln!(source, "        ({place:?}, include_str!({file:?})),").map_err(io::Error::other)?;
        }
        source.push_str("    ]),\n");
    }
    source.push_str("];\n");
    fs::write(out.join("templates.rs"), source)?;
    stale.push(sdk_manifest);
    Ok(stale)
}

/// The library's manifest without its workspace: what it takes from there stands in it.
fn standing_alone(plugins: &Path) -> io::Result<String> {
    let (own, workspace) =
        (fs::read_to_string(plugins.join("sdk/Cargo.toml"))?, fs::read_to_string(plugins.join("Cargo.toml"))?);
    let mut alone = String::new();
    for line in own.lines() {
        if line == "[lints]" {
            break;
        }
        match line.split_once(".workspace = true") {
            Some((key, _)) => {
                let told = workspace.lines().find(|told| told.starts_with(&format!("{key} = ")));
                let told = told.ok_or_else(|| io::Error::other(format!("plugins/Cargo.toml does not say {key}")))?;
                alone.push_str(told);
            }
            None => alone.push_str(line),
        }
        alone.push('\n');
    }
    Ok(alone)
}

/// Every file of a folder and of those in it, without what tools leave there.
fn within(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for path in sorted(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "__pycache__", ".venv", "vendor"].contains(&name.as_str()) {
                within(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
