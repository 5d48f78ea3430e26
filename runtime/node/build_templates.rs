//! Puts what `sortie plugin new` writes into the binary: the templates below `plugins/templates`, a folder for each language, and the
//! guest library of Rust with its world, so that a project stands by itself.
//!
//! Writes `templates.rs`: `TEMPLATES` and `VENDORED`, lists of files with their paths in a project. A language whose folder is not
//! there is not in the list: the command says so.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The file of generated Rust, and the paths whose change makes it stale.
pub(crate) fn write(project: &Path, out: &Path) -> io::Result<Vec<PathBuf>> {
    let (plugins, wit) = (project.join("plugins"), project.join("wit/mission.wit"));
    let (templates, sdk) = (plugins.join("templates"), plugins.join("sdk"));
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
    source.push_str("];\n\n/// The guest library of Rust, as it lies in a project.\n");
    source.push_str("pub(crate) const VENDORED: &[(&str, &str)] = &[\n");
    let manifest = out.join("vendored-Cargo.toml");
    fs::write(&manifest, standing_alone(&plugins)?)?;
    let mut vendored = vec![("vendor/sortie-plugin/Cargo.toml".to_owned(), manifest)];
    let mut files = Vec::new();
    within(&sdk.join("src"), &mut files)?;
    for file in files {
        let place = file.strip_prefix(&sdk).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        vendored.push((format!("vendor/sortie-plugin/{place}"), file));
    }
    // The library finds its world two folders above itself.
    vendored.push(("wit/mission.wit".to_owned(), wit.clone()));
    for (place, file) in vendored {
        writeln!(source, "    ({place:?}, include_str!({file:?})),").map_err(io::Error::other)?;
    }
    source.push_str("];\n");
    fs::write(out.join("templates.rs"), source)?;
    Ok(vec![templates, sdk, wit, plugins.join("Cargo.toml")])
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
            if !["target", "node_modules", "__pycache__"].contains(&name.as_str()) {
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
