//! Builds the examples of plugins that are written in Python and JavaScript, as an author does: in a project of its own, with the library
//! and the world beside it.
//!
//! The makers of components come from PyPI and npm, through their own clients, into the target folder, once for each set of versions. What
//! they make is kept until a source of it changes: it takes them ten seconds each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Project};
use crate::{debian, npm};

const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
/// The second bundles a plugin and the library into one module.
const NPM: [&str; 2] = ["@bytecodealliance/componentize-js@0.23.0", "rolldown@1.3.2"];

/// What tells tests where the examples are.
pub(crate) const EXAMPLES: &str = "SORTIE_AUTHORED";

/// A language of plugins.
struct Language {
    /// The folder of its example below `examples/plugins`, and of its templates.
    name: &'static str,
    /// Its library, below the project, and where that lies in an author's project.
    library: (&'static str, &'static str),
    /// Makes the component of the project in a folder, with the tools of another.
    componentize: fn(project: &Path, tools: &Path, out: &Path) -> Command,
}

const LANGUAGES: [Language; 2] = [
    Language {
        name: "python",
        library: ("plugins/sdk-python/sortie_plugin", "vendor/sortie_plugin"),
        componentize: |project, tools, out| {
            let mut command = Command::new(tools.join("venv/bin/componentize-py"));
            command.current_dir(project).args(["-q", "-d", "wit", "-w", "plugin", "componentize", "plugin"]);
            command.args(["-p", ".", "-p", "vendor", "-o"]).arg(out);
            command
        },
    },
    Language {
        name: "javascript",
        library: ("plugins/sdk-javascript", "vendor"),
        componentize: |project, _, out| {
            let mut command = Command::new("node");
            command.current_dir(project).arg("build.mjs").arg(out);
            command
        },
    },
];

/// The folder with `digest-python.wasm` and `digest-javascript.wasm`, up to date.
pub(crate) fn examples(project: &Project) -> Result<PathBuf, String> {
    let tools = installed(project)?;
    let folder = project.target().join("authored");
    for Language { name, library, componentize } in LANGUAGES {
        let laid = folder.join(name);
        let (out, stamp) = (folder.join(format!("digest-{name}.wasm")), folder.join(format!("{name}.stamp")));
        let failed = |error: std::io::Error| format!("{}: {error}", laid.display());
        let mut files = Vec::new();
        within(&project.root().join("examples/plugins").join(name), Path::new(""), &mut files).map_err(failed)?;
        within(&project.root().join(library.0), Path::new(library.1), &mut files).map_err(failed)?;
        files.push((project.root().join("wit/mission.wit"), PathBuf::from("wit/mission.wit")));
        let sources = files.iter().map(|(file, _)| fs::read_to_string(file)).collect::<Result<String, _>>();
        let sources = format!("{COMPONENTIZE_PY} {NPM:?}\n{}", sources.map_err(failed)?);
        if out.exists() && fs::read_to_string(&stamp).is_ok_and(|there| there == sources) {
            continue;
        }
        match fs::remove_dir_all(&laid) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        for (file, place) in files {
            let place = laid.join(place);
            fs::create_dir_all(place.parent().expect("it lies in the folder")).map_err(failed)?;
            fs::copy(file, place).map_err(failed)?;
        }
        // Node looks for packages in the folders above a module.
        shell::run(&mut componentize(&laid, &tools, &out))?;
        fs::write(&stamp, sources).map_err(failed)?;
    }
    Ok(folder)
}

/// The folder with `venv/bin/componentize-py`; its `node_modules` are found by whatever lies in the target folder.
fn installed(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("tools").join("authoring");
    let (mark, versions) = (folder.join("versions"), format!("{COMPONENTIZE_PY} {NPM:?}"));
    if fs::read_to_string(&mark).is_ok_and(|there| there == versions) {
        return Ok(folder);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    npm::install(&folder, NPM, "plugins in JavaScript")?;
    let venv = || shell::run(Command::new("python3").current_dir(&folder).args(["-m", "venv", "--clear", "venv"]));
    if venv().is_err() {
        // Debian's Python makes none without this package.
        debian::install(&["python3-venv"]);
        venv().map_err(|error| format!("{error}; plugins in Python are made with Python 3.10 and venv"))?;
    }
    let mut pip = Command::new(folder.join("venv/bin/pip"));
    shell::run(pip.args(["install", "--quiet", "--disable-pip-version-check", COMPONENTIZE_PY]))?;
    let found = project.target().join("authored");
    fs::create_dir_all(&found).map_err(failed)?;
    let link = found.join("node_modules");
    if !link.exists() {
        link_to(&folder.join("node_modules"), &link).map_err(failed)?;
    }
    fs::write(&mark, versions).map_err(failed)?;
    Ok(folder)
}

#[cfg(unix)]
fn link_to(folder: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(fs::canonicalize(folder)?, link)
}

#[cfg(not(unix))]
fn link_to(_folder: &Path, _link: &Path) -> std::io::Result<()> {
    Err(std::io::Error::other("plugins in other languages are built on Unix"))
}

/// The files of a folder, in the order of their names, each with its place below `place`.
fn within(folder: &Path, place: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_owned();
        match path.is_dir() {
            // What running Python leaves, and what npm brings.
            true if name == "__pycache__" || name == "node_modules" => {}
            true => within(&path, &place.join(name), files)?,
            false => files.push((path.clone(), place.join(name))),
        }
    }
    Ok(())
}
